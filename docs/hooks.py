"""What mkdocs needs beyond its theme: formulas as MathML, figures with their verdicts, code as pages.

A page that is read fetches nothing: formulas become MathML when the site is built, and the font for them is copied into
the site. A link to a Python file of this project becomes a link to a page made from that file, at the function that the
link's text names.
"""

from __future__ import annotations

import ast
import html
import importlib.util
import json
import re
from pathlib import Path
from typing import Any

from math_core import LatexError, LatexToMathML
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files, InclusionLevel

ROOT = Path(__file__).resolve().parents[1]
FONT = "STIXTwoMath-Regular.ttf"
_CODE = re.compile(r"\[`([\w.]+)`\]\((?:\.\./)+((?:src|tests)/[\w/]+\.py)\)")
_FORMULA = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)
_FIGURE = re.compile(r'<p><img alt="([^"]*)" src="([^"]*figures/(\w+)\.png)" ?/?></p>')
_PRIME = re.compile(r"<msup>(<mi>[^<]*</mi>)<mo>([′″])</mo></msup>")
_TEST_NAME = re.compile(r"(?<=<code>)test_\w+(?=</code>)")
_SECTION = re.compile(r"(Args|Returns|Raises|Attributes|Examples):")
_converter = LatexToMathML(fancy_error=False)


def on_files(files: Files, config: Any) -> Files:
    """Add the font for formulas, and a page for every Python file that a chapter links to."""
    spec = importlib.util.find_spec("ziamath")
    assert spec is not None and spec.submodule_search_locations
    font = Path(spec.submodule_search_locations[0]) / "fonts" / FONT
    files.append(File.generated(config, f"assets/{FONT}", abs_src_path=str(font)))
    pages = [Path(f.abs_src_path).read_text(encoding="utf-8") for f in files.documentation_pages() if f.abs_src_path]
    for name in sorted({path for text in pages for _, path in _CODE.findall(text)}):
        page = _code_page(ROOT / name, is_test=name.startswith("tests/"))
        files.append(File.generated(config, _page_of(name), content=page, inclusion=InclusionLevel.NOT_IN_NAV))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """The doctor's tables as the code has them now; links to code point at the pages that were made of it."""
    if page.file.src_uri == "doctor.md":
        markdown = _script("render_doctor").rendered(markdown)
    up = "../" * page.file.src_uri.count("/")
    return _CODE.sub(lambda m: f"[`{m[1]}`]({up}{_page_of(m[2])}#{_anchor(m[1])})", markdown)


def on_page_content(content: str, page: Any, **_: Any) -> str:
    """Formulas to MathML; images of reproductions to figures with what was checked in them."""

    def formula(match: re.Match[str]) -> str:
        latex = html.unescape(match[2]).strip()
        try:
            made = _converter.convert_with_local_state(latex, displaystyle=match[1] == "div")
        except LatexError as error:
            raise PluginError(f"{page.file.src_uri}: {error} in the formula {latex}") from error
        # The font's prime is raised already: as a superscript it would float.
        return _PRIME.sub(r'<mrow>\1<mo form="postfix" lspace="0" rspace="0">\2</mo></mrow>', made)

    def figure(match: re.Match[str]) -> str:
        caption, source, key = match.groups()
        image = f'<img alt="{caption}" src="{source}" loading="lazy">'
        return f"<figure>{image}<figcaption>{caption}{_verdict(key)}</figcaption></figure>"

    content = _TEST_NAME.sub(lambda m: m[0].replace("_", "_<wbr>"), content)  # long names break between their words
    return _FORMULA.sub(formula, _FIGURE.sub(figure, content))


def _script(name: str) -> Any:
    """A program of scripts/ as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _verdict(key: str) -> str:
    """What `equilibria reproduce` found when it drew the figure, failures first."""
    path = ROOT / "docs" / "theory" / "figures" / f"{key}.json"
    if not path.exists():
        return f" <code>equilibria reproduce {key}</code>"
    told = json.loads(path.read_text(encoding="utf-8"))
    checks = sorted(told.get("checks", []), key=lambda check: check["holds"])
    rows = "".join(
        f"<li>{'holds' if c['holds'] else '<strong>fails</strong>'}: {html.escape(c['name'])} "
        f"{c['measured']}, should be {html.escape(c['rule'])}</li>"
        for c in checks
    )
    quick = " (quick: fewer seeds and rounds)" if told.get("quick") else ""
    said = f"<code>equilibria reproduce {key}</code>: <strong>{html.escape(told['verdict'])}</strong>{quick}"
    return f"<details><summary>{said}, {len(checks)} checks</summary><ul>{rows}</ul></details>"


def _page_of(name: str) -> str:
    return "code/" + name.removeprefix("src/").removesuffix(".py") + ".md"


def _anchor(name: str) -> str:
    return name.rsplit(".", 1)[-1]


def _code_page(path: Path, is_test: bool) -> str:
    """A page of a Python file: what every public function and class says, and its source."""
    text = path.read_text(encoding="utf-8")
    module = ast.parse(text)
    name = path.relative_to(ROOT / "src").with_suffix("").as_posix().replace("/", ".") if not is_test else path.name
    parts = [f"# `{name}`", _prose(ast.get_docstring(module) or "")]
    for node in module.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
            said = ast.get_docstring(node) or ""
            source = ast.get_source_segment(text, node) or ""
            parts.append(f"## `{node.name}` {{ #{node.name} }}")
            if isinstance(node, ast.FunctionDef) and not is_test:
                shown = f"{node.name}({ast.unparse(node.args)})" + (
                    f" -> {ast.unparse(node.returns)}" * bool(node.returns)
                )
                parts.append(f"```python\n{shown}\n```")
            parts += [_prose(said)] * (not is_test)
            fence = f"```python\n{source}\n```"
            parts.append(fence if is_test else '??? note "Source"\n\n' + _indented(fence))
    return "\n\n".join(parts) + "\n"


def _prose(text: str) -> str:
    """A docstring of this house (Google's sections, Sphinx's formulas) as Markdown."""
    out: list[str] = []
    section, formulas = "", False
    for block in re.split(r"\n\s*\n", text):
        head = _SECTION.match(block)
        if head:
            section, block = head[1], block[head.end() :].strip("\n")
            out.append(f"**{section}**")
        lines = block.split("\n")
        formulas = block.lstrip().startswith(".. math::") or (formulas and block.startswith("    "))
        if formulas:
            body = block.lstrip().removeprefix(".. math::").strip()
            aligned = "&" in body or r"\\" in body
            out.append("$$\n" + (rf"\begin{{aligned}}{body}\end{{aligned}}" if aligned else body) + "\n$$")
        elif ".. math::" in block:
            before, _, body = block.partition(".. math::")
            out += [_roles(before.strip()), f"$$\n{body.strip()}\n$$"]
        elif block.lstrip().startswith(">>>"):
            out.append("```pycon\n" + "\n".join(line[4:] if section else line for line in lines) + "\n```")
        elif section in ("Args", "Raises", "Attributes"):
            out.append(_items(lines))
        else:
            out.append(_roles(re.sub(r"\n +", "\n", block.strip())))
    return "\n\n".join(out)


def _items(lines: list[str]) -> str:
    """``name: text`` lines, continued by deeper ones, as a list."""
    joined: list[str] = []
    for line in lines:
        if joined and line.startswith("     "):
            joined[-1] += " " + line.strip()
        else:
            joined.append(line.strip())
    return "\n".join("- " + _roles(re.sub(r"^([\w*]+):", r"`\1`:", line)) for line in joined if line)


def _roles(text: str) -> str:
    text = re.sub(r":math:`([^`]+)`", lambda m: f"${' '.join(m[1].split())}$", text)
    text = re.sub(r":\w+:`~?(?:[\w.]*\.)?(\w+)`", r"`\1`", text)
    return re.sub(r"``([^`]+)``", r"`\1`", text)


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" if line else "" for line in text.split("\n"))
