r"""Random changes of images before the discriminator, on both sides and in both players' losses.

With few images a discriminator learns them by heart. If instead it sees :math:`T(x)` and :math:`T(G(z))` for random
:math:`T`, it compares the laws of the changed images, and the generator's gradient flows through :math:`T`:

.. math:: L_D = E[f_D(h(T(x)))] + E[f_G(h(T(G(z))))], \qquad L_G = E[g(h(T(G(z))))]

(Zhao et al. 2020, eqs. 4-5). Changing the real images alone would teach the generator to draw changed ones. With a
probability :math:`p < 1` per operation the law of the data can be read off the law of the changed images, so that the
changes do not appear in the samples (Karras et al. 2020, section 2.2).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from ..base.errors import ConfigError, ShapeError, did_you_mean
from ..base.records import record


def _flipped(x: Tensor, u: Tensor) -> Tensor:
    return torch.where(u[:, 0, None, None, None] < 0.5, x.flip(3), x)


def _recoloured(x: Tensor, u: Tensor) -> Tensor:
    brightness, saturation, contrast = (u[:, i, None, None, None] for i in range(3))
    x = x + (brightness - 0.5)
    gray = x.mean(1, keepdim=True)
    x = gray + 2 * saturation * (x - gray)
    mean = x.mean((1, 2, 3), keepdim=True)
    return mean + (contrast + 0.5) * (x - mean)


def _translated(x: Tensor, u: Tensor) -> Tensor:
    for axis in (2, 3):
        size = x.shape[axis]
        most = int(size / 8 + 0.5)
        shift = (u[:, axis - 2] * (2 * most + 1)).long().clamp(max=2 * most) - most
        source = torch.arange(size, device=x.device) + shift[:, None]
        inside = (source >= 0) & (source < size)
        place = [1, 1, 1, 1]
        place[0], place[axis] = len(x), size
        moved = x.gather(axis, source.clamp(0, size - 1).view(place).expand(x.shape))
        x = moved * inside.view(place).to(x.dtype)
    return x


def _cut(x: Tensor, u: Tensor) -> Tensor:
    kept = torch.zeros(len(x), 1, 1, 1, dtype=torch.bool, device=x.device)
    for axis in (2, 3):
        size = x.shape[axis]
        side = int(size / 2 + 0.5)
        middle = (u[:, axis - 2] * (size + 1 - side % 2)).long()
        away = torch.arange(size, device=x.device) - (middle[:, None] - side // 2)
        place = [1, 1, 1, 1]
        place[0], place[axis] = len(x), size
        kept = kept | ((away < 0) | (away >= side)).view(place)
    return x * kept.to(x.dtype)


_OPERATIONS: dict[str, tuple[int, Callable[[Tensor, Tensor], Tensor]]] = {
    "flip": (1, _flipped),
    "color": (3, _recoloured),
    "translation": (2, _translated),
    "cutout": (2, _cut),
}
"""The operations by name: how many uniform numbers of an image each needs, and what it does with them."""


@record
class Augmentation:
    r"""Random changes of real and generated images alike (DiffAugment; with a ``target``, adaptive as in ADA).

    Each operation is applied to an image with probability :math:`p`, in the order of ``operations``:

    ================ ==============================================================================================
    ``flip``         left and right are exchanged, for half of the images
    ``color``        brightness :math:`x + b`, :math:`b \sim U(-1/2, 1/2)`; saturation: differences from the mean
                     over the channels times :math:`U(0, 2)`; contrast: from the mean of the image times
                     :math:`U(1/2, 3/2)`
    ``translation``  by whole pixels, up to an eighth of each side; what is uncovered is zero (mid-gray)
    ``cutout``       a square of half the sides is zero; part of it may lie outside the image
    ================ ==============================================================================================

    (Zhao et al. 2020, section 3.3 and appendix.) With a ``target``, :math:`p` follows how far the discriminator is sure
    of the training images (Karras et al. 2020, section 3):

    .. math:: r = E[\operatorname{sign}(h(x) - h^*)], \qquad p \leftarrow p + \operatorname{sign}(r - r^*)\, n / N

    after each of the discriminator's turns on :math:`n` images, held in [0, ``most``]. :math:`h^*` is the score of the
    optimal discriminator where both laws are equally likely (0 for logits). Where there is none (relativistic and
    Wasserstein losses) :math:`r = E[\operatorname{sign}(h(x_i) - h(G(z_i)))]` in its place.

    Args:
        operations: the names, in their order.
        probability: :math:`p`, or with a ``target`` where it begins.
        target: :math:`r^*`, in (-1, 1); None keeps ``probability``.
        images: :math:`N`, the number of images in which :math:`p` can go from 0 to 1.
        most: the largest :math:`p`.

    Raises:
        ConfigError: an unknown operation, or a number outside its range.

    Examples:
        >>> change = Augmentation(operations=("flip",))
        >>> x = torch.arange(4.0).view(1, 1, 1, 4)
        >>> change(x, torch.tensor([[0.0, 0.3]]), torch.tensor(1.0)).flatten()  # the gate, and the side
        tensor([3., 2., 1., 0.])
    """

    operations: tuple[str, ...] = ("color", "translation", "cutout")
    probability: float = 1.0
    target: float | None = None
    images: float = 500_000.0
    most: float = 1.0

    def __post_init__(self) -> None:
        if not self.operations:
            raise ConfigError("operations=() changes nothing", settings={"operations": ("color", "translation")})
        for name in self.operations:
            if name not in _OPERATIONS:
                raise ConfigError(f"no operation '{name}'", did_you_mean(name, _OPERATIONS))
        if not 0 <= self.probability <= self.most <= 1:
            what = f"probability={self.probability} and most={self.most}: the rule is 0 <= probability <= most <= 1"
            raise ConfigError(what, settings={"probability": 0.0, "most": 1.0})
        if self.target is not None and not -1 < self.target < 1:
            raise ConfigError(f"target={self.target} is outside (-1, 1)", settings={"target": 0.6})
        if not 0 < self.images < math.inf:
            raise ConfigError(f"images={self.images} is not a positive number", settings={"images": 500_000.0})

    def fits(self, shape: tuple[int, ...]) -> None:
        """Refuse examples that are no images ``(c, h, w)`` with ShapeError."""
        if len(shape) != 3:
            what = f"{type(self).__name__} changes images (c, h, w), not examples of shape {tuple(shape)}"
            raise ShapeError(what, "train it on images, or leave the augmentation out")

    def noise(self, real: Tensor) -> dict[str, Tensor]:
        """Uniform numbers ``(n, k)`` for both sides: for each operation whether it is applied, and how."""
        width = sum(1 + _OPERATIONS[name][0] for name in self.operations)
        return {f"augment_{side}": torch.rand(len(real), width, device=real.device) for side in ("real", "fake")}

    def __call__(self, x: Tensor, uniform: Tensor, probability: Tensor) -> Tensor:
        """Images ``(n, c, h, w)`` changed by uniform numbers ``(n, k)``, each operation with the probability."""
        start = 0
        for name in self.operations:
            count, operation = _OPERATIONS[name]
            gate, own = uniform[:, start], uniform[:, start + 1 : start + 1 + count]
            x = torch.where((gate < probability)[:, None, None, None], operation(x, own), x)
            start += 1 + count
        return x

    def moved(self, probability: Tensor, sure: Tensor, n: int) -> Tensor:
        """The next probability, after a turn on ``n`` images of which the discriminator was ``sure``: :math:`r`."""
        if self.target is None:
            return probability
        return (probability + torch.sign(sure - self.target) * (n / self.images)).clamp(0.0, self.most)
