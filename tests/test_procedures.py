"""AdaGAN as a run: stages on disk, kills at any point, the mixture that is sampled, and what is refused.

``python tests/test_procedures.py CASE FOLDER KILLS`` is the driver of the kills, of AdaGAN or of LAPGAN: a process that
forks the runs it kills.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import traceback
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import equilibria as eq
from equilibria import cli
from equilibria.base.errors import ConfigError, EquilibriaError, RunError
from equilibria.core.game import Game, make_draw
from equilibria.core.play import Play
from equilibria.data import DataSpec
from equilibria.games import boosting
from equilibria.games.boosting import Boosting, Mixture
from equilibria.games.pyramids import BandGAN, LaplacianPyramid
from equilibria.games.two_player import TwoPlayer
from equilibria.networks import ConvPair, MLPPair
from equilibria.recipes import Recipe
from equilibria.runs import procedures
from equilibria.runs.folder import RunFolder
from equilibria.runs.procedures import StageDiagnoses
from equilibria.training import checkpoint

SMALL = MLPPair(width=6, depth=1)
QUIET = eq.Settings(
    device="cpu", progress=False, evaluate=False, log_every=1, checkpoint_every=2, sample_every=99, keep=2
)
ROUNDS, COMPONENTS = 3, 3

POINTS = torch.randn(60, 2, generator=torch.Generator().manual_seed(0)).numpy()


def boosted(**changes: Any) -> Recipe:
    row = replace(
        eq.recipe("adagan"),
        game=TwoPlayer(latent=eq.Latent(size=2)),
        networks=SMALL,
        batch=8,
        procedure=Boosting(components=COMPONENTS, judge=SMALL, judge_steps=4),
    )
    return replace(row, **changes)


def pyramid() -> Recipe:
    """Two stages: a GAN of 8 px and the band of its doubling."""
    return replace(
        eq.recipe("lapgan"),
        networks=ConvPair(width=2),
        batch=8,
        procedure=LaplacianPyramid(levels=1, band=BandGAN(width=2)),
    )


IMAGES = torch.randint(256, (60, 16, 16), generator=torch.Generator().manual_seed(1)).byte().numpy()
KILLED: dict[str, tuple[Callable[[], Recipe], Any]] = {"adagan": (boosted, POINTS), "lapgan": (pyramid, IMAGES)}


def content(run: Path) -> dict[str, str]:
    """What a run is: weights, components' states, logs and samples, each by its bytes."""
    kinds = ("weights/*.npz", "stages/*/checkpoints/*/state.safetensors", "**/metrics.jsonl", "samples/*.npz")
    files = sorted(file for kind in kinds for file in run.glob(kind))
    return {str(file.relative_to(run)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run on an array; tests read it."""
    out = tmp_path_factory.mktemp("procedures") / "done"
    run = eq.train(boosted(), POINTS, steps=ROUNDS, out=out, settings=QUIET)
    assert run.finished and run.play.round == ROUNDS * COMPONENTS and run.seconds > 0
    return out


@pytest.fixture
def unreported(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports are most of a small run's time, and no part of its state."""
    monkeypatch.setattr(eq.Run, "report", lambda run: run.path)


# A finished run ------------------------------------------------------------------------------------------------------


def test_what_a_procedure_leaves(done: Path) -> None:
    left = {p.name for p in done.iterdir()}
    assert left == {"run.json", "metrics.jsonl", "samples", "stages", "weights", "report.html", ".lock"}
    info = RunFolder.open(done).info
    assert (info["steps"], info["recipe"]["steps"], info["recipe"]["procedure"]["rounds"]) == (9, 3, 3)
    assert info["recipe"]["procedure"]["batch"] == info["recipe"]["batch"] == 8 and RunFolder.open(done).played == 9
    names = [f"component-{t:02d}" for t in (1, 2, 3)]
    assert sorted(p.name for p in (done / "stages").iterdir()) == names
    assert [row["step"] for row in eq.open_run(done).rows()] == [3, 6, 9]
    assert sorted(p.stem for p in (done / "samples").glob("*.npz")) == [f"step-0000000{k}" for k in (3, 6, 9)]
    for name in names:
        part = RunFolder.open(done / "stages" / name).info
        assert part["recipe"]["procedure"] is None and part["data"]["fingerprint"]["kind"] == "reweighted"
    assert len({RunFolder.open(done / "stages" / name).info["seed"] for name in names}) == 3
    assert not eq.open_run(done / "stages" / names[0]).sample(4).isnan().any()


def test_weights_are_the_judges_and_sum_to_one(done: Path) -> None:
    weights = [np.load(done / "weights" / f"component-{t:02d}.npz")["x"] for t in (1, 2, 3)]
    for own in weights:
        assert own.shape == (54,) and own.sum() == pytest.approx(1) and (own >= 0).all()
    assert len(np.unique(weights[0])) == 1 and len(np.unique(weights[1])) > 1 and len(np.unique(weights[2])) > 1
    shares = [row["weights/effective_share"] for row in eq.open_run(done).rows()]
    assert shares == pytest.approx([1 / (54 * (own**2).sum()) for own in weights])


def test_an_opened_run_samples_the_mixture_of_its_components(done: Path) -> None:
    run = eq.open_run(done)
    made = run.sample(40, seed=1)
    assert run.finished and torch.equal(made, eq.open_run(done).sample(40, seed=1)) and made.shape == (40, 2)
    assert not torch.equal(made, run.sample(40, seed=2)) and run.sample(1001).shape == (1001, 2)
    # The averages are what is sampled: component by component, they are the mixture's parameters.
    game = run.play.game
    assert isinstance(game, Mixture)
    for t, part in enumerate(game.games, 1):
        own = eq.open_run(procedures.stage_folder(done, f"component-{t:02d}")).play
        for name, average in own.averaged["generator"].items():
            assert torch.equal(dict(part.named_parameters())[name], average)
        assert not torch.equal(own.averaged["generator"][name], dict(own.game.named_parameters())[name])


def test_it_is_judged_reported_and_cited(done: Path) -> None:
    run = eq.open_run(done, POINTS)
    try:
        assert {"w1", "sliced_w1"} <= run.evaluate(40).keys()
        text = run.report().read_text()
        assert "adagan" in text and "9 rounds" in text and "sliced" in text.lower()
        assert "tolstikhin2017" in text and "tolstikhin2017" in run.cite()
    finally:
        (done / "evaluation.json").unlink()


def test_the_whole_is_diagnosed_stage_by_stage(done: Path) -> None:
    found = eq.open_run(done, POINTS).diagnose()
    names = [f"component-{t:02d}" for t in (1, 2, 3)]
    assert isinstance(found, StageDiagnoses) and [*found.stages] == names and not found.missing
    told = json.loads(json.dumps(found.to_dict()))
    assert [*told["stages"]] == names and told["state"] == found.state
    assert all(name in str(found) for name in names)
    run = eq.open_run(done)
    assert [*run.stages] == names and run.stages[names[1]] == done / "stages" / names[1]
    assert eq.open_run(done / "stages" / names[0]).stages == {}


def test_the_command_line_knows_procedures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "points.npy", POINTS)
    out, picture = tmp_path / "runs" / "a", tmp_path / "s.png"
    sets = ["procedure.components=2", "procedure.judge_steps=3", "networks.vector.width=6", "batch=8"]
    sets += ["run.progress=false", "run.evaluate=false"]
    words = [word for pair in sets for word in ("--set", pair)]
    assert (
        cli.main(["train", "adagan", "--data", str(tmp_path / "points.npy"), "--steps", "2", "--out", str(out), *words])
        == 0
    )
    assert "adagan on points: 4 rounds" in capsys.readouterr().out
    before = content(out)
    assert cli.main(["train", "--resume", str(out), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["step"], told["finished"]) == (4, True) and content(out) == before
    assert cli.main(["sample", str(out), "-n", "9", "--out", str(picture)]) == 0 and picture.stat().st_size > 0
    assert cli.main(["report", str(out)]) == 0 and cli.main(["cite", str(out)]) == 0
    capsys.readouterr()
    assert cli.main(["evaluate", str(out), "-n", "30", "--json"]) == 0
    assert "w1" in json.loads(capsys.readouterr().out)
    first = str(out / "stages" / "component-01")
    for words in (["diagnose", first, "--json"], ["evaluate", first, "-n", "30", "--json"], ["report", first]):
        assert cli.main(words) == 0, "a stage is a run: its rows are derived again from the data of the whole"
    capsys.readouterr()
    assert cli.main(["diagnose", str(out), "--json"]) == 0
    assert [*json.loads(capsys.readouterr().out)["stages"]] == ["component-01", "component-02"]
    assert cli.main(["runs", str(tmp_path / "runs"), "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["recipe"], row["step"], row["steps"]) == ("adagan", 4, 4)
    assert cli.main(["train", "--resume", str(out), "--steps", "9"]) == 1
    assert "rounds are fixed" in capsys.readouterr().err


@pytest.mark.usefixtures("unreported")
def test_a_law_is_weighed_on_rows_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boosting, "LAW_ROWS", 50)
    plan = Boosting(components=2, judge=SMALL, judge_steps=3)
    run = eq.train(boosted(procedure=plan), "ring8-U", steps=2, out=tmp_path / "law", settings=QUIET)
    assert np.load(tmp_path / "law" / "weights" / "component-02.npz")["x"].shape == (50,)
    assert [row["step"] for row in run.rows() if "quality/modes" in row] == [2, 4]


@pytest.mark.usefixtures("unreported")
def test_labels_stay_with_their_rows_and_can_be_asked_for(tmp_path: Path) -> None:
    x = np.repeat(np.eye(3, dtype=np.float32), 20, axis=0)
    y = np.repeat(np.arange(3), 20)
    row = boosted(game=TwoPlayer(conditional=True), procedure=Boosting(components=2, judge=SMALL, judge_steps=3))
    run = eq.train(row, (x, y), steps=1, out=tmp_path / "c", settings=QUIET)
    assert run.sample(5, labels=[0, 1, 2, 2, 1]).shape == (5, 3)
    with pytest.raises(ConfigError, match="whole numbers in 0…2"):
        run.sample(1, labels=[3])


# Stopped and continued -----------------------------------------------------------------------------------------------


def ended(training: Callable[[], eq.Run]) -> eq.Run:
    """The run of a training, finished or stopped by a signal."""
    try:
        return training()
    except eq.RunStopped as stopped:
        found: eq.Run = stopped.run
        return found


@pytest.mark.usefixtures("unreported")
@pytest.mark.parametrize("at", [1, 4, 9])
def test_a_signal_stops_it_and_it_continues(
    done: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    advance, played = Play.advance, []

    def stopping(self: Play, rounds: int = 1) -> Any:
        played.append(rounds)
        if len(played) == at:
            os.kill(os.getpid(), signal.SIGTERM)
        return advance(self, rounds)

    with monkeypatch.context() as patch:
        patch.setattr(Play, "advance", stopping)
        run = ended(lambda: eq.train(boosted(), POINTS, steps=ROUNDS, out=tmp_path / "cut", settings=QUIET))
    assert run.play.round == at == RunFolder.open(tmp_path / "cut").played and run.finished == (at == 9)
    if at < ROUNDS:
        for look in (lambda: run.sample(2), lambda: eq.open_run(tmp_path / "cut")):
            with pytest.raises(RunError, match=r"no component is finished|no whole checkpoint"):
                look()
    elif at < 9:
        assert eq.open_run(tmp_path / "cut").sample(4).shape == (4, 2)
    assert eq.resume(tmp_path / "cut", POINTS).finished and content(tmp_path / "cut") == content(done)


@pytest.mark.usefixtures("unreported")
def test_ctrl_c_between_components_stops_it(done: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any) -> Tensor:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Boosting, "ratios", interrupted)
        run = ended(lambda: eq.train(boosted(), POINTS, steps=ROUNDS, out=tmp_path / "cut", settings=QUIET))
    assert not run.finished and run.play.round == ROUNDS and run.sample(3).shape == (3, 2)
    assert eq.resume(tmp_path / "cut", POINTS).finished and content(tmp_path / "cut") == content(done)


@pytest.mark.usefixtures("unreported")
def test_damaged_weights_and_components_are_made_again(done: Path, tmp_path: Path) -> None:
    out = tmp_path / "cut"
    eq.train(boosted(), POINTS, steps=ROUNDS, out=out, settings=QUIET)
    (out / "weights" / "component-02.npz").write_bytes(b"PK torn")
    for path in checkpoint.listed(out / "stages" / "component-02" / "checkpoints"):
        (path / "state.safetensors").write_bytes(b"torn")
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        assert eq.open_run(out).play.round == ROUNDS
        assert eq.resume(out, POINTS).finished
    assert any("component-02.npz is damaged" in str(w.message) for w in told)
    aside = [*out.rglob("damaged-*")]
    assert len(aside) == 2  # kept beside the new ones
    for path in aside:
        shutil.rmtree(path)
    assert content(out) == content(done)


def counted_kills(after: int) -> None:
    """Have this process kill itself at its ``after``-th event: a round, a judge, a file that is written."""
    left = [after]

    def wrapped(call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*args: Any, **named: Any) -> Any:
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*args, **named)

        return wrapper

    from equilibria.training import disk

    Play.advance = wrapped(Play.advance)  # type: ignore[method-assign]
    Boosting.ratios = wrapped(Boosting.ratios)  # type: ignore[method-assign]
    disk.write_atomically = wrapped(disk.write_atomically)
    os.replace = wrapped(os.replace)  # type: ignore[assignment]


def carry_on(case: str, out: Path) -> None:
    make, data = KILLED[case]
    if (out / "run.json").exists():
        eq.resume(out, data)
    else:
        eq.train(make(), data, steps=ROUNDS, out=out, settings=QUIET)


def forked(work: Callable[[], None]) -> int:
    child = os.fork()
    if not child:
        try:
            work()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return os.waitpid(child, 0)[1]


def main(case: str, folder: str, kills: str) -> int:
    """Kill a run at every few events until it comes to its end; it is the run that was never killed."""
    whole = Path(folder) / "whole"
    carry_on(case, whole)
    wanted, hits = content(whole), 0
    assert {name.split("/")[1] for name in wanted if name.startswith("stages/")} == {*stages(whole)}
    for step in map(int, kills.split(",")):
        out = Path(folder) / f"cut-{step}"
        for _ in range(200):
            status = forked(lambda: (counted_kills(step), carry_on(case, out))[1])  # noqa: B023 (called at once)
            if not os.WIFSIGNALED(status):
                break
            hits += 1
        assert status == 0 and content(out) == wanted, f"killed after every {step} events, it is another run"
    print(hits)
    return 0


def stages(run: Path) -> list[str]:
    """The names of a run's stages."""
    return [part.name for part in (run / "stages").iterdir()]


@pytest.mark.parametrize("case", KILLED)
def test_a_procedure_killed_again_and_again_ends_the_same(tmp_path: Path, case: str) -> None:
    where = os.pathsep.join(filter(None, sys.path))
    done = subprocess.run(
        [sys.executable, __file__, case, str(tmp_path), os.environ.get("KILLS", "23")],
        env={**os.environ, "PYTHONPATH": where, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert int(done.stdout.split()[-1]) >= 2


# Parts ---------------------------------------------------------------------------------------------------------------


class Constant(Game):
    """A game whose samples are one number plus its code."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = torch.nn.Parameter(torch.tensor(value))

    def codes(self, n: int, labels: Tensor | None = None) -> dict[str, Tensor]:
        return {"z": self.value.detach() * torch.ones(n, 1)}

    def sample(self, draw: Any) -> Tensor:
        assert torch.equal(draw["z"], self.value.detach().expand_as(draw["z"])), "codes of another component"
        return self.value * torch.ones_like(draw["z"])


def test_a_mixture_draws_each_row_of_a_component_at_random() -> None:
    torch.manual_seed(0)
    game = Mixture((Constant(1.0), Constant(2.0), Constant(4.0)))
    made = game.sample(make_draw(game.codes(6000), 0)).squeeze(1)
    shares = torch.stack([(made == v).double().mean() for v in (1, 2, 4)])
    assert torch.allclose(shares, torch.full((3,), 1 / 3).double(), atol=0.02)  # three standard deviations: .018
    half = (made[:3000] == 1).double().mean()
    assert float(half) == pytest.approx(1 / 3, abs=0.03), "rows are in the order of the components"
    with pytest.raises(RunError, match="no component is finished"):
        Mixture().codes(3)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"generator": torch.nn.Linear(2, 2)}, "generator="),
        ({"data": "pairs:digits,digits-negative"}, "come in pairs"),
        ({"steps": 0}, "steps=0"),
        ({"data": POINTS * float("nan")}, "NaN"),
    ],
)
def test_a_mistake_leaves_nothing_behind(tmp_path: Path, given: dict[str, Any], says: str) -> None:
    call = {"recipe": boosted(), "data": POINTS, "steps": 2, "out": tmp_path / "run", "settings": QUIET, **given}
    with pytest.raises(EquilibriaError, match=says) as raised:
        eq.train(**call)
    assert raised.value.fix and not list(tmp_path.iterdir())


def test_what_a_procedure_was_made_for_is_kept(done: Path) -> None:
    with pytest.raises(ConfigError, match="several stages"):
        eq.resume(done, POINTS, steps=20)
    with pytest.raises(RunError, match="without a generator of yours"):
        eq.open_run(done, generator=torch.nn.Linear(2, 2))
    with pytest.raises(RunError, match="is not kept with the run"):
        eq.resume(done)


def test_the_shipped_row_builds_for_points_and_pictures() -> None:
    row = eq.recipe("adagan")
    for spec in (DataSpec(kind="vector", shape=(2,)), DataSpec(kind="image", shape=(1, 8, 8))):
        game = row.game.build(row.networks, spec)
        assert game.sample(make_draw(game.codes(3), 0)).shape == (3, *spec.shape)


if __name__ == "__main__":
    torch.set_num_threads(1)
    eq.Run.report = lambda run: run.path  # type: ignore[method-assign]
    raise SystemExit(main(*sys.argv[1:]))
