"""What the networks return: the generated rows, and one score for each row of the discriminator's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..base.errors import ShapeError

_NAMES = ("score", "scores", "logit", "logits", "validity", "adv")
_CALL = "call={'discriminator': lambda x, y: score of shape (n,)}"


@dataclass(frozen=True)
class ScoreForm:
    """How the discriminator's scores lie.

    Attributes:
        pack: rows that share one score (PacGAN); 1 for one score for each row.
        classes: of the labels; a discriminator with one output more has the fake class last. 0 if not known.
        time_first: whether the networks take rows ``(time, n, …)``.
    """

    pack: int = 1
    classes: int = 0
    time_first: bool = False


def tensors_of(out: Any) -> list[Tensor]:
    """Every tensor in a tensor, a tuple, a list or a dict, in order."""
    if isinstance(out, Tensor):
        return [out]
    parts = out.values() if isinstance(out, Mapping) else out if isinstance(out, (tuple, list)) else ()
    return [tensor for part in parts for tensor in tensors_of(part)]


def generated(out: Any, shape: Sequence[int] = ()) -> Tensor:
    """The generated rows in what a generator returns: the first tensor ``(n, *shape)``, else the first tensor.

    Raises:
        ShapeError: there is no tensor.
    """
    found = tensors_of(out)
    if not found:
        raise ShapeError(f"the generator returns a {type(out).__name__}", "call={'generator': fn} that returns rows")
    fitting = (x for x in found if x.dim() and tuple(x.shape[1:]) == tuple(shape))
    return next(fitting, found[0])


def scores_of(out: Any, n: int, form: ScoreForm) -> Tensor:
    r"""One score for each of ``n`` rows, ``(n,)``.

    A map is averaged, and so are the scores of several discriminators (a list). Of a tuple ``(score, …)`` or a dict
    the score is read. Of ``K + 1`` outputs for ``K`` classes the score is
    :math:`\log\sum_{k \le K} e^{s_k} - s_{K+1}`, the log-odds of "real" (Salimans et al. 2016, section 5).

    Raises:
        ShapeError: there is no score for each row.

    Examples:
        >>> scores_of([torch.ones(4, 1), torch.zeros(4, 1, 2, 2)], 4, ScoreForm())
        tensor([0.5000, 0.5000, 0.5000, 0.5000])
        >>> scores_of({"features": torch.zeros(4, 8), "score": torch.ones(4, 1)}, 4, ScoreForm())
        tensor([1., 1., 1., 1.])
        >>> scores_of(torch.tensor([[1.0], [2.0]]), 4, ScoreForm(pack=2))
        tensor([1., 1., 2., 2.])
    """
    found = [_per_row(one, n, form) for one in score_tensors(out)]
    return found[0] if len(found) == 1 else torch.stack(found).mean(0)


def score_tensors(out: Any) -> list[Tensor]:
    """The tensors of scores in what a discriminator returns; several where it stands for several discriminators.

    Raises:
        ShapeError: there is no tensor.
    """
    if isinstance(out, Mapping):
        named = [out[name] for name in _NAMES if isinstance(out.get(name), Tensor)]
        if named:
            return named[:1]
        out = tuple(out.values())
    if isinstance(out, Tensor):
        return [out]
    if not isinstance(out, (tuple, list)) or not tensors_of(out):
        raise ShapeError(
            f"the discriminator returns a {type(out).__name__}", "call={'discriminator': fn} that returns one tensor"
        )
    if not isinstance(out[0], Tensor):  # several discriminators, each with its features
        return [_of_one(part) for part in out if tensors_of(part)]
    flat = [x for x in out if isinstance(x, Tensor)]
    fitting = [x for x in flat if _is_score(x)]
    several = isinstance(out, list) or (out[0].dim() > 2 and len(fitting) == len(out))
    if several and _is_score(out[0]) and len(flat) == len(out):
        return fitting
    return [out[0]] if _is_score(out[0]) or not fitting else fitting[-1:]


def _of_one(out: Any) -> Tensor:
    """The score of one discriminator of several: of a list of features and a score, the score is the last."""
    if isinstance(out, list) and len(out) > 1 and isinstance(out[-1], Tensor) and _is_score(out[-1]):
        return out[-1]
    return score_tensors(out)[0]


def _is_score(x: Tensor) -> bool:
    """Whether the shape is that of scores: ``(n,)``, ``(n, 1)``, or a map with one channel."""
    if x.dim() < 3:
        return x.dim() == 1 or (x.dim() == 2 and x.shape[1] == 1)
    return x.shape[1] == 1 or x.shape[-1] == 1


def _per_row(out: Tensor, n: int, form: ScoreForm) -> Tensor:
    if form.time_first and out.dim() > 1 and out.shape[0] != n and out.shape[1] == n:
        out = out.transpose(0, 1)
    if form.pack > 1 and out.dim() and len(out) * form.pack == n:
        return _per_row(out, len(out), ScoreForm(1, form.classes)).repeat_interleave(form.pack)
    if out.dim() == 1 and n and len(out) > n and not len(out) % n:
        return out.view(n, -1).mean(1)  # a map that was flattened over the batch
    if out.dim() == 0 or len(out) != n:
        each = "torch.stack([discriminator(row[None]).mean() for row in x])"
        mean = f"; for a mean over the batch: call={{'discriminator': lambda x, y: {each}}}"
        raise ShapeError(
            f"the discriminator returns {tuple(out.shape)} for {n} rows",
            "one score, or one map, for each row" + mean * (out.numel() == 1),
        )
    if out.dim() == 2 and out.shape[1] > 1:
        return _of_classes(out, form)
    return out.flatten(1).mean(1) if out.dim() > 1 else out


def _of_classes(out: Tensor, form: ScoreForm) -> Tensor:
    """The log-odds of "real" from K + 1 logits or probabilities; the last one is the fake class."""
    if out.shape[1] != form.classes + 1 or not form.classes:
        last = "(lambda s: s[:, :-1].logsumexp(1) - s[:, -1])(discriminator(x))"
        raise ShapeError(
            f"the discriminator returns {out.shape[1]} features for each row instead of a score",
            f"{_CALL}; for classes and a last one for fakes: call={{'discriminator': lambda x, y: {last}}}",
        )
    sums = out.detach().sum(1)
    if bool((out.detach() >= 0).all()) and bool(((sums - 1).abs() < 1e-3).all()):
        out = out.clamp(min=1e-12).log()
    return out[:, :-1].logsumexp(1) - out[:, -1]


def assumed(out: Any, n: int, form: ScoreForm) -> list[str]:
    """What was assumed to read one score for each row, where the output allows another reading."""
    found = []
    scores = score_tensors(out)
    if len(scores) > 1:
        found.append(f"the mean of {len(scores)} scores")
    elif not isinstance(out, Tensor):
        others = [x for x in tensors_of(out) if x is not scores[0] and _is_score(x) and x.dim() == scores[0].dim()]
        if others:
            found.append(f"one of {1 + len(others)} outputs that may be scores")
    first = scores[0]
    if form.pack > 1:
        found.append(f"one score for {form.pack} rows, taken as that of each of them")
    elif first.dim() == 1 and len(first) > n:
        found.append(f"{len(first) // n} scores for each row, side by side")
    if first.dim() == 2 and first.shape[1] > 1 and first.shape[1] == form.classes + 1:
        found.append(f"{form.classes} classes and a last one for fakes: logsumexp of the classes - fake")
    return found
