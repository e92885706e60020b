"""Reports against a parser that knows nothing of how they are made, and against the stored numbers."""

from __future__ import annotations

import base64
import hashlib
import html.parser
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

from equilibria.base.errors import RunError
from equilibria.figures import write_png
from equilibria.reports import render as render_content
from equilibria.reports.content import by_round
from equilibria.reports.text import number, tree
from equilibria.runs.folder import RunFolder

VOID = {"meta", "img", "input", "br", "link", "hr"}


class Page(html.parser.HTMLParser):
    """What a browser would find: balanced elements with attributes, texts by element, addresses."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: dict[str, list[str]] = {}
        self.feed(text)
        assert not self.open, self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {key: value or "" for key, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        for tag in set(self.open):
            self.texts.setdefault(tag, []).append(data)

    def all(self, tag: str, kind: str = "") -> list[dict[str, str]]:
        return [a for t, a in self.elements if t == tag and (not kind or kind in a.get("class", "").split())]

    def text(self, tag: str = "body") -> str:
        return "".join(self.texts.get(tag, []))

    def pictures(self) -> list[Image.Image]:
        sources = [a["src"].removeprefix("data:image/png;base64,") for a in self.all("img")]
        return [Image.open(io.BytesIO(base64.b64decode(s, validate=True))) for s in sources]


def render(folder: Path, **given: Any) -> Path:
    return render_content(RunFolder.open(folder, strict=False), **given)


def page(folder: Path, **given: Any) -> Page:
    return Page(render(folder, **given).read_text(encoding="utf-8"))


INFO: dict[str, Any] = {
    "format": 1,
    "recipe": {"type": "Recipe", "name": "r3gan", "year": 2024, "cite": "huang2024r3gan", "source": "section 3",
               "game": {"type": "TwoPlayer", "penalties": [{"type": "R1", "weight": 0.25}]}, "batch": 256},
    "data": {"name": "digits", "source": None, "options": {}, "fingerprint": {"sha256": "ab12"},
             "spec": {"kind": "image"}},
    "seed": 3, "steps": 12000, "horizon": 12000, "own": [], "settings": {},
    "versions": {"equilibria": "0.1.0"}, "hardware": {"device": "cpu"},
    "command": "equilibria train r3gan --data digits", "created": "2026-11-22T21:30:00+00:00",
}  # fmt: skip


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A finished run on digits: twenty snapshots, losses, scores and an evaluation."""
    (tmp_path / "samples").mkdir()
    (tmp_path / "run.json").write_text(json.dumps(INFO))
    digits = (load_digits().images[:16, None] / 8 - 1).astype(np.float16)
    for step in range(600, 12001, 600):
        np.savez(tmp_path / "samples" / f"step-{step:08d}.npz", x=digits * np.float16(step / 12000))
    rows = [{"step": s, "loss/generator": 1.0, "recall": s / 14000} for s in range(0, 12001, 400)]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows) + '{"step": 12400, "lo')
    scores = {"recall": {"value": 0.875, "floor": 0.951, "unit": "share", "n": 1797}}
    (tmp_path / "evaluation.json").write_text(json.dumps(scores))
    return tmp_path


def test_report_says_everything(run: Path) -> None:
    seen = page(run, bibtex="@article{huang2024r3gan,\n  title = {A & B}\n}", notes=["Trained <at night>."])
    assert seen.text("h1") == "r3gan on digits"
    titles = ["Samples", "Evaluation", "Training", "Configuration", "Data", "Reproduce", "Cite", "Notes"]
    assert seen.texts["h2"] == titles
    said = seen.text("p")
    assert "played 12\u202f000 rounds on digits from seed 3" in said and "recall 0.875 (perfect sampler 0.951)" in said
    assert "equilibria train r3gan --data digits" in seen.text("pre") and "title = {A & B}" in seen.text("pre")
    assert json.loads("".join(seen.texts["details"]).removeprefix("run.json")) == INFO
    assert seen.texts["li"] == ["Trained <at night>."]
    assert {"game.penalties.0.weight", "batch"} <= {a.get("title") for a in seen.all("th")}
    assert "an array in memory" in seen.text("td") and "ab12" in seen.text("td")


def test_report_shows_the_samples_as_stored(run: Path) -> None:
    seen = page(run)
    frames = seen.all("div", "frame")
    assert len(frames) == 16 and [f["data-round"] for f in (frames[0], frames[-1])] == ["600", "12\u202f000"]
    assert ["hidden" in f for f in frames] == [True] * 15 + [False]
    stored = np.load(run / "samples" / "step-00012000.npz")["x"]
    last = np.asarray(seen.pictures()[15].convert("RGBA"))
    oracle = np.kron(np.rint((stored[0, 0].astype(float) + 1) * 127.5), np.ones((22, 22)))
    assert np.array_equal(last[:176, :176, 0], oracle)
    assert [t["data-frame"] for t in seen.all("button", "thumb")] == ["0", "2", "4", "6", "9", "11", "13", "15"]
    assert seen.all("input")[0]["max"] == "15"


def test_report_needs_nothing_else(run: Path) -> None:
    text = render(run).read_text(encoding="utf-8")
    seen = Page(text)
    addresses = [a[key] for _, a in seen.elements for key in ("src", "href", "action", "srcset") if key in a]
    assert addresses and all(address.startswith("data:image/png;base64,") for address in addresses)
    assert not any(mark in seen.text("style") + seen.text("script") for mark in ("url(", "@import", "fetch", "http"))
    policy = next(a["content"] for a in seen.all("meta") if "http-equiv" in a)
    digest = base64.b64encode(hashlib.sha256(seen.text("script").encode()).digest()).decode()
    style = base64.b64encode(hashlib.sha256(seen.text("style").encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy and f"style-src 'sha256-{style}'" in policy
    for rule in ("default-src 'none'", "img-src data:", "form-action 'none'", "base-uri 'none'"):
        assert rule in policy
    assert not any("style" in a or any(name.startswith("on") for name in a) for _, a in seen.elements)
    assert all("alt" in a for a in seen.all("img")) and len(seen.text("script").strip().splitlines()) <= 16
    assert "prefers-color-scheme: dark" in text and 'name="viewport"' in text


def test_text_from_the_run_stays_text(run: Path) -> None:
    bad = "<script>alert('1')</script>\"&amp;"
    info = json.loads(json.dumps(INFO).replace("r3gan", "NAME").replace("digits", "NAME").replace("ab12", "NAME"))
    text = json.dumps({**info, "hardware": "NAME", "seed": "NAME", "created": "NAME", "steps": "NAME"})
    (run / "run.json").write_text(text.replace("NAME", json.dumps(bad)[1:-1]))
    (run / "evaluation.json").write_text(json.dumps({bad: {"value": bad, "floor": bad, "unit": bad, "n": bad}}))
    (run / "metrics.jsonl").write_text(json.dumps({"step": 1, bad: 1.0, f"loss/{bad}": 2.0}) + "\n")
    seen = page(run, bibtex=bad, notes=[bad])
    assert len(seen.all("script")) == 1 and seen.text("h1") == f"{bad} on {bad}" and bad in seen.text("li")


@pytest.mark.parametrize(
    ("gone", "note", "title"),
    [
        ("samples", "No samples have been stored yet.", "Samples"),
        ("metrics.jsonl", "No round has been logged yet.", "Training"),
        ("evaluation.json", "not been evaluated", ""),
    ],
)
def test_report_survives_a_missing_piece(run: Path, gone: str, note: str, title: str) -> None:
    (run / gone).rename(run / "gone")
    seen = page(run)
    assert note in seen.text("li") and title not in seen.texts["h2"]


def test_report_of_a_run_that_has_only_begun(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{}")
    seen = page(tmp_path)
    assert seen.text("h1") == "a recipe without a name on unnamed data" and len(seen.texts["li"]) == 4
    (tmp_path / "run.json").write_text(json.dumps(INFO))
    (tmp_path / "metrics.jsonl").write_text('{"step": 5, "modes": 2}\n')
    assert "has logged round 5 of 12\u202f000" in page(tmp_path).text("p")
    assert "not evaluated against a perfect sampler" in page(tmp_path).text("p")


def test_logged_rows_are_read_without_trust(run: Path) -> None:
    lines = ['{"step": 2, "a": 1.0}', "garbage", '{"step": 1, "a": 3.0}', '{"step": 2, "b": NaN}', "[1]", '{"step": 3']
    (run / "metrics.jsonl").write_text("\n".join(lines))
    found = RunFolder.open(run, strict=False)
    rows = by_round(found.rows)
    assert [row["step"] for row in rows] == [1, 2] and rows[1]["a"] == 1.0 and "b" in rows[1]
    assert found.notes == ("lines 2, 5 of metrics.jsonl are damaged and were left out.",)
    with pytest.raises(RunError, match=r"lines 2, 5 of metrics\.jsonl"):
        _ = RunFolder.open(run).rows
    assert "b is not finite from round 2" in page(run).text("li")


def test_damaged_samples_are_named_and_pictures_stand_in(run: Path) -> None:
    folder = run / "samples"
    (folder / "step-00000600.npz").write_bytes(b"PK\x03\x04 torn")
    np.savez(folder / "step-00012000.npz", x=np.array([{}], dtype=object))
    write_png(Image.new("RGB", (30, 30), (1, 2, 3)), folder / "step-00012000.png")
    (run / "evaluation.json").write_text("{")
    seen = page(run)
    assert "round 600 are damaged" in seen.text("li") and "evaluation.json is damaged" in seen.text("li")
    last = seen.pictures()[len(seen.all("div", "frame")) - 1]
    assert last.convert("RGB").getcolors() == [(900, (1, 2, 3))]


@pytest.mark.parametrize("dimension", [1, 2, 6])
def test_points_are_shown_over_the_real_data(run: Path, dimension: int) -> None:
    rng = np.random.default_rng(0)
    (run / "metrics.jsonl").unlink()
    for file in sorted((run / "samples").iterdir())[:-2]:
        file.unlink()
    for file in (run / "samples").iterdir():
        np.savez(file, x=rng.normal(size=(30, dimension)).astype(np.float16))
    assert "30 samples" in page(run).text("figcaption")
    said = page(run, real=torch.randn(50, dimension)).text("figcaption")
    assert "over 50 real points" in said and ("principal axes of the real data" in said) == (dimension > 2)
    np.savez(run / "samples" / "real.npz", x=rng.normal(size=(40, dimension)))
    assert "over 40 real points" in page(run).text("figcaption")


def test_report_is_repeatable_and_replaced_whole(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = render(run).read_bytes()
    assert render(run).read_bytes() == before

    def full(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(RunError, match="disk full"):
        render(run, notes=["changed"])
    assert (run / "report.html").read_bytes() == before and not list(run.glob(".tmp-*"))


@pytest.mark.parametrize(("text", "match"), [(None, "no run.json"), ("[]", "not a JSON object"), ("{", "is damaged")])
def test_folders_that_hold_no_run_are_refused(tmp_path: Path, text: str | None, match: str) -> None:
    if text is not None:
        (tmp_path / "run.json").write_text(text)
    with pytest.raises(RunError, match=match):
        render(tmp_path)
    with pytest.raises(RunError, match="no such folder"):
        render(tmp_path / "nowhere")


def test_numbers_and_settings_read_well() -> None:
    assert [number(v) for v in (12345, 0.5, float("inf"), 10**20, True)] == [
        "12\u202f345", "0.5", "not finite", "1e+20", "True"
    ]  # fmt: skip
    rows = tree({"a": {"type": "Adam", "betas": (0.0, 0.99), "on": True, "more": [], "x": 1e-8}})
    assert [row.text for row in rows] == ["Adam", "0, 0.99", "yes", "none", "1e-08"]
    assert [row.path for row in rows] == ["a", "a.betas", "a.on", "a.more", "a.x"]
