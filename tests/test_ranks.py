"""Several processes play one run: the weights of one process, the games that are refused, and processes that die.

``python tests/test_ranks.py JOB OUT`` is what each process runs, told of the others by its environment.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import battery
import equilibria as eq
from equilibria.base import distributed
from equilibria.base.errors import ConfigError, EquilibriaError
from equilibria.core.game import Batch, Contest, Draw, Game, Loss, Player, Tensors
from equilibria.core.optimizers import SGD, Adam
from equilibria.core.play import Play
from equilibria.core.updates import Alternating, Consensus, Extragradient, Optimistic, Unrolled
from equilibria.data import DataSpec
from equilibria.networks import BatchNorm, ConvPair, MLPPair
from equilibria.recipes import RECIPES, Recipe
from equilibria.runs import data_parallel

PLANE = DataSpec(kind="vector", shape=(2,))
DCGAN = ConvPair(width=4, norm="batch", generator_activation="relu", init="normal02")
QUICK, SLOW = ("dcgan", "wgan-gp"), ("dcgan", "wgan-gp", "r3gan", "d2gan", "aae")
RULES = {
    "optimistic": Optimistic(),
    "extragradient": Extragradient(),
    "consensus": Consensus(gamma=0.1),
    "unrolled": Unrolled(steps=2),
}
REFUSED = {
    "minibatch-gan",
    "ragan",
    "adagan",
    "ebgan-pt",
    "feature-matching",
    "improved-gan",
    "catgan",
    "catgan-semi",
    "triple-gan",
    "gmmn",
    "mmd-gan",
}
POOLED = {"cyclegan", "ada"}  # refused: pools of earlier images, or a probability, of what one process has seen
WARNED = {"gan-maxout"}
NORMED = {"dcgan", "sagan"}  # taken: batch statistics are those of all processes' rows, though slices alone have others
OTHER_DATA = {
    "cogan": "pairs:digits,digits-negative",
    "cyclegan": "pairs:digits,digits-negative",
    "pix2pix": "aligned:digits-edges,digits",
    "lag": "digits",
    "acgan": "digits",
    "dcgan": "digits",
    "dcgan-vbn": "digits",
    "diffaugment": "digits",
    "ada": "digits",
    "gran": "digits",
    "sagan": "digits",
    "aae-semi": "digits",
    "improved-gan": "digits",
    "catgan-semi": "digits",
    "triple-gan": "digits",
}


# What the processes run ----------------------------------------------------------------------------------------------


def case(name: str) -> tuple[Recipe, str]:
    """A recipe with networks of seconds, and its data."""
    if name in RULES:
        plain = replace(eq.recipe("gan"), networks=MLPPair(width=8), update=RULES[name], optimizer=SGD(lr=0.05))
        return replace(plain, batch=16), "ring8-U"
    row = replace(eq.recipe("gan" if name == "dcgan" else name), batch=16)
    small = {"dcgan": DCGAN, "wgan-gp": ConvPair(width=4), "r3gan": ConvPair(width=4)}
    row = replace(row, networks=small.get(name, MLPPair(width=16)))
    return row, "ring8-U" if name == "d2gan" else "digits"


def play_of(row: Recipe, source: str, rounds: int, seed: int = 3) -> Play:
    data = eq.load(source)
    started, row = battery.started_from(row, data.spec), replace(row, batch=max(row.batch, 4))
    torch.manual_seed(seed)
    game = row.game.build(row.networks, data.spec, started).to(torch.get_default_dtype())

    def batches(own: int, turn: int) -> Batch:
        rows = data.batch(row.batch, own, turn)
        return {n: t.to(torch.get_default_dtype()) if t.is_floating_point() else t for n, t in rows.items()}

    specs = {player.name: row.optimizer_of(player.name) for player in game.players}
    play = Play(game, row.update, specs, batches, seed=seed, horizon=rounds, averages=row.averages)
    play.prepare()
    return play


def apart(one: Tensors, other: Tensors) -> float:
    """The largest difference of a tensor's entries, relative to its largest entry."""
    return max(float((one[n] - other[n]).abs().max() / one[n].abs().max().clamp(min=1e-12)) for n in one)


def weights(names: tuple[str, ...], rounds: int) -> dict[str, Any]:
    """Every tensor of the state after ``rounds``, of one process and of all, compared; and the last losses."""
    torch.set_default_dtype(torch.float64)
    found: dict[str, Any] = {}
    for name in names:
        row, source = case(name)
        with distributed.joined() as here:
            shared = play_of(row, source, rounds)
            heard = shared.advance(rounds)
        if not here.is_first:
            continue
        alone = play_of(row, source, rounds)
        said = alone.advance(rounds)
        start = {n: t for n, t in play_of(row, source, rounds).tensors().items() if t.abs().max() > 0}
        losses = {p: abs(float(said[p].total - heard[p].total)) for p in said}
        found[name] = {
            "apart": apart(alone.tensors(), shared.tensors()),
            "losses": max(losses.values()),
            "moved": apart(start, alone.tensors()),
        }
    return found


def elastic() -> dict[str, Any]:
    """Rounds on all processes, on one, and on all again, each from what the one before has left; against one alone."""
    torch.set_default_dtype(torch.float64)
    row, source = case("wgan-gp")
    play, alone = (play_of(row, source, 9) for _ in range(2))
    for several in (True, False, True):
        left = {name: tensor.clone() for name, tensor in play.tensors().items()}
        again = play_of(row, source, 9)
        again.load(left, play.round, play.turn)
        play = again
        with distributed.joined() if several else contextlib.nullcontext():
            play.advance(3)
    alone.advance(9)
    return {"apart": apart(alone.tensors(), play.tensors()), "round": play.round}


def derivatives() -> dict[str, Any]:
    """The first three derivatives of a batch norm's loss, by rows of all processes and by the whole on one."""
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    x, direction = torch.randn(6, 3, 2), torch.randn(6, 3, 2)
    norm = BatchNorm(3)

    def chain(rows: Tensor, towards: Tensor) -> list[Tensor]:
        point = rows.clone().requires_grad_()
        value = norm(point).tanh().pow(2).sum((1, 2)).mean()
        taken = []
        for _ in range(3):
            (slope,) = torch.autograd.grad(value, point, create_graph=True)
            taken.append(slope.detach())
            value = (slope * towards).sum((1, 2)).mean()
        return taken

    whole = chain(x, direction)
    with distributed.joined() as here, distributed.together():
        rows = slice(here.rank * 6 // here.count, (here.rank + 1) * 6 // here.count)
        parts = chain(x[rows], direction[rows])
        gaps = []
        for order, (all_rows, own) in enumerate(zip(whole, parts, strict=True)):
            scale = here.count ** -(order + 1)  # each mean is over 1/count of the rows
            gaps.append(float((all_rows[rows] - own * scale).abs().max() / all_rows.abs().max()))
    return {"gaps": gaps}


class Noted(Game):
    """Writes a statistic of the rows into a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.generator, self.level = nn.Linear(2, 2), nn.Buffer(torch.zeros(()))
        self.players = (Player("generator", ("generator",)),)

    def draw(self, batch: Batch) -> Batch:
        return {"real": batch["x"]}

    def contests(self, draw: Draw) -> dict[str, Contest]:
        return {}

    def loss(self, player: str, draw: Draw) -> Loss:
        out = self.generator(draw["real"])
        return Loss(out.square().mean(), {}, {"seen": out.mean()})

    def after(self, player: str, draw: Draw, carry: Tensors) -> None:
        self.level.copy_(carry["seen"])


class Native(nn.Module):
    """A discriminator with torch's batch norm."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(2, 8), nn.BatchNorm1d(8, track_running_stats=False), nn.Linear(8, 1))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.body(x).flatten()
        return out


def unfit(play: Play) -> str:
    """What the check says of a game: nothing, a warning or an error."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            data_parallel.refuse_unfit(play)
        except ConfigError as error:
            return f"refused: {error}"
    return f"warned: {told[0].message}" if told else "taken"


def fitness() -> dict[str, Any]:
    """What the check says of every recipe, and of games that are wrong on purpose."""
    said: dict[str, Any] = {}
    with distributed.joined() as here:
        for name, row in RECIPES.items():
            if row.procedure is None:
                said[name] = unfit(play_of(row, source_for(row), 10))
        said["batch-norm"] = unfit(play_of(*case("dcgan"), 10))
        native = replace(case("optimistic")[0], update=Alternating())
        game = native.game.build(native.networks, PLANE, {"discriminator": Native()})
        said["native"] = unfit(Play(game, Alternating(), dict.fromkeys(("discriminator", "generator"), Adam()), batch))
        said["noted"] = unfit(Play(Noted(), Alternating(), {"generator": Adam()}, batch))
        said["rank"] = here.rank
    return said


def source_for(row: eq.Recipe) -> str:
    """Data that a row can be built for."""
    labelled = getattr(row.game, "conditional", False)
    return OTHER_DATA.get(row.name, "digits" if labelled else "ring8-U")


def batch(seed: int, turn: int) -> Batch:
    return {"x": torch.randn(16, 2, generator=torch.Generator().manual_seed(seed + turn))}


def trained(out: Path) -> dict[str, Any]:
    """Runs from Python, with networks made without a seed; and what is refused before a folder is made."""
    torch.manual_seed(os.getpid())
    quiet = eq.Settings(device="cpu", progress=False, log_every=1, checkpoint_every=2, evaluate=False, doctor=False)
    row = replace(case("optimistic")[0], update=Alternating())
    modules = {"generator": nn.Linear(64, 2), "discriminator": Native()}
    modules["discriminator"].body[1] = BatchNorm(8)
    run = eq.train(row, data="ring8-U", steps=4, out=out / "own", settings=quiet, **modules)
    said: dict[str, Any] = {"written": run.path.exists(), "state": float(run.play.game.generator.weight.detach().sum())}
    wrong: dict[str, Callable[[], Any]] = {
        "batch": lambda: eq.train(replace(row, batch=15), data="ring8-U", steps=4, out=out / "no", settings=quiet),
        "ragan": lambda: eq.train("ragan", data="ring8-U", steps=4, out=out / "no", settings=quiet),
        "adagan": lambda: eq.train("adagan", data="ring8-U", steps=4, out=out / "no", settings=quiet),
        "seeds": lambda: eq.train(row, data="ring8-U", steps=4, out=out / "no", seed=_rank(), settings=quiet),
        "remedy": lambda: eq.train(
            row, data="ring8-U", steps=4, out=out / "no", settings=eq.Settings(auto_remedy=True, progress=False)
        ),
        "again": lambda: eq.train(row, data="ring8-U", steps=4, out=out / "own", settings=quiet),
    }
    for name, call in wrong.items():
        try:
            call()
        except EquilibriaError as error:
            said[name] = str(error)
    return said


def _rank() -> int:
    return int(os.environ["RANK"])


JOBS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "weights-20": lambda out: weights(QUICK, 20),
    "weights-200": lambda out: weights(SLOW, 200),
    "unfit": lambda out: weights(("ragan",), 20),
    "rules": lambda out: weights(tuple(RULES), 5),
    "elastic": lambda out: elastic(),
    "derivatives": lambda out: derivatives(),
    "fitness": lambda out: fitness(),
    "trained": trained,
}


def spawn(jobs: str, out: Path, count: int = 2) -> list[dict[str, Any]]:
    """Run jobs (names with commas) on ``count`` processes of one thread; what each of them found."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {**os.environ, "OMP_NUM_THREADS": "1", "WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1"}
    common["MASTER_PORT"] = str(port)
    command = [sys.executable, __file__, jobs, str(out)]
    workers = [subprocess.Popen(command, env={**common, "RANK": str(rank)}) for rank in range(count)]
    try:
        codes = [worker.wait(timeout=100) for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
    assert codes == [0] * count
    return [json.loads((out / f"{rank}.json").read_text()) for rank in range(count)]


# What the tests say of it ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    return spawn("weights-20,rules,unfit,elastic,derivatives,fitness,trained", tmp_path_factory.mktemp("ranks"))


def test_two_processes_of_half_a_batch_give_the_weights_of_one(quick: list[dict[str, Any]]) -> None:
    for found in (quick[0]["weights-20"], quick[0]["rules"]):
        assert all(case["apart"] <= 1e-9 and case["losses"] <= 1e-9 and case["moved"] > 1e-3 for case in found.values())


def test_a_refused_recipe_would_have_come_to_other_weights(quick: list[dict[str, Any]]) -> None:
    assert quick[0]["unfit"]["ragan"]["apart"] > 1e-3


@pytest.mark.slow
@pytest.mark.ci_slow
def test_two_processes_give_the_weights_of_one_after_200_rounds(tmp_path: Path) -> None:
    found = spawn("weights-200", tmp_path)[0]["weights-200"]
    assert set(found) == set(SLOW)
    assert all(case["apart"] <= 1e-5 and case["moved"] > 1e-3 for case in found.values()), found


def test_a_run_goes_on_on_another_number_of_processes(quick: list[dict[str, Any]]) -> None:
    assert all(found["elastic"]["apart"] <= 1e-9 and found["elastic"]["round"] == 9 for found in quick)


def test_batch_statistics_of_all_processes_have_right_derivatives_to_the_third(quick: list[dict[str, Any]]) -> None:
    assert all(max(found["derivatives"]["gaps"]) < 1e-12 for found in quick)


def mean_over_rows(name: str) -> bool:
    """Whether the halves of a turn's rows have the whole's mean loss, for each player; by slicing alone."""
    row = RECIPES[name]
    torch.set_default_dtype(torch.float64)
    try:
        play = play_of(row, source_for(row), 10)
        play.game.eval()  # no masks of dropout
        with torch.no_grad():
            for parameter in play.game.parameters():
                parameter.add_(torch.randn_like(parameter), alpha=0.02)
        draw = play.deal()
        wide = {n: t.double() if t.is_floating_point() else t for n, t in draw.tensors.items()}
        draw = replace(draw, tensors=wide)  # a game may make some entries in float32 whatever the default
    finally:
        torch.set_default_dtype(torch.float32)
    for player in play.game.players:
        whole, *halves = (
            float(play.game.loss(player.name, d).total.detach())
            for d in (draw, *(draw.part(i, 2, play.game.whole) for i in range(2)))
        )
        if abs(whole - sum(halves) / 2) > 1e-9 * max(1.0, abs(whole)):
            return False
    return True


def test_the_check_takes_the_recipes_whose_loss_is_a_mean_over_rows(quick: list[dict[str, Any]]) -> None:
    said = quick[0]["fitness"]
    for name in RECIPES:
        if RECIPES[name].procedure is None:
            wanted = "refused" if name in REFUSED | POOLED else "warned" if name in WARNED else "taken"
            assert said[name].split(":")[0] == wanted, f"{name}: {said[name]}"
            assert mean_over_rows(name) == (name not in REFUSED | NORMED), name


def test_the_check_sees_batch_statistics_and_state_of_rows(quick: list[dict[str, Any]]) -> None:
    said = quick[0]["fitness"]
    assert said["batch-norm"] == "taken"
    assert "torch's batch norm" in said["native"] and "equilibria.networks.BatchNorm" in said["native"]
    assert said["noted"].startswith("refused: the buffers that the turn of 'generator' writes")
    assert {k: v for k, v in quick[1]["fitness"].items() if k != "rank"} | {"gan-maxout": said["gan-maxout"]} == {
        k: v for k, v in said.items() if k != "rank"
    }


def test_all_processes_have_the_first_ones_networks_and_its_errors(quick: list[dict[str, Any]]) -> None:
    one, other = (found["trained"] for found in quick)
    assert one == other and one["written"]
    for name, words in {
        "batch": "batch 15 on 2 processes. Fix: use --set batch=14",
        "ragan": "the loss of 'discriminator' is not a mean over rows",
        "adagan": "trains several games one after another",
        "seeds": "different recipes, data, seeds",
        "remedy": "auto_remedy on 2 processes",
        "again": "exists already",
    }.items():
        assert words in one[name]


def test_the_environment_must_say_where_processes_meet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("RANK", raising=False)
    with pytest.raises(ConfigError, match="RANK is not set"):
        distributed.from_environment()
    monkeypatch.setenv("MASTER_ADDR", "here")
    monkeypatch.setenv("MASTER_PORT", "1")
    monkeypatch.setenv("RANK", "one")
    with pytest.raises(ConfigError, match="RANK=one of WORLD_SIZE=2"):
        distributed.from_environment()


if __name__ == "__main__":
    torch.set_num_threads(1)
    found_here = {}
    for job in sys.argv[1].split(","):
        started = time.monotonic()
        found_here[job] = JOBS[job](Path(sys.argv[2]))
        torch.set_default_dtype(torch.float32)
        print(f"{job}: {time.monotonic() - started:.1f} s", file=sys.stderr)
    (Path(sys.argv[2]) / f"{_rank()}.json").write_text(json.dumps(found_here))
