"""Real rows: read from a tensor, an array or a loader, and the layout in which the networks take them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, SequentialSampler, Subset

from ..base.errors import DataError

_FEWEST = 16
_NUMBERS = 2**25  # of one-hot rows in memory
_SHAPES = "pass at least 16 rows, (n, d) or (n, c, h, w)"


@dataclass(frozen=True)
class RowForm:
    """How the networks lay out the rows, which the doctor keeps as ``(n, …)``.

    Attributes:
        single: real rows are given as ``(n,)``; kept as ``(n, 1)``.
        flat: the networks take and make ``(n,)``.
        steps: where above 0, the networks take and make ``(steps, n, …)``: time first.
        words: where above 0, real rows are numbers of words and generated ones weights over ``words`` words; real
            ones are kept one-hot.
        whole: rows are whole numbers on both sides, so that a score has no gradient in its input.

    Examples:
        >>> RowForm(words=3).kept(torch.tensor([[0, 2]])).tolist()
        [[[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]]
        >>> RowForm(steps=5).made(torch.zeros(5, 2, 3)).shape
        torch.Size([2, 5, 3])
    """

    single: bool = False
    flat: bool = False
    steps: int = 0
    words: int = 0
    whole: bool = False

    def kept(self, x: Tensor) -> Tensor:
        """Real rows, as the doctor keeps them."""
        if self.steps and len(x) == self.steps and x.dim() > 1:
            x = x.transpose(0, 1)
        if self.words and not x.is_floating_point():
            x = _one_hot(x, self.words)
        return x[:, None] if x.dim() == 1 else x

    def made(self, x: Tensor) -> Tensor:
        """Generated rows, as the doctor keeps them."""
        x = x.transpose(0, 1) if self.steps and x.dim() > 1 else x
        x = x[:, None] if x.dim() == 1 else x
        return x if x.is_floating_point() else x.float()

    def given(self, x: Tensor) -> Tensor:
        """Rows of the doctor's, as the discriminator takes them."""
        x = x.round().long() if self.whole else x
        x = x[:, 0] if self.flat else x
        return x.transpose(0, 1) if self.steps else x


def _one_hot(x: Tensor, words: int) -> Tensor:
    least, largest = (int(x.min()), int(x.max())) if x.numel() else (0, 0)
    if largest >= words or least < 0:
        raise DataError(
            f"real rows hold words {least} to {largest}, and the generator makes weights of {words} words",
            f"number the words of real= from 0 to {words - 1}, or give the generator {largest - min(least, 0) + 1}",
        )
    kept = max(64, _NUMBERS // max(1, words * x[0].numel()))
    return F.one_hot(x[:kept].long(), words).float()


def form_of_rows(rows: Tensor, made: Sequence[Tensor], n: int) -> RowForm:
    """The form that fits real rows and ``n`` generated ones; the plain one where none does.

    Args:
        rows: as the user gave them.
        made: the tensors that the generator returned for ``n`` codes.
        n: the number of codes.
    """
    for x in made:
        whole = not rows.is_floating_point() and not x.is_floating_point()
        if rows.dim() == 1 and (x.shape == (n,) or x.shape == (n, 1)):
            return RowForm(single=True, flat=x.dim() == 1, whole=whole)
        if not x.dim() or rows.dim() == 1:
            continue
        words = x.shape[-1] if not rows.is_floating_point() and x.dim() == rows.dim() + 1 else 0
        shape = tuple(x.shape[:-1] if words else x.shape)
        if shape == (n, *rows.shape[1:]):
            return RowForm(words=words, whole=whole)
        if len(shape) > 1 and shape[0] != n and shape[1] == n:
            steps, rest = shape[0], shape[2:]
            if tuple(rows.shape[2:]) == rest and steps in rows.shape[:2]:
                return RowForm(steps=steps, words=words, whole=whole)
    return RowForm()


def read_rows(real: Any, name: str = "real") -> tuple[Tensor, Tensor | None]:
    """Real rows as one tensor, from a tensor, an array, a list of tensors, or a loader of batches (of tuples).

    Returns:
        The rows, and the labels that a loader of ``(x, y)`` yields with them.

    Raises:
        DataError: ``real`` is of another type, or holds bytes.
    """
    labels: Tensor | None = None
    if isinstance(real, Tensor):
        found = real
    elif isinstance(real, np.ndarray):
        found = torch.from_numpy(real)
    elif isinstance(real, Iterator):
        raise DataError(f"{name}= of type {type(real).__name__}, which can be read only once", "pass the loader itself")
    elif isinstance(real, Iterable):
        found, labels = _gathered(real, name)
    else:
        raise DataError(f"{name}= of type {type(real).__name__}", "pass a tensor (n, …), an array, or a loader")
    if found.dtype == torch.uint8:
        raise DataError(
            f"{name} rows have dtype uint8, which a network cannot take",
            f"pass {name}= in the discriminator's input scale, for example images.float() / 127.5 - 1",
        )
    return found.detach(), labels


def enough(rows: Tensor, form: RowForm, name: str = "real") -> Tensor:
    """The rows as the doctor keeps them.

    Raises:
        DataError: fewer than 16, or numbers ``(n,)`` although the generator makes something else.
    """
    if not rows.dim() or (rows.dim() == 1 and not form.single) or len(kept := form.kept(rows)) < _FEWEST:
        raise DataError(f"{name} rows of shape {tuple(rows.shape)}", _SHAPES)
    return kept


def finite_rows(rows: Tensor) -> Tensor:
    """Which rows hold finite numbers only, ``(n,)``.

    Raises:
        DataError: fewer than 16 rows do.
    """
    finite = torch.isfinite(rows.flatten(1)).all(1) if rows.is_floating_point() else torch.ones(len(rows)).bool()
    if int(finite.sum()) < _FEWEST:
        raise DataError(
            f"{int(finite.sum())} of {len(rows)} real rows are finite", "look for NaN or infinity in the data"
        )
    return finite


def _in_random_order(loader: Iterable[Any], most: int) -> Iterable[Any]:
    sampler = getattr(loader, "sampler", None)
    if not isinstance(loader, DataLoader) or not isinstance(sampler, SequentialSampler) or loader.batch_size is None:
        return loader
    count = len(sampler)
    if count <= most:
        return loader
    chosen = torch.randperm(count, generator=torch.Generator().manual_seed(0))[:most].tolist()
    return DataLoader(Subset(loader.dataset, chosen), loader.batch_size, collate_fn=loader.collate_fn)


def _gathered(loader: Iterable[Any], name: str, most: int = 4096) -> tuple[Tensor, Tensor | None]:
    """The first rows of a loader; with labels if each batch is ``(x, y, …)`` with one ``y`` for each row.

    Of a loader that goes through its data in order, which may be sorted by class, rows at random places.
    """
    parts, labels, count = [], [], 0
    for batch in _in_random_order(loader, most):
        pair = batch if isinstance(batch, (tuple, list)) else (batch,)
        x = pair[0]["x"] if isinstance(pair[0], Mapping) and "x" in pair[0] else pair[0]
        x = torch.from_numpy(x) if isinstance(x, np.ndarray) else x
        if not isinstance(x, Tensor):
            raise DataError(
                f"{name}= with a batch of type {type(x).__name__}", "a tensor (n, …) or a loader of tensors"
            )
        parts.append(x.detach().cpu())
        if len(pair) > 1 and isinstance(pair[1], Tensor) and pair[1].dim() and len(pair[1]) == len(x):
            labels.append(pair[1].detach().cpu())
        count += len(x)
        if count >= most:
            break
    found = torch.cat(parts) if parts else torch.empty(0)
    return found, torch.cat(labels) if parts and len(labels) == len(parts) else None
