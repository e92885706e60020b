"""Use recipes as a new user would, from the installed command line, and print what worked as a table.

    python scripts/try_systems.py [--only cyclegan infogan] [--out FOLDER] [--json FILE]

For each recipe: train; train again and kill -9 once a checkpoint is there, resume, and compare the last checkpoint and
the logged metrics byte for byte; then sample, apply (every map), evaluate, report, diagnose, two seeds, and two
processes. A command that is refused counts as such if it ends with one line of reason and exit code 1; anything else is
a failure.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from equilibria.base.provenance import commit


@dataclass(frozen=True)
class System:
    """A recipe at a size that is tried in seconds."""

    data: str
    settings: tuple[str, ...] = ()
    steps: int = 40
    maps: tuple[str, ...] = ()
    given: str = ""
    sampled: tuple[str, ...] = ()


TRANSLATORS = ("batch=8", "networks.image.translator.width=8", "networks.image.patch.width=8")
SYSTEMS: dict[str, System] = {
    "cyclegan": System("pairs:digits,digits-negative", TRANSLATORS, 24, ("to_other", "to_x"), "digits"),
    "pix2pix": System("aligned:digits-edges,digits", TRANSLATORS, 24, ("translate",), "digits-edges"),
    "lag": System("digits", ("batch=8", "networks.width=8"), 24, ("enlarge", "centre", "pool"), "digits"),
    "acgan": System("digits", ("batch=16", "networks.image.width=8"), 12),
    "infogan": System("ring8-M", ("batch=64",), 60, ("infer",), "ring8-M", ("--set", "code.c1=3")),
    "aae-semi": System("few:digits,100", ("batch=64",), 40, ("classify", "reconstruct"), "digits"),
    "lapgan": System("digits", ("data.size=32", "batch=16", "networks.image.width=8"), 12),
    "inverse-gan": System("ring8-M", ("batch=64", "game.search.steps=50"), 40, ("invert",), "ring8-M"),
    "dcgan": System("digits", ("data.size=16", "batch=16", "networks.width=8"), 12),
    "dcgan-vbn": System("digits", ("data.size=16", "batch=16", "networks.width=8"), 12),
    "minibatch-gan": System("digits", ("batch=16", "networks.image.width=8"), 12),
    "sagan": System("digits", ("data.size=16", "batch=16", "networks.width=8"), 12),
    "gran": System("digits", ("data.size=16", "batch=16", "networks.pair.width=8"), 12),
    "progressive": System("digits", ("data.size=16", "batch=16", "networks.width=8"), 12),
}


class Tried:
    """The commands of one system, and how each ended."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.results: dict[str, str] = {}

    def run(self, name: str, *words: str) -> bool:
        """Run `equilibria` with these words and keep how it ended."""
        done = subprocess.run(command(*words), cwd=self.folder, capture_output=True, text=True, timeout=900)
        if done.returncode == 0:
            self.results[name] = "ok"
        elif done.returncode == 1 and "Traceback" not in done.stderr:
            self.results[name] = "refused: " + " ".join(done.stderr.split())[:200]
        else:
            self.results[name] = f"FAILED ({done.returncode}): " + " ".join(done.stderr.split())[-300:]
        return done.returncode == 0


def command(*words: str) -> list[str]:
    """The command line of this interpreter's environment."""
    return [sys.executable, "-m", "equilibria", *words]


def digest(run: Path) -> dict[str, str]:
    """What a finished run left: its last checkpoints (of all stages) and its metrics, less the seconds in them."""
    found = {}
    for folder in (run, *sorted(run.glob("stages/*"))):
        for last in sorted((folder / "checkpoints").glob("step-*"))[-1:]:
            state = last / "state.safetensors"
            found[str(last.relative_to(run))] = hashlib.sha256(state.read_bytes()).hexdigest()
        log = folder / "metrics.jsonl"
        if log.exists():
            rows = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
            kept = [{k: v for k, v in row.items() if "second" not in k} for row in rows]
            found[str(log.relative_to(run))] = hashlib.sha256(json.dumps(kept).encode()).hexdigest()
    return found


def killed(tried: Tried, words: list[str], run: Path) -> bool:
    """Train, kill -9 after the first checkpoint. Whether it was killed before its end."""
    process = subprocess.Popen(
        command(*words, "--out", str(run)), cwd=tried.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 600
    while process.poll() is None and time.monotonic() < deadline:
        if any(run.glob("**/checkpoints/step-*/state.safetensors")):
            break
        time.sleep(0.02)
    alive = process.poll() is None
    if alive:
        os.kill(process.pid, signal.SIGKILL)
    process.wait()
    return alive


def tried(name: str, system: System, folder: Path, source: Path | None) -> dict[str, str]:
    """Everything for one recipe."""
    own = Tried(folder)
    settings = [word for one in (*system.settings, "run.checkpoint_every=5") for word in ("--set", one)]
    start = ["--from", str(source)] if source is not None else []
    words = ["train", name, "--data", system.data, "--steps", str(system.steps), *settings, *start]
    run, again = folder / f"{name}-a", folder / f"{name}-b"
    if not own.run("train", *words, "--out", str(run)):
        return own.results
    was_killed = killed(own, words, again)
    if own.run("resume", "train", "--resume", str(again)):
        same = digest(run) == digest(again)
        own.results["kill -9, resume"] = ("bits equal" if same else "FAILED: differs") + (
            "" if was_killed else " (ended before it was killed)"
        )
    own.run("sample", "sample", str(run), "-n", "16", "--out", str(folder / f"{name}.png"), *system.sampled)
    for one in system.maps:
        given = ["--given", system.given, "--out", str(folder / f"{name}-{one}.npz")]
        own.run(f"apply {one}", "apply", str(run), one, *given)
    own.run("evaluate", "evaluate", str(run), "-n", "200")
    own.run("report", "report", str(run))
    own.run("diagnose", "diagnose", str(run))
    own.run("--seeds 2", *words, "--seeds", "2", "--out", str(folder / f"{name}-seeds"))
    own.run("--processes 2", *words, "--processes", "2", "--out", str(folder / f"{name}-processes"))
    return own.results


def main() -> int:
    """Try all systems, print a table, and return 1 if anything failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", default=list(SYSTEMS), choices=sorted(SYSTEMS))
    parser.add_argument("--out", type=Path)
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    folder = chosen.out or Path(tempfile.mkdtemp())
    folder.mkdir(parents=True, exist_ok=True)
    found: dict[str, Any] = {}
    for name in chosen.only:
        source = None
        if name == "inverse-gan":
            source = folder / "source"
            first = ["train", "gan", "--data", SYSTEMS[name].data, "--steps", "60", "--out", str(source)]
            subprocess.run(command(*first), cwd=folder, check=True, capture_output=True)
        found[name] = tried(name, SYSTEMS[name], folder, source)
        for what, how in found[name].items():
            print(f"{name:12} {what:18} {how}", flush=True)
    if chosen.json is not None:
        chosen.json.write_text(json.dumps({"commit": commit(), "systems": found}, indent=1) + "\n", encoding="utf-8")
    return int(any("FAILED" in how for results in found.values() for how in results.values()))


if __name__ == "__main__":
    sys.exit(main())
