"""Every game under the contract of tests/battery.py, in small instances."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import battery
from equilibria.base.randomness import reseed
from equilibria.core.game import Batches, Game
from equilibria.data import load
from equilibria.games.autoencoding import AAE, LawPrior, Petals
from equilibria.games.coupled import CoGAN
from equilibria.games.mixture import MGAN
from equilibria.games.paired_translation import Pix2Pix
from equilibria.games.spec import GameSpec, Latent
from equilibria.games.super_resolution import LAG
from equilibria.games.two_discriminators import D2GAN
from equilibria.games.two_player import TwoPlayer
from equilibria.games.unpaired_translation import CycleGAN
from equilibria.losses import (
    OBJECTIVES,
    R1,
    R2,
    AuxiliaryClassifier,
    ClassifiedSamples,
    Clip,
    GradientPenalty,
    Hinge,
    InstanceNoise,
    RelativisticPairing,
    Wasserstein,
)
from equilibria.networks import ConvPair, ImageToImage, MLPPair, Networks, PatchGAN, ResNet, SuperResolution, UNet

SMALL = MLPPair(width=8, depth=1)
BATCH = 16
CODE = Latent(size=3)


def on(source: str, spec: GameSpec, networks: Networks = SMALL) -> battery.Make:
    """The game of a spec on a source of data, its parameters drawn from the seed."""
    data = load(source)

    def make(seed: int) -> tuple[Game, Batches]:
        reseed(seed)
        return spec.build(networks, data.spec), lambda own, turn: data.batch(BATCH, own, turn)

    return make


RING, PAIRS, ALIGNED = "ring8-M", "pairs:digits,digits-negative", "aligned:digits,digits-edges"
PATCHES = PatchGAN(width=2, norm="none", init="kaiming")  # norms make the rounding of images grow
R3 = TwoPlayer(objective=RelativisticPairing(), penalties=(R1(gamma=1.0), R2(gamma=1.0)), latent=CODE)

GAMES: dict[str, battery.Make] = {
    **{f"two-player/{name}": on(RING, TwoPlayer(objective=o, latent=CODE)) for name, o in OBJECTIVES.items()},
    "two-player/r1-r2": on(RING, R3),
    "two-player/gradient-penalty": on(
        RING, TwoPlayer(objective=Wasserstein(), penalties=(GradientPenalty(),), latent=CODE, discriminator_turns=2)
    ),
    "two-player/clipped": on(RING, TwoPlayer(objective=Wasserstein(), clip=Clip(value=0.3), latent=CODE)),
    "two-player/noise": on(RING, TwoPlayer(instance_noise=InstanceNoise(std=0.3), latent=CODE)),
    "two-player/spectral": on(
        RING, TwoPlayer(objective=Hinge(), latent=CODE), MLPPair(width=8, depth=2, spectral_norm=True)
    ),
    "two-player/conditional": on("digits", TwoPlayer(conditional=True, latent=CODE)),
    "two-player/auxiliary-classifier": on(
        "digits",
        TwoPlayer(conditional=True, terms=(AuxiliaryClassifier(), ClassifiedSamples()), latent=CODE),
        MLPPair(width=8, depth=1, condition="classifier"),
    ),
    "two-player/convolutional": on("digits", R3, ConvPair(width=4, kernel=2)),
    "two-player/batch-norm": on(RING, TwoPlayer(latent=CODE), MLPPair(width=8, depth=2, norm="batch")),
    "d2gan": on(RING, D2GAN(alpha=0.4, beta=0.7, latent=CODE)),
    "d2gan/three-players": on(RING, D2GAN(joint=False, latent=CODE)),
    "mgan": on(RING, MGAN(generators=4, beta=0.5, hidden=6, latent=CODE)),
    "aae": on("digits", AAE(prior=CODE)),
    "aae/gaussian-petals": on("digits", AAE(prior=Petals(), encoder="gaussian", penalties=(R1(gamma=1.0),))),
    "aae/swissroll": on("digits", AAE(prior=LawPrior(name="swissroll"))),
    "cogan": on(PAIRS, CoGAN(hidden=6, latent=CODE)),
    "cogan/untied-r1": on(
        PAIRS,
        CoGAN(hidden=6, tied_generators=False, tied_discriminators=False, penalties=(R1(gamma=0.5),), latent=CODE),
    ),
    "pix2pix": on(ALIGNED, Pix2Pix(l1=10.0), ImageToImage(translator=UNet(width=2), patch=PATCHES)),
    "pix2pix/unconditional-r1": on(ALIGNED, Pix2Pix(conditional=False, penalties=(R1(gamma=1.0),))),
    "cyclegan": on(
        PAIRS,
        CycleGAN(pool=24),
        ImageToImage(translator=ResNet(width=2, blocks=1, norm="none", init="default"), patch=PATCHES),
    ),
    "lag": on("digits", LAG(noise=2), SuperResolution(width=4, least=2, blocks=1)),
    "cyclegan/identity-r1": on(PAIRS, CycleGAN(pool=16, identity=5.0, penalties=(R1(gamma=0.5),))),
}
ROWS_INTERACT = {"two-player/relativistic-average", "two-player/batch-norm"}


@pytest.mark.parametrize("check", battery.CHECKS.values(), ids=list(battery.CHECKS))
@pytest.mark.parametrize("name", GAMES)
def test_contract(name: str, check: Callable[[battery.Make], None]) -> None:
    check(GAMES[name])


@pytest.mark.parametrize("name", GAMES)
def test_which_games_are_means_over_rows(name: str) -> None:
    assert battery.is_mean_over_rows(GAMES[name]) == (name not in ROWS_INTERACT)


def test_a_check_fails_on_a_game_that_breaks_its_promise() -> None:
    """The battery is not vacuous: a loss that counts its calls in a buffer is caught."""

    def make(seed: int) -> tuple[Game, Batches]:
        game, batches = GAMES["two-player/hinge"](seed)
        honest, game.calls = game.loss, 0  # type: ignore[assignment]

        def counting(player: str, draw: object) -> object:
            game.calls += 1  # type: ignore[operator]
            loss = honest(player, draw)  # type: ignore[arg-type]
            return loss._replace(total=loss.total + game.calls)

        game.loss = counting  # type: ignore[method-assign,assignment]
        return game, batches

    with pytest.raises(AssertionError, match="two losses"):
        battery.same_draw_same_loss(make)
