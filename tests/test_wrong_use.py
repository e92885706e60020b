"""Wrong command lines and wrong calls: each ends with one line that says what is wrong and one that says what to do."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import equilibria as eq
from equilibria import doctor, losses, metrics, networks
from equilibria.base.errors import EquilibriaError
from equilibria.cli import main
from equilibria.core.optimizers import Adam
from equilibria.losses import R1
from equilibria.recipes import For, Recipe

KEPT = Path(__file__).with_name("old_runs")

# RUN is a whole run of points, LABELLED one of labelled images, EMPTY a folder without a run
LINES = """
nonsense
--nonsense
train --nonsense
train
train gan
train gan --data
train gan --data nowhere
train gan --data ""
train "" --data ring8-U
train gann --data ring8-U
train gan wgan --data ring8-U
train gan --data ring8-U --steps
train gan --data ring8-U --steps x
train gan --data ring8-U --steps 0
train gan --data ring8-U --steps -3
train gan --data ring8-U --steps 1.5
train gan --data ring8-U --steps 1e3
train gan --data ring8-U --seed x
train gan --data ring8-U --seed -1
train gan --data ring8-U --seeds 0
train gan --data ring8-U --seeds -2
train gan --data ring8-U --seeds x
train gan --data ring8-U --seeds 2 --processes 2
train gan --data ring8-U --seeds 2 --auto-remedy
train gan --data ring8-U --processes 0
train gan --data ring8-U --processes -1
train gan --data ring8-U --processes many
train gan --data ring8-U --device gpu
train gan --data ring8-U --device ""
train gan --data ring8-U --device cuda:99
train gan --data ring8-U --precision float8
train gan --data ring8-U --precision ""
train gan --data ring8-U --out RUN
train gan --data ring8-U --out RUN/run.json/x --steps 1
train gan --data ring8-U --from nowhere
train gan --data ring8-U --from EMPTY
train gan --data ring8-U --from a=RUN
train gan --data ring8-U --with nowhere.py
train gan --data ring8-U --with RUN
train gan --data ring8-U --with RUN/run.json
train gan --data ring8-U --set
train gan --data ring8-U --set ""
train gan --data ring8-U --set batch
train gan --data ring8-U --set batch=
train gan --data ring8-U --set =3
train gan --data ring8-U --set batch=0
train gan --data ring8-U --set batch=-1
train gan --data ring8-U --set batch=many
train gan --data ring8-U --set batch=1.5
train gan --data ring8-U --set batch=true
train gan --data ring8-U --set batch=99999999999
train gan --data ring8-U --set batsh=3
train gan --data ring8-U --set lr=1
train gan --data ring8-U --set optimizer.lr=fast
train gan --data ring8-U --set optimizer.lr=nan
train gan --data ring8-U --set optimizer.lr=-1
train gan --data ring8-U --set optimizer.betas=1
train gan --data ring8-U --set optimizer.betas=2,2
train gan --data ring8-U --set optimizer=adamm
train gan --data ring8-U --set optimizer=3
train gan --data ring8-U --set game=
train gan --data ring8-U --set game.objective=hige
train gan --data ring8-U --set game.objective=r1
train gan --data ring8-U --set game.penalties=r3
train gan --data ring8-U --set "game.penalties=r1(gama=2)"
train gan --data ring8-U --set "game.penalties=r1("
train gan --data ring8-U --set game.penalties=hinge
train gan --data ring8-U --set game.discriminator_turns=0
train gan --data ring8-U --set game.latent.size=0
train gan --data ring8-U --set game.latent.law=cauchy
train gan --data ring8-U --set networks.vector.width=0
train gan --data ring8-U --set networks.vector.width=wide
train gan --data ring8-U --set networks.vector.width=10000000000
train gan --data ring8-U --set networks.vector.width=500000
train gan --data ring8-U --set networks.vector.depth=-1
train gan --data ring8-U --set networks.vector.activation=swosh
train gan --data ring8-U --set networks=tower
train gan --data ring8-U --set update=sideways
train gan --data ring8-U --set steps=3 --steps 4
train gan --data ring8-U --set name=x
train gan --data ring8-U --set size=32
train gan --data ring8-U --set run.nonsense=1
train gan --data ring8-U --set run.log_every=0
train gan --data ring8-U --set run.log_every=x
train gan --data ring8-U --set run.doctor=maybe
train gan --data ring8-U --set run.keep=0
train gan --data ring8-U --set run.trackers=paper
train gan --data ring8-U --set run.launch=rocket
train gan --data ring8-U --set data.size=0
train gan --data ring8-U --set data.nonsense=1
train gan --data ring8-U --set data.held_out=2
train gan --data ring8-U --set data.held_out=-1
train gan --data ring8-U --set data.corrupt=maybe
train gan --data ring8-U --set data.crop=middle
train cgan --data ring8-U
train cyclegan --data ring8-U
train pix2pix --data digits
train lapgan --data ring8-U
train gan --data hf:
train gan --data RUN
train gan --data EMPTY
train gan --data RUN/run.json
train --resume
train --resume nowhere
train --resume EMPTY
train --resume RUN/run.json
train --resume RUN --steps 3
train --resume RUN --seed 4
train --resume RUN --set batch=3
train --resume RUN --out other
train --resume RUN --precision float32
train --resume RUN --data digits
train --resume RUN --device abacus
train gan --resume RUN
sample
sample nowhere
sample EMPTY
sample RUN -n 0
sample RUN -n -5
sample RUN -n many
sample RUN -n 1.5
sample RUN --out picture.jpg
sample RUN --out picture
sample RUN --out EMPTY/no/such/folder/x.png
sample RUN --label 3
sample LABELLED --label 99
sample LABELLED --label -1
sample RUN --given digits
sample RUN --seed x
sample RUN --set batch=3
sample RUN --set code.c1
sample RUN --set code.c1=3
sample RUN --set code.=3
sample RUN extra
sample RUN --latents nowhere.npz
sample RUN --latents RUN/run.json
sample RUN --pick 3
sample RUN --save-latents codes.txt
explore nowhere
explore EMPTY
explore RUN sideways
explore RUN --out picture.jpg
explore RUN --out EMPTY/no/such/folder/x.png
explore RUN --rows 0
explore RUN --rows many
explore RUN --steps 1
explore RUN --label 3
explore LABELLED --label 99
explore RUN --seed -1
explore RUN --method curl
explore RUN --psi 3
explore RUN truncate --values low
explore RUN truncate --values 0
explore RUN truncate --method lerp
explore RUN truncate --steps 3
explore RUN directions --rows 0
explore RUN directions --reach far
explore RUN grid --latents nowhere.npy
explore RUN arithmetic
explore RUN arithmetic --plus 3
explore RUN arithmetic --plus 3 --minus 99
explore LABELLED arithmetic --plus 3 --minus 99
explore RUN training --out t.png
explore RUN training --rows 3
apply
apply nowhere
apply RUN encode
apply RUN encode --out x.jpg
apply RUN --out x.gif
apply RUN encode extra
evaluate
evaluate nowhere
evaluate EMPTY
evaluate RUN -n 0
evaluate RUN -n 1
evaluate RUN -n x
evaluate RUN --seed x
evaluate RUN --data digits
evaluate RUN --data nowhere
diagnose
diagnose nowhere
diagnose RUN --data digits
diagnose RUN extra
report
report nowhere
report RUN extra
cite
cite EMPTY
cite RUN --json
runs RUN extra
classes
classes nowhere
classes RUN extra
sample RUN --seed -1
evaluate RUN --seed -1
train gan --data ring8-U --minutes 0
train gan --data ring8-U --minutes x
train gan --data ring8-U --minutes nan
sample LABELLED --label cats
recipes extra
reproduce
reproduce nonsense
reproduce goodfellow2014 --all
reproduce --list --nonsense
exam --half best
exam --seeds x
exam --only nonsense
exam --processes 0
exam --seeds -1
"""


@dataclass
class Places:
    run: Path
    labelled: Path
    empty: Path


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Places:
    root = tmp_path_factory.mktemp("wrong")
    run = Path(shutil.copytree(KEPT / "gan", root / "run"))
    labelled = Path(shutil.copytree(KEPT / "r3gan-conditional", root / "labelled"))
    (root / "empty").mkdir()
    return Places(run, labelled, root / "empty")


def asked(line: str, places: Places) -> list[str]:
    named = {"RUN": places.run, "LABELLED": places.labelled, "EMPTY": places.empty}
    words = []
    for word in shlex.split(line):
        for name, place in named.items():
            if word == name or word.startswith(f"{name}/") or word.endswith(f"={name}"):
                word = word.replace(name, str(place))
        words.append(word)
    return words


def test_enough_lines_are_tried() -> None:
    lines = LINES.strip().splitlines()
    assert len(set(lines)) == len(lines) >= 120
    assert {line.split()[0] for line in lines} >= {command.name or command.callback.__name__ for command in _commands()}


def _commands() -> list[Any]:
    from equilibria.cli import app

    return app.registered_commands


@pytest.mark.parametrize("line", LINES.strip().splitlines())
def test_a_wrong_command_line_is_one_clear_line(
    line: str,
    places: Places,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    code = main(asked(line, places))
    said = capsys.readouterr()
    assert code in {1, 2} and not said.out, said
    told = [row for row in said.err.splitlines() if not row.startswith("data: ")]
    assert [row.split(": ")[0] for row in told] == ["error", "fix"] and all(len(row) > 8 for row in told), said.err
    assert "Traceback" not in said.err and "bug in equilibria" not in said.err
    assert not [*tmp_path.iterdir(), *places.empty.iterdir()], "nothing is left behind"


# Python --------------------------------------------------------------------------------------------------------------

POINTS = np.random.default_rng(0).normal(size=(60, 2)).astype("float32")
QUIET = eq.Settings(device="cpu", progress=False, doctor=False, evaluate=False)
ONE = nn.Linear(2, 1)


class Empty(eq.Game):
    """A game that defines nothing."""


class Returning(eq.Game):
    """A game whose loss is the beginner's: a tensor, or something else."""

    players = (eq.Player("one", ("net",)),)

    def __init__(self, value: Callable[[Any], Any]) -> None:
        super().__init__()
        self.net, self.value = nn.Linear(2, 1), value

    def codes(self, n: int, labels: Any = None) -> Any:
        return {"z": torch.randn(n, 2)}

    def draw(self, batch: Any) -> Any:
        return {"x": batch["x"]}

    def sample(self, draw: eq.Draw) -> Any:
        return draw["z"]

    def loss(self, player: str, draw: eq.Draw) -> Any:
        return self.value(self.net(draw["x"]))


@dataclass(frozen=True)
class OwnLoss:
    """A frozen dataclass where a record is needed."""

    weight: float = 1.0


def train(*given: Any, **more: Any) -> Any:
    told = {"data": POINTS, "steps": 1, "settings": QUIET} | more
    return eq.train(*(given or ("gan",)), **told)


def small(**changes: Any) -> Recipe:
    return eq.recipe("gan").with_settings({"networks.vector.width": "8", "batch": "16", **changes})


CALLS: dict[str, Callable[[Places], Any]] = {
    "train: number for a recipe": lambda p: train(3),
    "train: list for a recipe": lambda p: train(["gan"]),
    "train: class for a recipe": lambda p: train(Recipe),
    "train: optimiser for a recipe": lambda p: train(Adam()),
    "train: module for a recipe": lambda p: train(ONE),
    "train: class of a game": lambda p: train(eq.TwoPlayer),
    "train: unknown recipe": lambda p: train("gna"),
    "train: no data": lambda p: train(data=None),
    "train: number for data": lambda p: train(data=3),
    "train: set for data": lambda p: train(data={1, 2}),
    "train: text in an array": lambda p: train(data=np.array([["a", "b"]])),
    "train: nothing in an array": lambda p: train(data=np.zeros((0, 2), "float32")),
    "train: NaN in an array": lambda p: train(data=np.full((60, 2), np.nan, "float32")),
    "train: objects in an array": lambda p: train(data=np.array([{}, {}], dtype=object)),
    "train: labels of another length": lambda p: train(data=(POINTS, np.zeros(3, "int64"))),
    "train: steps as a text": lambda p: train(steps="100"),
    "train: steps as a float": lambda p: train(steps=1.5),
    "train: steps as a bool": lambda p: train(steps=True),
    "train: negative steps": lambda p: train(steps=-1),
    "train: seed as a text": lambda p: train(seed="1"),
    "train: seed as a float": lambda p: train(seed=0.5),
    "train: negative seed": lambda p: train(seed=-1),
    "train: seed of None": lambda p: train(seed=None),
    "train: dict for settings": lambda p: train(settings={"device": "cpu"}),
    "train: class for settings": lambda p: train(settings=eq.Settings),
    "train: number for out": lambda p: train(out=3),
    "train: out exists": lambda p: train(out=p.run),
    "train: start nowhere": lambda p: train(start="nowhere"),
    "train: start as a number": lambda p: train(start=3),
    "train: unknown network": lambda p: train(small(), genrator=ONE),
    "train: class for a network": lambda p: train(small(), generator=nn.Linear),
    "train: number for a network": lambda p: train(small(), generator=3),
    "train: network of another shape": lambda p: train(small(), generator=nn.Linear(3, 7)),
    "train: discriminator of another shape": lambda p: train(small(), discriminator=nn.Linear(5, 1)),
    "train: empty game": lambda p: train(Empty()),
    "train: loss returns a tensor": lambda p: train(Returning(lambda x: x.mean())),
    "train: loss returns None": lambda p: train(Returning(lambda x: None)),
    "train: loss returns a number": lambda p: train(Returning(lambda x: 1.0)),
    "train: loss returns a vector": lambda p: train(Returning(lambda x: eq.Loss(x[:, 0]))),
    "train: loss without a gradient": lambda p: train(Returning(lambda x: eq.Loss(x.mean().detach()))),
    "train: more than it takes": lambda p: train(learning_rate=1e-3),
    "two player: class for an objective": lambda p: eq.TwoPlayer(objective=losses.Hinge),
    "two player: number for an objective": lambda p: eq.TwoPlayer(objective=3),
    "two player: unknown objective": lambda p: eq.TwoPlayer(objective="hige"),
    "two player: own dataclass": lambda p: eq.TwoPlayer(objective=OwnLoss()),
    "two player: function": lambda p: eq.TwoPlayer(objective=lambda x: x),
    "two player: penalty alone": lambda p: eq.TwoPlayer(penalties=R1()),
    "two player: class of a penalty": lambda p: eq.TwoPlayer(penalties=(R1,)),
    "two player: unknown field": lambda p: eq.TwoPlayer(objektive="hinge"),
    "two player: no turns": lambda p: eq.TwoPlayer(discriminator_turns=0),
    "two player: turns as a text": lambda p: eq.TwoPlayer(discriminator_turns="2"),
    "two player: latent as a number": lambda p: eq.TwoPlayer(latent=64),
    "two player: without a name": lambda p: eq.TwoPlayer("hinge"),
    "recipe: optimiser's class": lambda p: train(Recipe(**{**vars(small()), "optimizer": Adam})),
    "recipe: torch's optimiser": lambda p: train(Recipe(**{**vars(small()), "optimizer": torch.optim.Adam})),
    "recipe: optimiser of nobody": lambda p: train(
        Recipe(**{**vars(small()), "optimizers": (For(player="nobody", optimizer=Adam()),)})
    ),
    "recipe: batch as a text": lambda p: Recipe(**{**vars(small()), "batch": "16"}),
    "recipe: nothing": lambda p: Recipe(),
    "recipe: game as a number": lambda p: Recipe(**{**vars(small()), "game": 3}),
    "recipe: number for a name": lambda p: eq.recipe(3),
    "recipe: None for a name": lambda p: eq.recipe(None),
    "recipe: setting that is none": lambda p: small(nonsense="1"),
    "recipe: setting as a number": lambda p: eq.recipe("gan").with_settings({"batch": 16.5}),
    "adam: rate as a text": lambda p: Adam(lr="fast"),
    "adam: negative rate": lambda p: Adam(lr=-1.0),
    "adam: one beta": lambda p: Adam(betas=0.5),
    "adam: parameters": lambda p: Adam(ONE.parameters()),
    "penalty: NaN": lambda p: R1(gamma=float("nan")),
    "penalty: text": lambda p: R1(gamma="big"),
    "settings: text for a number": lambda p: eq.Settings(log_every="often"),
    "settings: number for a text": lambda p: eq.Settings(device=3),
    "settings: unknown field": lambda p: eq.Settings(log=3),
    "settings: unknown precision": lambda p: train(settings=eq.Settings(precision="int3")),
    "latent: no size": lambda p: eq.Latent(size=0),
    "latent: unknown law": lambda p: train(small(**{"game.latent.law": "cauchy"})),
    "average: decay of 1": lambda p: eq.Average(decay=1.0),
    "load: nothing": lambda p: eq.load(None),
    "load: nowhere": lambda p: eq.load("nowhere/at/all"),
    "load: unknown option": lambda p: eq.load("ring8-U", colour=True),
    "load: options as a dict": lambda p: eq.load(POINTS, options={"size": 3}),
    "load: size as a text": lambda p: eq.load("digits", size="large"),
    "law: unknown": lambda p: eq.law("ring9-X"),
    "law: number": lambda p: eq.law(8),
    "data: take a text": lambda p: eq.load(POINTS).take("all"),
    "data: take nothing": lambda p: eq.load(POINTS).take(0),
    "data: batch that is too large": lambda p: eq.load(POINTS).batches(10**6)(0, 0),
    "data: batch as a float": lambda p: eq.load(POINTS).batches(1.5),
    "open: nowhere": lambda p: eq.open_run("nowhere"),
    "open: number": lambda p: eq.open_run(3),
    "open: None": lambda p: eq.open_run(None),
    "open: folder without a run": lambda p: eq.open_run(p.empty),
    "open: network that it has not": lambda p: eq.open_run(p.run, generator=ONE),
    "resume: fewer rounds": lambda p: eq.resume(p.run, steps=3),
    "resume: rounds as a text": lambda p: eq.resume(p.run, steps="100"),
    "resume: unknown device": lambda p: eq.resume(p.run, device="abacus"),
    "resume: a list": lambda p: eq.resume([p.run]),
    "run: sample a text": lambda p: eq.open_run(p.run).sample("64"),
    "run: sample a float": lambda p: eq.open_run(p.run).sample(2.5),
    "run: sample none": lambda p: eq.open_run(p.run).sample(0),
    "run: seed as a text": lambda p: eq.open_run(p.run).sample(2, seed="a"),
    "run: labels without classes": lambda p: eq.open_run(p.run).sample(2, labels=[0, 1]),
    "run: too few labels": lambda p: eq.open_run(p.labelled).sample(3, labels=[0]),
    "run: label out of range": lambda p: eq.open_run(p.labelled).sample(1, labels=[99]),
    "run: labels as fractions": lambda p: eq.open_run(p.labelled).sample(2, labels=[0.5, 1.5]),
    "run: labels as words": lambda p: eq.open_run(p.labelled).sample(2, labels="cats"),
    "run: unknown choice": lambda p: eq.open_run(p.run).sample(2, choices={"c1": 3}),
    "run: rows that it does not take": lambda p: eq.open_run(p.run).sample(2, given=POINTS),
    "run: evaluate a text": lambda p: eq.open_run(p.run).evaluate("many"),
    "run: evaluate one": lambda p: eq.open_run(p.run).evaluate(1),
    "run: unknown map": lambda p: eq.open_run(p.run).apply("encode", POINTS),
    "seeds: text": lambda p: eq.train_seeds("gan", POINTS, seeds="three", steps=1, settings=QUIET),
    "seeds: none": lambda p: eq.train_seeds("gan", POINTS, seeds=0, steps=1, settings=QUIET),
    "seeds: twice the same": lambda p: eq.train_seeds("gan", POINTS, seeds=[1, 1], steps=1, settings=QUIET),
    "seeds: of a game": lambda p: eq.train_seeds(Empty(), POINTS, seeds=2, steps=1, settings=QUIET),
    "seeds: rounds as a text": lambda p: eq.train_seeds("gan", POINTS, seeds=2, steps="3", settings=QUIET),
    "resume seeds: of a run": lambda p: eq.resume_seeds(p.run),
    "use file: nowhere": lambda p: eq.use_file("nowhere.py"),
    "use file: folder": lambda p: eq.use_file(p.empty),
    "use file: number": lambda p: eq.use_file(3),
    "ensemble: no seeds": lambda p: eq.Ensemble(lambda seed: Returning(lambda x: x), seeds=()),
    "ensemble: number of seeds": lambda p: eq.Ensemble(lambda seed: Returning(lambda x: x), seeds=3),
    "doctor: class of a network": lambda p: doctor.Doctor(nn.Linear, ONE, real=POINTS, latent=2),
    "doctor: no real rows": lambda p: doctor.Doctor(nn.Linear(2, 2), ONE, real=None, latent=2),
    "doctor: no latent": lambda p: doctor.Doctor(nn.Linear(2, 3), ONE, real=POINTS),
    "doctor: unknown objective": lambda p: doctor.Doctor(nn.Linear(2, 2), ONE, real=POINTS, latent=2, objective="hige"),
    "doctor: wrong latent": lambda p: doctor.Doctor(nn.Linear(2, 2), ONE, real=POINTS, latent=9),
    "doctor: unknown option": lambda p: doctor.Doctor(nn.Linear(2, 2), ONE, real=POINTS, latent=2, objektive=1),
    "metrics: rows of another width": lambda p: metrics.frechet_distance(torch.zeros(9, 2), torch.zeros(9, 3)),
    "metrics: one row": lambda p: metrics.frechet_distance(torch.zeros(1, 2), torch.zeros(9, 2)),
    "metrics: a text": lambda p: metrics.frechet_distance("a", torch.zeros(9, 2)),
    "metrics: NaN": lambda p: metrics.sliced_w1(torch.full((9, 2), float("nan")), torch.zeros(9, 2)),
    "metrics: evaluate against nothing": lambda p: metrics.evaluate(torch.zeros(9, 2), None),
    "networks: width of a text": lambda p: networks.MLPPair(width="wide"),
    "networks: unknown activation": lambda p: networks.MLPPair(activation="swosh").build(eq.load(POINTS).spec, 4),
    "spec: unknown kind": lambda p: eq.DataSpec(kind="sound", shape=(2,)),
    "spec: shape as a number": lambda p: eq.DataSpec(kind="vector", shape=2),
}


def test_enough_calls_are_tried() -> None:
    assert len(CALLS) >= 80


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("call", CALLS)
def test_a_wrong_call_is_one_clear_line(
    call: str, places: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(EquilibriaError) as raised:
        CALLS[call](places)
    assert raised.value.what and raised.value.fix, str(raised.value)
    assert "\n" not in str(raised.value), str(raised.value)
    assert not list(tmp_path.iterdir()), "nothing is left behind"
