"""The page around a report: its style, its one script, and the small pieces of HTML that sections are made of."""

from __future__ import annotations

import base64
import hashlib
import html
import sys
from collections.abc import Iterator, Mapping
from typing import Any

NOWRAP_SPACE = "\u202f"
_ACRONYMS = {"kl", "js", "tv", "w1", "w2", "mmd", "fid", "kid", "r1", "r2", "ema"}

STYLE = """
:root { color-scheme: light dark; --paper: #fff; --ink: #1d1d1b; --quiet: #6a6a65; --line: #e5e5e0; --wash: #f6f6f3;
  --accent: #0072b2; --good: #009e73; --warn: #e69f00; --bad: #d55e00;
  --mono: ui-monospace, "SF Mono", "Cascadia Mono", Menlo, Consolas, "Liberation Mono", monospace; }
@media (prefers-color-scheme: dark) { :root { --paper: #141414; --ink: #e7e5e0; --quiet: #9d9b94; --line: #2f2f2d;
  --wash: #1d1d1c; --accent: #6cb4e0; } .plot { filter: invert(.92) hue-rotate(180deg); } }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 1.0625rem/1.6 system-ui, -apple-system, "Segoe UI",
  Roboto, "Helvetica Neue", Arial, "Liberation Sans", sans-serif; font-variant-numeric: lining-nums; }
main { max-width: 46.5rem; margin: 0 auto; padding: 4.5rem 1.25rem 6rem; }
.over, .by, figcaption, .hint, footer { color: var(--quiet); font-size: .875rem; }
.over { margin: 0 0 .5rem; letter-spacing: .01em; }
h1 { margin: 0; font-size: clamp(2rem, 7vw, 3rem); line-height: 1.1; font-weight: 680; letter-spacing: -.025em;
  overflow-wrap: anywhere; }
h1 span { font-weight: 400; color: var(--quiet); }
.by { margin: .75rem 0 0; }
.lead { margin: 2rem 0 0; font-size: 1.1875rem; line-height: 1.55; text-wrap: pretty; }
section { margin-top: 4rem; }
h2 { margin: 0 0 1.25rem; padding-top: 1rem; border-top: 1px solid var(--line); font-size: 1.25rem; line-height: 1.3;
  font-weight: 640; letter-spacing: -.01em; }
h3 { margin: 1.75rem 0 .5rem; font-size: 1rem; font-weight: 640; }
p { margin: 0 0 1rem; max-width: 40rem; }
figure { margin: 0; }
img { display: block; max-width: 100%; height: auto; }
img.pixels { image-rendering: pixelated; }
img.wide { width: 100%; }
figcaption { margin-top: .5rem; line-height: 1.5; } .hint { margin: 1rem 0 0; }
.marks { display: grid; grid-template-columns: repeat(auto-fit, minmax(8.5rem, 1fr)); gap: 1.5rem;
  margin: 2.5rem 0 0; }
.marks div { border-top: 2px solid var(--ink); padding-top: .625rem; }
.marks dt { font-size: .875rem; color: var(--quiet); line-height: 1.35; }
.marks dd { margin: .125rem 0 0; font-size: 1.625rem; line-height: 1.35; font-weight: 620; letter-spacing: -.02em; }
.marks dd small, .marks dd span { font-size: .8125rem; font-weight: 400; letter-spacing: 0; color: var(--quiet); }
.marks dd small { display: block; }
.scrubber { display: flex; align-items: center; gap: 1rem; margin-top: 1rem; }
.scrubber[hidden], .frame[hidden] { display: none; }
.scrubber input { flex: 1; min-width: 0; height: 1.75rem; margin: 0; accent-color: var(--accent); }
.scrubber output { min-width: 7.5rem; text-align: right; font-size: .875rem; font-variant-numeric: tabular-nums; }
.strip { display: grid; grid-template-columns: repeat(8, 1fr); gap: .75rem .5rem; margin-top: 1rem; }
.thumb { display: block; padding: 0 0 .25rem; border: 0; border-bottom: 2px solid transparent; background: none;
  font: inherit; font-size: .75rem; line-height: 1.6; color: var(--quiet); text-align: left; cursor: pointer; }
.thumb img { width: 100%; } .thumb .plot { border: 1px solid #e5e5e0; }
.thumb[aria-current=true] { color: var(--ink); border-color: var(--accent); }
.thumb:focus-visible, summary:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
.charts { display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 2rem 1.5rem; }
.charts h3 { margin: 0 0 .25rem; } .charts img { width: 100%; }
.scroll { overflow-x: auto; }
table { width: 100%; border-collapse: collapse; font-size: .9375rem; line-height: 1.45; }
th, td { padding: .4375rem 1rem .4375rem 0; border-bottom: 1px solid var(--line); text-align: left;
  vertical-align: baseline; }
th:last-child, td:last-child { padding-right: 0; }
thead th.number { white-space: normal; } thead th { font-size: .8125rem; font-weight: 500; color: var(--quiet); }
tbody th { font-weight: 400; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.tree th, .tree td { padding-top: .125rem; padding-bottom: .125rem; border: 0; }
.tree .top > * { border-top: 1px solid var(--line); padding-top: .375rem; } .tree .end > * { padding-bottom: .375rem; }
.tree th { width: 42%; padding-left: calc(var(--depth) * 1.25rem); font: .8125rem/1.6 var(--mono);
  color: var(--quiet); }
.tree td { overflow-wrap: anywhere; } .tree .part { font-weight: 600; } .tree th.part { color: var(--ink); }
pre { margin: 0; padding: 1rem 1.125rem; background: var(--wash); border-radius: .375rem; overflow-x: auto;
  font: .8125rem/1.6 var(--mono); tab-size: 2; }
pre.wrap { white-space: pre-wrap; overflow-wrap: anywhere; } .wrap span { display: inline-block; max-width: 100%; }
details { margin-top: 1.25rem; } summary { cursor: pointer; color: var(--quiet); font-size: .9375rem; }
details pre { margin-top: .75rem; }
.state { max-width: none; padding: .75rem 1rem; background: var(--wash); border-left: 3px solid var(--good); }
.state.sick, .finding.critical { border-left-color: var(--bad); } .state small { color: var(--quiet); }
.finding { margin: 1.75rem 0 0; padding-left: 1rem; border-left: 3px solid var(--line); }
.finding.warning { border-left-color: var(--warn); } .finding h3 { margin: 0 0 .5rem; }
.finding h3 span { font-weight: 400; color: var(--quiet); font-size: .875rem; margin-left: .375rem; }
.finding th small { display: block; color: var(--quiet); font-size: .8125rem; } .finding .scroll { margin: 0 0 1rem; }
.finding .hint { margin: 0; } .finding details { margin: 0 0 1rem; } code { font: .875em/1.5 var(--mono); }
pre code { font-size: 1em; }
ul { margin: 0; padding-left: 1.125rem; } li { margin: .375rem 0; max-width: 40rem; }
footer { margin-top: 5rem; }
@media (max-width: 40rem) { main { padding: 2.5rem 1.125rem 4rem; } section { margin-top: 3rem; }
  table { font-size: .875rem; } th, td { padding-right: .625rem; }
  .charts { grid-template-columns: minmax(0, 1fr); } .strip { grid-template-columns: repeat(4, 1fr); }
  .marks { grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 1.5rem 1.25rem; } }
@media print { main { padding: 0; max-width: none; } .scrubber { display: none; } section { break-inside: avoid; } }
"""

SCRIPT = """
const all = (q) => [...document.querySelectorAll(q)], [range] = all('#round'), [said] = all('#said');
const frames = all('.frame'), thumbs = all('.thumb');
function show(i) {
  frames.forEach((frame, k) => { frame.hidden = k !== i; });
  thumbs.forEach((thumb) => thumb.setAttribute('aria-current', Number(thumb.dataset.frame) === i));
  range.value = i;
  range.setAttribute('aria-valuetext', said.textContent = 'round ' + frames[i].dataset.round);
}
if (range) {
  range.oninput = () => show(Number(range.value));
  thumbs.forEach((thumb) => { thumb.onclick = () => show(Number(thumb.dataset.frame)); });
  range.parentElement.hidden = false;
  show(frames.length - 1);
}
"""

_HASH = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
# The page may load nothing but what it carries, and run nothing but the script above, whatever text it shows.
_POLICY = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{_HASH}'"


def page(title: str, body: str) -> str:
    """The whole document around an HTML ``body``.

    Examples:
        >>> page("a < b", "<p>c</p>").count("a &lt; b")
        1
    """
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n"
        f"<body>\n<main>\n{body}\n</main>\n<script>{SCRIPT}</script>\n</body>\n</html>\n"
    )


def escape(text: object) -> str:
    """Text as HTML, in and out of attributes."""
    return html.escape(str(text), quote=True)


def picture(data: bytes, alt: str, kind: str) -> str:
    """An ``<img>`` that carries its PNG.

    Examples:
        >>> picture(b"", "6 samples", "plot")
        '<img class="plot" src="data:image/png;base64," alt="6 samples">'
    """
    return f'<img class="{kind}" src="data:image/png;base64,{base64.b64encode(data).decode()}" alt="{escape(alt)}">'


def section(title: str, body: str) -> str:
    """A titled section, or nothing where there is no body."""
    return f"<section>\n<h2>{escape(title)}</h2>\n{body}\n</section>" if body else ""


def number(value: object) -> str:
    """A value for reading: four significant digits, thousands apart, a true minus sign.

    Examples:
        >>> [number(v) for v in (0.98765, -2.0, 1e-7, None, float("nan"), "n/a")]
        ['0.9877', '−2', '1e−07', '–', 'not finite', 'n/a']
    """
    if value is None:
        return "–"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    if not abs(value) <= sys.float_info.max:  # a whole number may be larger than any of these
        return "not finite"
    if float(value).is_integer() and abs(value) < 1e15:
        return f"{int(value):,}".replace(",", NOWRAP_SPACE).replace("-", "−")
    return f"{value:.4g}".replace("-", "−")


def words(key: str) -> str:
    """The name of a logged number as words.

    Examples:
        >>> words("penalty/r1_fake"), words("reverse_kl")
        ('penalty · R1 fake', 'reverse KL')
    """
    said = key.replace("/", " · ").replace("_", " ").split(" ")
    return " ".join(word.upper() if word in _ACRONYMS else word for word in said)


def heading(key: str) -> str:
    """The same with a capital letter first.

    Examples:
        >>> heading("reverse_kl")
        'Reverse KL'
    """
    return words(key)[:1].upper() + words(key)[1:]


def tree(value: Mapping[str, Any]) -> str:
    """Nested configuration as one table: fields indented below the part they belong to, dotted paths as tool tips.

    Examples:
        >>> "beta" in tree({"optimizer": {"type": "Adam", "beta": 0.9}})
        True
    """
    lines = []
    leaves = list(_leaves(value, ()))
    for i, (path, name, shown, part) in enumerate(leaves):
        mark = ' class="part"' if part else ""
        ends = i + 1 == len(leaves) or len(leaves[i + 1][0]) == 1
        row = " ".join(["top"] * (len(path) == 1) + ["end"] * ends)
        depth = f'style="--depth: {len(path) - 1}" title="{escape(".".join(path))}"'
        head = f'<tr class="{row}"><th scope="row"{mark} {depth}>{escape(name)}</th>'
        lines.append(f"{head}<td{mark}>{escape(shown)}</td></tr>")
    return f'<table class="tree"><tbody>\n{"".join(lines)}\n</tbody></table>' if lines else ""


def _leaves(value: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str, str, bool]]:
    for key, item in value.items():
        if key == "type":
            continue
        here = (*path, str(key))
        if isinstance(item, Mapping):
            yield here, str(key), str(item.get("type", "")), True
            yield from _leaves(item, here)
        elif isinstance(item, (list, tuple)) and any(isinstance(part, (Mapping, list, tuple)) for part in item):
            yield here, str(key), f"{len(item)} parts" if len(item) > 1 else "", True
            yield from _leaves({str(i): part for i, part in enumerate(item)}, here)
        else:
            yield here, str(key), _plain(item), False


def _plain(item: object) -> str:
    if item is None or item == [] or item == ():
        return "none"
    if isinstance(item, (list, tuple)):
        return ", ".join(_plain(part) for part in item)
    if isinstance(item, bool):
        return "yes" if item else "no"
    return f"{item:g}" if isinstance(item, float) and float(f"{item:g}") == item else str(item)
