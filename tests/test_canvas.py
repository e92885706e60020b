"""GRAN: canvases that add up, steps that read what is painted, and the metric that exchanges discriminators."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from equilibria.base.errors import ConfigError, DataError
from equilibria.metrics import gam
from equilibria.networks import CanvasGenerator, CanvasPair, ConvPair

PAIR = CanvasPair(steps=3, code=6, pair=ConvPair(width=4))


def body(pair: CanvasPair, shape: tuple[int, ...] = (1, 8, 8)) -> CanvasGenerator:
    torch.manual_seed(0)
    generator = pair.generator(5, shape).body
    assert isinstance(generator, CanvasGenerator)
    return generator


def test_canvases_add_up_to_the_image_exactly() -> None:
    net, z = body(PAIR), torch.randn(4, 5)
    added = net.canvases(z)
    assert added.shape == (4, 3, 1, 8, 8)
    assert torch.equal(net(z), (added[:, 0] + added[:, 1] + added[:, 2]).tanh())
    assert all(added[:, t].abs().max() > 0 for t in range(3))


def test_each_step_decodes_the_code_and_what_is_painted() -> None:
    net, z = body(PAIR), torch.randn(4, 5)
    code = torch.tanh(z @ net.embed.weight.T + net.embed.bias)
    canvas = torch.zeros(4, 1, 8, 8)
    for added in net.canvases(z).unbind(1):
        torch.testing.assert_close(added, net.decode(torch.cat([code, net.encode(canvas)], dim=1)))
        canvas = canvas + added


def test_the_steps_share_their_weights() -> None:
    sizes = {sum(p.numel() for p in body(CanvasPair(steps=t, code=6, pair=PAIR.pair)).parameters()) for t in (1, 3, 5)}
    assert len(sizes) == 1
    one, three = body(CanvasPair(steps=1, code=6, pair=PAIR.pair)), body(PAIR)
    z = torch.randn(4, 5)
    assert torch.equal(one.canvases(z)[:, 0], three.canvases(z)[:, 0]) and not torch.equal(one(z), three(z))


@pytest.mark.parametrize("shape", [(3, 16, 16), (1, 28, 28)])
def test_labels_and_sizes(shape: tuple[int, ...]) -> None:
    y = torch.eye(3)
    made = PAIR.generator(5, shape, classes=3)(torch.randn(3, 5), y)
    assert made.shape == (3, *shape) and made.abs().max() <= 1
    assert PAIR.discriminator(shape, classes=3)(made, y).shape == (3,)


def test_sizes_are_checked() -> None:
    with pytest.raises(ConfigError, match="steps=0"):
        CanvasPair(steps=0)


# The metric ----------------------------------------------------------------------------------------------------------


def above(bound: float) -> object:
    return lambda x: bound - x


def numbers(wrong: int, right: int) -> Tensor:
    """``wrong`` points that a discriminator with bound 1 takes for data (at 0), and ``right`` that it does not."""
    return torch.cat([torch.zeros(wrong), torch.full((right,), 9.0)])


@pytest.mark.parametrize(
    ("made_1", "made_2", "winner"), [((30, 10), (10, 30), 1), ((10, 30), (30, 10), 2), ((20, 20), (20, 20), 0)]
)
def test_who_fools_the_other_more_often_wins(made_1: tuple[int, int], made_2: tuple[int, int], winner: int) -> None:
    found = gam((above(1.0), numbers(*made_1)), (above(1.0), numbers(*made_2)), numbers(39, 1))  # type: ignore[arg-type]
    assert found.winner == winner and found.r_test == 1
    assert found.r_samples == pytest.approx((made_2[0] + 0.5) / (made_1[0] + 0.5))
    assert found.errors == pytest.approx((1.5 / 41, 1.5 / 41, (made_2[0] + 0.5) / 41, (made_1[0] + 0.5) / 41))


def test_discriminators_that_differ_on_data_make_a_tie() -> None:
    """The second takes everything for data: it is fooled by all samples, and that says nothing of them."""
    data = torch.cat([torch.zeros(90), torch.full((10,), 5.0)])
    models = (above(1.0), numbers(10, 30)), (above(99.0), numbers(10, 30))
    found = gam(*models, data)  # type: ignore[arg-type]
    assert found.winner == 0 and found.r_samples < 1 and found.r_test > 10
    assert gam(*models, data, tolerance=1e3).winner == 1  # type: ignore[arg-type]
    back = gam(*models[::-1], data)  # type: ignore[arg-type]
    assert back.r_test == pytest.approx(1 / found.r_test) and back.r_samples == pytest.approx(1 / found.r_samples)


def test_what_cannot_be_compared_is_refused() -> None:
    model = (above(1.0), torch.zeros(3))
    with pytest.raises(DataError, match="no points"):
        gam(model, (above(1.0), torch.zeros(0)), torch.zeros(3))  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"\(3, 1\)"):
        gam(model, (lambda x: x[:, None], torch.zeros(3)), torch.zeros(3))  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="tolerance=0"):
        gam(model, model, torch.zeros(3), tolerance=0)  # type: ignore[arg-type]
