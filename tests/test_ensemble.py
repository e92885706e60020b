"""An ensemble against its members' lone runs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from equilibria.base.errors import ConfigError
from equilibria.base.randomness import mix, reseed
from equilibria.base.schedules import Cosine
from equilibria.core.ensemble import Ensemble
from equilibria.core.game import Batch, Batches, Draw, Game, Loss, Player
from equilibria.core.optimizers import OPTIMIZERS, Adam, OptimizerSpec
from equilibria.core.play import Average, Play, Rule
from equilibria.core.updates import Alternating, Extragradient, Simultaneous
from equilibria.data import load
from equilibria.games.spec import Latent
from equilibria.games.two_player import TwoPlayer
from equilibria.losses import R1, R2, Clip, Hinge, RelativisticPairing
from equilibria.networks import Frozen, MLPPair

SEEDS = (3, 14, 15)
CODE = Latent(size=3)
R3 = TwoPlayer(
    objective=RelativisticPairing(), penalties=(R1(gamma=Cosine(start=1.0, end=0.1)), R2(gamma=1.0)), latent=CODE
)


class Remembering(Game):
    """State of every kind: filled from data, written each turn, read by draws and losses; a frozen judge beside it."""

    mean: Tensor
    seen: Tensor

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        reseed(seed)
        self.make = nn.Linear(2, 2)
        self.tell = nn.Linear(2, 1)
        reseed(99)
        self.fixed = Frozen(nn.Sequential(nn.Linear(2, 3), nn.Tanh()))
        self.register_buffer("mean", torch.zeros(2))
        self.register_buffer("seen", torch.zeros(2))
        self.players = (Player("judge", ("tell",), 2, Clip(value=0.5)), Player("maker", ("make",)))

    def prepare(self, batch: Batch) -> None:
        self.mean.copy_(batch["x"].mean(0) + 0.1 * torch.randn(2))

    def codes(self, n: int, labels: Tensor | None = None) -> Batch:
        return {"latent": torch.randn(n, 2) + self.mean}

    def draw(self, batch: Batch) -> Batch:
        return {"real": batch["x"] + 0.1 * self.seen, **self.codes(len(batch["x"]))}

    def loss(self, player: str, draw: Draw) -> Loss:
        fake = self.sample(draw)
        score = self.tell(fake).mean() + 0.1 * self.fixed(fake).mean()
        if player == "maker":
            return Loss(-score)
        real = self.tell(draw["real"] - self.seen).mean()
        return Loss(score - real + (1 + draw.time) * real.square(), {"real": real}, {"last": draw["real"].mean(0)})

    def sample(self, draw: Draw) -> Tensor:
        made: Tensor = self.make(draw["latent"])
        return made

    def after(self, player: str, draw: Draw, carry: dict[str, Tensor]) -> None:
        if player == "judge":
            self.seen.mul_(0.9).add_(0.1 * carry["last"])


def of(spec: TwoPlayer, source: str = "ring8-M", **networks: Any) -> tuple[Any, Batches]:
    data = load(source)

    def make(seed: int) -> Game:
        reseed(seed)
        return spec.build(MLPPair(width=16, depth=2, **networks), data.spec)

    return make, lambda own, turn: data.batch(32, own, turn)


def points(seed: int, turn: int) -> Batch:
    return {"x": torch.randn(8, 2, generator=torch.Generator().manual_seed(mix(seed, turn))) + 1}


GAMES: dict[str, tuple[Any, Batches]] = {
    "r3gan": of(R3),
    "spectral-norm": of(TwoPlayer(objective=Hinge(), latent=CODE), spectral_norm=True),
    "labels": of(TwoPlayer(conditional=True, latent=CODE), "digits"),
    "state": (Remembering, points),
}


def playing(game: Game, batches: Batches, seed: int, rule: Rule | None = None) -> Play:
    # An epsilon far above rounding: else Adam makes a full step of a gradient that is zero up to rounding.
    spec: OptimizerSpec = Adam(lr=2e-3, eps=1e-4)
    specs = {p.name: spec for p in game.players}
    averages = (Average(player=game.players[-1].name, decay=0.9),)
    play = Play(game, rule or Alternating(), specs, batches, seed=seed, horizon=20, averages=averages)
    play.prepare()
    return play


def together(name: str, rule: Rule | None = None) -> tuple[Play, Ensemble]:
    make, batches = GAMES[name]
    game = Ensemble(make, SEEDS)
    return playing(game, batches, 0, rule), game


def alone(name: str, rule: Rule | None = None) -> list[Play]:
    make, batches = GAMES[name]
    return [playing(make(seed), batches, seed, rule) for seed in SEEDS]


def close(a: dict[str, Tensor], b: dict[str, Tensor]) -> None:
    torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("spec", OPTIMIZERS.values(), ids=list(OPTIMIZERS))
def test_every_optimiser_moves_each_member_as_in_its_lone_run(spec: OptimizerSpec) -> None:
    make, batches = GAMES["state"]
    spec = replace(spec, lr=1e-2, **({"eps": 1e-4} if hasattr(spec, "eps") else {}))  # type: ignore[type-var]

    def play(game: Game, seed: int) -> Play:
        return Play(game, Alternating(), {p.name: spec for p in game.players}, batches, seed=seed, horizon=20)

    whole, lone = play(Ensemble(make, SEEDS), 0), [play(make(seed), seed) for seed in SEEDS]
    for one in (whole, *lone):
        one.prepare()
        one.advance(8)
    game = whole.game
    assert isinstance(game, Ensemble)
    parts = [game.member_tensors(whole.tensors(), i) for i in range(len(SEEDS))]
    for own, one in zip(parts, lone, strict=True):
        close(own, one.tensors())
    again = game.stacked_tensors(parts)
    assert again.keys() == whole.tensors().keys()
    assert all(torch.equal(again[name], tensor) for name, tensor in whole.tensors().items())


@pytest.mark.parametrize(
    ("name", "rule"),
    [*((name, Alternating()) for name in GAMES), ("state", Simultaneous()), ("state", Extragradient())],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_after_twenty_rounds_every_member_is_its_lone_run(name: str, rule: Rule) -> None:
    play, game = together(name, rule)
    lone = alone(name, rule)
    losses = play.advance(20)
    for i, one in enumerate(lone):
        own = one.advance(20)
        close(game.member(i).state_dict(), one.game.state_dict())
        for who, loss in own.items():
            torch.testing.assert_close(losses[who].parts["each"][i], loss.total, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(losses[game.players[0].name].parts["each"].std(), torch.zeros(())), "members are alike"


@pytest.mark.parametrize("name", GAMES)
def test_samples_are_the_members_own_of_the_same_codes(name: str) -> None:
    play, _ = together(name)
    lone = alone(name)
    play.advance(3)
    found = play.sample(5, seed=2)
    assert found.shape[:2] == (len(SEEDS), 5)
    for i, one in enumerate(lone):
        one.advance(3)
        torch.testing.assert_close(found[i], one.sample(5, seed=2), rtol=1e-4, atol=1e-5)


def test_a_member_is_a_game_of_its_own() -> None:
    play, game = together("state")
    play.advance(2)
    whole = {n: t.clone() for n, t in game.state_dict().items()}
    member = game.member(1)
    assert type(member) is Remembering and member.moved("maker").keys() == {"make.weight", "make.bias"}
    playing(member, points, 5).advance(2)
    assert all(torch.equal(whole[n], t) for n, t in game.state_dict().items()), (
        "the member shares the ensemble's memory"
    )


def test_frozen_networks_are_kept_once() -> None:
    _, game = together("state")
    shapes = {n: tuple(b.shape) for n, b in game.stack.named_buffers()}
    frozen = [n for n in shapes if n.startswith("fixed.")]
    assert len(frozen) == 2 and {shapes[n] for n in frozen} == {(3, 2), (3,)}
    assert shapes["mean"] == (len(SEEDS), 2)


def test_a_saved_ensemble_continues_bit_for_bit() -> None:
    for name in ("state", "r3gan"):
        (whole, _), (again, _) = together(name), together(name)
        again.advance(1)
        whole.advance(3)
        again.load({n: t.clone() for n, t in whole.tensors().items()}, whole.round, whole.turn)
        for play in (whole, again):
            play.advance(3)
        assert all(torch.equal(t, again.tensors()[n]) for n, t in whole.tensors().items())


def test_members_draws_are_those_of_their_lone_runs() -> None:
    play, _ = together("state")
    lone = alone("state")
    draw = play.deal()
    for i, one in enumerate(lone):
        own = one.deal()
        for name, tensor in own.tensors.items():
            assert torch.equal(draw[name][i], tensor)


def test_an_ensemble_of_one_is_the_game() -> None:
    make, batches = GAMES["r3gan"]
    game = Ensemble(make, (7,))
    one, lone = playing(game, batches, 0), playing(make(7), batches, 7)
    one.advance(5)
    lone.advance(5)
    close(game.member(0).state_dict(), lone.game.state_dict())


def test_no_seeds_and_modules_under_two_names_are_refused() -> None:
    with pytest.raises(ConfigError, match="no members"):
        Ensemble(Remembering, ())

    def tied(seed: int) -> Game:
        game = Remembering(seed)
        game.again = game.tell
        return game

    with pytest.raises(ConfigError, match=r"'(again|tell)'"):
        Ensemble(tied, SEEDS)
