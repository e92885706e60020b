"""CycleGAN and pix2pix: their losses written out by hand, the pool against the loop it stands for, views and maps."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import battery
from equilibria.base import distributed
from equilibria.base.distributed import Ranks
from equilibria.base.errors import ConfigError, DataError, EquilibriaError, ShapeError
from equilibria.base.randomness import reseed
from equilibria.base.records import decode, encode
from equilibria.core.game import Batches, Draw, Game, evaluate, gradients, make_draw
from equilibria.core.optimizers import Adam
from equilibria.core.play import Play
from equilibria.core.updates import Alternating
from equilibria.data import Column, DataSpec
from equilibria.games.image_pool import ImagePool
from equilibria.games.paired_translation import Pix2Pix
from equilibria.games.spec import GameSpec
from equilibria.games.unpaired_translation import CycleGAN
from equilibria.losses import R1
from equilibria.networks import ImageToImage, MLPPair, PatchGAN, ResNet, UNet

UNETS = ImageToImage(translator=UNet(width=2), patch=PatchGAN(width=2))
RESNETS = ImageToImage(translator=ResNet(width=2, blocks=1), patch=PatchGAN(width=2))


def spec_of(source: tuple[int, ...], target: tuple[int, ...], stream: str) -> DataSpec:
    kind = "image" if len(target) == 3 else "vector"
    return DataSpec(kind=kind, shape=source, columns=(Column(name="other", kind=kind, shape=target, stream=stream),))


GRAY_TO_TWO, TWO_DOMAINS = spec_of((1, 8, 8), (2, 8, 8), ""), spec_of((1, 8, 8), (2, 8, 8), "other")


def rows(spec: DataSpec, n: int, seed: int = 0) -> dict[str, Tensor]:
    source = torch.Generator().manual_seed(seed)
    other = spec.column("other")
    assert other is not None
    return {
        "x": torch.rand(n, *spec.shape, generator=source) * 2 - 1,
        "other": torch.rand(n, *other.shape, generator=source) * 2 - 1,
    }


def game_of(spec: GameSpec, data: DataSpec, networks: ImageToImage = UNETS, seed: int = 0) -> Game:
    reseed(seed)
    return spec.build(networks, data)


def play_of(game: Game, data: DataSpec, n: int = 4) -> Play:
    def batches(seed: int, turn: int) -> dict[str, Tensor]:
        return rows(data, n, 1000 * seed + turn)

    return Play(game, Alternating(), {p.name: Adam(lr=1e-3) for p in game.players}, batches, horizon=10)


def drawn(game: Game, batch: Mapping[str, Tensor]) -> Draw:
    reseed(5)
    return make_draw(game.draw(dict(batch)), seed=7)


# The pool ------------------------------------------------------------------------------------------------------------


class LoopPool:
    """The pool as its authors describe it, one image at a time, with the decisions handed in."""

    def __init__(self, size: int) -> None:
        self.size, self.kept = size, {}

    def seen(self, image: float, place: int, swap: bool) -> float:
        if len(self.kept) < self.size:
            self.kept[len(self.kept)] = image
            return image
        if swap:
            old, self.kept[place] = self.kept[place], image
            return old
        return image


@pytest.mark.parametrize("n", [1, 3, 5])
def test_the_pool_is_the_loop_over_its_images(n: int) -> None:
    """Sizes that batches of n fill exactly, so that no turn straddles the filling."""
    size = 15
    pool, loop = ImagePool(size, (2,)), LoopPool(size)
    reseed(3)
    for turn in range(60):
        entries = pool.places(n)
        fresh = torch.arange(n).float().add(100 * turn).unsqueeze(1).expand(n, 2)
        filling = turn * n < size
        assert entries["role"].tolist() == [1] * n if filling else set(entries["role"].tolist()) <= {0, 2}
        seen = pool.seen(fresh, entries["place"], entries["role"])
        want = [
            loop.seen(float(image[0]), int(place), int(role) == 2)
            for image, place, role in zip(fresh, entries["place"], entries["role"], strict=True)
        ]
        assert seen[:, 0].tolist() == want
        pool.store(fresh, entries["place"], entries["role"])
        assert {i: float(v) for i, v in enumerate(pool.images[: int(pool.held), 0])} == loop.kept


def test_half_of_what_is_seen_is_old_and_every_place_is_as_likely() -> None:
    pool = ImagePool(5, (1,))
    pool.held.fill_(5)
    reseed(0)
    roles, places = Counter(), Counter()
    for _ in range(2000):
        entries = pool.places(3)
        assert len(set(entries["place"].tolist())) == 3  # no two images of a turn want one place
        roles.update(entries["role"].tolist())
        places.update(entries["place"].tolist())
    assert set(roles) == {0, 2} and roles[2] / 6000 == pytest.approx(0.5, abs=0.03)
    assert all(count / 6000 == pytest.approx(0.2, abs=0.03) for count in places.values()) and len(places) == 5


@pytest.mark.parametrize("n", [4, 9])
def test_a_turn_that_fills_the_pool_or_is_larger_keeps_what_fits(n: int) -> None:
    pool = ImagePool(6, (1,))
    reseed(1)
    for turn in range(4):
        entries, fresh = pool.places(n), torch.full((n, 1), float(turn + 1))
        stored = entries["role"] > 0
        assert len(set(entries["place"][stored].tolist())) == int(stored.sum()) <= 6
        seen = pool.seen(fresh, entries["place"], entries["role"])
        assert bool((seen > 0).all()), "an empty place was seen"
        pool.store(fresh, entries["place"], entries["role"])
    assert int(pool.held) == 6 and bool((pool.images > 0).all())


def test_two_processes_keep_one_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each process has half of the rows; what a reduction over both gives is the pool of the whole turn."""
    pools, whole = [ImagePool(6, (2,)) for _ in range(2)], ImagePool(6, (2,))
    reseed(2)
    for turn in range(5):
        entries, fresh = whole.places(4), torch.randn(4, 2)
        parts = [{name: t[2 * r : 2 * r + 2] for name, t in entries.items()} for r in range(2)]
        handed: list[tuple[Tensor, ...]] = []

        def mean(*tensors: Tensor, into: list[tuple[Tensor, ...]] = handed) -> tuple[Tensor, ...]:
            into.append(tensors)
            return tuple(sum(both) / 2 for both in zip(*into[-2:], strict=True)) if len(into) > 1 else tensors

        monkeypatch.setattr(distributed, "playing", lambda: Ranks(count=2))
        monkeypatch.setattr(distributed, "mean", mean)
        pools[0].store(fresh[:2], **parts[0])  # hands over its part; its own result is of no account here
        pools[1].store(fresh[2:], **parts[1])
        monkeypatch.undo()
        whole.store(fresh, entries["place"], entries["role"])
        torch.testing.assert_close(pools[1].images, whole.images, msg=f"turn {turn}")
        assert pools[1].held == whole.held
        pools[0].load_state_dict(pools[1].state_dict())


def test_a_pool_of_none_is_no_state() -> None:
    assert not list(ImagePool(0, (1,)).buffers()) and ImagePool(0, (1,)).places(3) == {}
    with pytest.raises(ConfigError, match="-1"):
        ImagePool(-1, (1,))


# CycleGAN ------------------------------------------------------------------------------------------------------------


def squares(scores: Tensor, wanted: float) -> Tensor:
    return ((scores - wanted) ** 2).mean()


@pytest.mark.parametrize(("cycle", "identity"), [(10.0, 0.0), (10.0, 5.0), (0.0, 0.0)])
def test_the_generators_loss_is_the_papers(cycle: float, identity: float) -> None:
    data = spec_of((1, 8, 8), (1, 8, 8), "other")
    game = game_of(CycleGAN(cycle=cycle, identity=identity), data, RESNETS)
    batch = rows(data, 4)
    x, y = batch["x"], batch["other"]
    g, f, dx, dy = game.to_other_net, game.to_x_net, game.discriminator_x, game.discriminator_other  # type: ignore[attr-defined]
    want = squares(dy(g(x)), 1) + squares(dx(f(y)), 1)
    want = want + cycle * (F.l1_loss(f(g(x)), x) + F.l1_loss(g(f(y)), y))
    want = want + identity * (F.l1_loss(g(y), y) + F.l1_loss(f(x), x))
    torch.testing.assert_close(evaluate(game, "generators", drawn(game, batch)).total, want)


def test_the_discriminators_loss_is_the_papers_with_the_pool() -> None:
    game = game_of(CycleGAN(pool=4), TWO_DOMAINS, RESNETS)
    play = play_of(game, TWO_DOMAINS, n=3)
    play.advance(4)
    draw = play.deal()
    assert int(draw["role_x"].sum()) > 0, "no image is swapped under this seed; choose another"
    g, f, dx, dy = game.to_other_net, game.to_x_net, game.discriminator_x, game.discriminator_other  # type: ignore[attr-defined]
    fakes = {"x": f(draw["other"]), "other": g(draw["x"])}
    seen = {}
    for name, pool in (("x", game.pool_x), ("other", game.pool_other)):  # type: ignore[attr-defined]
        swap = [int(role) == 2 for role in draw[f"role_{name}"]]
        places = draw[f"place_{name}"]
        seen[name] = torch.stack([pool.images[places[i]] if s else fakes[name][i] for i, s in enumerate(swap)])
    want = (squares(dy(draw["other"]), 1) + squares(dy(seen["other"]), 0)) / 2
    want = want + (squares(dx(draw["x"]), 1) + squares(dx(seen["x"]), 0)) / 2
    loss = evaluate(game, "discriminators", draw)
    torch.testing.assert_close(loss.total, want)
    torch.testing.assert_close(loss.carry["x"], fakes["x"])


def test_only_the_discriminators_turn_writes_the_pools() -> None:
    game = game_of(CycleGAN(pool=4), TWO_DOMAINS, RESNETS)
    play = play_of(game, TWO_DOMAINS, n=3)
    draw = play.deal()
    loss = gradients(game, "generators", draw)[1]
    play.settle("generators", draw, loss)
    assert int(game.pool_x.held) == 0  # type: ignore[attr-defined]
    loss = gradients(game, "discriminators", draw)[1]
    assert int(game.pool_x.held) == 0  # type: ignore[attr-defined]
    play.settle("discriminators", draw, loss)
    assert int(game.pool_x.held) == 3  # type: ignore[attr-defined]
    torch.testing.assert_close(game.pool_x.images[:3], game.to_x({"other": draw["other"]}))  # type: ignore[attr-defined]


def test_the_contests_show_todays_translations() -> None:
    """What a doctor looks at depends on the translators, and not on the pool."""
    game = game_of(CycleGAN(pool=4), TWO_DOMAINS, RESNETS)
    play = play_of(game, TWO_DOMAINS, n=3)
    play.advance(5)
    draw = play.deal()
    contests = game.contests(draw)
    assert list(contests) == ["first", "second"]
    torch.testing.assert_close(contests["second"].fake[0], game.to_other({"x": draw["x"]}))  # type: ignore[attr-defined]
    assert torch.equal(contests["first"].real[0], draw["x"])
    assert contests["first"].fake[0].shape == (3, 1, 8, 8) and contests["second"].fake[0].shape == (3, 2, 8, 8)


def test_shared_losses_are_the_losses() -> None:
    for spec, data in ((CycleGAN(penalties=(R1(gamma=1.0),)), TWO_DOMAINS), (Pix2Pix(), GRAY_TO_TWO)):
        game = game_of(spec, data)
        draw = drawn(game, rows(data, 3))
        for name, loss in game.losses(draw).items():
            alone = evaluate(game, name, draw)
            torch.testing.assert_close(loss.total, alone.total)
            assert loss.parts.keys() == alone.parts.keys() and loss.carry.keys() == alone.carry.keys()


def test_views_translate_there_and_back() -> None:
    game = game_of(CycleGAN(), TWO_DOMAINS, RESNETS)
    batch = rows(TWO_DOMAINS, 3)
    shown = game.views(make_draw({**game.codes(3), **game.given(batch)}, seed=0))
    assert list(shown) == ["x", "to_other", "x_again", "other", "to_x", "other_again"]
    again = game.to_x_net(game.to_other_net(batch["x"]))  # type: ignore[attr-defined]
    torch.testing.assert_close(shown["x_again"], again)
    torch.testing.assert_close(game.mapped("reconstruct", batch), again)
    assert game.judged == {"to_other": "other", "to_x": "x"}
    for name, mapping in game.maps.items():
        assert game.mapped(name, {c: batch[c] for c in mapping.takes}).shape == batch[mapping.gives].shape


# pix2pix -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("l1", "adversarial", "conditional"), [(100.0, 1.0, True), (1.0, 0.5, False), (100.0, 0.0, True)]
)
def test_both_losses_are_the_papers(l1: float, adversarial: float, conditional: bool) -> None:
    game = game_of(Pix2Pix(l1=l1, adversarial=adversarial, conditional=conditional), GRAY_TO_TWO)
    batch = rows(GRAY_TO_TWO, 4)
    draw = drawn(game, batch)
    x, y, masks = batch["x"], batch["other"], draw["dropout"]
    made = game.generator(x, masks)  # type: ignore[attr-defined]

    def probability(point: Tensor) -> Tensor:
        d = game.discriminator  # type: ignore[attr-defined]
        return torch.sigmoid(d(torch.cat([x, point], dim=1) if conditional else point).double())

    want = -(probability(y).log().mean() + (1 - probability(made)).log().mean()) / 2
    torch.testing.assert_close(evaluate(game, "discriminator", draw).total.double(), want)
    want = -adversarial * probability(made).log().mean() + l1 * (y - made).abs().mean()
    torch.testing.assert_close(evaluate(game, "generator", draw).total.double(), want, rtol=1e-5, atol=1e-5)


def test_the_contest_is_on_pairs_and_its_slope_on_the_image() -> None:
    game = game_of(Pix2Pix(), GRAY_TO_TWO)
    batch = rows(GRAY_TO_TWO, 3)
    contest = game.contests(drawn(game, batch))["pairs"]
    assert torch.equal(contest.real[1], batch["x"]) and torch.equal(contest.fake[1], batch["x"])
    assert contest.slopes("fake").shape == (3, 2, 8, 8) and contest.scores("real").shape[0] == 3


def test_dropout_is_the_only_noise_and_is_there_in_evaluation() -> None:
    game = game_of(Pix2Pix(), GRAY_TO_TWO).eval()
    batch = rows(GRAY_TO_TWO, 3)

    def made(seed: int) -> Tensor:
        reseed(seed)
        return game.mapped("translate", {"x": batch["x"]})

    assert torch.equal(made(1), made(1)) and not torch.equal(made(1), made(2))
    still = game_of(
        Pix2Pix(), GRAY_TO_TWO, ImageToImage(translator=UNet(width=2, dropout=0.0), patch=PatchGAN(width=2))
    )
    assert still.codes(3) == {} and "dropout" not in still.draw(batch)
    assert torch.equal(still.mapped("translate", batch), still.mapped("translate", batch))


def test_views_show_the_target_where_there_is_one() -> None:
    game = game_of(Pix2Pix(), GRAY_TO_TWO)
    batch = rows(GRAY_TO_TWO, 3)
    whole = game.views(make_draw({**game.codes(3), **game.given(batch)}, seed=0))
    assert list(whole) == ["input", "output", "target"] and torch.equal(whole["target"], batch["other"])
    alone = game.views(make_draw({**game.codes(3), **game.given({"x": batch["x"]})}, seed=0))
    assert list(alone) == ["input", "output"]
    assert game.judged == {"output": "other"} and game.needs == ("x",)


def test_a_play_shows_the_target_where_its_rows_have_one() -> None:
    game = game_of(Pix2Pix(), GRAY_TO_TWO)
    play, batch = play_of(game, GRAY_TO_TWO), rows(GRAY_TO_TWO, 3, seed=9)
    assert torch.equal(play.views(3, given=batch)["target"], batch["other"])
    assert list(play.views(3, given={"x": batch["x"]})) == ["input", "output"]
    assert list(play.views(3)) == ["input", "output", "target"]  # of training rows


def test_samples_of_a_play_are_translations_of_given_rows() -> None:
    for spec, data, networks in ((Pix2Pix(), GRAY_TO_TWO, UNETS), (CycleGAN(), TWO_DOMAINS, RESNETS)):
        game = game_of(spec, data, networks)
        play, batch = play_of(game, data), rows(data, 3, seed=9)
        given = {name: batch[name] for name in game.needs}
        assert play.sample(3, given=given).shape == (3, 2, 8, 8)
        battery.samples_are_a_function_of_the_seed(lambda seed, g=spec, d=data, n=networks: _made(g, d, n, seed))


def _made(spec: GameSpec, data: DataSpec, networks: ImageToImage, seed: int) -> tuple[Game, Batches]:
    return game_of(spec, data, networks, seed), lambda own, turn: rows(data, 4, 1000 * own + turn)


# Measures ------------------------------------------------------------------------------------------------------------


class Mapped:
    """A trained game whose maps are given."""

    def __init__(self, **maps: Callable[[Mapping[str, Tensor], int], Tensor]) -> None:
        self.maps = maps

    def __call__(self, name: str, rows: Mapping[str, Tensor], seed: int = 0) -> Tensor:
        return self.maps[name](rows, seed)

    def sample(self, n: int, seed: int = 0, choices: Mapping[str, float] | None = None) -> Tensor:
        raise NotImplementedError


def test_cyclegans_measures_are_those_of_its_maps() -> None:
    """Exact inverses lose nothing and keep the class; a way back that forgets loses all."""

    class Sign:
        accuracy = 1.0

        def predict(self, x: Tensor) -> Tensor:
            return (x.flatten(1).mean(1) > 0).long()

    x = torch.randn(40, 1, 4, 4)
    batch = {"x": x, "other": -2 * x.flip(0), "y": Sign().predict(-2 * x)}
    good = Mapped(to_other=lambda rows, _: -2 * rows["x"], to_x=lambda rows, _: rows["other"] / -2)
    bad = Mapped(to_other=lambda rows, _: 2 * rows["x"], to_x=lambda rows, _: rows["other"] * 0 + x.mean(0))

    def scores(maps: Mapped) -> dict[str, float]:
        found: dict[str, float] = {}
        for measure in CycleGAN().measures():
            found |= {name: m.value for name, m in measure(maps, batch, lambda column: Sign()).items()}
        return found

    assert scores(good) == {"cycle_error": 0.0, "cycle_error/other": 0.0, "label_kept": 1.0}
    worse = scores(bad)
    assert (
        worse["cycle_error"] == pytest.approx(1.0) and worse["label_kept"] == 0.0 and worse["cycle_error/other"] > 1.0
    )


def test_pix2pixs_measures_tell_blur_and_noise() -> None:
    x = torch.randn(30, 1, 8, 8)
    batch = {"x": x, "other": -x}

    def noisy(rows: Mapping[str, Tensor], seed: int) -> Tensor:
        return -rows["x"] + torch.randn(30, 1, 8, 8, generator=torch.Generator().manual_seed(seed + 1000))

    def blurred(rows: Mapping[str, Tensor], seed: int) -> Tensor:
        return F.avg_pool2d(F.pad(-rows["x"], (1, 1, 1, 1)), 3, 1)

    def scores(translate: Callable[[Mapping[str, Tensor], int], Tensor]) -> dict[str, float]:
        found: dict[str, float] = {}
        for measure in Pix2Pix().measures():
            found |= {n: m.value for n, m in measure(Mapped(translate=translate), batch, lambda column: None).items()}
        return found

    exact, soft, loud = scores(lambda rows, _: -rows["x"]), scores(blurred), scores(noisy)
    assert exact == {"gradient_energy": pytest.approx(1.0), "target_error": 0.0, "diversity": 0.0}
    assert soft["gradient_energy"] < 0.3 and soft["diversity"] == 0.0
    assert loud["diversity"] == pytest.approx(0.5, abs=0.05)  # as much noise as signal


# What cannot be built, and what can ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "data", "error", "fix"),
    [
        (Pix2Pix(), DataSpec(kind="image", shape=(1, 8, 8)), DataError, "aligned:A,B"),
        (Pix2Pix(), TWO_DOMAINS, DataError, "aligned:A,B"),
        (Pix2Pix(), spec_of((1, 8, 8), (1, 16, 16), ""), ShapeError, "size=64"),
        (CycleGAN(), DataSpec(kind="image", shape=(1, 8, 8)), DataError, "pairs:A,B"),
        (CycleGAN(identity=5.0), TWO_DOMAINS, DataError, "identity=0"),
    ],
)
def test_data_that_does_not_fit_is_refused(
    spec: GameSpec, data: DataSpec, error: type[EquilibriaError], fix: str
) -> None:
    with pytest.raises(error, match=fix):
        spec.build(UNETS, data)


def test_a_module_of_ones_own_is_held_to_its_shapes() -> None:
    with pytest.raises(ShapeError, match="generator"):
        Pix2Pix().build(UNETS, GRAY_TO_TWO, own={"generator": nn.Conv2d(1, 3, 3, padding=1)})
    with pytest.raises(ShapeError, match="discriminator"):
        Pix2Pix().build(UNETS, GRAY_TO_TWO, own={"discriminator": nn.Flatten(0)})
    with pytest.raises(ShapeError, match="to 'x'"):
        CycleGAN().build(RESNETS, TWO_DOMAINS, own={"to_x_net": nn.Conv2d(2, 2, 1)})
    own = Pix2Pix().build(UNETS, GRAY_TO_TWO, own={"generator": nn.Conv2d(1, 2, 3, padding=1)})
    assert own.codes(2) == {}


@pytest.mark.parametrize("spec", [Pix2Pix(conditional=True), CycleGAN(pool=3)])
def test_vectors_are_translated_by_perceptrons(spec: GameSpec) -> None:
    data = spec_of((2,), (3,), "" if isinstance(spec, Pix2Pix) else "other")
    game = spec.build(MLPPair(width=4), data)
    play = play_of(game, data)
    play.advance(2)
    assert play.sample(5).shape == (5, 3)


@pytest.mark.parametrize("spec", [Pix2Pix(l1=10.0), CycleGAN(identity=5.0, penalties=(R1(gamma=1.0),))])
def test_specs_go_to_json_and_back(spec: GameSpec) -> None:
    assert decode(json.loads(json.dumps(encode(spec)))) == spec
