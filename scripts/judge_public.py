"""Public training code under the doctor: each loop as published, and with mistakes put into it.

    python scripts/judge_public.py --mirror DIR [--only NAME ...] [--json FILE]

``DIR`` holds the repositories named in ``judge_public_cases.py``, each as a checkout or a git directory in a folder
``owner+name`` (or ``owner+name/repo``). Each run is a process of its own: the repository's files are copied to an empty
folder, the networks are made narrower, the data are scikit-learn's digits or wines, two lines are added, and the script
runs for 100 to 160 steps. A run with a mistake is right if the first active finding is the condition planted; a healthy
one if there is no active finding.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import os
import platform
import random
import re
import runpy
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import judge_public_stand_ins as stand_ins
import numpy as np
import torch
from judge_public_cases import ENTRIES, Edit, Entry, Fault

from equilibria.base.provenance import commit
from equilibria.doctor import Doctor
from equilibria.exam.matrix import interval

LIMIT = 240


def git_folder(mirror: Path, repository: str) -> Path:
    """The git directory of a repository in the mirror.

    Raises:
        FileNotFoundError: there is none.
    """
    base = mirror / repository.replace("/", "+")
    for folder in (base / "repo", base / ".git", base):
        if (folder / "HEAD").exists():
            return folder
    raise FileNotFoundError(f"no git directory of {repository} in {base}: clone https://github.com/{repository} there")


def unpack(entry: Entry, mirror: Path, into: Path) -> None:
    """Copy the repository's Python files, at the commit that was read."""
    folder = git_folder(mirror, entry.repository)
    under = f"{Path(entry.path).parent}/" if entry.repository.endswith("PyTorch-GAN") else ""
    asked = ["git", f"--git-dir={folder}", "archive", entry.commit, f":(glob){under}**/*.py"]
    packed = subprocess.run(asked, check=True, capture_output=True).stdout
    subprocess.run(["tar", "-x", "-C", str(into)], input=packed, check=True)


def edited(text: str, edits: tuple[Edit, ...], where: str) -> str:
    """The text with each edit made once or more.

    Raises:
        ValueError: an anchor that is not in the text.
    """
    for old, new in edits:
        if old not in text:
            raise ValueError(f"{where}: no text {old!r} to replace")
        text = text.replace(old, new)
    return text


def prepare(entry: Entry, fault: Fault | None, into: Path) -> None:
    """Make the run small, attach the doctor, and plant the fault, or mend what is published."""
    path = into / entry.path
    text = edited(path.read_text(), (*entry.small, *entry.attach), entry.path)
    path.write_text(edited(text, entry.mended if fault is None else fault.edits, entry.path))
    for name, old, new in entry.more:
        (into / name).write_text(edited((into / name).read_text(), ((old, new),), name))
    for name, by in entry.narrow:
        slim = re.sub(r"\b(64|128|256|512|1024)\b", lambda m, by=by: str(int(m[0]) // by), (into / name).read_text())  # type: ignore[misc]
        (into / name).write_text(slim)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Drop what the script prints."""
    with open(os.devnull, "w") as sink, contextlib.redirect_stdout(sink), contextlib.redirect_stderr(sink):
        yield


def execute(entry: Entry, folder: Path) -> dict[str, Any]:
    """Run the script in this process, and ask the doctor."""
    for seeded in (random.seed, np.random.seed, torch.manual_seed):
        seeded(0)
    torch.set_num_threads(1)
    stand_ins.install()
    doctors: list[Doctor] = []
    original = Doctor.__init__

    def noted(self: Doctor, *args: Any, **options: Any) -> None:
        original(self, *args, **options)
        doctors.append(self)

    Doctor.__init__ = noted  # type: ignore[method-assign]
    script = folder / entry.path
    work = folder if entry.driver else script.parent
    os.chdir(work)
    for name in ("checkpoint", "sample"):
        Path(name).mkdir(exist_ok=True)
    sys.path.insert(0, str(work))
    sys.argv = [str(script), *entry.arguments]
    with quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if entry.driver:
            exec(compile(entry.driver, "driver", "exec"), {"__name__": "__main__"})
        else:
            runpy.run_path(str(script), run_name="__main__")
    return told(doctors[0])


def told(doctor: Doctor) -> dict[str, Any]:
    """What the diagnosis says."""
    diagnosis = doctor.diagnose(deep=False)  # the deep vitals add numbers, not findings
    active = [f for f in diagnosis.findings if f.status == "active"]
    return {
        "step": diagnosis.step,
        "findings": [
            {"condition": f.condition, "confidence": str(f.confidence), "onset": f.onset, "read": f.read}
            for f in active[:3]
        ],
        "resolved": [f.condition for f in diagnosis.findings if f.status != "active"],
        "not_assessed": [str(line) for line in diagnosis.not_assessed],
    }


def child(entry: Entry, fault: Fault | None, mirror: Path, out: Any) -> None:
    """One run, in a process of its own."""
    try:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            unpack(entry, mirror, folder)
            prepare(entry, fault, folder)
            out.send(execute(entry, folder))
            os.chdir("/")
    except BaseException:
        out.send({"error": traceback.format_exc()[-1500:]})


def run(entry: Entry, fault: Fault | None, mirror: Path) -> dict[str, Any]:
    """A row of the results."""
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe()
    started = time.perf_counter()
    process = context.Process(target=child, args=(entry, fault, mirror, there))
    process.start()
    answer: dict[str, Any] = here.recv() if here.poll(LIMIT) else {"error": f"no end within {LIMIT} s"}
    process.join(5)
    if process.is_alive():
        process.kill()
    names = [f["condition"] for f in answer.get("findings", [])]
    expected = fault.condition if fault else None
    return {
        "script": entry.name,
        "form": fault.name if fault else "healthy",
        "published": fault.published if fault else not entry.mended,
        "expected": expected,
        "right": "error" not in answer and (names[:1] == [expected] if fault else not names),
        "seconds": round(time.perf_counter() - started, 1),
        **answer,
    }


def line(row: dict[str, Any]) -> str:
    """One line for a reader."""
    said = ", ".join(f"{f['condition']} ({f['confidence']}, {f['onset']})" for f in row.get("findings", [])) or "-"
    mark = "ok  " if row["right"] else "ERROR" if "error" in row else "MISS" if row["expected"] else "FALSE"
    wanted = row["expected"] or "no finding"
    return f"{mark} {row['script']} / {row['form']} [{wanted}]: {row.get('error', said)} ({row['seconds']} s)"


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Counts with Clopper-Pearson 95 % intervals."""
    healthy, broken = ([r for r in rows if (r["expected"] is None) is kind] for kind in (True, False))
    alarms, first = sum(bool(r.get("findings")) for r in healthy), sum(r["right"] for r in broken)
    within = sum(r["expected"] in [f["condition"] for f in r.get("findings", [])] for r in broken)
    silent = sum("error" in r for r in rows)
    ran = [r for r in healthy if "error" not in r]
    counted = {
        "no result": (silent, len(rows)),
        "false alarms": (alarms, len(ran)),
        "cause first": (first, len(broken)),
        "cause among three": (within, len(broken)),
    }
    return {
        name: {"hits": hits, "of": of, "interval": [round(x, 4) for x in interval(hits, of)]}
        for name, (hits, of) in counted.items()
    }


def write(rows: list[dict[str, Any]], path: Path) -> None:
    """Put the rows into the file, in place of earlier ones of the same runs; each row has its commit."""
    plan = [(e.name, f.name if f else "healthy") for e in ENTRIES for f in (None, *e.faults)]
    before = json.loads(path.read_text())["rows"] if path.exists() else []
    newest = {(r["script"], r["form"]): r for r in (*before, *rows)}
    kept = [newest[key] for key in plan if key in newest]
    result = {
        "command": "python scripts/judge_public.py --mirror DIR", "date": str(date.today()),
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "sources": {e.name: {"repository": e.repository, "path": e.path, "commit": e.commit} for e in ENTRIES},
        "summary": summary(kept), "rows": kept,
    }  # fmt: skip
    path.write_text(json.dumps(result, indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mirror", type=Path, required=True, help="folder with the repositories")
    parser.add_argument("--only", nargs="+", default=[], help="names of entries, or name/fault")
    parser.add_argument("--json", type=Path, default=Path("docs/results/doctor_public.json"))
    asked = parser.parse_args()
    rows = []
    plan: list[tuple[Entry, Fault | None]] = [(entry, None) for entry in ENTRIES]
    plan += [(entry, fault) for entry in ENTRIES for fault in entry.faults]
    for entry, fault in plan:
        label = f"{entry.name}/{fault.name if fault else 'healthy'}"
        if asked.only and entry.name not in asked.only and label not in asked.only:
            continue
        rows.append({**run(entry, fault, asked.mirror), "commit": commit()})
        print(line(rows[-1]), flush=True)
        write(rows, asked.json)


if __name__ == "__main__":
    main()
