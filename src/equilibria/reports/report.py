"""A run as one HTML file that needs nothing else: no network, no fonts, no scripts but its own fifteen lines."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..base.errors import DataError
from ..figures import curves, is_number, png, series
from ..figures.images import Numbers, array_of
from ..training import disk
from .content import Content, Facts
from .diagnosis import verdict
from .page import escape, heading, number, page, picture, section, tree, words
from .samples import frames, show

_UNPLOTTED = {"step", "time", "seconds", "wall", "elapsed", "turn"}
_GROUPS = {
    "loss": ("Losses", "loss (unit of the objective)"),
    "score": ("Discriminator scores", "mean score (logit)"),
    "penalty": ("Penalties", "penalty, as added to the loss"),
}
_MOST_CHARTS = 10
_LOSSES_SAY_LITTLE = (
    "Players' losses need not fall, and alone they cannot tell a healthy run from a broken one: "
    "judge by the samples and the evaluation."
)
_FLOOR = (
    "A perfect sampler draws from the law of the data itself. What it scores with equally many samples "
    "is the most to hope for; it is seldom the ideal 0 or 1."
)


def render(
    content: Content,
    *,
    bibtex: str = "",
    real: Numbers | None = None,
    notes: Sequence[str] = (),
) -> Path:
    """Write ``report.html`` into a run's folder: one file with everything in it, for offline, phone, light and dark.

    Pieces are shown as far as they exist, and what is missing or damaged is said under "Notes". The file is replaced in
    one step: a reader sees the old report or the new one. The same content and arguments give the same bytes.

    Args:
        content: the run; :class:`equilibria.runs.folder.RunFolder`, opened leniently, is one.
        bibtex: the entries that the run's methods and data should be cited by.
        real: real points (n, d), drawn behind samples of vector data; without it, those stored with the run, if any,
            else the pictures that the run has stored.
        notes: further sentences for the end of the page.

    Returns:
        The path of the report.

    Raises:
        RunError: the report cannot be written.

    Examples:
        >>> import tempfile, types
        >>> info = {"format": 1, "recipe": {"name": "gan"}, "data": {"name": "grid25"}}
        >>> run = types.SimpleNamespace(path=Path(tempfile.mkdtemp()), info=info, rows=(), evaluation={}, diagnosis={})
        >>> run.snapshots, run.notes, run.points = (), (), lambda: None
        >>> render(run).name
        'report.html'
    """
    folder = Facts.of(content)
    made, missing = frames(folder.snapshots, content.points() if real is None else array_of(real))
    said = [*folder.notes, *missing, *_gaps(folder, bool(made)), *notes]
    body = "\n".join(
        part
        for part in (
            _header(folder),
            section("Samples", show(made)),
            section("Evaluation", _evaluation(folder)),
            section("Diagnosis", verdict(folder.diagnosis, folder.info.get("remedies"))),
            section("Training", _charts(folder)),
            section("Configuration", _configuration(folder)),
            section("Data", tree(_data(folder.part("data")))),
            section("Reproduce", _reproduce(folder)),
            section("Cite", _cite(folder, bibtex)),
            section("Notes", "<ul>" + "".join(f"<li>{escape(s)}</li>" for s in said) + "</ul>" if said else ""),
            f"<footer>Written by Equilibria{escape(_version(folder.part('versions')))}. "
            "This file is complete: it loads nothing.</footer>",
        )
        if part
    )
    return _write(content.path / "report.html", page(f"{_recipe(folder)} on {_data_name(folder)}", body))


def _write(target: Path, text: str) -> Path:
    disk.write_atomically(target, text.encode(errors="backslashreplace"))  # a file's name may be no text
    return target


def _recipe(folder: Facts) -> str:
    return str(folder.part("recipe").get("name") or "a recipe without a name")


def _data_name(folder: Facts) -> str:
    return str(folder.part("data").get("name") or "unnamed data")


def _version(versions: Mapping[str, Any]) -> str:
    return f" {versions['equilibria']}" if versions.get("equilibria") else ""


def _header(folder: Facts) -> str:
    info, recipe = folder.info, folder.part("recipe")
    facts = [f"seed {info['seed']}"] if "seed" in info else []
    if "steps" in info:
        facts.append(f"{number(info['steps'])} rounds")
    facts += [str(info["created"])[:10]] if info.get("created") else []
    origin = ", ".join(str(recipe[key]) for key in ("year", "cite", "source") if recipe.get(key))
    lead = f"<strong>{escape(_recipe(folder))}</strong>{f' ({escape(origin)})' if origin else ''} "
    lead += f"{escape(_progress(folder))} on <strong>{escape(_data_name(folder))}</strong>"
    lead += f" from seed {escape(info['seed'])}." if "seed" in info else "."
    final, at = _final(folder)
    scored = [_in_words(name, entry) for name, entry in final.items()]
    if scored:
        lead += f" At {'the end' if at is None else f'round {number(at)}'}: {'; '.join(scored)}."
    marks = "".join(_mark(name, entry) for name, entry in list(final.items())[:4])
    return (
        '<header>\n<p class="over">Equilibria · run report</p>\n'
        f"<h1>{escape(_recipe(folder))} <span>on</span> {escape(_data_name(folder))}</h1>\n"
        f'<p class="by">{escape(" · ".join(facts))}</p>\n<p class="lead">{lead}</p>\n'
        + (f'<dl class="marks">{marks}</dl>\n' if marks else "")
        + "</header>"
    )


def _progress(folder: Facts) -> str:
    planned, played = folder.info.get("steps"), folder.played
    if played is None:
        return "has not logged a round yet" if planned is None else f"is to play {number(planned)} rounds"
    if is_number(planned) and played < int(planned):  # type: ignore[arg-type]
        return f"has logged round {number(played)} of {number(planned)}"
    return f"played {number(planned or played)} rounds"


def _final(folder: Facts) -> tuple[dict[str, dict[str, Any]], int | None]:
    """The final metrics: those of the evaluation, else the last ones logged and their round."""
    if folder.evaluation:
        found = {k: v if isinstance(v, dict) else {"value": v} for k, v in folder.evaluation.items()}
        return {k: v for k, v in found.items() if v.get("value") is not None}, None
    for row in reversed(folder.rows):
        found = {k: {"value": v} for k, v in row.items() if _is_metric(k) and is_number(v)}
        if found:
            return found, int(row["step"])
    return {}, None


def _is_metric(key: str) -> bool:
    return "/" not in key and key not in _UNPLOTTED


def _in_words(name: str, entry: Mapping[str, Any]) -> str:
    floor = f" (perfect sampler {number(entry['floor'])})" if entry.get("floor") is not None else ""
    return f"{escape(words(name))} <strong>{escape(number(entry.get('value')))}</strong>{escape(floor)}"


def _mark(name: str, entry: Mapping[str, Any]) -> str:
    unit = f" <span>{escape(entry['unit'])}</span>" if entry.get("unit") else ""
    floor = f"<small>perfect sampler {escape(number(entry['floor']))}</small>" if entry.get("floor") is not None else ""
    return f"<div><dt>{escape(heading(name))}</dt><dd>{escape(number(entry.get('value')))}{unit}{floor}</dd></div>"


def _evaluation(folder: Facts) -> str:
    final, at = _final(folder)
    if not final:
        return ""
    lines = "".join(
        f'<tr><th scope="row">{escape(words(name))}</th>'
        + "".join(f'<td class="number">{escape(number(entry.get(key)))}</td>' for key in ("value", "floor"))
        + f'<td>{escape(entry.get("unit") or "")}</td><td class="number">{escape(number(entry.get("n")))}</td></tr>'
        for name, entry in final.items()
    )
    head = '<th>Metric</th><th class="number">Value</th><th class="number">Perfect sampler</th><th>Unit</th>'
    hint = _FLOOR if at is None else f"As logged at round {number(at)}; not evaluated against a perfect sampler."
    return (
        f'<div class="scroll"><table><thead><tr>{head}<th class="number">Samples</th></tr></thead>'
        f'<tbody>{lines}</tbody></table></div>\n<p class="hint">{escape(hint)}</p>'
    )


def _charts(folder: Facts) -> str:
    groups: dict[str, list[str]] = {}
    for key in {key: None for row in folder.rows for key, value in row.items() if is_number(value)}:
        if key.split("/")[0] not in _UNPLOTTED:
            groups.setdefault(key.split("/")[0], []).append(key)
    order = [*(g for g in _GROUPS if g in groups), *sorted(g for g in groups if g not in _GROUPS)]
    charts = [_chart(folder, group, groups[group]) for group in order[:_MOST_CHARTS]]
    if not any(charts):
        return ""
    long = any(len(series(folder.rows, key)[0]) > 120 for keys in groups.values() for key in keys)
    band = " Lines are medians of neighbouring rounds, bands span their 10th to 90th percentiles." if long else ""
    return f'<div class="charts">{"".join(charts)}</div>\n<p class="hint">{escape(_LOSSES_SAY_LITTLE + band)}</p>'


def _chart(folder: Facts, group: str, keys: list[str]) -> str:
    title, ylabel = _GROUPS.get(group, (heading(group), words(group)))
    entry = folder.evaluation.get(group)
    floor = entry.get("floor") if isinstance(entry, dict) else None
    if isinstance(entry, dict) and entry.get("unit"):
        ylabel = f"{ylabel} ({entry['unit']})" if entry["unit"] != ylabel else ylabel
    levels = {"perfect sampler": float(floor)} if is_number(floor) else None  # type: ignore[arg-type]
    names = {key: words(key.split("/", 1)[-1]) for key in sorted(keys, reverse=group == "score")[:6]}
    try:
        drawn = curves(folder.rows, names, ylabel=ylabel, levels=levels)
    except DataError:
        return ""
    image = picture(png(drawn, colors=64), f"{title} by round: {', '.join(names.values())}", "plot")
    return f"<figure><h3>{escape(title)}</h3>{image}</figure>"


def _configuration(folder: Facts) -> str:
    told = {"type", "name", "year", "cite", "source"}
    table = tree({key: value for key, value in folder.part("recipe").items() if key not in told})
    raw = escape(json.dumps(folder.info, indent=2, ensure_ascii=False))
    return f"{table}\n<details><summary>run.json</summary><pre>{raw}</pre></details>"


def _data(data: Mapping[str, Any]) -> dict[str, Any]:
    """The facts about the data, the nameless ones in memory said to be so."""
    shown = {key: value for key, value in data.items() if key != "source" or value}
    return shown if "source" not in data or data["source"] else {**shown, "source": "an array in memory"}


def _reproduce(folder: Facts) -> str:
    command = folder.info.get("command")
    # A phone breaks the line between words of the command, never inside an option.
    tokens = " ".join(f"<span>{escape(token)}</span>" for token in str(command or "").split(" "))
    shell = f'<pre class="wrap"><code>{tokens}</code></pre>' if command else ""
    parts = [shell]
    for title, key in (("Versions", "versions"), ("Hardware", "hardware")):
        value = folder.info.get(key)
        table = tree(value if isinstance(value, dict) else {key: value}) if value else ""
        parts.append(f"<h3>{title}</h3>{table}" if table else "")
    return "\n".join(part for part in parts if part)


def _cite(folder: Facts, bibtex: str) -> str:
    if bibtex.strip():
        return f"<pre><code>{escape(bibtex.strip())}</code></pre>"
    key = folder.part("recipe").get("cite")
    return f"<p>Reference <code>{escape(key)}</code>.</p>" if key else ""


def _gaps(folder: Facts, any_samples: bool) -> list[str]:
    said = []
    if not folder.rows:
        said.append("No round has been logged yet.")
    if not any_samples:
        said.append("No samples have been stored yet.")
    if not folder.evaluation:
        said.append("The run has not been evaluated: no metric stands beside what a perfect sampler scores.")
    for key in sorted({key for row in folder.rows for key in row}):
        steps, values = series(folder.rows, key)
        broken = steps[~np.isfinite(values)]
        if len(broken) and key not in _UNPLOTTED:
            said.append(f"{words(key)} is not finite from round {number(int(broken[0]))} on or at times.")
    return said
