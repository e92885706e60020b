"""A small image classifier for class metrics: label agreement, class coverage, and the features of digit-FID."""

from __future__ import annotations

import hashlib
import math
import os
import warnings
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from ..base.errors import DataError, ShapeError
from .checks import generator

# Part of the cache key: increase it when the architecture or the training procedure changes.
_VERSION = 1
_WIDTH = 64
_ROWS = 1000


class Classifier(nn.Module):
    """A convolutional classifier without normalisation layers: its output for a row depends on that row only.

    Two 3x3 convolutions with max pooling, a layer of 64 features, a linear head. Made by :func:`train_classifier`.

    Args:
        shape: ``(c, h, w)`` of an image.
        classes: number of classes.
        seed: seed of the initial weights.

    Attributes:
        accuracy: share of held-out rows classified correctly; quote it with every number the classifier gives.
        shares: ``(classes,)`` share of each class in its training set.

    Examples:
        >>> classifier = Classifier((1, 8, 8), 10, seed=0)
        >>> classifier.predict(torch.zeros(3, 1, 8, 8)).shape, classifier.features(torch.zeros(3, 1, 8, 8)).shape
        (torch.Size([3]), torch.Size([3, 64]))
    """

    def __init__(self, shape: tuple[int, int, int], classes: int, seed: int) -> None:
        super().__init__()
        channels, height, width = shape
        # No pooling after the first convolution for images below 16 pixels.
        first = 2 if min(height, width) >= 16 else 1
        cells = (height // first // 2) * (width // first // 2)
        self.shape, self.classes, self.accuracy = (channels, height, width), classes, math.nan
        self.shares: Tensor
        self.register_buffer("shares", torch.full((classes,), 1 / classes))
        # The layers draw initial weights from the global generator, whose state a running training may depend on.
        with torch.random.fork_rng(devices=[]):
            self.body = nn.Sequential(
                nn.Conv2d(channels, 16, 3, padding=1),
                nn.MaxPool2d(first),
                nn.ReLU(),
                nn.Conv2d(16, 32, 3, padding=1),
                nn.MaxPool2d(2),
                nn.ReLU(),
                nn.Flatten(),
                nn.Linear(32 * cells, _WIDTH),
                nn.ReLU(),
            )
            self.head = nn.Linear(_WIDTH, classes)
        draws = generator(seed)
        for values in self.parameters():
            if values.dim() > 1:
                nn.init.kaiming_normal_(values, nonlinearity="relu", generator=draws)
            else:
                nn.init.zeros_(values)

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``(n, classes)`` of images ``(n, c, h, w)`` in [-1, 1]."""
        logits: Tensor = self.head(self.body(x))
        return logits

    @torch.no_grad()
    def features(self, x: Tensor) -> Tensor:
        """The 64 features before the head, ``(n, 64)``.

        Args:
            x: ``(n, c, h, w)``, float in [-1, 1] or uint8.

        Raises:
            ShapeError: the images have another shape than the training images.
        """
        place = self.head.weight.device
        return torch.cat([self.body(rows.to(place)) for rows in torch.split(images(x, self.shape), _ROWS)])

    @torch.no_grad()
    def predict(self, x: Tensor) -> Tensor:
        """The most probable class of each image, ``(n,)`` int64. Arguments and errors as in :meth:`features`."""
        classes: Tensor = self.head(self.features(x)).argmax(1)
        return classes


def stacked_classes(classifier: Classifier, x: Tensor) -> Tensor:
    """The class of stacked images: the number whose digits are the classes of the channels, most significant first.

    Three digits in RGB give 1000 classes (Metz et al. 2017, section 3.3.1).

    Args:
        classifier: a classifier of one-channel images.
        x: ``(n, c, h, w)``, every channel is one image.

    Returns:
        ``(n,)`` int64 from 0 to ``classifier.classes ** c - 1``.

    Raises:
        ShapeError: the channels do not have the shape of the classifier's images.

    Examples:
        >>> classifier = Classifier((1, 8, 8), 10, seed=0)
        >>> one = int(classifier.predict(torch.zeros(1, 1, 8, 8)))
        >>> int(stacked_classes(classifier, torch.zeros(1, 3, 8, 8))) == 111 * one
        True
    """
    if x.dim() != 4 or classifier.shape[0] != 1:
        raise ShapeError(f"stacked images of shape {tuple(x.shape)}", "pass (n, c, h, w) and a one-channel classifier")
    digits = [classifier.predict(x[:, c : c + 1]) for c in range(x.shape[1])]
    return torch.stack([digit * classifier.classes**place for place, digit in enumerate(reversed(digits))]).sum(0)


def images(x: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """``x`` as float32 images in [-1, 1] of the given shape; uint8 is mapped as ``x / 127.5 - 1``.

    Raises:
        ShapeError: another shape, or no image.

    Examples:
        >>> images(torch.full((1, 1, 2, 2), 255, dtype=torch.uint8), (1, 2, 2)).max().item()
        1.0
    """
    if x.dim() != 4 or tuple(x.shape[1:]) != shape or not len(x):
        raise ShapeError(f"images of shape {tuple(x.shape)} for a classifier of {shape}", f"pass (n, {shape})")
    x = x.detach()
    return x.float() / 127.5 - 1 if x.dtype == torch.uint8 else x.float()


def train_classifier(
    x: Tensor,
    y: Tensor,
    *,
    test: tuple[Tensor, Tensor] | None = None,
    seed: int = 0,
    steps: int = 1500,
    cache: Path | None = None,
) -> Classifier:
    """A trained :class:`Classifier`; read from the cache if it exists for the same data, seed and steps.

    Adam on the cross entropy in batches of 128, learning rate 2e-3 annealed to zero by a half cosine. On MNIST 1500
    steps are three epochs: about a minute on one core.

    Args:
        x: ``(n, c, h, w)`` training images, float in [-1, 1] or uint8.
        y: ``(n,)`` classes 0 … K - 1.
        test: images and classes on which ``accuracy`` is measured; without it a tenth of the rows is held out for that.
        seed: seed of the weights, the order of rows and the split.
        steps: number of training batches.
        cache: folder of trained weights; by default ``classifiers`` in ``$EQUILIBRIA_DATA`` or ``~/.cache/equilibria``.

    Raises:
        DataError: classes are missing, negative or not one per image; fewer than two classes.
        ShapeError: ``x`` is not a stack of images of at least 4x4 pixels.

    Examples:
        >>> import tempfile
        >>> x, y = torch.linspace(-1, 1, 64).sign().reshape(64, 1, 1, 1).expand(64, 1, 8, 8), torch.arange(64) // 32
        >>> train_classifier(x, y, steps=30, cache=Path(tempfile.mkdtemp())).accuracy
        1.0
    """
    _check(x, y)
    if test is None:
        order = torch.randperm(len(x), generator=generator(seed))
        kept = max(1, len(x) // 10)
        test, x, y = (x[order[:kept]], y[order[:kept]]), x[order[kept:]], y[order[kept:]]
    counts = torch.bincount(y.cpu().long())
    if not bool((counts > 0).all()) or len(counts) < 2:
        raise DataError(f"rows by class: {counts.tolist()}", "give training rows of every class from 0 on")
    classifier = Classifier((int(x.shape[1]), int(x.shape[2]), int(x.shape[3])), len(counts), seed)
    key = _key((x, y, *test), seed, steps)
    path = (cache if cache is not None else _folder()) / f"{key}.safetensors"
    if _load(classifier, path):
        return classifier
    classifier.shares.copy_(counts / counts.sum())
    _fit(classifier, images(x, classifier.shape), y.cpu().long(), seed, steps)
    classifier.accuracy = float((classifier.predict(test[0]).cpu() == test[1].cpu()).double().mean())
    _save(classifier, path)
    return classifier


def _check(x: Tensor, y: Tensor) -> None:
    if x.dim() != 4 or len(x) < 2 or min(x.shape[2:]) < 4:
        raise ShapeError(f"training images of shape {tuple(x.shape)}", "pass (n, c, h, w) of at least 4x4 pixels")
    if y.shape != (len(x),) or y.is_floating_point() or int(y.min()) < 0:
        raise DataError(f"classes of shape {tuple(y.shape)}, {y.dtype}", f"pass {len(x)} integers from 0 on")


def _fit(classifier: Classifier, x: Tensor, y: Tensor, seed: int, steps: int) -> None:
    x = x.cpu()
    rate = torch.optim.Adam(classifier.parameters(), lr=2e-3)
    plan = torch.optim.lr_scheduler.CosineAnnealingLR(rate, steps)
    draws, batch = generator(seed + 1), min(128, len(x))
    order = torch.randperm(len(x), generator=draws)
    for _ in range(steps):
        if len(order) < batch:
            order = torch.cat([order, torch.randperm(len(x), generator=draws)])
        rows, order = order[:batch], order[batch:]
        rate.zero_grad()
        torch.autograd.backward(nn.functional.cross_entropy(classifier(x[rows]), y[rows]))
        rate.step()
        plan.step()
    classifier.requires_grad_(False)


def _folder() -> Path:
    return Path(os.environ.get("EQUILIBRIA_DATA") or Path.home() / ".cache" / "equilibria") / "classifiers"


def _key(tensors: tuple[Tensor, ...], seed: int, steps: int) -> str:
    digest = hashlib.sha256(f"{_VERSION} {seed} {steps}".encode())
    for t in tensors:
        digest.update(f"{t.dtype} {tuple(t.shape)}".encode())
        digest.update(t.detach().cpu().contiguous().numpy().data)
    return digest.hexdigest()[:24]


def _load(classifier: Classifier, path: Path) -> bool:
    """Load the weights; returns False if the file is missing or cannot be read."""
    try:
        with safe_open(path, framework="pt") as held:
            classifier.load_state_dict({name: held.get_tensor(name) for name in held.keys()})  # noqa: SIM118
            classifier.accuracy = float(held.metadata()["accuracy"])
    except (OSError, SafetensorError, RuntimeError, KeyError, TypeError, ValueError):
        return False
    classifier.requires_grad_(False)
    return True


def _save(classifier: Classifier, path: Path) -> None:
    # A different temporary name for every process: several runs may train the same classifier at once.
    part = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(classifier.state_dict(), part, metadata={"accuracy": repr(classifier.accuracy)})
        os.replace(part, path)
    except OSError as error:
        warnings.warn(f"classifier not cached at {path}: {error}", stacklevel=3)
