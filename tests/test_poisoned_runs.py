"""A run from a stranger, every field of which holds markup and control characters: no effect outside text.

The report is opened in Chromium where there is one, beside a server that notes every request. The commands are run as a
terminal would see them.
"""

from __future__ import annotations

import html.parser
import http.server
import re
import shutil
import subprocess
import threading
import unicodedata
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import equilibria as eq
from equilibria import metrics
from equilibria.base.errors import EquilibriaError
from equilibria.base.visible import visible
from equilibria.cli import main
from equilibria.reports import page
from equilibria.runs.folder import RunFolder
from test_reports_escaping import changed, content, leaves, write

KEPT = Path(__file__).with_name("old_runs") / "gan"
FILES = ("run.json", "metrics.jsonl", "checkups.jsonl", "diagnosis.json", "evaluation.json")
CONTROLS = "\x1b[31m\x1b]0;owned\x07\x1b[2J\x9b5n\x08\x7f\r\u202e\u2066"
COMMANDS = [["runs"], ["cite"], ["evaluate", "-n", "64"], ["diagnose"], ["sample", "-n", "2"], ["apply"]]
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def markup(home: str) -> str:
    """Text that leaves the page, runs a script, or asks the server at ``home`` for something, if it is no text."""
    parts = (
        f"</p></td></title></style></script></pre><meta http-equiv=refresh content='0;url={home}/meta'>",
        f"<script>document.title='ran';fetch('{home}/script')</script>",
        f"<img src={home}/img onerror=\"document.title='ran'\"><base href={home}/>",
        f"<iframe src={home}/frame></iframe><link rel=stylesheet href={home}/link>",
        f"<style>@import '{home}/css';body{{display:none}}</style><svg onload=\"location='{home}/svg'\"></svg>",
        f'<form action={home}/form><input autofocus onfocus="this.form.submit()"></form>',
        "'\"><b id=ran>{{7*7}}$x_",
    )
    return "".join(parts)


def poisoned(value: Any, poison: str, numbers: bool) -> Any:
    """Every text, or every other value, with the poison; of texts the names of fields as well."""
    if isinstance(value, dict):
        return {k + ("" if numbers else poison): poisoned(v, poison, numbers) for k, v in value.items()}
    if isinstance(value, list):
        return [poisoned(v, poison, numbers) for v in value]
    return poison if isinstance(value, str) is not numbers else value


def readable(run: Path, poison: str) -> Any:
    """The content of run.json with the poison in every field in which the run still opens."""
    info = content(run, "run.json")[0]
    for path in [path for path in leaves(info) if "player" not in path]:
        tried = changed(info, path, poison)
        write(run, "run.json", [tried])
        try:
            folder = RunFolder.open(run)
            _ = folder.recipe, folder.settings, folder.spec, folder.options
        except EquilibriaError:
            continue
        info = tried
    kept = content(KEPT, "run.json")[0]["data"]
    info["data"]["source"], info["data"]["fingerprint"] = kept["source"], kept["fingerprint"]
    write(run, "run.json", [info])
    return info


@pytest.fixture
def run(tmp_path: Path) -> Path:
    name = f"run {CONTROLS}<img src=x onerror=alert(1)> [red]x[/red]"
    return Path(shutil.copytree(KEPT, tmp_path / "runs" / name))


@pytest.fixture(autouse=True)
def few_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("equilibria.metrics.Suite", partial(metrics.Suite, exact=50, linear=100))


# In a terminal -------------------------------------------------------------------------------------------------------


def obeyed(text: str) -> list[str]:
    """What a terminal would obey: controls but tab and newline, and marks that reorder a line."""
    return [c for c in text if c not in "\t\n" and (unicodedata.category(c) in {"Cc", "Cs"} or c in "\u202e\u2066")]


def told(run: Path, words: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    where = [str(run.parent)] if words[0] == "runs" else [str(run)]
    out = ["--out", str(run.parent.parent / "x.npz")] if words[0] == "sample" else []
    code = main([words[0], *where, *words[1:], *out])
    said = capsys.readouterr()
    return code, said.out + said.err


@pytest.mark.filterwarnings("default")
def test_no_command_lets_a_readable_run_control_the_terminal(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    poison = CONTROLS + markup("http://example.org")
    info = readable(run, poison)
    assert sum(poison == str(v) for v in _values(info)) >= 12
    for words in [*COMMANDS, ["runs", "--json"]]:
        code, text = told(run, words, capsys)
        assert not obeyed(text), words
        assert code in {0, 1} and "bug in equilibria" not in text, (words, text[-500:])
    assert not obeyed(repr(eq.open_run(run)))


def _values(value: Any) -> Iterator[Any]:
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield inner
        yield from _values(inner)


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("numbers", [False, True], ids=["texts", "numbers"])
def test_no_file_lets_a_run_control_the_terminal(run: Path, numbers: bool, capsys: pytest.CaptureFixture[str]) -> None:
    def ask(*commands: str) -> None:
        for words in commands:
            code, text = told(run, words.split(), capsys)
            assert code in {0, 1} and not obeyed(text) and "bug in" not in text, (words, text[-500:])

    for file in FILES[1:]:
        write(run, file, [poisoned(value, CONTROLS, numbers) for value in content(run, file)])
    ask("runs", "evaluate -n 64", "diagnose", "report")
    write(run, FILES[0], [poisoned(content(run, FILES[0])[0], CONTROLS, numbers)])
    ask("runs", "evaluate", "cite")


@pytest.mark.filterwarnings("default")
def test_no_field_of_run_json_lets_a_run_control_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    info, count = content(KEPT, "run.json")[0], 0
    for path in leaves(info):
        for poison in (CONTROLS, {CONTROLS: [CONTROLS]}, 1e400):
            run = tmp_path / f"{count}{CONTROLS}"
            run.mkdir()
            write(run, "run.json", [changed(info, path, poison)])
            count += 1
    assert main(["runs", str(tmp_path)]) == 0 and count > 240
    said = capsys.readouterr()
    assert not obeyed(said.out + said.err)
    assert said.out.count("\n") + said.err.count("\n") == count + 1, "each has its line, of the table or a warning"


@pytest.mark.filterwarnings("default")
def test_names_of_classes_and_files_are_shown_as_text(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for label in ("a", "b"):
        folder = tmp_path / f"photos{CONTROLS}" / f"{label}{CONTROLS}<b id=ran>"
        folder.mkdir(parents=True)
        for i in range(10):
            Image.fromarray(np.full((8, 8), 9 * i, np.uint8)).save(folder / f"{i}{CONTROLS}<img src=x>.png")
        (folder / f"notes{CONTROLS}.txt").write_text("x")
    small = ["--set=data.size=8", "--set=batch=4", "--set=networks.image.width=2", "--set=run.doctor=false"]
    words = ["train", "cgan", "--data", f"photos{CONTROLS}", "--steps=1", "--out=run", "--device=cpu", *small]
    code = main(words)
    said = capsys.readouterr()
    assert code == 0 and not obeyed(said.out + said.err), said.err[-800:]
    shown = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "<b id=ran>" not in shown and "<img src=x>" not in shown


def test_what_is_visible_is_harmless_and_exact() -> None:
    every = "".join(map(chr, range(0x3000)))
    assert not obeyed(visible(every)) and visible("tab\tline\nümläut 漢字 🙂") == "tab\tline\nümläut 漢字 🙂"
    assert visible("\x1b\x9b\u202e\ud800") == r"\x1b\x9b\u202e\ud800"
    assert str(EquilibriaError("a\x1b", "b\x07")) == r"a\x1b. Fix: b\x07"


# In a browser --------------------------------------------------------------------------------------------------------


class Seen(html.parser.HTMLParser):
    """The elements of a document, its title, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: Counter[str] = Counter()
        self.text, self.title, self.inside, self.events = "", "", "", False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements[tag] += 1
        self.inside = tag
        self.events |= any(name.startswith("on") or value == "ran" for name, value in attrs)

    def handle_data(self, data: str) -> None:
        self.text += data
        if self.inside == "title":
            self.title += data


class Home:
    """A server on this machine that notes every request."""

    def __init__(self) -> None:
        asked = self.asked = []  # type: list[str]

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked.append(self.path)
                self.send_response(200)
                self.end_headers()
                self.wfile.write(b"<title>left</title>")

            do_POST = do_HEAD = do_GET  # noqa: N815

            def log_message(self, *_: Any) -> None: ...

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.address = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def home() -> Iterator[Home]:
    made = Home()
    yield made
    made.server.shutdown()
    made.server.server_close()


def opened(file: Path, profile: Path) -> Seen:
    """The document as Chromium has it once the page has settled."""
    assert BROWSER is not None
    quiet = ["--disable-background-networking", "--disable-component-update", "--no-first-run", "--disable-gpu"]
    command = [BROWSER, "--headless", "--no-sandbox", *quiet, f"--user-data-dir={profile}", "--disable-extensions"]
    command += ["--virtual-time-budget=4000", "--dump-dom", file.as_uri()]
    done = subprocess.run(command, capture_output=True, timeout=100, check=True)
    return Seen(done.stdout.decode(errors="replace"))


def hostile_report(tmp_path: Path, poison: str, numbers: bool) -> Path:
    run = Path(shutil.copytree(KEPT, tmp_path / "run"))
    for file in FILES:
        write(run, file, [poisoned(value, poison, numbers) for value in content(run, file)])
    rows = [{"step": i, f"loss/{poison}": 1.0, poison: i} for i in range(3)]
    write(run, "metrics.jsonl", rows)
    info = content(KEPT, "run.json")[0]
    if not numbers:
        for path in list(leaves(info)):
            info = changed(info, path, poison)
        write(run, "run.json", [info])
    evil = {"findings": [{"condition": poison, "severity": "critical", "evidence": [{"vital": poison, "value": 1.0}]}]}
    write(run, "diagnosis.json", [{"state": "sick", "note": poison, **evil}])
    write(run, "evaluation.json", [{poison: {"value": 1.0, "floor": 0.5, "unit": poison, "n": 3}}])
    return eq.runs.write_report(run)


needs_browser = pytest.mark.skipif(BROWSER is None, reason="no Chromium here (Debian: apt-get install chromium)")


@needs_browser
@pytest.mark.timeout(200)
@pytest.mark.parametrize("numbers", [False, True], ids=["texts", "numbers"])
def test_a_browser_finds_nothing_but_text_in_a_hostile_report(tmp_path: Path, home: Home, numbers: bool) -> None:
    report = hostile_report(tmp_path, markup(home.address), numbers)
    seen = opened(report, tmp_path / "profile")
    assert not home.asked, "the page asked the network for something"
    assert seen.title.strip() not in {"ran", "left"} and " on " in seen.title, "the page was left, or a script ran"
    assert not seen.events
    foreign = {"iframe", "link", "base", "form", "object", "embed", "b"}
    assert not foreign & seen.elements.keys()
    counts = {tag: seen.elements[tag] for tag in ("meta", "script", "style", "title", "main")}
    assert counts == {"meta": 3, "script": 1, "style": 1, "title": 1, "main": 1}
    assert seen.text.count(f"{home.address}/meta") > 5 and "{{7*7}}" in seen.text, "the poison is there, as text"


@needs_browser
@pytest.mark.timeout(200)
def test_the_browser_finds_a_page_that_does_not_escape(tmp_path: Path, home: Home) -> None:
    environment = page._environment()
    try:
        environment.autoescape = False
        environment.cache.clear()  # type: ignore[union-attr]
        leave = f"</title><meta http-equiv=refresh content='0;url={home.address}/meta'>"
        seen = opened(hostile_report(tmp_path, leave, False), tmp_path / "profile")
    finally:
        environment.autoescape = True
        environment.cache.clear()  # type: ignore[union-attr]
    assert home.asked or seen.title in {"ran", "left"}


def test_every_page_forbids_what_it_does_not_need() -> None:
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page.page("page.html.j2", title="x"))
    assert policy is not None
    rules = dict(rule.strip().split(" ", 1) for rule in policy[1].replace("&#39;", "'").split(";"))
    assert rules["default-src"] == rules["form-action"] == rules["base-uri"] == "'none'"
    assert rules["img-src"] == "data:" and "unsafe" not in policy[1] and "*" not in policy[1]
