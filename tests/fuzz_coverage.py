"""Coverage-guided fuzzing of everything that reads a file, with atheris (libFuzzer); no part of the suite.

    pip install atheris
    python tests/fuzz_coverage.py npy -max_total_time=60 -rss_limit_mb=4096
    python tests/fuzz_coverage.py npy CRASH_FILE          (again, with what was found)

The bytes are a file's. The property is that of fuzzing.py: a result or an EquilibriaError that says what to do, soon
and in bounded memory. libFuzzer starts from valid files.
"""

from __future__ import annotations

import io
import json
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import atheris
import numpy as np
from PIL import Image

with atheris.instrument_imports(include=["equilibria", "numpy.lib", "zipfile", "safetensors"]):
    import equilibria as eq
    from equilibria import reports
    from equilibria.runs.folder import RunFolder
    from equilibria.training import checkpoint

from fuzzing import read

Target = Callable[[Path], Callable[[bytes], None]]
PLANE = np.random.default_rng(0).standard_normal((60, 2)).astype("f4")


def saved_array(array: np.ndarray, zipped: bool) -> bytes:
    out = io.BytesIO()
    np.savez_compressed(out, x=array) if zipped else np.save(out, array)
    return out.getvalue()


def of_data(name: str) -> Target:
    """A data set of one file."""

    def made(folder: Path) -> Callable[[bytes], None]:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)

        def one(raw: bytes) -> None:
            path.write_bytes(raw)
            found = read(lambda: eq.load(path if path.parent == folder else path.parent))
            if found is not None and found.size:
                assert bool(found.batch(min(3, found.size), seed=0, turn=0)["x"].isfinite().all())

        return one

    return made


def run_in(folder: Path) -> Path:
    row = eq.recipe("wgan-gp").with_settings({"batch": "8", "networks.vector.width": "8"})
    eq.train(row, PLANE, steps=12, out=folder / "run", settings=eq.Settings(device="cpu", progress=False))
    return folder / "run"


def of_run(name: str) -> Target:
    """A file of a run, of which everything that can be asked is asked."""

    def made(folder: Path) -> Callable[[bytes], None]:
        run = run_in(folder)
        # Drawing is no reading, and takes a second.
        reports.charts.png = reports.samples.png = lambda *_, **__: b""  # type: ignore[attr-defined]
        whole = (run / name).read_bytes()

        def one(raw: bytes) -> None:
            (run / name).write_bytes(raw)
            try:
                read(lambda: eq.open_run(run, PLANE))
                folder = read(lambda: RunFolder.open(run, strict=False))
                if folder is not None:
                    read(lambda: reports.render(folder))
                    assert isinstance(folder.checkups, tuple)
            finally:
                (run / name).write_bytes(whole)

        return one

    return made


def of_checkpoint(folder: Path) -> Callable[[bytes], None]:
    """Tensors under a checksum that fits them, loaded into the run's play."""
    run = run_in(folder)
    step = max((run / "checkpoints").iterdir())
    told = json.loads((step / "state.json").read_text())

    def one(raw: bytes) -> None:
        (step / "state.safetensors").write_bytes(raw)
        sealed = {**told, "sha256": checkpoint._digest(step / "state.safetensors", told["round"], told["turn"])}
        (step / "state.json").write_text(json.dumps(sealed))
        read(lambda: eq.open_run(run, PLANE))

    return one


def seeds(name: str, folder: Path) -> list[bytes]:
    """Valid files of a target."""
    if name in {"npy", "npz"}:
        arrays = (PLANE[:6], np.zeros((6, 4, 4), "u1"), np.arange(6.0), np.zeros((2, 4, 4, 3), "f2"))
        return [saved_array(array, name == "npz") for array in arrays]
    if name == "picture":
        kinds = []
        for kind in ("PNG", "JPEG", "GIF", "BMP", "WEBP"):
            out = io.BytesIO()
            Image.new("RGB", (4, 4), (9, 99, 199)).save(out, kind)
            kinds.append(out.getvalue())
        return kinds
    run = run_in(folder)
    return [
        (max((run / "checkpoints").iterdir()) / "state.safetensors" if name == "tensors" else run / name).read_bytes()
    ]


TARGETS: dict[str, Target] = {
    "npy": of_data("fuzzed.npy"),
    "npz": of_data("fuzzed.npz"),
    "picture": of_data("pictures/fuzzed.png"),
    **{name: of_run(name) for name in ("run.json", "metrics.jsonl", "checkups.jsonl", "diagnosis.json")},
    "tensors": of_checkpoint,
}


def main() -> None:
    if len(sys.argv) < 2 or sys.argv[1] not in TARGETS:
        raise SystemExit(f"{__doc__}\nTargets: {', '.join(TARGETS)}")
    name = sys.argv[1]
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    corpus = folder / "corpus"
    corpus.mkdir()
    (folder / "made").mkdir()
    (folder / "read").mkdir()
    for i, raw in enumerate(seeds(name, folder / "made")):
        (corpus / f"seed-{i}").write_bytes(raw)
    one = TARGETS[name](folder / "read")
    given = sys.argv[2:]
    corpora = [] if any(not word.startswith("-") for word in given) else [str(corpus)]
    atheris.Setup([sys.argv[0], *given, *corpora], one)
    try:
        atheris.Fuzz()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
