"""The two-player game on images: one pass over real and generated images gives what two passes give."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from equilibria import ConfigError
from equilibria.base.randomness import reseed
from equilibria.core.game import evaluate, gradients, make_draw
from equilibria.data import DataSpec
from equilibria.games.spec import Latent
from equilibria.games.two_player import TwoPlayer
from equilibria.losses import R1, R2, Penalty, RelativisticPairing
from equilibria.networks import ConvPair

DIGITS = DataSpec(kind="image", shape=(1, 8, 8), classes=3)


def discriminator_of(penalties: tuple[Penalty, ...], one_pass: bool) -> tuple[list[int], float, dict[str, Tensor]]:
    """The rows of each call of the discriminator in its own turn, its loss, and its gradients, in float64."""
    reseed(3)
    spec = TwoPlayer(
        objective=RelativisticPairing(), penalties=penalties, latent=Latent(size=4), conditional=True, one_pass=one_pass
    )
    game = spec.build(ConvPair(width=4), DIGITS).double()
    rows = {"x": torch.randn(6, 1, 8, 8, dtype=torch.float64), "y": torch.arange(6) % 3}
    draw = make_draw({k: v.double() for k, v in game.draw(rows).items()}, 0)
    calls: list[int] = []
    game.discriminator.register_forward_pre_hook(lambda net, args: calls.append(len(args[0])))
    loss = evaluate(game, "discriminator", draw).total.item()
    first = list(calls)
    return first, loss, gradients(game, "discriminator", draw)[0]


@pytest.mark.parametrize(
    ("penalties", "calls"), [((R1(gamma=0.3), R2(gamma=0.7)), [12]), ((R1(gamma=0.3),), [12, 6]), ((), [12])]
)
def test_one_pass_over_images_gives_what_two_passes_give(penalties: tuple[Penalty, ...], calls: list[int]) -> None:
    seen, loss, grads = discriminator_of(penalties, one_pass=True)
    apart, expected, wanted = discriminator_of(penalties, one_pass=False)
    assert seen == calls and apart == [6, 6]
    assert loss == pytest.approx(expected, rel=1e-12)
    for name, grad in wanted.items():
        torch.testing.assert_close(grads[name], grad, rtol=1e-9, atol=1e-12)
    assert max(float(grad.abs().max()) for grad in wanted.values()) > 1e-3


def test_one_pass_is_refused_where_the_discriminator_mixes_rows() -> None:
    with pytest.raises(ConfigError, match="one_pass=True, and the discriminator mixes the rows"):
        TwoPlayer(one_pass=True).build(ConvPair(width=4, norm="batch"), DataSpec(kind="image", shape=(1, 32, 32)))
