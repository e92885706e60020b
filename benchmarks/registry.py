"""The comparisons, one row each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from torch import nn

from equilibria.base.errors import ConfigError, did_you_mean
from equilibria.core.optimizers import Adam
from equilibria.core.updates import Simultaneous
from equilibria.data import Dataset, load
from equilibria.games.autoencoding import AAE
from equilibria.games.spec import Latent
from equilibria.games.two_player import TwoPlayer
from equilibria.losses import NonSaturating
from equilibria.networks import Auto, ConvPair
from equilibria.recipes import RECIPES, Recipe
from equilibria.training import Settings

from . import borrowed, floor, ours, peers
from .measure import Here, Plan, Side

Sides = tuple[dict[str, Side], Side]
"""Our sides by setting, and the other side."""


@dataclass(frozen=True)
class Benchmark:
    """A comparison.

    Args:
        name: kebab-case.
        other: the other side of the comparison.
        about: the game, the networks and the data, the same for both sides.
        targets: the target ratio, by setting of ours.
        sides: a context that builds both sides and cleans up at its end.
        quick: whether it needs no peer and takes a second or two.
        quality: the peer's script and our row, if the samples of both can be compared.
    """

    name: str
    other: str
    about: str
    targets: Mapping[str, float]
    sides: Callable[[Plan], AbstractContextManager[Sides]]
    quick: bool = False
    quality: Borrowed | None = None


@dataclass(frozen=True)
class Borrowed:
    """A peer's script, and our row with the script's networks, batch, optimiser and data.

    Args:
        script: the peer's script.
        row: our recipe.
        networks: makes the networks from the script, or from the project if the script is ours.
        side: pixels per side of the digits.
        channels: number of equal channels of the digits.
        settings: our settings, by name.
    """

    script: peers.Script
    row: Recipe
    networks: Callable[[Path], dict[str, nn.Module]]
    side: int
    channels: int = 1
    settings: Mapping[str, Settings] = field(default_factory=lambda: {"float32": ours.CHOSEN, "best": ours.FASTEST})

    def data(self) -> Dataset:
        """The digits, in the script's size."""
        return peers.digits(self.side, self.channels)

    def modules(self, plan: Plan) -> dict[str, nn.Module]:
        """The script's networks, newly initialised."""
        script, project = self.script.found(plan)
        return self.networks(script if self.script.source is None else project)

    @contextmanager
    def sides(self, plan: Plan) -> Iterator[Sides]:
        """Our side in every setting, and the script."""
        with peers.running(self.script, plan) as peer:
            played = {
                name: ours.played(self.row, self.data(), settings, partial(self.modules, plan))
                for name, settings in self.settings.items()
            }
            yield {name: Here(play.advance, plan.threads) for name, play in played.items()}, peer


@dataclass(frozen=True)
class Floor:
    """Our row against the same game in a hand-written loop, with equal settings."""

    row: Recipe
    data: Callable[[], Dataset]

    @contextmanager
    def sides(self, plan: Plan) -> Iterator[Sides]:
        """Our side and the hand-written loop."""
        data = self.data()
        by_hand = (floor.Autoencoder if isinstance(self.row.game, AAE) else floor.Pair)(self.row, data)
        mine = ours.played(self.row, data)
        yield {"float32": Here(mine.advance, plan.threads)}, Here(by_hand.advance, plan.threads)


def _by_hand(name: str, about: str, row: Recipe, data: Callable[[], Dataset]) -> Benchmark:
    return Benchmark(name, "a loop by hand", about, {"float32": 0.97}, Floor(row, data).sides, quick=True)


def _beside(name: str, other: str, about: str, borrowed_row: Borrowed) -> Benchmark:
    return Benchmark(name, other, about, {"float32": 1.6, "best": 4.5}, borrowed_row.sides, quality=borrowed_row)


_narrow = Auto(image=ConvPair(width=16))
_normed = Auto(image=ConvPair(width=32, norm="batch", generator_activation="relu", init="normal02"))
_theirs = Adam(lr=2e-4, betas=(0.5, 0.999))

_dcgan = Borrowed(
    peers.Script("PyTorch-GAN", "implementations/dcgan/dcgan.py"),
    replace(  # the script moves all players from the same point, on the same fakes
        RECIPES["gan"],
        update=Simultaneous(),
        game=TwoPlayer(objective=NonSaturating(), latent=Latent(size=100)),
        optimizer=_theirs,
        averages=(),
        batch=64,
    ),
    borrowed.dcgan,
    32,
)
_wgan_gp = Borrowed(
    peers.Script("PyTorch-GAN", "implementations/wgan_gp/wgan_gp.py", steps_a_round=5),
    replace(RECIPES["wgan-gp"].with_settings({"game.latent.size": "100"}), optimizer=_theirs, averages=(), batch=64),
    borrowed.wgan_gp,
    28,
)

_aae = Borrowed(
    peers.Script("benchmark_VAE", "pythae_aae.py", source="src"),
    replace(
        RECIPES["aae"],
        update=Simultaneous(),
        game=AAE(encoder="gaussian"),
        optimizer=Adam(lr=1e-4, betas=(0.9, 0.999)),
        optimizers=(),
        averages=(),
    ),
    borrowed.pythae_aae,
    28,
)

_mimicry = Borrowed(
    peers.Script("mimicry", "mimicry_dcgan.py", source="."),
    replace(
        RECIPES["gan"],
        game=TwoPlayer(objective=NonSaturating(), latent=Latent(size=128)),
        optimizer=Adam(lr=2e-4, betas=(0.0, 0.9)),
        averages=(),
        batch=64,
    ),
    borrowed.mimicry_dcgan,
    32,
    channels=3,
)

BENCHMARKS: dict[str, Benchmark] = {
    row.name: row
    for row in (
        _by_hand(
            "floor-ring8",
            "r3gan-small on ring8-M: perceptrons, batch 256",
            RECIPES["r3gan-small"],
            lambda: load("ring8-M"),
        ),
        _by_hand(
            "floor-dcgan",
            "gan with batch norms on 28x28 images, width 32, batch 64",
            replace(RECIPES["gan"], networks=_normed, batch=64),
            ours.like_digits,
        ),
        _by_hand(
            "floor-r3gan",
            "r3gan on 28x28 images, width 16, batch 64",
            replace(RECIPES["r3gan"], networks=_narrow, batch=64),
            ours.like_digits,
        ),
        _by_hand(
            "floor-wgan-gp",
            "wgan-gp on 28x28 images, width 16, batch 64, five turns of D a round",
            replace(RECIPES["wgan-gp"], networks=_narrow, batch=64),
            ours.like_digits,
        ),
        _by_hand("floor-aae", "aae on 28x28 images, perceptrons of 1000, batch 100", RECIPES["aae"], ours.like_digits),
        _beside(
            "dcgan",
            "PyTorch-GAN's dcgan.py",
            "the script's networks on MNIST at 32x32, batch 64, Adam",
            _dcgan,
        ),
        _beside(
            "wgan-gp",
            "PyTorch-GAN's wgan_gp.py",
            "the script's perceptrons on MNIST at 28x28, batch 64, Adam, five turns of D a round",
            _wgan_gp,
        ),
        Benchmark(
            "aae",
            "pythae's AdversarialTrainer",
            "pythae's perceptrons on MNIST, batch 100, Adam; three players on our side, two on the other's",
            {"float32": 1.5, "best": 1.5},
            _aae.sides,
        ),
        Benchmark(
            "mimicry",
            "mimicry's Trainer",
            "mimicry's residual DCGAN at a quarter of its default widths (ngf 64, ndf 32: under a second a step on a "
            "CPU), MNIST at 32x32 in three channels, batch 64, Adam, one turn of D a round",
            {"float32": 1.6, "best": 4.5},
            _mimicry.sides,
        ),
    )
}
"""Every comparison by name."""


def matching(names: list[str], plan: Plan, quick: bool = False) -> list[Benchmark]:
    """The comparisons with these names; without names all possible ones (with peers only if their folder is given).

    Raises:
        ConfigError: there is no such comparison.

    Examples:
        >>> [row.name for row in matching(["floor-ring8"], Plan())]
        ['floor-ring8']
    """
    for name in names:
        if name not in BENCHMARKS:
            raise ConfigError(f"no benchmark '{name}'", did_you_mean(name, BENCHMARKS))
    if names:
        return [BENCHMARKS[name] for name in names]
    return [row for row in BENCHMARKS.values() if row.quick or (plan.peers is not None and not quick)]
