"""Plant errors in the code one by one, and see the tests fail: which tests would notice nothing?

python scripts/mutate.py                        # every error; docs/results/mutations.json is written
python scripts/mutate.py --only labels tables   # those of some parts, whose rows are written again
python scripts/mutate.py --list

Each error is planted in a copy of the sources, and the tests named beside it are run on that copy. An error is caught
if a test fails; a test that fails without the error shows nothing, so each set of tests has to pass first.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from equilibria.base.provenance import commit

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "docs" / "results" / "mutations.json"


@dataclass(frozen=True)
class Planted:
    """One error.

    Attributes:
        part: of the program.
        file: below src/equilibria.
        old: the text that is replaced; it occurs once.
        new: the error.
        tests: what is run, as arguments of pytest.
    """

    part: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


AUDIT = ("tests/test_doctor_audit.py", "-k", "fault or sound or long or rows or ruled or sixteenth or noise")
READING = ("tests/test_doctor_reading.py",)
LABELS = ("tests/test_label_law.py",)
JUDGED = ("tests/test_judgement.py",)
MEMORY = ("tests/test_metrics_features.py", "tests/test_doctor_vitals_samples.py", "-k", "unseen or twice")
BEST = ("tests/test_best.py",)
LONGER = ("tests/test_longer_runs.py",)
EXTRAS = ("tests/test_extras.py",)
TABLES = ("tests/test_tables_mixed.py",)
SCORES = ("tests/test_metrics_tables.py",)
SIZES = ("tests/test_networks_sizes.py",)
FITS = ("tests/test_data_sizes.py", "tests/test_data_images.py")
ZIPS = ("tests/test_data_archives.py",)
RANGES = ("tests/test_data_extremes.py", "tests/test_data_formats.py")
SHOWN = ("tests/test_poisoned_runs.py", "--doctest-modules", "src/equilibria/base/visible.py")
CALLS = ("tests/test_wrong_use.py",)
HISTORY = ("tests/test_doctor_history.py",)

PLANTED = (
    Planted("labels", "core/classes.py", "/ weights.sum()", "/ len(weights)", LABELS),
    Planted("labels", "core/classes.py", "lacking = quota * (i + 1) - given", "lacking = quota - given", LABELS),
    Planted("labels", "core/sampling.py", "game.class_shares or (1.0,)", "(1.0,)", LABELS),
    Planted("labels", "data/table.py", "y[y >= 0], minlength=classes", "y[y >= 0] * 0, minlength=classes", LABELS),
    Planted("labels", "runs/run.py", "return names.index(label)", "return len(names) - 1 - names.index(label)", LABELS),
    Planted("labels", "runs/samples.py", "packed_views(views, labels=labels)", "packed_views(views)", LABELS),
    Planted("judgement", "metrics/measured.py", "return not self.excess <=", "return self.excess <=", JUDGED),
    Planted("judgement", "metrics/measured.py", "* math.sqrt(1 + 1 / r) if r > 1", "* 0.5 if r > 1", JUDGED),
    Planted(
        "judgement",
        "doctor/conclude.py",
        "State.NEAR, found_apart) if found_apart",
        "State.ARRIVED, ()) if found_apart",
        (*JUDGED, "tests/test_doctor_telling.py"),
    ),
    Planted(
        "judgement",
        "doctor/conditions/rule.py",
        "if math.isfinite(value) and math.isfinite(floor) and measured.tells",
        "if False",
        JUDGED,
    ),
    Planted("judgement", "training/checkups.py", "State.NEAR if found else State.ARRIVED", "State.ARRIVED", JUDGED),
    Planted("judgement", "training/checkups.py", 'or diagnosis.get("step") != step', "", JUDGED),
    Planted(
        "memorisation",
        "metrics/neighbours.py",
        "counts[len(seen) :].sum() / chance",
        "counts[: len(unseen)].sum() / chance",
        MEMORY,
    ),
    Planted("memorisation", "metrics/neighbours.py", "h * (len(both) - h) / (len(both) - 1)", "h", MEMORY),
    Planted("memorisation", "metrics/neighbours.py", "both[order])])", "both)])", MEMORY),
    Planted("best", "training/best.py", "if value < self.value:", "if value <= self.value:", BEST),
    Planted("best", "training/best.py", "if value < self.value:", "if value > self.value:", BEST),
    Planted("best", "training/best.py", "left.clamp(min=0).sqrt()", "0 * left", BEST),
    Planted("best", "training/best.py", "if one.round not in needed:", "if one.round != found[0].round:", BEST),
    Planted("best", "training/best.py", "checkpoint.drop(run / FOLDER, round)", "pass", BEST),
    Planted("longer", "core/play.py", "played = self.round - self.schedules_from", "played = self.round", LONGER),
    Planted("longer", "runs/launch.py", '"horizon": self.steps, "schedules_from"', '"schedules_from"', LONGER),
    Planted("longer", "runs/run.py", 'int(info.get("schedules_from", 0))', "0", LONGER),
    Planted("extras", "runs/launch.py", "rounds = most if order.steps is None", "rounds = most if True", EXTRAS),
    Planted("extras", "runs/launch.py", "            play.horizon = rounds\n", "", EXTRAS),
    Planted("extras", "runs/generator.py", "copy.deepcopy(play.game).eval()", "play.game.eval()", EXTRAS),
    Planted("extras", "runs/generator.py", 'values |= play.statistics("sample")', "pass", EXTRAS),
    Planted("extras", "runs/extras.py", "floors = [float(one(a, b))", "floors = [float(one(a, a))", EXTRAS),
    Planted(
        "tables",
        "data/encoding.py",
        "* self.spread, found)\n        return np.asarray(found if",
        "* 18 * self.spread, found)\n        return np.asarray(found if",
        TABLES,
    ),
    Planted(
        "tables",
        "data/encoding.py",
        "values = sorted(set(series.known.tolist()))",
        "values = sorted(set(series.known.tolist()))[::-1]",
        TABLES,
    ),
    Planted("tables", "data/encoding.py", "entry = block.argmax(1) if", "entry = block.argmin(1) if", TABLES),
    Planted(
        "tables",
        "data/encoding.py",
        "values = series.values[~series.missing & training].astype",
        "values = series.values[~series.missing].astype",
        TABLES,
    ),
    Planted("tables", "data/encoding.py", "values[missing] = np.nan", "pass", TABLES),
    Planted("tables", "training/marginals.py", "moved = logs + offsets\n", "moved = logs - offsets\n", TABLES),
    Planted(
        "tables", "data/tabular.py", "middle = np.sort(known)[(len(known) - 1) // 2]", "middle = known.max()", TABLES
    ),
    Planted(
        "tables",
        "metrics/tables.py",
        "abs(float(x.mean() - y.mean())) / spread",
        "abs(float(x.mean() - y.mean()))",
        SCORES,
    ),
    Planted(
        "sizes",
        "networks/padding.py",
        "return F.pad(x, (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2))",
        "return F.pad(x, (rows // 2, rows - rows // 2, columns // 2, columns - columns // 2))",
        SIZES,
    ),
    Planted(
        "sizes", "networks/padding.py", "(x.shape[2] - self.height) // 2, (x.shape[3] - self.width) // 2", "0, 0", SIZES
    ),
    Planted(
        "sizes",
        "networks/padding.py",
        "h, w = (max(4, -(-side // 2**levels))",
        "h, w = (max(4, side // 2**levels)",
        SIZES,
    ),
    Planted("zips", "data/archives.py", "if info.file_size > MOST:", "if False:", ZIPS),
    Planted("ranges", "data/ranges.py", "if 0 < high <= _BYTES:", "if False:", RANGES),
    Planted("injection", "base/visible.py", r"\x7f-\x9f", r"\x7f", SHOWN),
    Planted("injection", "base/visible.py", "_OBEYED.sub(_escape, text)", "text", SHOWN),
    Planted("calls", "base/arguments.py", "if isinstance(value, bool):", "if False:", CALLS),
    Planted("calls", "base/arguments.py", "(least is not None and found < least)", "False", CALLS),
    Planted(
        "history", "doctor/conditions/history.py", "list(accumulate(map(abs, kept)))", "list(accumulate(kept))", HISTORY
    ),
    Planted(
        "history", "doctor/conditions/history.py", "list(accumulate(kept, max))", "list(accumulate(kept, min))", HISTORY
    ),
    Planted(
        "audit",
        "doctor/audit/losses.py",
        "weight, target = a, -b / a if a else math.nan",
        "weight, target = a, b",
        AUDIT,
    ),
    Planted("audit", "doctor/audit/losses.py", "RESIDUAL = 3e-5", "RESIDUAL = 3e-1", AUDIT),
    Planted(
        "audit",
        "doctor/audit/signs.py",
        'yield Reading("swapped-labels", made == fake,',
        'yield Reading("swapped-labels", made == real,',
        AUDIT,
    ),
    Planted(
        "audit",
        "doctor/audit/signs.py",
        "float((a == b).float().mean()) > 0.9",
        "float((a == b).float().mean()) >= 0",
        AUDIT,
    ),
    Planted("audit", "doctor/audit/signs.py", "if not formula and bool((s.abs() < 1).all()):", "if False:", READING),
    Planted(
        "audit",
        "doctor/audit/updates.py",
        'if kind == "step" and number in before and (passed or not held.known):',
        'if kind == "step":',
        AUDIT,
    ),
    Planted(
        "audit",
        "doctor/audit/updates.py",
        "_last_passes(h) & others and _nonzero(w, h, others)",
        "_last_passes(h) & others",
        AUDIT,
    ),
    Planted(
        "audit",
        "doctor/audit/updates.py",
        "if used and all(tasks and tasks <= through for tasks in used):",
        "if used:",
        AUDIT,
    ),
    Planted(
        "audit",
        "doctor/audit/passes.py",
        "if kinds & {Kind.REAL, Kind.MIXED} and sure and not attached:",
        "if kinds & {Kind.REAL, Kind.MIXED} and sure:",
        AUDIT,
    ),
    Planted(
        "audit",
        "doctor/audit/passes.py",
        "one for one in self.trace.steps if not one.closure",
        "one for one in self.trace.steps",
        AUDIT,
    ),
    Planted(
        "audit",
        "doctor/audit/inputs.py",
        "dead = [name for name, zero in layers.items() if len(zero) > 1 and all(zero)]",
        "dead = [name for name, zero in layers.items() if all(zero)]",
        AUDIT,
    ),
    Planted(
        "audit",
        "doctor/audit/inputs.py",
        "few = len(seen.real) < _FEW * expected",
        "few = len(seen.real) < expected",
        AUDIT,
    ),
    Planted(
        "audit",
        "doctor/audit/inputs.py",
        'yield Reading("noise-reused", old > 0.9,',
        'yield Reading("noise-reused", old > 0.0,',
        AUDIT,
    ),
    Planted("audit", "doctor/audit/penalties.py", "if residual > RESIDUAL:", "if residual > 1:", AUDIT),
    Planted("audit", "doctor/auditing.py", "subject.inverted = losses.inverted", "pass", READING),
    Planted("audit", "doctor/watch.py", "jumped = bool(off & self._off)", "jumped = bool(off)", READING),
)
"""The errors."""


def run(tests: tuple[str, ...], source: Path) -> tuple[bool, str]:
    """Whether the tests pass on these sources, and their last line."""
    environment = os.environ | {"PYTHONPATH": str(source), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "--tb=no", "-W", "ignore", *tests]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=1800)
    last = (done.stdout.strip().splitlines() or [done.stderr.strip()[-200:]])[-1]
    return done.returncode == 0, last


def plant(one: Planted, source: Path) -> None:
    """Write the error into the copy of the sources."""
    file = source / "equilibria" / one.file
    text = file.read_text(encoding="utf-8")
    if text.count(one.old) != 1:
        raise SystemExit(f"{one.file} has '{one.old}' {text.count(one.old)} times: name a place that is there once")
    file.write_text(text.replace(one.old, one.new), encoding="utf-8")


def keep(parts: set[str], rows: list[dict[str, Any]]) -> None:
    """Write the rows of these parts into the results, in place of earlier ones."""
    before = json.loads(OUT.read_text(encoding="utf-8"))["errors"] if OUT.exists() else []
    rows = [row for row in before if row["part"] not in parts] + rows
    command = f"python scripts/mutate.py --only {' '.join(sorted({row['part'] for row in rows}))}"
    facts = {"commit": commit(), "command": command, "date": f"{datetime.now(UTC):%Y-%m-%d}"}
    counts = {"planted": len(rows), "caught": sum(row["caught"] for row in rows)}
    OUT.write_text(json.dumps({**facts, **counts, "errors": rows}, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", help="parts of the program")
    parser.add_argument("--list", action="store_true")
    asked = parser.parse_args()
    chosen = [one for one in PLANTED if not asked.only or one.part in asked.only]
    if asked.list:
        print("\n".join(f"{one.part:14} {one.file:32} {one.old} -> {one.new}" for one in chosen))
        return
    sound: dict[tuple[str, ...], bool] = {}
    rows = []
    for one in chosen:
        if one.tests not in sound:
            sound[one.tests], last = run(one.tests, ROOT / "src")
            if not sound[one.tests]:
                raise SystemExit(f"{' '.join(one.tests)} fails without an error: {last}")
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / "src"
            shutil.copytree(ROOT / "src", source, ignore=shutil.ignore_patterns("__pycache__"))
            plant(one, source)
            passed, last = run(one.tests, source)
        rows.append(
            {**asdict(one), "tests": " ".join(one.tests), "caught": not passed, "last_line": last, "commit": commit()}
        )
        print(f"{'missed' if passed else 'caught'}  {one.part:14} {one.file}: {one.new}", flush=True)
    keep({one.part for one in chosen}, rows)
    print(f"{sum(row['caught'] for row in rows)} of {len(rows)} caught")


if __name__ == "__main__":
    main()
