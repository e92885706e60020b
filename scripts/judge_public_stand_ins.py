"""Stand-ins for what public training scripts import and this project does not install: small data, no files.

``install(images)`` puts modules named ``torchvision`` (``datasets``, ``transforms``, ``utils``), ``datasets`` (pairs of
images, as the translation scripts define it) and ``dataset`` into ``sys.modules``. All images are scikit-learn's
handwritten digits, scaled up.
"""

from __future__ import annotations

import sys
import types
from typing import Any

import torch
from sklearn.datasets import load_digits, load_wine
from torch import Tensor
from torch.nn import functional

ROWS = 640


class Resize:
    """Bilinear, to a square of ``size`` pixels (a tuple counts by its first entry)."""

    def __init__(self, size: Any, *_: Any) -> None:
        self.size = int(size[0] if isinstance(size, tuple) else size)

    def __call__(self, x: Tensor) -> Tensor:
        return functional.interpolate(x[None], size=(self.size, self.size), mode="bilinear", align_corners=False)[0]


class Normalize:
    """``(x - mean) / std`` for each channel."""

    def __init__(self, mean: Any, std: Any, inplace: bool = False) -> None:
        self.mean, self.std = (torch.tensor(v, dtype=torch.float32).view(-1, 1, 1) for v in (mean, std))

    def __call__(self, x: Tensor) -> Tensor:
        return (x - self.mean) / self.std


class Crop:
    """The middle of the size asked for."""

    def __init__(self, size: Any) -> None:
        self.size = int(size[0] if isinstance(size, tuple) else size)

    def __call__(self, x: Tensor) -> Tensor:
        at = (x.shape[-1] - self.size) // 2
        return x[:, at : at + self.size, at : at + self.size]


class Compose:
    """One transform after the other."""

    def __init__(self, steps: Any) -> None:
        self.steps = list(steps)

    def __call__(self, x: Tensor) -> Tensor:
        for step in self.steps:
            x = step(x)
        return x


class ToTensor:
    """Values from 0 to 255 become values from 0 to 1."""

    def __call__(self, x: Tensor) -> Tensor:
        return x / 255


class Same:
    """Changes nothing: a flip would make another digit."""

    def __init__(self, *_: Any) -> None:
        pass

    def __call__(self, x: Tensor) -> Tensor:
        return x


def digits(channels: int) -> tuple[Tensor, list[int]]:
    """Digits ``(n, channels, 8, 8)`` with values from 0 to 255, and their classes."""
    found = load_digits()
    x = torch.tensor(found.images[:ROWS], dtype=torch.float32)[:, None] * (255 / 16)
    return x.repeat(1, channels, 1, 1), [int(y) for y in found.target[:ROWS]]


class Digits(torch.utils.data.Dataset[Any]):
    """Transformed once; each item is ``(image, class)``."""

    channels = 1

    def __init__(self, root: Any = None, *_: Any, transform: Any = None, **__: Any) -> None:
        x, self.y = digits(self.channels)
        self.x = [transform(one) for one in x] if transform else list(x)

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> Any:
        return self.x[index], self.y[index]


class ColourDigits(Digits):
    """The same with three channels."""

    channels = 3


class Pairs(torch.utils.data.Dataset[Any]):
    """Items ``{"A": image, "B": the same image, or with ``unaligned`` another one, blurred and inverted}``."""

    def __init__(self, root: Any, transforms_: Any, unaligned: bool = False, mode: str = "train") -> None:
        x, _ = digits(3)
        transform = Compose(transforms_)
        other = 255 - functional.avg_pool2d(functional.pad(x, (1, 1, 1, 1)), 3, 1)
        self.a, self.b = [transform(one) for one in x], [transform(one) for one in other]
        self.shift = 7 if unaligned else 0

    def __len__(self) -> int:
        return len(self.a)

    def __getitem__(self, index: int) -> Any:
        return {"A": self.a[index], "B": self.b[(index + self.shift) % len(self.b)]}


class Resolutions(ColourDigits):
    """Images of one resolution, without classes."""

    def __init__(self, path: Any, transform: Any, resolution: int) -> None:
        super().__init__(transform=Compose([Resize(resolution), transform]))

    def __getitem__(self, index: int) -> Any:
        return self.x[index]


class Wine:
    """Encodes a table: each number in [-1, 1] beside one of two modes, each class one-hot."""

    def fit(self, table: Any, discrete: Any) -> None:
        span = types.SimpleNamespace
        self.discrete = set(discrete)
        self.output_info_list = [
            [span(dim=table[c].nunique(), activation_fn="softmax")]
            if c in self.discrete
            else [span(dim=1, activation_fn="tanh"), span(dim=2, activation_fn="softmax")]
            for c in table
        ]
        self.output_dimensions = sum(s.dim for column in self.output_info_list for s in column)

    def transform(self, table: Any) -> Any:
        parts = []
        for c in table:
            x = torch.tensor(table[c].to_numpy(), dtype=torch.float32)
            if c in self.discrete:
                parts.append(functional.one_hot(x.long()).float())
                continue
            upper = (x > x.median()).long()
            centre = torch.stack([x[upper == k].mean() for k in (0, 1)])[upper]
            scale = torch.stack([(x - centre)[upper == k].abs().max() for k in (0, 1)])[upper]
            parts += [((x - centre) / scale)[:, None], functional.one_hot(upper, 2).float()]
        return torch.cat(parts, 1).numpy()


def wine() -> Any:
    """Four numbers and the class of scikit-learn's wines."""
    frame = load_wine(as_frame=True).frame
    return frame[["alcohol", "malic_acid", "flavanoids", "hue", "target"]]


def module(name: str, **entries: Any) -> types.ModuleType:
    """A module with these entries, importable from now on."""
    made = types.ModuleType(name)
    made.__dict__.update(entries)
    sys.modules[name] = made
    return made


def nothing(*_: Any, **__: Any) -> Any:
    """What saves or loads files."""
    return torch.zeros(1, 1, 1)


def install() -> None:
    """Make the stand-ins importable."""
    utils = module("torchvision.utils", save_image=nothing, make_grid=nothing)
    sets = module("torchvision.datasets", MNIST=Digits, CIFAR10=ColourDigits, ImageFolder=ColourDigits)
    changes = module(
        "torchvision.transforms", Compose=Compose, Resize=Resize, Normalize=Normalize, ToTensor=ToTensor,
        RandomCrop=Crop, CenterCrop=Crop, RandomHorizontalFlip=Same,
    )  # fmt: skip
    module("torchvision", utils=utils, datasets=sets, transforms=changes, __path__=[])
    module("datasets", ImageDataset=Pairs, Image=types.SimpleNamespace(BICUBIC=3))
    module("pkg_resources", parse_version=lambda version: tuple(int(v) for v in version.split("+")[0].split(".")[:2]))
    module("dataset", MultiResolutionDataset=Resolutions)
    module("ctgan.data_transformer", DataTransformer=Wine)
    import torch.utils.cpp_extension

    torch.utils.cpp_extension.load = nothing
