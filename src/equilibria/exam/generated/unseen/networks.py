"""Families of networks of the unseen split."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm

from ...field.parts import leaky
from ..networks import Family, Pair, Scores, Shape, Transpose, add, ends_of, norm_of, sizes_of, stack, tops_of

Act = Callable[[], nn.Module]


def _hidden(first: int, width: int, depth: int, act: Act) -> list[nn.Module]:
    """Linear layers that end in an activation."""
    found: list[nn.Module] = []
    for i in range(depth):
        found += [nn.Linear(width if i else first, width), act()]
    return found


class BatchSpread(nn.Module):
    """Puts the mean deviation of the batch beside the features of each row."""

    def forward(self, h: Tensor) -> Tensor:
        """``(n, w)`` to ``(n, w + 1)``."""
        spread = (h.var(0, unbiased=False) + 1e-8).sqrt().mean()
        return torch.cat([h, spread.expand(len(h), 1)], 1)


def _batch_spread(s: Shape) -> Pair:
    """A perceptron, and a discriminator that also sees how far the rows of its batch are apart."""
    maker = nn.Sequential(*stack(sizes_of(s.latent, s.width_g, s.depth_g, s.features), nn.ReLU), *ends_of(s, False))
    layers = _hidden(s.features, s.width_d, s.depth_d, leaky)
    judge = nn.Sequential(nn.Flatten(), *layers, BatchSpread(), nn.Linear((s.width_d if layers else s.features) + 1, 1))
    return maker, Scores(judge, s.sigmoid)


class Capped(nn.Module):
    """Scores within ±12: twelve times the tanh of a twelfth."""

    def forward(self, s: Tensor) -> Tensor:
        """The output."""
        return 12 * (s / 12).tanh()


def _capped(s: Shape) -> Pair:
    """The generator's last layer starts at a third, so that first samples lie close; scores are softly capped."""
    body = stack(sizes_of(s.latent, s.width_g, s.depth_g, s.features), nn.ReLU)
    with torch.no_grad():
        body[-1].weight.mul_(1 / 3)  # type: ignore[operator]
    judge = stack(sizes_of(s.features, s.width_d, s.depth_d, 1), leaky, norm_of(s))
    return nn.Sequential(*body, *ends_of(s, False)), Scores(nn.Sequential(nn.Flatten(), *judge, Capped()), s.sigmoid)


class FourierFeatures(nn.Module):
    """Sines and cosines of fixed random projections, which are parameters without gradient."""

    def __init__(self, first: int, waves: int) -> None:
        super().__init__()
        self.projection = nn.Parameter(0.7 * torch.randn(first, waves), requires_grad=False)

    def forward(self, z: Tensor) -> Tensor:
        """``(n, first)`` to ``(n, 2 * waves + first)``."""
        angle = z @ self.projection
        return torch.cat([angle.sin(), angle.cos(), z], 1)


class TwoHeads(nn.Module):
    """A discriminator whose second head is for another project and takes no part here."""

    def __init__(self, features: int, width: int, depth: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), *_hidden(features, width, depth, leaky))
        self.score = nn.Linear(width if depth else features, 1)
        self.kind = nn.Linear(width if depth else features, 5)

    def forward(self, x: Tensor) -> Tensor:
        """Scores ``(n, 1)``."""
        return self.score(self.body(x))


def _fourier(s: Shape) -> Pair:
    waves = 16
    maker = nn.Sequential(
        FourierFeatures(s.latent, waves),
        *stack(sizes_of(2 * waves + s.latent, s.width_g, s.depth_g, s.features), nn.SiLU),
        *ends_of(s, False),
    )
    return maker, Scores(TwoHeads(s.features, s.width_d, s.depth_d), s.sigmoid)


def _norm_after(s: Shape) -> Pair:
    """Batch norms after the activations, not before them."""
    layers: list[nn.Module] = []
    for i in range(s.depth_g):
        layers += [nn.Linear(s.width_g if i else s.latent, s.width_g), nn.ReLU()]
        layers.append(nn.BatchNorm1d(s.width_g, momentum=s.momentum))
    maker = nn.Sequential(*layers, nn.Linear(s.width_g if layers else s.latent, s.features), *ends_of(s, False))
    judge = stack(sizes_of(s.features, s.width_d, s.depth_d, 1), nn.CELU, norm_of(s))
    return maker, Scores(nn.Sequential(nn.Flatten(), *judge), s.sigmoid)


class Synthesis(nn.Module):
    """A learned constant that layers scale and shift by the mapped code, each with noise of a learned size."""

    def __init__(self, latent: int, width: int, out: int, depth: int = 2) -> None:
        super().__init__()
        self.mapping = nn.Sequential(nn.Linear(latent, width), nn.LeakyReLU(0.2), nn.Linear(width, width))
        self.constant = nn.Parameter(torch.randn(width))
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))
        self.affine = nn.ModuleList(nn.Linear(width, 2 * width) for _ in range(depth))
        self.noise = nn.ParameterList(nn.Parameter(0.02 * torch.ones(())) for _ in range(depth))
        self.last = nn.Linear(width, out)

    def forward(self, z: Tensor) -> Tensor:
        """The output for codes."""
        w = F.leaky_relu(self.mapping(z), 0.2)
        h = self.constant.expand(len(z), -1)
        for layer, affine, size in zip(self.layers, self.affine, self.noise, strict=True):
            scale, shift = affine(w).chunk(2, 1)
            h = layer(h) * (1 + scale) + shift
            h = F.leaky_relu(h + size * torch.randn_like(h), 0.2)
        return self.last(h)


def _synthesis(s: Shape) -> Pair:
    judge = stack(sizes_of(s.features, s.width_d, s.depth_d, 1), leaky, norm_of(s))
    return nn.Sequential(Synthesis(s.latent, s.width_g, s.features), *ends_of(s, False)), Scores(
        nn.Sequential(nn.Flatten(), *judge), s.sigmoid
    )


def _encoder(s: Shape) -> Pair:
    """The code becomes four tokens, which an encoder layer of a transformer mixes."""
    tokens, width = 4, 16
    layer = nn.TransformerEncoderLayer(width, 2, 32, 0.0, "gelu", batch_first=True, norm_first=True)
    maker = nn.Sequential(
        nn.Linear(s.latent, tokens * width), nn.Unflatten(1, (tokens, width)), layer, nn.Flatten(),
        nn.Linear(tokens * width, 64), nn.GELU(), nn.Linear(64, s.features), *ends_of(s, False),
    )  # fmt: skip
    judge = stack(sizes_of(s.features, s.width_d, s.depth_d, 1), nn.GELU)
    return maker, Scores(nn.Sequential(nn.Flatten(), *judge), s.sigmoid)


def _grouped(s: Shape) -> Pair:
    """Transposed convolutions with group norms; the discriminator ends in a convolution over all that is left."""
    channels, start = s.rows.x.shape[1], s.rows.x.shape[-1] // 4
    w, v = s.width_g // 3, s.width_d // 3
    maker = nn.Sequential(
        nn.Unflatten(1, (s.latent, 1, 1)),
        nn.ConvTranspose2d(s.latent, 2 * w, start), nn.GroupNorm(4, 2 * w), nn.ReLU(True),
        nn.ConvTranspose2d(2 * w, w, 4, 2, 1), nn.GroupNorm(4, w), nn.ReLU(True),
        nn.ConvTranspose2d(w, channels, 4, 2, 1), *tops_of(s),
    )  # fmt: skip
    judge = nn.Sequential(
        nn.Conv2d(channels, v, 4, 2, 1), nn.LeakyReLU(0.2, True),
        nn.Conv2d(v, 2 * v, 4, 2, 1), nn.LeakyReLU(0.2, True),
        nn.Conv2d(2 * v, 1, start),
    )  # fmt: skip
    return maker, Scores(judge, s.sigmoid)


class Up(nn.Module):
    """A residual block that doubles the side of an image."""

    def __init__(self, width: int, momentum: float) -> None:
        super().__init__()
        self.bn1, self.bn2 = nn.BatchNorm2d(width, momentum=momentum), nn.BatchNorm2d(width, momentum=momentum)
        self.conv1, self.conv2 = nn.Conv2d(width, width, 3, 1, 1), nn.Conv2d(width, width, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """``(n, c, h, h)`` to ``(n, c, 2h, 2h)``."""
        h = self.conv1(F.relu(self.bn1(x)))
        h = self.conv2(F.interpolate(F.relu(self.bn2(h)), scale_factor=2))
        return h + F.interpolate(x, scale_factor=2)


class Down(nn.Module):
    """A residual block that halves the side of an image."""

    def __init__(self, a: int, b: int) -> None:
        super().__init__()
        self.conv, self.shortcut = nn.Conv2d(a, b, 4, 2, 1), nn.Conv2d(a, b, 1)

    def forward(self, x: Tensor) -> Tensor:
        """``(n, a, 2h, 2h)`` to ``(n, b, h, h)``."""
        return self.conv(F.relu(x)) + self.shortcut(F.avg_pool2d(x, 2))


def _resnet(s: Shape) -> Pair:
    channels, start = s.rows.x.shape[1], s.rows.x.shape[-1] // 2
    w, v = s.width_g // 4, s.width_d // 4
    maker = nn.Sequential(
        nn.Linear(s.latent, w * start**2), nn.Unflatten(1, (w, start, start)), Up(w, s.momentum),
        nn.BatchNorm2d(w, momentum=s.momentum), nn.ReLU(), nn.Conv2d(w, channels, 3, 1, 1),
        *tops_of(s),
    )  # fmt: skip
    judge = nn.Sequential(Down(channels, v), Down(v, v), nn.ReLU(), nn.Flatten(), nn.Linear(v * (start // 2) ** 2, 1))
    return maker, Scores(judge, s.sigmoid)


class OverPatches(nn.Module):
    """The mean over patches."""

    def forward(self, x: Tensor) -> Tensor:
        """``(n, 1, h, w)`` to ``(n, 1)``."""
        return x.mean((2, 3))


def _patches(s: Shape) -> Pair:
    """Pixels are unfolded from weight-normed convolutions; the score is a mean of the scores of patches."""
    channels, start = s.rows.x.shape[1], s.rows.x.shape[-1] // 4
    w, v = s.width_g // 3, s.width_d // 2
    maker = nn.Sequential(
        nn.Linear(s.latent, 4 * w * start**2), nn.Unflatten(1, (4 * w, start, start)), nn.PixelShuffle(2),
        nn.SiLU(), weight_norm(nn.Conv2d(w, 4 * w, 3, 1, 1)), nn.SiLU(), nn.PixelShuffle(2),
        nn.Conv2d(w, channels, 3, 1, 1), *tops_of(s),
    )  # fmt: skip
    judge = nn.Sequential(
        nn.Conv2d(channels, v, 4, 2, 1), leaky(), nn.Conv2d(v, 2 * v, 4, 2, 1), leaky(), nn.Conv2d(2 * v, 1, 1),
        OverPatches(),
    )  # fmt: skip
    return maker, Scores(judge, s.sigmoid)


class Unrolled(nn.Module):
    """A recurrent network that gets the code at each turn and writes four moments in each."""

    def __init__(self, latent: int, length: int, width: int, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.start, self.bring = nn.Linear(latent, width), nn.Linear(latent, width)
        self.time = nn.Parameter(0.5 * torch.randn(length // 4, width))
        self.cell, self.out = nn.GRU(width, width, batch_first=True), nn.Linear(width, 4 * channels)

    def forward(self, z: Tensor) -> Tensor:
        """Series ``(n, t, c)``."""
        states, _ = self.cell(self.bring(z)[:, None] + self.time, self.start(z).tanh()[None])
        return self.out(states).reshape(len(z), -1, self.channels)


def _recurrent(s: Shape) -> Pair:
    length, channels = s.rows.x.shape[1:]
    v = s.width_d // 4
    judge = nn.Sequential(
        Transpose(), nn.Conv1d(channels, v, 5, 2, 2), leaky(), nn.Conv1d(v, v, 3, 2, 1), leaky(), nn.Flatten(),
        nn.Linear(v * length // 4, 1),
    )  # fmt: skip
    return Unrolled(s.latent, length, 32, channels), Scores(judge, s.sigmoid)


def _linear_units(s: Shape) -> Pair:
    """Gated convolutions over time; the discriminator has group norms and pools at its end."""
    length, channels = s.rows.x.shape[1:]
    w, v = s.width_g // 4, s.width_d // 4
    maker = nn.Sequential(
        nn.Linear(s.latent, w * length), nn.Unflatten(1, (w, length)),
        weight_norm(nn.Conv1d(w, 2 * w, 5, 1, 2)), nn.GLU(1), weight_norm(nn.Conv1d(w, 2 * w, 5, 1, 2)), nn.GLU(1),
        nn.Conv1d(w, channels, 3, 1, 1), Transpose(),
    )  # fmt: skip
    judge = nn.Sequential(
        Transpose(), nn.Conv1d(channels, v, 4, 2, 1), nn.SiLU(), nn.Conv1d(v, v, 3, 1, 1), nn.GroupNorm(4, v),
        nn.SiLU(), nn.Flatten(), nn.Linear(v * length // 2, 1),
    )  # fmt: skip
    return maker, Scores(judge, s.sigmoid)


class Columns(nn.Module):
    """Brings the numbers of a table and the embedding of each of its categories side by side."""

    def __init__(self, features: int, blocks: tuple[int, ...], width: int = 6) -> None:
        super().__init__()
        self.sizes = [features - sum(blocks), *blocks]
        self.embed = nn.ModuleList(nn.Linear(size, width, bias=False) for size in blocks)
        self.out = self.sizes[0] + width * len(blocks)

    def forward(self, x: Tensor) -> Tensor:
        """Rows of the table to features."""
        numbers, *groups = x.split(self.sizes, 1)
        return torch.cat([numbers, *[e(g) for e, g in zip(self.embed, groups, strict=True)]], 1)


def _entities(s: Shape) -> Pair:
    """A generator of tables with batch norms, and a discriminator that embeds categories."""
    body = stack(
        sizes_of(s.latent, s.width_g, s.depth_g, s.features), nn.GELU, lambda n: nn.BatchNorm1d(n, momentum=s.momentum)
    )
    columns = Columns(s.features, s.rows.blocks)
    judge = nn.Sequential(columns, *stack(sizes_of(columns.out, s.width_d, s.depth_d, 1), nn.Mish, norm_of(s)))
    return nn.Sequential(*body, *ends_of(s, False)), Scores(judge, s.sigmoid)


class Times(nn.Module):
    """A generator whose code is multiplied by the embedding of the class."""

    def __init__(self, body: nn.Module, classes: int, latent: int) -> None:
        super().__init__()
        self.body, self.label_emb = body, nn.Embedding(classes, latent)

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        """Rows for codes and classes."""
        return self.body(z * self.label_emb(y) + self.label_emb(y))


class Beside(nn.Module):
    """A discriminator of rows that have an embedding of their class as further columns."""

    def __init__(self, body: nn.Module, classes: int, columns: int) -> None:
        super().__init__()
        self.body, self.label_emb = body, nn.Embedding(classes, columns)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Scores ``(n,)``."""
        return self.body(torch.cat((x, self.label_emb(y)), -1))


def _times(s: Shape) -> Pair:
    assert s.rows.y is not None
    classes = int(s.rows.y.max()) + 1
    body = nn.Sequential(*stack(sizes_of(s.latent, s.width_g, s.depth_g, s.features), nn.ReLU), *ends_of(s, False))
    judge = Scores(stack(sizes_of(2 * s.features, s.width_d, s.depth_d, 1), leaky, norm_of(s)), s.sigmoid)
    return Times(body, classes, s.latent), Beside(judge, classes, s.features)


class NormByClass(nn.Module):
    """A batch norm whose scale and shift come from the class."""

    def __init__(self, width: int, classes: int, momentum: float) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(width, affine=False, momentum=momentum)
        self.gamma, self.beta = nn.Embedding(classes, width), nn.Embedding(classes, width)
        nn.init.ones_(self.gamma.weight)
        nn.init.normal_(self.beta.weight, std=0.3)

    def forward(self, h: Tensor, y: Tensor) -> Tensor:
        """``(n, w)`` to the same shape."""
        return self.gamma(y) * self.norm(h) + self.beta(y)


class NormedMaker(nn.Module):
    """A generator with such norms."""

    def __init__(self, s: Shape, classes: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(s.width_g if i else s.latent, s.width_g) for i in range(s.depth_g))
        self.norms = nn.ModuleList(NormByClass(s.width_g, classes, s.momentum) for _ in range(s.depth_g))
        self.last = nn.Sequential(nn.Linear(s.width_g if s.depth_g else s.latent, s.features), *ends_of(s, False))

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        """Rows for codes and classes."""
        for layer, norm in zip(self.layers, self.norms, strict=True):
            z = torch.relu(norm(layer(z), y))
        return self.last(z)


class ShiftedJudge(nn.Module):
    """A discriminator in which the class shifts the first hidden layer."""

    def __init__(self, s: Shape, classes: int) -> None:
        super().__init__()
        self.first, self.shift = nn.Linear(s.features, s.width_d), nn.Embedding(classes, s.width_d)
        self.rest = Scores(
            nn.Sequential(leaky(), *stack(sizes_of(s.width_d, s.width_d, max(0, s.depth_d - 1), 1), leaky)), s.sigmoid
        )

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Scores ``(n,)``."""
        return self.rest(self.first(x) + self.shift(y))


def _norm_by_class(s: Shape) -> Pair:
    assert s.rows.y is not None
    classes = int(s.rows.y.max()) + 1
    return NormedMaker(s, classes), ShiftedJudge(s, classes)


def _family(name: str, groups: str, build: Callable[[Shape], Pair], marks: str) -> Family:
    return Family(name, frozenset(groups.split()), build, frozenset(marks.split()), "unseen")


add(
    _family("batch-spread", "points images pairs", _batch_spread, "relu dense colour"),
    _family("capped", "points pairs", _capped, "relu dense"),
    _family("fourier", "points pairs", _fourier, "dense"),
    _family("norm-after", "points pairs", _norm_after, "relu dense batchnorm"),
    _family("synthesis", "points", _synthesis, ""),
    _family("encoder", "points pairs", _encoder, "layernorm"),
    _family("grouped", "images", _grouped, "relu conv"),
    _family("resnet", "images", _resnet, "relu batchnorm conv"),
    _family("patches", "images", _patches, "conv colour"),
    _family("recurrent", "waves", _recurrent, "conv1d"),
    _family("linear-units", "waves", _linear_units, "conv1d"),
    _family("entities", "table", _entities, "dense batchnorm"),
    _family("times", "labelled", _times, "relu dense"),
    _family("norm-by-class", "labelled", _norm_by_class, "relu batchnorm"),
)
