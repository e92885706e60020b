"""The trial run of a user's own networks: what it accepts, what it explains, and that it leaves no trace."""

from __future__ import annotations

import re

import pytest
import torch
from torch import Tensor, nn

from equilibria.base.errors import ShapeError
from equilibria.networks import ConvPair, MLPPair, ResPair, as_logits, check_pair


class Spatial(nn.Module):
    """A generator in the manner of the DCGAN tutorials: codes are (n, latent, 1, 1)."""

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(6, 1, 8)

    def forward(self, z: Tensor) -> Tensor:
        out: Tensor = self.up(z)
        return out


class Pairwise(nn.Module):
    """A discriminator that returns two things."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(2, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.body(x), x


@pytest.mark.parametrize("classes", [0, 3])
@pytest.mark.parametrize("pair", [MLPPair(width=8), ConvPair(width=4, norm="batch"), ResPair(width=4)])
def test_our_own_pairs_pass_without_a_warning(pair: MLPPair | ConvPair | ResPair, classes: int) -> None:
    shape = (1, 8, 8)
    assert check_pair(pair.generator(6, shape, classes), pair.discriminator(shape, classes), 6, shape, classes) == ()


@pytest.mark.parametrize("ending", [nn.Identity(), nn.Flatten(0)])
def test_scores_of_shape_n_and_n_by_one_pass(ending: nn.Module) -> None:
    D = nn.Sequential(nn.Linear(2, 1), ending)
    assert check_pair(nn.Linear(3, 2), D, 3, (2,)) == ()
    assert as_logits(D)(torch.zeros(5, 2)).shape == (5,)


def test_scores_of_shape_n_1_1_1_are_squeezed_and_share_the_parameters() -> None:
    D = nn.Conv2d(1, 1, 8)
    adapted = as_logits(D)
    x = torch.randn(5, 1, 8, 8)
    assert torch.equal(adapted(x), D(x).flatten())
    assert next(iter(adapted.parameters())) is D.weight
    assert as_logits(adapted) is adapted


@pytest.mark.parametrize(
    ("G", "D", "shape", "what", "fix"),
    [
        (
            nn.Linear(3, 2),
            nn.Linear(2, 1),
            (2,),
            r"generator \(Linear\) cannot take latent codes of shape \(4, 6\)",
            "latent=",
        ),
        (nn.Linear(6, 5), nn.Linear(2, 1), (2,), r"points of shape \(5,\), and the data has \(2,\)", r"\(n, 2\)"),
        (nn.Linear(6, 64), nn.Linear(64, 1), (1, 8, 8), r"shape \(64,\)", r"reshape\(-1, 1, 8, 8\)"),
        (Spatial(), nn.Flatten(), (1, 8, 8), r"generator \(Spatial\)", r"z\[:, :, None, None\]"),
        (
            nn.Linear(6, 2),
            nn.Linear(3, 1),
            (2,),
            r"discriminator \(Linear\) cannot take points of shape \(4, 2\)",
            "size",
        ),
        (nn.Linear(6, 2), nn.Linear(2, 2), (2,), r"scores of shape \(4, 2\) for 4 points", "one logit"),
        (
            nn.Linear(6, 2),
            nn.Sequential(nn.Linear(2, 1), nn.Flatten(0), nn.LayerNorm(4), nn.Unflatten(0, (2, 2))),
            (2,),
            r"scores of shape \(2, 2\)",
            "one logit",
        ),
        (nn.Linear(6, 2), Pairwise(), (2,), "returns a tuple", "one tensor"),
        (
            nn.Sequential(nn.Linear(6, 64), nn.Unflatten(1, (1, 8, 8))),
            nn.Linear(64, 1),
            (1, 8, 8),
            "cannot take points",
            r"x\.flatten\(1\)",
        ),
    ],
)
def test_what_does_not_fit_is_explained(
    G: nn.Module, D: nn.Module, shape: tuple[int, ...], what: str, fix: str
) -> None:
    with pytest.raises(ShapeError, match=what) as caught:
        check_pair(G, D, 6, shape)
    assert re.search(fix, caught.value.fix)


def test_networks_that_take_no_labels_are_told_so() -> None:
    with pytest.raises(ShapeError, match="one-hot"):
        check_pair(nn.Linear(6, 2), nn.Linear(2, 1), 6, (2,), classes=3)


def test_a_sigmoid_at_the_end_is_suspected() -> None:
    (warning,) = check_pair(
        nn.Linear(3, 2), nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 1), nn.Sigmoid()), 3, (2,)
    )
    assert "sigmoid" in warning and "logits" in warning


def test_an_untrained_discriminator_whose_scores_happen_to_be_small_is_not_suspected() -> None:
    for seed in range(30):
        torch.manual_seed(seed)
        D = nn.Sequential(nn.Linear(2, 32), nn.LeakyReLU(0.2), nn.Linear(32, 1))
        with torch.no_grad():
            D[2].bias.fill_(0.5)
            D[2].weight.mul_(0.01)
        assert check_pair(nn.Linear(3, 2), D, 3, (2,)) == ()


def test_scores_that_are_not_numbers_are_reported() -> None:
    D = nn.Linear(2, 1)
    nn.init.constant_(D.weight, float("nan"))
    assert "NaN" in check_pair(nn.Linear(3, 2), D, 3, (2,))[0]


@pytest.mark.parametrize("fails", [False, True])
def test_nothing_is_disturbed(fails: bool) -> None:
    G = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2), nn.Dropout(0.5))
    D = nn.Sequential(nn.utils.parametrizations.spectral_norm(nn.Linear(2, 4)), nn.BatchNorm1d(4), nn.Linear(4, 1))
    G[1].eval()
    flags = [part.training for net in (G, D) for part in net.modules()]
    state = {key: value.clone() for net in (G, D) for key, value in net.state_dict(prefix=str(id(net))).items()}
    random = torch.get_rng_state()
    if fails:
        with pytest.raises(ShapeError):
            check_pair(G, D, 4, (2,))
    else:
        assert check_pair(G, D, 3, (2,)) == ()
    assert torch.equal(torch.get_rng_state(), random)
    assert [part.training for net in (G, D) for part in net.modules()] == flags
    after = {key: value for net in (G, D) for key, value in net.state_dict(prefix=str(id(net))).items()}
    assert all(torch.equal(after[key], value) for key, value in state.items())
    assert all(p.grad is None for net in (G, D) for p in net.parameters())


def test_networks_in_double_precision_are_tried_in_it() -> None:
    assert check_pair(nn.Linear(3, 2).double(), nn.Linear(2, 1).double(), 3, (2,)) == ()
