"""Random changes before the discriminator: each operation against numpy, both sides alike, and the adaptive share."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import equilibria
from equilibria.base.errors import ConfigError, ShapeError
from equilibria.data import DataSpec, load
from equilibria.games.two_player import TwoPlayer
from equilibria.losses import Augmentation, Hinge, LeastSquares, NonSaturating, RelativisticPairing, Wasserstein
from equilibria.networks import ConvPair
from equilibria.training import Settings

ALWAYS, NEVER = torch.tensor(1.0), torch.tensor(0.0)


def images(n: int = 5, channels: int = 3, h: int = 12, w: int = 10) -> Tensor:
    return torch.rand(n, channels, h, w, generator=torch.Generator().manual_seed(1)) * 2 - 1


def changed(name: str, x: Tensor, own: Tensor, probability: Tensor = ALWAYS) -> np.ndarray[Any, Any]:
    gate = torch.full((len(x), 1), 0.5)
    return Augmentation(operations=(name,))(x, torch.cat((gate, own), 1), probability).numpy()


def test_a_flip_mirrors_half_of_the_images() -> None:
    x, own = images(2), torch.tensor([[0.49], [0.51]])
    made = changed("flip", x, own)
    assert np.array_equal(made[0], x[0].numpy()[:, :, ::-1]) and np.array_equal(made[1], x[1].numpy())


def test_color_is_brightness_then_saturation_then_contrast() -> None:
    x, own = images(3), torch.rand(3, 3, generator=torch.Generator().manual_seed(2))
    made = changed("color", x, own)
    for one, (b, s, c), found in zip(x.double().numpy(), own.double().numpy(), made, strict=True):
        bright = one + b - 0.5
        gray = (bright[0] + bright[1] + bright[2]) / 3
        saturated = gray * (1 - 2 * s) + bright * 2 * s
        contrasted = saturated.mean() + (saturated - saturated.mean()) * (0.5 + c)
        np.testing.assert_allclose(found, contrasted, atol=1e-6)


def test_a_translation_is_a_shift_with_zeros_and_every_shift_is_as_frequent() -> None:
    """Against np.roll, with what comes in at the other side set to zero; 12 and 10 pixels move by up to 2 and 1."""
    steps = (torch.arange(15) + 0.5) / 15
    own = torch.cartesian_prod(steps, steps)
    x = images(1).expand(len(own), -1, -1, -1)
    made = changed("translation", x, own)
    seen: dict[tuple[int, int], int] = {}
    for found in made:
        for down in range(-2, 3):
            for right in range(-1, 2):
                moved = np.roll(x[0].numpy(), (down, right), (1, 2))
                moved[:, : max(down, 0)] = 0
                moved[:, 12 + min(down, 0) :] = 0
                moved[:, :, : max(right, 0)] = 0
                moved[:, :, 10 + min(right, 0) :] = 0
                if np.array_equal(found, moved):
                    seen[down, right] = seen.get((down, right), 0) + 1
    assert len(seen) == 15 and set(seen.values()) == {15}


def test_a_cut_is_a_square_of_half_the_sides() -> None:
    x, own = images(1).expand(200, -1, -1, -1), torch.rand(200, 2, generator=torch.Generator().manual_seed(3))
    made = changed("cutout", x, own)
    sizes = set()
    for found in made:
        gone = (found == 0).all(0)
        rows, columns = np.flatnonzero(gone.any(1)), np.flatnonzero(gone.any(0))
        assert gone[np.ix_(rows, columns)].all() and gone.sum() == len(rows) * len(columns)
        assert np.array_equal(found[:, ~gone], x[0].numpy()[:, ~gone])
        sizes.add((len(rows), len(columns)))
    assert max(r for r, _ in sizes) == 6 and max(c for _, c in sizes) == 5


def test_an_operation_is_applied_where_its_number_is_below_the_probability() -> None:
    change, x = Augmentation(), images(400)
    uniform = change.noise(x)["augment_real"]
    assert torch.equal(change(x, uniform, NEVER), x)
    one = Augmentation(operations=("flip",))
    u = torch.stack((torch.linspace(0, 0.999, 400), torch.zeros(400)), 1)
    moved = (one(x, u, torch.tensor(0.3)) != x).flatten(1).any(1)
    assert torch.equal(moved, u[:, 0] < 0.3)


def test_the_generator_s_gradient_flows_through_the_change() -> None:
    change, x = Augmentation(), images(2, 1, 4, 4).double()
    uniform = change.noise(x)["augment_fake"]
    assert torch.autograd.gradcheck(lambda t: change(t, uniform, ALWAYS), x.requires_grad_(True))


def game_of(objective: Any, **change: Any) -> Any:
    spec = TwoPlayer(objective=objective, augmentation=Augmentation(operations=("flip",), **change))
    return spec.build(ConvPair(width=2), DataSpec(kind="image", shape=(1, 8, 8)))


@pytest.mark.parametrize("player", ["discriminator", "generator"])
def test_both_sides_are_changed_in_both_losses(player: str) -> None:
    """With all gates open, changing the numbers of either side changes the loss of whoever reads that side."""
    game = game_of(RelativisticPairing())
    draw = game.draw({"x": images(6, 1, 8, 8)})
    draw |= {f"augment_{side}": torch.zeros(6, 2) for side in ("real", "fake")}
    drawn = equilibria.core.game.make_draw(draw, 0)
    base = float(game.loss(player, drawn).total.detach())
    for side in ("real", "fake"):
        other = equilibria.core.game.make_draw({**draw, f"augment_{side}": torch.tensor([[0.0, 0.9]] * 6)}, 0)
        assert float(game.loss(player, other).total.detach()) != base


@pytest.mark.parametrize(
    ("objective", "middle"), [(NonSaturating(), 0.0), (Hinge(), 0.0), (LeastSquares(), 0.5), (Wasserstein(), None)]
)
def test_sure_is_the_share_of_training_images_above_the_middle(objective: Any, middle: float | None) -> None:
    """By hand: signs of real scores less the score of equal laws, or less the generated ones where only those count."""
    game = game_of(objective, probability=0.0, target=0.6)
    drawn = equilibria.core.game.make_draw(game.draw({"x": images(16, 1, 8, 8)}), 0)
    contest, loss = game.contests(drawn)["data"], game.loss("discriminator", drawn)
    real, fake = (contest.scores(side).detach().numpy() for side in ("real", "fake"))
    expected = np.sign(real - (fake if middle is None else middle)).mean()
    assert float(loss.carry["sure"]) == pytest.approx(expected)


def test_the_probability_follows_how_sure_the_discriminator_is() -> None:
    change = Augmentation(probability=0.0, target=0.6, images=1000.0, most=0.5)
    p = torch.tensor(0.0)
    for _ in range(3):
        p = change.moved(p, torch.tensor(0.9), 100)
    assert float(p) == pytest.approx(0.3)
    assert float(change.moved(p, torch.tensor(0.5), 100)) == pytest.approx(0.2)
    assert float(change.moved(torch.tensor(0.49), torch.tensor(0.9), 100)) == pytest.approx(0.5)
    assert float(change.moved(torch.tensor(0.05), torch.tensor(0.1), 100)) == 0.0


def test_a_run_moves_it_and_a_resumed_run_has_it(tmp_path: Any) -> None:
    settings = Settings(progress=False, doctor=False, evaluate=False, device="cpu")
    row = equilibria.recipes.RECIPES["ada"].with_settings({"networks.image.width": "2", "batch": "16"})
    row = row.with_settings({"game.augmentation.images": "64", "game.augmentation.target": "-0.9"})
    run = equilibria.train(row, "digits", steps=3, out=tmp_path / "run", settings=settings)
    found = float(run.play.game.augment_probability)
    assert found > 0 and math.isclose(found * 4, round(found * 4))
    assert float(equilibria.open_run(run.path).play.game.augment_probability) == found


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ConfigError, match="translation"):
        Augmentation(operations=("translations",))
    for wrong in ({"operations": ()}, {"probability": 1.5}, {"target": 1.0}, {"images": 0.0}, {"most": 0.1}):
        with pytest.raises(ConfigError):
            Augmentation(**wrong)
    with pytest.raises(ShapeError, match="images"):
        TwoPlayer(augmentation=Augmentation()).build(ConvPair(width=2), load("ring8-M").spec)
