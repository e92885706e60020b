"""Triple-GAN: its three losses against numpy, laws on few atoms at the optimum, and rows without a label."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy import optimize, special
from torch import Tensor, nn

import battery
from equilibria.base.errors import ConfigError, DataError, ShapeError
from equilibria.base.records import decode, encode
from equilibria.base.schedules import Linear
from equilibria.core.game import Batch, Batches, Draw, Game, detached, evaluate, gradients, make_draw
from equilibria.data import DataSpec, load
from equilibria.data.options import Column
from equilibria.games.spec import Latent
from equilibria.games.triple_gan import TripleGAN
from equilibria.losses import LeastSquares, Minimax, NonSaturating, RelativisticPairing
from equilibria.networks import MLPPair

SMALL = MLPPair(width=8, depth=1)
PLANE = DataSpec(kind="vector", shape=(2,), classes=3, unlabelled=True)
SPEC = TripleGAN(alpha=0.3, pseudo_weight=0.2, objective=Minimax(), latent=Latent(size=4))
Y = [0, -1, 2, -1, -1, 1]


def built(spec: TripleGAN = SPEC, data: DataSpec = PLANE) -> Game:
    torch.manual_seed(0)
    return spec.build(SMALL, data)


def dealt(game: Game, y: list[int]) -> Draw:
    torch.manual_seed(1)
    return make_draw(game.draw({"x": torch.randn(len(y), 2), "y": torch.tensor(y)}), 0, time=0.25)


# The losses ----------------------------------------------------------------------------------------------------------


def by_hand(game: Game, draw: Draw, y: list[int], pseudo_pairs: float = 0.0) -> dict[str, float]:
    """The sums of the paper, written with the probability D and one pair at a time."""
    spec: Any = game.spec
    x, onehot = draw["real"], np.eye(3)
    classifier, judge = game.get_submodule("classifier"), game.get_submodule("discriminator")
    made, asked = game.sample(draw), draw["label"].argmax(1).tolist()

    def score(point: Tensor, k: int) -> float:  # D, a probability
        given = torch.tensor(onehot[k], dtype=torch.float32)[None]
        return float(special.expit(float(judge(point[None], given).detach())))

    def classes(points: Tensor) -> np.ndarray:
        return special.softmax(classifier(points).detach().double().numpy(), axis=1)

    known = [i for i, k in enumerate(y) if k >= 0]
    real = np.mean([np.log(score(x[i], y[i])) for i in known])
    table = np.array([[score(x[i], k) for k in range(3)] for i in range(len(y))])
    refused = np.mean((classes(x) * np.log(1 - table)).sum(1))
    fakes = np.array([score(made[i], asked[i]) for i in range(len(y))])
    passed = np.mean((classes(x) * np.log(table)).sum(1))
    own = -np.mean([np.log(classes(x)[i, y[i]]) for i in known])
    drawn = -np.mean([np.log(classes(made)[i, asked[i]]) for i in range(len(y))])
    value = (1 - pseudo_pairs) * real + pseudo_pairs * passed
    value += spec.alpha * refused + (1 - spec.alpha) * np.mean(np.log(1 - fakes))
    return {
        "discriminator": -value,
        "classifier": spec.alpha * refused + own + 0.2 * drawn,
        "generator": (1 - spec.alpha) * np.mean(np.log(1 - fakes)),
        "nonsaturating": -(1 - spec.alpha) * np.mean(np.log(fakes)),
    }


def test_the_losses_are_the_sums_of_the_paper() -> None:
    game = built()
    draw = dealt(game, Y)
    wanted = by_hand(game, draw, Y)
    for player in ("discriminator", "classifier", "generator"):
        assert float(evaluate(game, player, draw).total.detach()) == pytest.approx(wanted[player], rel=1e-5)
    other = built(dataclasses.replace(SPEC, objective=NonSaturating()))
    assert float(evaluate(other, "generator", draw).total.detach()) == pytest.approx(wanted["nonsaturating"], rel=1e-5)
    assert float(evaluate(other, "discriminator", draw).total.detach()) == pytest.approx(
        wanted["discriminator"], rel=1e-5
    )
    parts = detached(evaluate(game, "classifier", draw)).parts
    assert float(parts["share/labelled"]) == 0.5


def test_pairs_with_the_classifiers_class_among_the_real_ones() -> None:
    game = built(dataclasses.replace(SPEC, pseudo_pairs=0.4))
    draw = dealt(game, Y)
    wanted = by_hand(game, draw, Y, 0.4)
    for player in ("discriminator", "classifier", "generator"):
        assert float(evaluate(game, player, draw).total.detach()) == pytest.approx(wanted[player], rel=1e-5)


def test_the_weight_of_generated_pairs_may_rise() -> None:
    rising = built(dataclasses.replace(SPEC, pseudo_weight=Linear(start=0.0, end=0.8)))
    draw = dealt(rising, Y)  # at a quarter of the run
    torch.testing.assert_close(evaluate(rising, "classifier", draw).total, evaluate(built(), "classifier", draw).total)


def test_gradients_are_finite_differences() -> None:
    """The classifier's has two ways to its weights: by the classes of rows and by the two cross entropies."""
    game = built().double()
    draw = battery.widened(dealt(game.float(), Y))
    game = game.double()
    for player in ("discriminator", "classifier", "generator"):
        found, _ = gradients(game, player, draw)
        for name, own in game.moved(player).items():
            flat, step = own.data.view(-1), 1e-6
            for at in (0, flat.numel() - 1):
                kept, sides = flat[at].item(), []
                for side in (step, -step):
                    flat[at] = kept + side
                    sides.append(float(evaluate(game, player, draw).total.detach()))
                flat[at] = kept
                slope = (sides[0] - sides[1]) / (2 * step)
                assert float(found[name].view(-1)[at]) == pytest.approx(slope, rel=1e-4, abs=1e-8), (player, name)


# Few atoms: every law is a table -------------------------------------------------------------------------------------


class Table(nn.Module):
    """A free number for each atom and each class; rows are atoms as unit vectors."""

    def __init__(self, table: np.ndarray) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.from_numpy(table))

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        outputs = x.double() @ self.table
        return outputs if y is None else (outputs * y).sum(1)


class Atoms(nn.Module):
    """The generator on atoms: class and code give the probabilities of the atoms."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.zeros(2, 3, dtype=torch.float64))

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        return nn.functional.one_hot((y.double() @ self.table).argmax(1), 3).double()


def optimum(p: np.ndarray, mixed: np.ndarray) -> np.ndarray:
    return p / (p + mixed)


def test_the_optimal_discriminator_is_p_over_p_and_the_mixture() -> None:
    """Three atoms, two classes, 240 pairs: D is minimised by scipy and compared with D* = p / (p + p_alpha)."""
    counts = np.array([[60, 20], [10, 70], [30, 50]])  # of each atom with each class
    atoms, labels = (np.repeat(np.indices((3, 2))[axis].ravel(), counts.ravel()) for axis in (0, 1))
    p, outputs = counts / 240, np.array([[1.0, -0.5], [0.2, 0.4], [-1.0, 0.3]])
    data = DataSpec(kind="vector", shape=(3,), classes=2)
    own = {"classifier": Table(outputs), "discriminator": Table(np.zeros((3, 2))), "generator": Atoms()}
    torch.set_default_dtype(torch.float64)
    try:
        game = dataclasses.replace(SPEC, latent=Latent(size=1)).build(SMALL, data, own)
        draw = make_draw(game.draw({"x": torch.eye(3)[atoms], "y": torch.from_numpy(labels)}), 0)
    finally:
        torch.set_default_dtype(torch.float32)
    made = game.sample(draw).argmax(1).numpy()
    p_g = np.zeros((3, 2))
    np.add.at(p_g, (made, labels), 1 / 240)
    p_c = p.sum(1, keepdims=True) * special.softmax(outputs, axis=1)
    net: Any = game.get_submodule("discriminator")
    table = next(net.parameters())

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        with torch.no_grad():
            table.copy_(torch.from_numpy(flat.reshape(3, 2)))
        grads, value = gradients(game, "discriminator", draw)
        return float(value.total), next(iter(grads.values())).numpy().ravel()

    found = optimize.minimize(loss, np.zeros(6), jac=True, tol=1e-12)
    mixed = 0.3 * p_c + 0.7 * p_g
    np.testing.assert_allclose(special.expit(found.x.reshape(3, 2)), optimum(p, mixed), atol=1e-5)
    judged = optimum(p, mixed)
    assert found.fun == pytest.approx(-(p * np.log(judged) + mixed * np.log(1 - judged)).sum(), rel=1e-9)
    wrong = optimum(p, 0.7 * p_c + 0.3 * p_g)
    assert np.abs(special.expit(found.x.reshape(3, 2)) - wrong).max() > 0.05  # the two shares are not exchanged
    refused_wrongly = optimum(p + 0.3 * p_c, 0.7 * p_g)  # a wrong sign: the classifier's pairs among the real ones
    assert np.abs(special.expit(found.x.reshape(3, 2)) - refused_wrongly).max() > 0.05


def test_against_an_optimal_discriminator_the_classifier_goes_to_the_datas_classes() -> None:
    """Atoms: C by the adversarial term alone, without its cross entropies, and with p_g = p, finds p(y|x)."""
    given = np.array([[0.8, 0.2], [0.1, 0.9], [0.5, 0.5]])
    p, outputs = given / 3, torch.zeros(3, 2, dtype=torch.float64)

    def step(outputs: Tensor, sign: float) -> Tensor:
        shares = special.softmax(outputs.numpy(), axis=1)
        judged = optimum(p, 0.5 * shares / 3 + 0.5 * p)
        score = special.logit(judged)
        net, judge = Table(outputs.numpy().copy()), Table(sign * score)
        data = DataSpec(kind="vector", shape=(3,), classes=2)
        game: Any = TripleGAN(pseudo_weight=0.0, latent=Latent(size=1)).build(
            SMALL, data, {"classifier": net, "discriminator": judge, "generator": Atoms()}
        )
        real, nobody = torch.eye(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
        label, latent = torch.eye(2, dtype=torch.float64)[[0, 1, 0]], torch.zeros(3, 1, dtype=torch.float64)
        entries = {"real": real, "labelled": real, "known": nobody, "label": label, "latent": latent}
        grads, _ = gradients(game, "classifier", make_draw(entries, 0))
        return outputs - 20 * next(iter(grads.values()))

    turned = outputs
    for _ in range(150):
        outputs, turned = step(outputs, 1.0), step(turned, -1.0)
    np.testing.assert_allclose(special.softmax(outputs.numpy(), axis=1), given, atol=1e-3)
    assert np.abs(special.softmax(turned.numpy(), axis=1) - given).max() > 0.3  # with a wrong sign it flees


# Rows, labels, players -----------------------------------------------------------------------------------------------


def test_three_players_each_with_a_network() -> None:
    game = built()
    moved = {p.name: {name.split(".")[0] for name in game.moved(p.name)} for p in game.players}
    assert moved == {name: {name} for name in ("discriminator", "classifier", "generator")}


def test_rows_without_a_label_are_no_pairs_and_their_classes_are_drawn() -> None:
    game = built()
    draw = dealt(game, [0, -1, 2, -1])
    assert draw["known"].tolist() == [1, 0, 1, 0] and draw["label"].sum(1).tolist() == [1] * 4
    assert draw["label"].argmax(1)[[0, 2]].tolist() == [0, 2]
    other = Draw({**draw.tensors, "labelled": draw["labelled"].clone()}, draw.step, draw.time, draw.seed)
    other["labelled"][[1, 3]] = 100 * torch.randn(2, 2)
    for player in ("discriminator", "classifier"):
        one, two = (evaluate(game, player, d).total for d in (draw, other))
        torch.testing.assert_close(one, two)
    none = detached(evaluate(game, "classifier", dealt(game, [-1, -1, -1])))
    assert float(none.parts["entropy/labelled"]) == 0
    lone = game.draw({"x": torch.zeros(4000, 2), "y": torch.full((4000,), -1)})["label"].mean(0)
    np.testing.assert_allclose(lone.numpy(), 1 / 3, atol=0.04)
    shares = built(data=dataclasses.replace(PLANE, class_shares=(0.7, 0.0, 0.3)))
    drawn = shares.draw({"x": torch.zeros(4000, 2), "y": torch.full((4000,), -1)})["label"].mean(0)
    np.testing.assert_allclose(drawn.numpy(), (0.7, 0, 0.3), atol=0.04)


def test_labelled_rows_of_their_own_stream_are_the_pairs() -> None:
    stream = dataclasses.replace(
        PLANE,
        columns=(
            Column(name="labelled", kind="vector", shape=(2,), stream="labelled"),
            Column(name="label", kind="label", classes=3, stream="labelled"),
        ),
    )
    game, x = built(data=stream), torch.randn(5, 2)
    batch = {"x": torch.randn(5, 2), "y": torch.full((5,), -1), "labelled": x, "label": torch.arange(5) % 3}
    draw = make_draw(game.draw(batch), 0)
    assert torch.equal(draw["labelled"], x) and torch.equal(draw["real"], batch["x"]) and bool(draw["known"].all())
    wanted = nn.functional.cross_entropy(game.get_submodule("classifier")(x), torch.arange(5) % 3)
    torch.testing.assert_close(evaluate(game, "classifier", draw).parts["entropy/labelled"], wanted)


def test_what_a_user_asks_for() -> None:
    game: Any = built()
    assert game.codes(4, torch.tensor([2, 0, 1, 2]))["label"].argmax(1).tolist() == [2, 0, 1, 2]
    assert not game.choices  # a class is asked for by labels=
    x = torch.randn(5, 2)
    assert torch.equal(game.mapped("classify", {"x": x}), game.classifier(x).argmax(1))
    with pytest.raises(DataError, match="labels"):
        SPEC.build(SMALL, DataSpec(kind="vector", shape=(2,)))
    with pytest.raises(ShapeError, match="classifier"):
        SPEC.build(SMALL, PLANE, {"classifier": SMALL.encoder((2,), 4)})
    changes: tuple[tuple[dict[str, Any], str], ...] = (
        ({"alpha": 1.5}, "alpha=1.5"), ({"pseudo_pairs": -0.1}, "pseudo_pairs"),
        ({"pseudo_weight": -1.0}, "pseudo_weight"), ({"objective": LeastSquares()}, "LeastSquares"),
        ({"objective": NonSaturating(real_target=0.9)}, "smoothed"),
        ({"objective": RelativisticPairing()}, "pairs real with generated"),
    )  # fmt: skip
    for changed, says in changes:
        with pytest.raises(ConfigError, match=says):
            dataclasses.replace(SPEC, **changed)
    assert decode(encode(SPEC)) == SPEC


# The contract --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("check", battery.CHECKS.values(), ids=list(battery.CHECKS))
def test_it_keeps_the_promises_of_games(check: Callable[[battery.Make], None]) -> None:
    data = load("digits")

    def make(seed: int) -> tuple[Game, Batches]:
        def batches(own: int, turn: int) -> Batch:
            rows = data.batch(16, own, turn)
            return {"x": rows["x"], "y": torch.where(torch.arange(16) % 2 == 0, rows["y"], -1)}

        torch.manual_seed(seed)
        return dataclasses.replace(SPEC, pseudo_pairs=0.2).build(SMALL, data.spec), batches

    check(make)


def test_it_is_a_mean_over_rows_where_all_have_labels() -> None:
    def make(seed: int) -> tuple[Game, Batches]:
        data = load("digits")
        torch.manual_seed(seed)
        return SPEC.build(SMALL, data.spec), data.batches(16)

    assert battery.is_mean_over_rows(make)
