"""A run as one HTML file that needs nothing else: no network, no fonts, no scripts but its own fifteen lines."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..doctor import DiagnosisText
from ..figures import is_number, series
from ..figures.images import Numbers, array_of
from ..training import disk
from .charts import UNPLOTTED, charts
from .content import Content, Facts
from .diagnosis import cost, given_remedies
from .metrics import final
from .page import page
from .samples import frames, thumbs
from .text import number, plain, tree, words


def render(content: Content, *, bibtex: str = "", real: Numbers | None = None, notes: Sequence[str] = ()) -> Path:
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
        >>> run.best, run.snapshots, run.notes, run.points = (), (), (), lambda: None
        >>> render(run).name
        'report.html'
    """
    facts = Facts.of(content)
    made, missing = frames(facts.snapshots, content.points() if real is None else array_of(real))
    drawn, hint = charts(facts)
    diagnosis = DiagnosisText(facts.diagnosis)
    text = page(
        "report.html.j2",
        **_header(facts),
        frames=made,
        thumbs=thumbs(made),
        final=final(facts),
        diagnosis=diagnosis,
        cost=cost(diagnosis),
        remedies=given_remedies(facts.info.get("remedies")),
        charts=drawn,
        charts_hint=hint,
        configuration=tree(_without(facts.part("recipe"), {"type", "name", "year", "cite", "source"})),
        run_json=_json(facts.info),
        data=tree(_data(facts.part("data"))),
        surroundings=_surroundings(facts),
        bibtex=bibtex.strip(),
        cite=_text(facts.part("recipe").get("cite")),
        notes=[*facts.notes, *missing, *_gaps(facts, bool(made)), *notes],
    )
    target = content.path / "report.html"
    disk.write_atomically(target, text.encode(errors="backslashreplace"))  # a file's name may be no text
    return target


def _header(facts: Facts) -> dict[str, Any]:
    info, recipe = facts.info, facts.part("recipe")
    name, data = _text(recipe.get("name")) or "a recipe without a name", _text(facts.part("data").get("name"))
    seed = plain(info["seed"]) if "seed" in info else None
    about = [] if seed is None else [f"seed {seed}"]
    about += [f"{number(info['steps'])} rounds"] if "steps" in info else []
    about += [_text(info["created"])[:10]] if info.get("created") else []
    command = _text(info.get("command"))
    return {
        "title": f"{name} on {data or 'unnamed data'}",
        "recipe": name,
        "data_name": data or "unnamed data",
        "origin": ", ".join(_text(recipe[key]) for key in ("year", "cite", "source") if recipe.get(key)),
        "progress": _progress(facts),
        "seed": seed,
        "facts": about,
        "command": command.split(" ") if command else [],
        "version": _text(facts.part("versions").get("equilibria")),
    }


def _progress(facts: Facts) -> str:
    planned, played = facts.info.get("steps"), facts.played
    if played is None:
        return "has not logged a round yet" if planned is None else f"is to play {number(planned)} rounds"
    if is_number(planned) and played < planned:  # type: ignore[operator]
        return f"has logged round {number(played)} of {number(planned)}"
    return f"played {number(planned or played)} rounds"


def _text(value: object) -> str:
    return plain(value) if value else ""


def _without(values: Mapping[str, Any], names: set[str]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key not in names}


def _json(info: Mapping[str, Any]) -> str:
    try:
        return json.dumps(info, indent=2, ensure_ascii=False)
    except RecursionError:
        return "run.json is nested too deeply to be shown"


def _data(data: Mapping[str, Any]) -> dict[str, Any]:
    """The facts about the data; data in memory has no source, and that is said."""
    shown = {key: value for key, value in data.items() if key != "source" or value}
    return shown if "source" not in data or data["source"] else {**shown, "source": "an array in memory"}


def _surroundings(facts: Facts) -> list[tuple[str, Any]]:
    found = []
    for title, key in (("Versions", "versions"), ("Hardware", "hardware")):
        value = facts.info.get(key)
        found.append((title, tree(value if isinstance(value, Mapping) else {key: value}) if value else []))
    return found


def _gaps(facts: Facts, any_samples: bool) -> list[str]:
    missing = []
    if not facts.rows:
        missing.append("No round has been logged yet.")
    if not any_samples:
        missing.append("No samples have been stored yet.")
    if not facts.evaluation:
        missing.append("The run has not been evaluated: no metric stands beside what a perfect sampler scores.")
    for key in sorted({key for row in facts.rows for key in row}):
        steps, values = series(facts.rows, key)
        broken = steps[~np.isfinite(values)]
        if len(broken) and key not in UNPLOTTED:
            missing.append(f"{words(key)} is not finite from round {number(int(broken[0]))} on or at times.")
    return missing
