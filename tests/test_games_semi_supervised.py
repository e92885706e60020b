"""The semi-supervised AAE: the losses of its three phases, who moves what, and rows without a label."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from torch import nn

import battery
from equilibria.base.errors import ConfigError, DataError, ShapeError
from equilibria.base.randomness import reseed
from equilibria.base.records import decode, encode
from equilibria.core.game import Batch, Batches, Draw, Game, detached, evaluate, gradients, make_draw
from equilibria.core.optimizers import Adam
from equilibria.core.play import Play
from equilibria.core.updates import Alternating
from equilibria.data import DataSpec, load
from equilibria.data.options import Column
from equilibria.games.semi_supervised import SemiSupervisedAAE
from equilibria.games.spec import Latent
from equilibria.losses import R1
from equilibria.networks import MLPPair

SMALL = MLPPair(width=8, depth=1)
IMAGE = DataSpec(kind="image", shape=(1, 4, 4), classes=3, unlabelled=True)
STREAM = DataSpec(
    kind="image",
    shape=(1, 4, 4),
    classes=3,
    unlabelled=True,
    columns=(
        Column(name="labelled", kind="image", shape=(1, 4, 4), stream="labelled"),
        Column(name="label", kind="label", classes=3, stream="labelled"),
    ),
)
SPEC = SemiSupervisedAAE(prior=Latent(size=2))


def built(data: DataSpec = IMAGE, spec: SemiSupervisedAAE = SPEC) -> Game:
    torch.manual_seed(0)
    return spec.build(SMALL, data)


def dealt(game: Game, y: list[int]) -> Draw:
    torch.manual_seed(1)
    return make_draw(game.draw({"x": torch.randn(len(y), 1, 4, 4), "y": torch.tensor(y)}), 0)


# The three phases ----------------------------------------------------------------------------------------------------


def test_the_losses_are_those_of_the_paper() -> None:
    game = built()
    draw, softplus = dealt(game, [0, -1, 2, -1, -1, 1]), nn.functional.softplus
    out = game.get_submodule("encoder")(draw["real"])
    category, style = torch.softmax(out[:, :3], 1), out[:, 3:]
    judges = [game.get_submodule(f"{name}_discriminator") for name in ("style", "category")]
    points = [(draw["latent"], style), (draw["category"], category)]
    wanted = {
        "autoencoder": ((game.get_submodule("decoder")(torch.cat([category, style], 1)) - draw["real"]) ** 2).mean(),
        "discriminators": sum(
            softplus(-judge(real)).mean() + softplus(judge(fake)).mean()
            for judge, (real, fake) in zip(judges, points, strict=True)
        ),
        "encoder": sum(softplus(-judge(fake)).mean() for judge, (_, fake) in zip(judges, points, strict=True)),
        "classifier": nn.functional.cross_entropy(out[[0, 2, 5], :3], torch.tensor([0, 2, 1])),
    }
    for player, value in wanted.items():
        torch.testing.assert_close(evaluate(game, player, draw).total, value)
    parts = detached(evaluate(game, "classifier", draw)).parts
    right = (out[[0, 2, 5], :3].argmax(1) == torch.tensor([0, 2, 1])).float().mean()
    assert float(parts["share/labelled"]) == 0.5 and float(parts["accuracy/labelled"]) == pytest.approx(float(right))


def test_four_players_move_what_the_paper_says() -> None:
    game = built()
    moved = {p.name: {name.split(".")[0] for name in game.moved(p.name)} for p in game.players}
    assert moved == {
        "autoencoder": {"encoder", "decoder"},
        "discriminators": {"style_discriminator", "category_discriminator"},
        "encoder": {"encoder"},
        "classifier": {"encoder"},
    }


def test_rows_without_a_label_have_no_part_in_the_classification() -> None:
    game = built()
    draw = dealt(game, [0, -1, 2, -1])
    other = Draw({**draw.tensors, "labelled": draw["labelled"].clone()}, draw.step, draw.time, draw.seed)
    other["labelled"][[1, 3]] = 100 * torch.randn(2, 1, 4, 4)
    for one, two in zip(*(gradients(game, "classifier", d)[0].values() for d in (draw, other)), strict=True):
        torch.testing.assert_close(one, two)
    none = dealt(game, [-1, -1, -1])
    grads, loss = gradients(game, "classifier", none)
    assert float(loss.total) == 0 and all(float(g.abs().max()) == 0 for g in grads.values())


def test_labelled_rows_of_their_own_stream_are_classified_in_place_of_the_batchs() -> None:
    game, x = built(STREAM), torch.randn(5, 1, 4, 4)
    batch = {"x": torch.randn(5, 1, 4, 4), "y": torch.full((5,), -1), "labelled": x, "label": torch.arange(5) % 3}
    draw = make_draw(game.draw(batch), 0)
    out = game.get_submodule("encoder")(x)[:, :3]
    wanted = nn.functional.cross_entropy(out, torch.arange(5) % 3)
    torch.testing.assert_close(evaluate(game, "classifier", draw).total, wanted)


def test_noise_is_added_to_what_the_encoder_sees_and_not_to_what_is_reconstructed() -> None:
    game = built(spec=SemiSupervisedAAE(prior=Latent(size=2), noise=0.5))
    draw = dealt(game, [0, 1, 2, -1])
    out = game.get_submodule("encoder")(draw["real"] + 0.5 * draw["noise"])
    made = game.get_submodule("decoder")(torch.cat([torch.softmax(out[:, :3], 1), out[:, 3:]], 1))
    torch.testing.assert_close(evaluate(game, "autoencoder", draw).total, ((made - draw["real"]) ** 2).mean())
    rows = {"x": draw["real"]}
    torch.testing.assert_close(game.encode(rows), game.get_submodule("encoder")(draw["real"])[:, 3:])  # type: ignore[operator]


def test_penalties_hold_in_both_contests_with_their_own_noise() -> None:
    game = built(spec=SemiSupervisedAAE(prior=Latent(size=2), penalties=(R1(gamma=2.0),)))
    draw = dealt(game, [0, 1, 2, -1])
    loss = evaluate(game, "discriminators", draw)
    for name, point in (("style", draw["latent"]), ("category", draw["category"])):
        given = point.clone().requires_grad_()
        (slope,) = torch.autograd.grad(game.get_submodule(f"{name}_discriminator")(given).sum(), given)
        torch.testing.assert_close(loss.parts[f"{name}/penalty/R1"], slope.square().sum(1).mean())


# What a user asks for ------------------------------------------------------------------------------------------------


def test_samples_have_the_class_that_was_asked_for() -> None:
    game = built()
    assert game.codes(4, torch.tensor([2, 0, 1, 2]))["category"].argmax(1).tolist() == [2, 0, 1, 2]
    assert game.codes(4)["category"].argmax(1).tolist() == [0, 1, 2, 0]
    draw = make_draw(game.codes(4, torch.ones(4, dtype=torch.int64)), 0)
    wanted = game.get_submodule("decoder")(torch.cat([torch.eye(3)[[1] * 4], draw["latent"]], 1))
    torch.testing.assert_close(game.sample(draw), wanted)
    assert game.classes == 3 and not game.choices  # a class is asked for by labels=


def test_rows_are_classified_encoded_and_reconstructed() -> None:
    game, x = built(), torch.randn(5, 1, 4, 4)
    out = game.get_submodule("encoder")(x)
    assert torch.equal(game.classify({"x": x}), out[:, :3].argmax(1))  # type: ignore[operator]
    torch.testing.assert_close(game.encode({"x": x}), out[:, 3:])  # type: ignore[operator]
    assert game.reconstruct({"x": x}).shape == x.shape  # type: ignore[operator]
    assert {name: row.gives for name, row in game.maps.items()} == {
        "classify": "label", "encode": "codes", "reconstruct": "x"
    }  # fmt: skip


def test_what_cannot_be_built_is_refused() -> None:
    with pytest.raises(DataError, match="labels"):
        SPEC.build(SMALL, DataSpec(kind="image", shape=(1, 4, 4)))
    with pytest.raises(ConfigError, match="noise"):
        SemiSupervisedAAE(noise=-0.1)
    with pytest.raises(ShapeError, match="encoder"):
        SPEC.build(SMALL, IMAGE, {"encoder": SMALL.encoder(IMAGE.shape, 4)})
    assert decode(encode(SPEC)) == SPEC


# The contract --------------------------------------------------------------------------------------------------------


def partly(seed: int) -> tuple[Game, Batches]:
    """Digits of which every second row has a label."""
    data = load("digits")
    reseed(seed)

    def batches(own: int, turn: int) -> Batch:
        rows = data.batch(16, own, turn)
        return {"x": rows["x"], "y": torch.where(torch.arange(16) % 2 == 0, rows["y"], -1)}

    return SemiSupervisedAAE(prior=Latent(size=3), noise=0.1).build(SMALL, data.spec), batches


def whole(seed: int) -> tuple[Game, Batches]:
    data = load("digits")
    reseed(seed)
    return SPEC.build(SMALL, data.spec), data.batches(16)


@pytest.mark.parametrize("check", battery.CHECKS.values(), ids=list(battery.CHECKS))
def test_contract(check: Any) -> None:
    check(partly)


def test_it_is_a_mean_over_rows_where_all_have_labels() -> None:
    assert battery.is_mean_over_rows(whole)


@pytest.mark.slow
@pytest.mark.ci_slow
def test_unlabelled_rows_help_where_labels_are_few() -> None:
    """Digits with five labels a class: fewer errors than the same encoder trained on the labelled rows alone."""
    data = load("digits")
    known, rest = data.take(1617), data.take(180, held_out=True)
    own = torch.cat([(known["y"] == k).nonzero()[:5, 0] for k in range(10)])
    labelled = {"labelled": known["x"][own], "label": known["y"][own]}
    columns = (
        Column(name="labelled", kind="image", shape=(1, 8, 8), stream="labelled"),
        Column(name="label", kind="label", classes=10, stream="labelled"),
    )
    x, y = torch.cat([known["x"], rest["x"]]), torch.cat([known["y"], rest["y"]])

    def error(players: slice) -> float:
        torch.manual_seed(0)
        spec = SemiSupervisedAAE(prior=Latent(size=5), noise=0.3)
        game = spec.build(MLPPair(width=64, depth=2), dataclasses.replace(data.spec, columns=columns))
        game.players = game.players[players]
        adam = {p.name: Adam(lr=1e-3) for p in game.players}
        play = Play(game, Alternating(share=True), adam, lambda own, turn: {**data.batch(64, own, turn), **labelled})
        play.advance(450)
        return float((game.classify({"x": x}) != y).float().mean())  # type: ignore[operator]

    assert error(slice(None)) < error(slice(3, None)) - 0.02
