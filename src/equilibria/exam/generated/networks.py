"""Families of networks that the generated loops train."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from ..field.parts import leaky
from .laws import Rows


@dataclass(frozen=True)
class Shape:
    """What a pair of networks is built for: sizes, and the changes that a fault makes to them."""

    rows: Rows
    latent: int
    width_g: int = 64
    width_d: int = 64
    depth_g: int = 2
    depth_d: int = 2
    sigmoid: bool = False
    momentum: float = 0.1
    batch_norm_d: int = 0
    out: str = ""

    @property
    def features(self) -> int:
        """Numbers in a row."""
        return self.rows.x[0].numel()


Pair = tuple[nn.Module, nn.Module]


@dataclass(frozen=True)
class Family:
    """A family of networks.

    Attributes:
        name: the name.
        groups: the groups of laws that it fits.
        build: makes a generator and a discriminator.
        marks: facts that faults ask for: ``relu``, ``batchnorm``, ``bounded`` (the generator ends in tanh), ``dense``,
            ``colour`` (images may have several channels).
        split: the split of the cases that use it; held-out cases use those of ``development`` as well.
    """

    name: str
    groups: frozenset[str]
    build: Callable[[Shape], Pair]
    marks: frozenset[str] = frozenset()
    split: str = "development"


def stack(
    sizes: list[int], act: Callable[[], nn.Module], norm: Callable[[int], nn.Module] | None = None
) -> nn.Sequential:
    """Linear layers with a norm, if one is given, and an activation between them."""
    layers: list[nn.Module] = []
    for i in range(len(sizes) - 2):
        layers.append(nn.Linear(sizes[i], sizes[i + 1]))
        layers += [norm(sizes[i + 1])] if norm is not None else []
        layers.append(act())
    return nn.Sequential(*layers, nn.Linear(sizes[-2], sizes[-1]))


class Heads(nn.Module):
    """The end of a generator of tables: tanh on numbers, a (Gumbel-)softmax on each one-hot group."""

    def __init__(self, blocks: tuple[int, ...], gumbel: bool) -> None:
        super().__init__()
        self.blocks, self.gumbel = blocks, gumbel

    def forward(self, h: Tensor) -> Tensor:
        """Rows of the table."""
        first, *groups = h.split([h.shape[1] - sum(self.blocks), *self.blocks], 1)
        one = [F.gumbel_softmax(g, 0.4) if self.gumbel else (2 * g).softmax(1) for g in groups]
        return torch.cat([first.tanh(), *one], 1)


class Scores(nn.Module):
    """A discriminator's layers and, if a loss wants probabilities, its sigmoid; scores of shape ``(n,)``."""

    def __init__(self, net: nn.Module, sigmoid: bool) -> None:
        super().__init__()
        self.net = net
        self.last = nn.Sigmoid() if sigmoid else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Scores."""
        return self.last(self.net(x)).view(-1)


def ends_of(s: Shape, bounded: bool) -> list[nn.Module]:
    """The end of a dense generator: a norm if a fault puts one there, what bounds the rows, and their shape."""
    before: dict[str, Callable[[], nn.Module]] = {
        "batchnorm": lambda: nn.BatchNorm1d(s.features, affine=False),
        "layernorm": lambda: nn.LayerNorm(s.features, elementwise_affine=False),
        "rms": lambda: nn.RMSNorm(s.features, elementwise_affine=False),
        "group": lambda: nn.GroupNorm(1, s.features, affine=False),
    }
    ends = [before[s.out]()] if s.out in before else []
    if s.out == "sigmoid":
        ends.append(nn.Sigmoid())
    elif s.rows.blocks:
        ends.append(Heads(s.rows.blocks, True))
    elif bounded or s.rows.x.dim() == 4:
        ends.append(nn.Tanh())
    return ends + ([nn.Unflatten(1, s.rows.x.shape[1:])] if s.rows.x.dim() > 2 else [])


def norm_of(s: Shape) -> Callable[[int], nn.Module] | None:
    """The norm of a discriminator's layers."""
    return nn.BatchNorm1d if s.batch_norm_d else None


def sizes_of(first: int, width: int, depth: int, last: int) -> list[int]:
    """Widths of a perceptron's layers."""
    return [first, *[width] * depth, last]


def dense(
    act_g: Callable[[], nn.Module] = nn.ReLU,
    act_d: Callable[[], nn.Module] = leaky,
    *,
    norm: str = "",
    bounded: bool = False,
    spectral: bool = False,
    deeper: int = 0,
) -> Callable[[Shape], Pair]:
    """A builder of perceptrons."""

    def build(s: Shape) -> Pair:
        norms: dict[str, Callable[[int], nn.Module]] = {
            "batch": lambda n: nn.BatchNorm1d(n, momentum=s.momentum),
            "layer": nn.LayerNorm,
        }
        body = stack(sizes_of(s.latent, s.width_g, s.depth_g + deeper, s.features), act_g, norms.get(norm))
        maker = nn.Sequential(*body, *ends_of(s, bounded))
        norm_d = nn.LayerNorm if norm == "layer" else norm_of(s)
        judge = nn.Sequential(
            nn.Flatten(), *stack(sizes_of(s.features, s.width_d, s.depth_d + deeper, 1), act_d, norm_d)
        )
        if spectral:
            for module in list(judge)[:-1]:
                if isinstance(module, nn.Linear):
                    spectral_norm(module)
        return maker, Scores(judge, s.sigmoid)

    return build


class Block(nn.Module):
    """A residual block of two linear layers."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))

    def forward(self, x: Tensor) -> Tensor:
        """The input plus half of the body's output."""
        return x + 0.5 * self.body(x)


def _residual(s: Shape) -> Pair:
    def net(first: int, width: int, depth: int, last: int) -> list[nn.Module]:
        blocks = [Block(width) for _ in range(depth // 2)]
        return (
            [nn.Linear(first, width), *blocks, nn.ReLU(), nn.Linear(width, last)] if depth else [nn.Linear(first, last)]
        )

    maker = nn.Sequential(*net(s.latent, s.width_g, s.depth_g, s.features), *ends_of(s, False))
    return maker, Scores(nn.Sequential(nn.Flatten(), *net(s.features, s.width_d, s.depth_d, 1)), s.sigmoid)


def tops_of(s: Shape) -> list[nn.Module]:
    """The end of a generator of images."""
    before = {
        "batchnorm": nn.BatchNorm2d(s.rows.x.shape[1], affine=False),
        "layernorm": nn.InstanceNorm2d(s.rows.x.shape[1]),
        "group": nn.GroupNorm(1, s.rows.x.shape[1], affine=False),
        "rms": nn.RMSNorm(s.rows.x.shape[1:], elementwise_affine=False),
    }
    return [*([before[s.out]] if s.out in before else []), nn.Sigmoid() if s.out == "sigmoid" else nn.Tanh()]


def _judge2d(s: Shape, act: Callable[[], nn.Module], norm: bool) -> nn.Module:
    w, side = s.width_d // 4, s.rows.x.shape[-1]
    layers: list[nn.Module] = [nn.Conv2d(1, w, 4, 2, 1), act(), nn.Conv2d(w, 2 * w, 4, 2, 1)]
    layers += [nn.BatchNorm2d(2 * w)] if s.batch_norm_d else [nn.GroupNorm(1, 2 * w)] if norm else []
    return Scores(nn.Sequential(*layers, act(), nn.Flatten(), nn.Linear(2 * w * (side // 4) ** 2, 1)), s.sigmoid)


def _transposed(s: Shape) -> Pair:
    w, start = s.width_g // 4, s.rows.x.shape[-1] // 4
    maker = nn.Sequential(
        nn.Unflatten(1, (s.latent, 1, 1)),
        nn.ConvTranspose2d(s.latent, 2 * w, start, bias=False),
        nn.BatchNorm2d(2 * w, momentum=s.momentum),
        nn.ReLU(),
        nn.ConvTranspose2d(2 * w, w, 4, 2, 1, bias=False),
        nn.BatchNorm2d(w, momentum=s.momentum),
        nn.ReLU(),
        nn.ConvTranspose2d(w, 1, 4, 2, 1),
        *tops_of(s),
    )
    return maker, _judge2d(s, leaky, False)


def _upsampled(s: Shape) -> Pair:
    w, start = s.width_g // 4, s.rows.x.shape[-1] // 4
    maker = nn.Sequential(
        nn.Linear(s.latent, 2 * w * start**2),
        nn.Unflatten(1, (2 * w, start, start)),
        nn.Upsample(scale_factor=2),
        nn.Conv2d(2 * w, 2 * w, 3, 1, 1),
        nn.BatchNorm2d(2 * w, momentum=s.momentum),
        nn.ReLU(),
        nn.Upsample(scale_factor=2),
        nn.Conv2d(2 * w, w, 3, 1, 1),
        nn.BatchNorm2d(w, momentum=s.momentum),
        nn.ReLU(),
        nn.Conv2d(w, 1, 3, 1, 1),
        *tops_of(s),
    )
    return maker, _judge2d(s, nn.SiLU, True)


class Transpose(nn.Module):
    """Exchanges time and channels."""

    def forward(self, x: Tensor) -> Tensor:
        """``(n, t, c)`` to ``(n, c, t)``, and back."""
        return x.transpose(1, 2)


def _conv1d(s: Shape) -> Pair:
    length, channels = s.rows.x.shape[1:]
    w, v = s.width_g // 2, s.width_d // 2
    maker = nn.Sequential(
        nn.Linear(s.latent, w * length // 2),
        nn.Unflatten(1, (w, length // 2)),
        nn.LeakyReLU(0.1),
        nn.Upsample(scale_factor=2),
        nn.Conv1d(w, w, 5, 1, 2),
        nn.LeakyReLU(0.1),
        nn.Conv1d(w, channels, 5, 1, 2),
        Transpose(),
    )
    layers = [Transpose(), nn.Conv1d(channels, v, 4, 2, 1), leaky(), nn.Conv1d(v, v, 4, 2, 1), leaky(), nn.Flatten()]
    return maker, Scores(nn.Sequential(*layers, nn.Linear(v * length // 4, 1)), s.sigmoid)


def _conv1d_transposed(s: Shape) -> Pair:
    length, channels = s.rows.x.shape[1:]
    w, v = s.width_g // 2, s.width_d // 2
    maker = nn.Sequential(
        nn.Unflatten(1, (s.latent, 1)),
        nn.ConvTranspose1d(s.latent, w, length // 4),
        nn.ReLU(),
        nn.ConvTranspose1d(w, w, 4, 2, 1),
        nn.ReLU(),
        nn.ConvTranspose1d(w, channels, 4, 2, 1),
        Transpose(),
        nn.Tanh(),
    )
    layers = [
        Transpose(),
        nn.Conv1d(channels, v, 5, 2, 2),
        nn.SiLU(),
        nn.Conv1d(v, v, 5, 2, 2),
        nn.SiLU(),
        nn.Flatten(),
    ]
    return maker, Scores(nn.Sequential(*layers, nn.Linear(v * length // 4, 1)), s.sigmoid)


def _softmaxed(s: Shape) -> Pair:
    body = stack(sizes_of(s.latent, s.width_g, s.depth_g, s.features), nn.SiLU, nn.LayerNorm)
    judge = stack(sizes_of(s.features, s.width_d, s.depth_d, 1), leaky, norm_of(s))
    return nn.Sequential(*body, Heads(s.rows.blocks, False)), Scores(judge, s.sigmoid)


class Conditional(nn.Module):
    """A perceptron of an input and a class, which is embedded, or one-hot if ``embedded`` is 0."""

    def __init__(self, body: nn.Module, classes: int, embedded: int) -> None:
        super().__init__()
        self.body, self.classes = body, classes
        self.embed = nn.Embedding(classes, embedded) if embedded else None

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """The output for inputs of these classes."""
        code = self.embed(y) if self.embed is not None else F.one_hot(y, self.classes).float()
        return self.body(torch.cat([x, code], 1))


def _conditional(embedded: int, act: Callable[[], nn.Module]) -> Callable[[Shape], Pair]:
    def build(s: Shape) -> Pair:
        assert s.rows.y is not None
        classes = int(s.rows.y.max()) + 1
        more = embedded or classes
        body = stack(sizes_of(s.latent + more, s.width_g, s.depth_g, s.features), nn.ReLU)
        maker = nn.Sequential(*body, *ends_of(s, False))
        judge = stack(sizes_of(s.features + more, s.width_d, s.depth_d, 1), act, norm_of(s))
        return Conditional(maker, classes, embedded), Conditional(Scores(judge, s.sigmoid), classes, embedded)

    return build


def _family(
    name: str, groups: str, build: Callable[[Shape], Pair], marks: str = "", split: str = "development"
) -> Family:
    return Family(name, frozenset(groups.split()), build, frozenset(marks.split()), split)


FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        _family("mlp-relu", "points pairs", dense(), "relu dense"),
        _family("mlp-leaky", "points pairs", dense(leaky, deeper=1), "dense"),
        _family("mlp-silu", "points pairs", dense(nn.SiLU, nn.SiLU), "dense", split="held-out"),
        _family("batchnorm", "points images pairs", dense(norm="batch"), "relu dense batchnorm colour"),
        _family("layernorm", "points pairs", dense(norm="layer"), "relu dense layernorm"),
        _family("residual", "points pairs", _residual, "relu dense", split="held-out"),
        _family("spectral", "points", dense(spectral=True), "relu dense spectral"),
        _family("bounded", "points", dense(leaky, bounded=True), "dense bounded"),
        _family("conv-transposed", "images", _transposed, "relu batchnorm conv"),
        _family("conv-upsampled", "images", _upsampled, "relu batchnorm conv", split="held-out"),
        _family("conv1d", "waves", _conv1d, "conv1d"),
        _family("conv1d-transposed", "waves", _conv1d_transposed, "conv1d", split="held-out"),
        _family("table-gumbel", "table", dense(norm="batch"), "relu dense batchnorm"),
        _family("table-softmax", "table", _softmaxed, "dense layernorm", split="held-out"),
        _family("embedded", "labelled", _conditional(8, leaky), "relu dense"),
        _family("one-hot", "labelled", _conditional(0, nn.SiLU), "relu dense", split="held-out"),
    )
}
"""Every family of networks by its name."""


def add(*families: Family) -> None:
    """Add families to :data:`FAMILIES`."""
    FAMILIES.update({family.name: family for family in families})


__all__ = ["FAMILIES", "Family", "Shape", "add"]
