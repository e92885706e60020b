"""What a play gives to its user: samples that do not depend on each other, given rows, chosen codes, views, maps."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from equilibria.base.errors import ConfigError, DataError, ShapeError
from equilibria.base.randomness import mix, own_randomness, reseed
from equilibria.core.ensemble import Ensemble
from equilibria.core.game import Batch, Draw, Game, Loss, Player, make_draw
from equilibria.core.maps import Choice, Map
from equilibria.core.optimizers import Adam
from equilibria.core.play import Average, Play
from equilibria.core.updates import Alternating
from equilibria.networks import BatchNorm, Frozen, calibrate


class Translation(Game):
    """Points of one plane to those of another, with noise and a code that moves the result along the first axis."""

    needs = ("x",)
    choices = {"kind": Choice(classes=3), "shift": Choice(low=-2.0, high=2.0)}  # noqa: RUF012
    maps = {  # noqa: RUF012
        "translate": Map("to_other", ("x",), gives="other"),
        "distance": Map("between", ("x", "other"), gives="codes"),
        "invert": Map("back", ("other",), norms="translate"),
    }
    judged = {"translated": "other"}  # noqa: RUF012

    def __init__(self, norms: bool = False, seed: int = 0) -> None:
        super().__init__()
        reseed(seed)
        norm: Any = BatchNorm(5) if norms else nn.Identity()
        self.there = nn.Sequential(nn.Linear(2, 5), norm, nn.Tanh(), nn.Dropout(0.3), nn.Linear(5, 2))
        self.back_again = nn.Linear(2, 2)
        self.players = (Player("generator", ("there", "back_again")),)
        self.register_buffer("turns", torch.zeros(()))

    def codes(self, n: int, labels: Tensor | None = None) -> Batch:
        return {"noise": torch.randn(n, 2), "kind": torch.randint(3, (n,)).float(), "shift": torch.rand(n) * 4 - 2}

    def given(self, rows: Batch) -> Batch:
        return {"from": rows["x"]}

    def chosen(self, n: int, values: Mapping[str, float]) -> Batch:
        return {name: torch.full((n,), float(value)) for name, value in values.items()}

    def draw(self, batch: Batch) -> Batch:
        return {"to": batch["other"], **self.codes(len(batch["x"])), **self.given(batch)}

    def sample(self, draw: Draw) -> Tensor:
        made: Tensor = self.there(draw["from"]) + 0.1 * draw["noise"]
        return made + torch.stack([draw["shift"], draw["kind"]], 1)

    def views(self, draw: Draw) -> dict[str, Tensor]:
        made = self.sample(draw)
        return {"from": draw["from"], "translated": made, "back": self.back_again(made)}

    def to_other(self, rows: Batch) -> Tensor:
        made: Tensor = self.there(rows["x"])
        return made

    def between(self, rows: Batch) -> Tensor:
        return (self.there(rows["x"]) - rows["other"]).norm(dim=1) + torch.rand(len(rows["x"]))

    def back(self, rows: Batch) -> Tensor:
        """By gradient descent, as inversions do."""
        with torch.enable_grad():
            x = torch.zeros_like(rows["other"]).requires_grad_()
            for _ in range(3):
                error = (self.there(x) - rows["other"]).square().sum()
                x = (x - 0.1 * torch.autograd.grad(error, x)[0]).detach().requires_grad_()
        return x

    def loss(self, player: str, draw: Draw) -> Loss:
        made = self.sample(draw)
        return Loss((made - draw["to"]).square().mean() + (self.back_again(made) - draw["from"]).square().mean())

    def after(self, player: str, draw: Draw, carry: dict[str, Tensor]) -> None:
        self.turns.add_(1)


class Normed(Game):
    """A generator of images with batch norms, averaged or not; classes shift the codes."""

    def __init__(self, classes: int = 0, seed: int = 0) -> None:
        super().__init__()
        reseed(seed)
        self.classes = classes
        self.make = nn.Sequential(
            nn.Linear(3, 2 * 9), BatchNorm(18), nn.ReLU(), nn.Unflatten(1, (2, 3, 3)), BatchNorm(2), nn.Conv2d(2, 1, 3)
        )
        self.judge = nn.Sequential(nn.Linear(1, 4), BatchNorm(4), nn.Linear(4, 1))
        self.players = (Player("judge", ("judge",)), Player("generator", ("make",)))

    def codes(self, n: int, labels: Tensor | None = None) -> Batch:
        codes = torch.randn(n, 3)
        return {"latent": codes if labels is None else codes + 3 * labels[:, None]}

    def draw(self, batch: Batch) -> Batch:
        return {"real": batch["x"][:, :1], **self.codes(len(batch["x"]))}

    def sample(self, draw: Draw) -> Tensor:
        made: Tensor = self.make(draw["latent"])
        return made

    def loss(self, player: str, draw: Draw) -> Loss:
        fake = self.judge(self.sample(draw).flatten(1)).mean()
        return Loss(-fake if player == "generator" else fake - self.judge(draw["real"]).mean())


def rows(seed: int, turn: int) -> Batch:
    x = torch.randn(8, 2, generator=torch.Generator().manual_seed(mix(seed, turn)))
    return {"x": x, "other": 2 - x}


def no_rows(seed: int, turn: int) -> Batch:
    raise DataError("the data is gone", "restore it")


def playing(game: Game, rounds: int = 2, batches: Any = rows, average: bool = True) -> Play:
    averages = (Average(player="generator", decay=0.5),) if average else ()
    play = Play(game, Alternating(), {p.name: Adam(lr=0.05) for p in game.players}, rows, horizon=10, averages=averages)
    play.advance(rounds)
    play.batches = batches
    return play


def copied(play: Play) -> dict[str, Tensor]:
    return {n: t.clone() for n, t in play.tensors().items()}


def same(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[n], b[n]) for n in a)


def points(n: int, seed: int = 5) -> Tensor:
    return torch.randn(n, 2, generator=torch.Generator().manual_seed(seed))


# Calibrated norms ----------------------------------------------------------------------------------------------------


def rms(a: Tensor, b: Tensor) -> float:
    return float((a - b).square().mean().sqrt())


@pytest.mark.parametrize("average", [True, False])
def test_a_sample_does_not_depend_on_the_other_codes_of_its_batch(average: bool) -> None:
    play = playing(Normed(), rounds=4, average=average)
    draw = play.codes(64, seed=1)
    few = Draw({"latent": draw["latent"][:5]}, draw.step, draw.time, draw.seed)
    whole, part = (play._sampler.shown("sample", d) for d in (draw, few))
    assert rms(whole[:5], part) < 1e-6
    play.game.eval()
    with torch.no_grad():  # what the batch's own moments would give
        moved = rms(play.game.sample(draw)[:5], play.game.sample(few))
    assert moved > 0.1 * float(whole.std()), "the case is not the one that is meant"


def test_statistics_are_those_of_a_calibrated_copy() -> None:
    """The oracle: a copy of the game holding the averages, calibrated in training mode by the layers' own function."""
    play = playing(Normed())
    with torch.no_grad():
        for name, value in play.averaged["generator"].items():
            play.game.get_parameter(name).copy_(value)
        expected = Normed()
        expected.load_state_dict(play.game.state_dict())
    codes = iter([play.codes(64, mix(0, 12, i))["latent"] for i in range(16)])
    calibrate(expected.make, lambda: expected.make(next(codes)), 16)
    found = play.statistics("sample")
    for name in ("make.1", "make.4"):
        for buffer in ("running_mean", "running_var", "calibrated"):
            torch.testing.assert_close(found[f"{name}.{buffer}"], expected.get_buffer(f"{name}.{buffer}"))
    assert not any(name.startswith("judge") for name in found), "a norm that no sample passes has no statistic"
    expected.eval()
    with torch.no_grad():
        torch.testing.assert_close(play.sample(7, seed=3), expected.sample(play.codes(7, seed=3)))


def test_sampling_leaves_the_run_as_it_is() -> None:
    watched, plain = playing(Normed()), playing(Normed())
    for play in (watched, plain):
        play.game.train()
    before, flags = copied(watched), [part.training for part in watched.game.modules()]
    generator = torch.get_rng_state()
    watched.sample(6), watched.views(6)
    assert same(before, copied(watched)) and torch.equal(generator, torch.get_rng_state())
    assert flags == [part.training for part in watched.game.modules()]
    assert not any(part._forward_pre_hooks for part in watched.game.modules())
    for play in (watched, plain):
        play.advance(2)
    assert same(copied(watched), copied(plain))


def test_statistics_are_measured_once_and_again_when_anything_moved() -> None:
    play = playing(Normed())
    first = play.statistics("sample")
    assert play.statistics("sample") is first
    play.advance(1)
    second = play.statistics("sample")
    assert not same(first, second)
    with torch.no_grad():
        play.averaged["generator"]["make.0.weight"].mul_(2)
    third = play.statistics("sample")
    assert not same(second, third)
    play.load(copied(play), play.round, play.turn)
    assert same(play.statistics("sample"), third)


def test_classes_are_calibrated_on_all_of_them() -> None:
    play = playing(Normed(classes=40), rounds=0, average=False)
    found = play.statistics("sample")["make.1.running_mean"]
    weight, bias = (play.game.get_parameter(f"make.0.{name}").detach() for name in ("weight", "bias"))
    mean = weight.sum(1) * 3 * 39 / 2 + bias  # the mean label of 40 is 39/2
    assert float(((found - mean) / weight.sum(1)).abs().median()) < 3 * 40 / math.sqrt(12 * 1024) * 3
    labels = torch.arange(6) % 2
    assert rms(play.sample(6, labels=labels)[:3], play.sample(6, labels=labels)[:3]) == 0.0


def test_a_frozen_network_keeps_the_statistics_that_it_came_with() -> None:
    norm = BatchNorm(2)
    calibrate(norm, lambda: norm(5 + points(50)), 1)

    class Held(Translation):
        def __init__(self) -> None:
            super().__init__()
            self.fixed, self.fresh = Frozen(norm), Frozen(BatchNorm(2))

        def to_other(self, rows: Batch) -> Tensor:
            made: Tensor = self.fresh(self.fixed(rows["x"]))
            return made

    found = playing(Held()).statistics("translate")
    assert {name.rpartition(".")[0] for name in found} == {"fresh.net"}


def test_a_game_without_norms_is_sampled_as_ever() -> None:
    play = playing(Translation())
    x = points(6)
    with own_randomness(), torch.no_grad():
        reseed(mix(4, 3))
        draw = make_draw({**play.game.codes(6), "from": x}, mix(4, 4), *play.clock)
        play.game.eval()
        reseed(draw.seed)
        expected = torch.func.functional_call(play.game, play.averaged["generator"], ("sample", draw))
    assert play.statistics("sample") == {}
    assert torch.equal(play.sample(6, seed=4, given={"x": x}), expected)


@pytest.mark.parametrize("what", ["sample", "views", "apply"])
def test_members_of_an_ensemble_are_calibrated_one_by_one(what: str) -> None:
    seeds = (3, 4)
    whole = playing(Ensemble(lambda seed: Translation(norms=True, seed=seed), seeds))
    for i in range(2):
        member = whole.game.member(i)  # type: ignore[operator]
        alone = Play(member, Alternating(), whole.specs, rows, horizon=10)
        alone.round = whole.round
        alone.averaged = {"generator": whole.game.member_tensors(whole.averaged["generator"], i)}  # type: ignore[operator]
        for name, value in alone.statistics("translate" if what == "apply" else what).items():
            torch.testing.assert_close(
                whole.statistics("translate" if what == "apply" else what)[f"stack.{name}"][i], value
            )
        x = {"x": points(9), "other": points(9)}
        if what == "apply":
            torch.testing.assert_close(whole.apply("translate", x)[i], alone.apply("translate", x))
            torch.testing.assert_close(whole.apply("distance", x, seed=2)[i], alone.apply("distance", x, seed=2))
            torch.testing.assert_close(whole.apply("invert", x)[i], alone.apply("invert", x))
        elif what == "sample":
            mine = whole.sample(9, seed=1, given={"x": x["x"]}, choices={"kind": 2})[i]
            torch.testing.assert_close(mine, alone.sample(9, seed=1, given={"x": x["x"]}, choices={"kind": 2}))
        else:
            mine = whole.views(9, given={"x": x["x"]})
            for name, view in alone.views(9, given={"x": x["x"]}).items():
                torch.testing.assert_close(mine[name][i], view)


# Rows and codes ------------------------------------------------------------------------------------------------------


def test_given_rows_and_chosen_codes_are_what_is_sampled_from() -> None:
    play = playing(Translation(), rounds=0, average=False)
    x = points(4)
    free = play.codes(4, seed=1, given={"x": x})
    fixed = play.codes(4, seed=1, given={"x": x, "other": x[:1]}, choices={"kind": 2, "shift": -1.5})
    assert torch.equal(free["from"], x) and torch.equal(free["noise"], fixed["noise"])
    assert fixed["kind"].tolist() == [2.0] * 4 and fixed["shift"].tolist() == [-1.5] * 4
    one, two = (play.sample(4, seed=1, given={"x": x}, choices={"kind": k, "shift": 0}) for k in (0, 2))
    np.testing.assert_allclose((two - one).numpy(), [[0.0, 2.0]] * 4, atol=1e-6)
    views = play.views(4, seed=1, given={"x": x}, choices={"kind": 2, "shift": 0})
    assert list(views) == ["from", "translated", "back"]
    assert torch.equal(views["from"], x) and torch.equal(views["translated"], two)


def test_rows_that_are_not_given_are_training_rows_by_seed() -> None:
    play = playing(Translation())
    first, again, other = (play.codes(20, seed=s)["from"] for s in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other) and first.shape == (20, 2)
    assert len({tuple(row) for row in first.tolist()}) == 20, "more rows than a batch come from further batches"
    assert play.sample(20, seed=1).shape == (20, 2)


@pytest.mark.parametrize(
    ("how", "error", "said"),
    [
        ({"given": {"other": torch.zeros(4, 2)}}, DataError, "'x'"),
        ({"given": {"x": torch.zeros(3, 2)}}, ConfigError, "4 samples from 3 rows"),
        ({"choices": {"kid": 1}}, ConfigError, "kind"),
        ({"choices": {"kind": 3}}, ConfigError, "0 to 2"),
        ({"choices": {"kind": 0.5}}, ConfigError, "0 to 2"),
        ({"choices": {"shift": 2.5}}, ConfigError, "-2 to 2"),
    ],
)
def test_what_cannot_be_given_or_chosen_is_refused(how: dict[str, Any], error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        playing(Translation(), rounds=0).sample(4, **how)


def test_a_game_that_needs_nothing_refuses_rows_and_codes() -> None:
    play = playing(Normed(), rounds=0)
    for how in ({"given": {"x": torch.zeros(4, 2)}}, {"choices": {"kind": 1}}):
        with pytest.raises(ConfigError, match="leave"):
            play.sample(4, **how)  # type: ignore[arg-type]


# Maps ----------------------------------------------------------------------------------------------------------------


def test_a_map_is_the_method_at_the_averages() -> None:
    play = playing(Translation())
    x = points(1100)
    expected = Translation()
    expected.load_state_dict({**play.game.state_dict(), **play.averaged["generator"]})
    expected.eval()
    found = play.apply("translate", {"x": x, "y": torch.zeros(3)})
    torch.testing.assert_close(found, expected.to_other({"x": x}).detach())
    assert not found.requires_grad and play.game.training
    inverted = play.apply("invert", {"other": x[:4]})
    torch.testing.assert_close(inverted, expected.back({"other": x[:4]}).detach())


def test_a_map_is_a_function_of_rows_and_seed() -> None:
    play = playing(Translation())
    both = {"x": points(700), "other": points(700, 6)}
    first, again, other = (play.apply("distance", both, seed=s) for s in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert len(set((first - other)[:20].tolist())) > 10


def test_a_map_of_a_row_does_not_depend_on_the_other_rows() -> None:
    play = playing(Translation(norms=True))
    x = points(40) * 3 + 1
    whole, part = play.apply("translate", {"x": x}), play.apply("translate", {"x": x[:3]})
    assert rms(whole[:3], part) < 1e-6
    assert rms(play.apply("invert", {"other": x})[:3], play.apply("invert", {"other": x[:3]})) < 1e-6


def test_a_search_uses_the_statistics_of_what_it_searches_with() -> None:
    play = playing(Translation(norms=True))
    assert play.statistics("invert") is play.statistics("translate")


def test_without_training_rows_norms_take_the_rows_given_and_say_so() -> None:
    play = playing(Translation(norms=True), batches=no_rows)
    x = points(50)
    with pytest.warns(UserWarning, match="50 rows given"):
        found = play.apply("translate", {"x": x})
    game = Translation(norms=True)
    game.load_state_dict({**play.game.state_dict(), **play.averaged["generator"]})
    game.eval()
    calibrate(game, lambda: game.eval() and game.to_other({"x": x}), 1)
    torch.testing.assert_close(found, game.to_other({"x": x}).detach())


@pytest.mark.parametrize(
    ("name", "given", "error", "said"),
    [
        ("translat", {"x": points(3)}, ConfigError, "translate"),
        ("distance", {"x": points(3)}, DataError, "'other'"),
        ("distance", {"x": points(3), "other": points(4)}, ShapeError, "one length"),
        ("translate", {"x": points(0)}, ShapeError, "at least one row"),
    ],
)
def test_rows_that_do_not_fit_a_map_are_refused(
    name: str, given: dict[str, Tensor], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        playing(Translation(), rounds=0).apply(name, given)


# Preparing -----------------------------------------------------------------------------------------------------------


class Prepared(Game):
    """Keeps the rows that it was prepared on."""

    prepared_on = 20

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(2))
        self.register_buffer("kept", torch.zeros(20, 2))
        self.register_buffer("noise", torch.zeros(()))
        self.players = (Player("only", ("weight",)),)

    def prepare(self, batch: Batch) -> None:
        assert {name: len(column) for name, column in batch.items()} == {"x": 20, "other": 20}
        self.kept.copy_(batch["x"])
        self.noise.copy_(torch.rand(()))


@pytest.mark.parametrize("seeds", [(), (7, 8)])
def test_a_game_is_prepared_on_as_many_rows_as_it_says(seeds: tuple[int, ...]) -> None:
    game: Game = Ensemble(Prepared, seeds) if seeds else Prepared()
    Play(game, Alternating(), {"only": Adam()}, rows, seed=7).prepare()
    assert game.prepared_on == 20
    for i, seed in enumerate(seeds or (7,)):
        buffers = dict((game.member(i) if seeds else game).named_buffers())  # type: ignore[operator]
        expected = torch.cat([rows(seed, turn)["x"] for turn in range(3)])[:20]
        assert torch.equal(buffers["kept"], expected)
        reseed(mix(seed, 0, 2))
        assert torch.equal(buffers["noise"], torch.rand(()))
