"""Wrappers of a network's layers: generator, trunk, discriminator and encoder, with their labels and output shapes."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .layers import Reshape, check_input, check_label
from .minibatch import BATCHWISE
from .norms import BatchNorm
from .spectral import spectral


class OneHots(nn.Module):
    r"""The last operation of a generator of tables: a softmax over each one-hot block, numbers as they are.

    .. math:: p_k = \frac{e^{h_k}}{\sum_j e^{h_j}} \qquad\text{and}\qquad x = p_K\, h

    for the entries h of a block, and for a number h that counts at the last entry K of its block only. There is no
    noise here, as in a Gumbel-softmax: categories follow from the code, as numbers do, and a discriminator that meets
    one-hot rows of the data draws the outputs to the corners.

    Args:
        blocks: start and stop of each block, and the place of the number that belongs to its last entry, or -1.

    Examples:
        >>> OneHots(((1, 3, 0),))(torch.tensor([[2.0, -20.0, 20.0], [2.0, 20.0, -20.0]])).round()
        tensor([[2., 0., 1.],
                [0., 1., 0.]])
    """

    def __init__(self, blocks: tuple[tuple[int, int, int], ...]) -> None:
        super().__init__()
        self.blocks = tuple(blocks)

    def forward(self, x: Tensor) -> Tensor:
        """``(n, d)`` to ``(n, d)``."""
        parts, done = [], 0
        for start, stop, number in self.blocks:
            shares = x[:, start:stop].softmax(1)
            if number >= 0:
                parts += [x[:, done:number], x[:, number : number + 1] * shares[:, -1:]]
            else:
                parts.append(x[:, done:start])
            parts.append(shares)
            done = stop
        return torch.cat([*parts, x[:, done:]], dim=1)

    def extra_repr(self) -> str:
        """The number of blocks."""
        return f"{len(self.blocks)} blocks"


class Generator(nn.Module):
    """Latent codes to points; a label, if any, is concatenated to the code.

    Args:
        body: the layers, from ``(n, latent + classes)`` to any shape with the volume of ``shape``.
        latent: size of the latent codes.
        shape: shape of a point, ``(d,)`` or ``(c, h, w)``.
        classes: number of classes; 0 for an unconditional generator.

    Examples:
        >>> net = Generator(nn.Linear(5, 2), latent=2, shape=(2,), classes=3)
        >>> net(torch.randn(4, 2), torch.eye(3)[[0, 1, 2, 0]]).shape
        torch.Size([4, 2])
    """

    def __init__(self, body: nn.Module, latent: int, shape: tuple[int, ...], classes: int = 0) -> None:
        super().__init__()
        self.latent, self.shape, self.classes = latent, tuple(shape), classes
        self.body = body
        self.out: nn.Module = Reshape(self.shape)

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """``z`` ``(n, latent)``, one-hot ``y`` ``(n, classes)``; returns ``(n, *shape)``.

        Raises:
            ShapeError: a code or a label does not fit.
        """
        check_input(z, (self.latent,), "the generator")
        check_label(y, z.shape[0], self.classes, "the generator")
        out: Tensor = self.out(self.body(z if y is None else torch.cat([z, y.to(z.dtype)], dim=1)))
        return out

    def end_in(self, blocks: tuple[tuple[int, int, int], ...]) -> None:
        """End in a softmax over each block (:class:`OneHots`); a generator that does already is left as it is."""
        if blocks and isinstance(self.out, Reshape):
            self.out = nn.Sequential(self.out, OneHots(blocks))


class Trunk(nn.Module):
    """Points to feature vectors: a discriminator without its last layer.

    A label, if any, is concatenated: to a vector as it is, to an image as one constant channel per class.

    Args:
        body: the layers, from points (flattened if ``flat``) to ``(n, features)``.
        shape: shape of a point.
        features: size of the feature vectors.
        classes: number of classes of the label input; 0 for none.
        flat: whether the layers take points as vectors.
        scale: factor by which the points are multiplied first.

    Examples:
        >>> net = Trunk(nn.Linear(2, 8), shape=(2,), features=8)
        >>> net(torch.randn(4, 2)).shape, net.features
        (torch.Size([4, 8]), 8)
    """

    def __init__(
        self,
        body: nn.Module,
        shape: tuple[int, ...],
        features: int,
        classes: int = 0,
        flat: bool = True,
        scale: float = 1.0,
    ) -> None:
        super().__init__()
        self.shape, self.features, self.classes = tuple(shape), features, classes
        self.flat, self.scale = flat, scale
        self.body = body

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """``x`` ``(n, *shape)``, one-hot ``y`` ``(n, classes)``; returns ``(n, features)``.

        Raises:
            ShapeError: a point or a label does not fit.
        """
        check_input(x, self.shape, "the discriminator")
        check_label(y, x.shape[0], self.classes, "the discriminator")
        x = x.flatten(1) if self.flat else x
        x = x if self.scale == 1.0 else x * self.scale
        if y is not None:
            y = y.to(x.dtype)
            plane = y if self.flat else y[:, :, None, None].expand(-1, -1, *x.shape[2:])
            x = torch.cat([x, plane], dim=1)
        out: Tensor = self.body(x)
        return out


class Head(nn.Module):
    r"""A discriminator: a trunk and the last layer, which maps its features to logits.

    Without labels, or if the trunk takes them, :math:`h(x) = w^\top\phi(x) + b`. With ``classes``, the projection
    discriminator (Miyato & Koyama 2018, equation 5)

    .. math:: h(x, y) = w^\top \phi(x) + b + y^\top E\, \phi(x)

    or, if ``auxiliary``, a second output beside the logit (Odena et al. 2017): unnormalised log-probabilities of the
    classes, :math:`l(x) = E\, \phi(x) + c`. The logit then does not depend on the label.

    Args:
        trunk: maps points to ``(n, trunk.features)``.
        classes: classes of the projection or of the auxiliary output; 0 for none.
        spectral_norm: whether the last layer's weight (and E) are divided by their largest singular value.
        auxiliary: whether the classes are an output.

    Examples:
        >>> head = Head(Trunk(nn.Linear(2, 8), (2,), 8), classes=3)
        >>> head(torch.randn(4, 2), torch.eye(3)[[0, 1, 2, 0]]).shape
        torch.Size([4])
    """

    def __init__(self, trunk: Trunk, classes: int = 0, spectral_norm: bool = False, auxiliary: bool = False) -> None:
        super().__init__()
        self.classes, self.auxiliary = classes, auxiliary and classes > 0
        self.trunk = trunk
        self.logit = spectral(nn.Linear(trunk.features, 1), spectral_norm)
        embed = nn.Linear(trunk.features, classes, bias=self.auxiliary) if classes else None
        self.embed = None if embed is None else spectral(embed, spectral_norm)

    @property
    def rowwise(self) -> bool:
        """Whether the logit of a point does not depend on the other points of its batch."""
        return not any(isinstance(module, (BatchNorm, *BATCHWISE)) for module in self.modules())

    def features(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """The input of the last layer, ``(n, trunk.features)``; the label is used only if the trunk takes it."""
        described: Tensor = self.trunk(x, y) if self.embed is None else self.trunk(x)
        return described

    def both(self, x: Tensor, y: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Logits ``(n,)`` and the auxiliary output ``(n, classes)`` in one pass; the label is not used."""
        assert self.auxiliary and self.embed is not None
        check_label(y, x.shape[0], self.classes, "the discriminator")
        features = self.trunk(x)
        return self.logit(features).squeeze(1), self.embed(features)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """``x`` ``(n, *shape)``, one-hot ``y`` ``(n, classes)``; returns logits ``(n,)``, higher for more real.

        Raises:
            ShapeError: a point or a label does not fit.
        """
        if self.auxiliary:
            return self.both(x, y)[0]
        if self.embed is None:
            logits: Tensor = self.logit(self.trunk(x, y)).squeeze(1)
            return logits
        check_label(y, x.shape[0], self.classes, "the discriminator")
        assert y is not None
        features = self.trunk(x)
        projected: Tensor = self.logit(features).squeeze(1) + (self.embed(features) * y.to(features.dtype)).sum(1)
        return projected


class Encoder(nn.Module):
    """A trunk and one affine map: points to latent codes.

    Args:
        trunk: maps points to ``(n, trunk.features)``.
        latent: size of the latent codes.

    Examples:
        >>> Encoder(Trunk(nn.Linear(2, 8), (2,), 8), latent=3)(torch.randn(4, 2)).shape
        torch.Size([4, 3])
    """

    def __init__(self, trunk: Trunk, latent: int) -> None:
        super().__init__()
        self.latent = latent
        self.trunk = trunk
        self.code = nn.Linear(trunk.features, latent)

    def forward(self, x: Tensor) -> Tensor:
        """``x`` ``(n, *shape)``; returns ``(n, latent)``."""
        out: Tensor = self.code(self.trunk(x))
        return out
