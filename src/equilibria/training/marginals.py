r"""Rows of a table from what a generator gives: categories are decided, marginal laws are corrected.

A generator of a table gives shares p over the entries of each one-hot block, and real numbers. Its marginal laws are
close to the data's and not equal to them, and a rare category or a long tail that is off by a little spoils the mean
and the spread of its column. What is known best of a table are the marginal laws of its columns: n rows give each
distribution function up to about :math:`n^{-1/2}`. So samples are corrected by the smallest change of each column that
gives it the data's marginal law; what the generator has learned, the dependence of the columns on one another, is kept:

- of a block, the row takes the entry :math:`\arg\max_k (\log p_k + b_k)`, with offsets b for which each entry is taken
  as often as in the training rows. They are the dual variables of the transport of the shares to the entries
  (semi-discrete optimal transport with the profit :math:`\log p_k`, see Peyré & Cuturi 2019, section 5.2);
- of a number, its rank among the generator's decides: :math:`x \mapsto \Phi^{-1}(F_G(x))`, the optimal transport on the
  line to the normal scores of :mod:`equilibria.data.encoding` (ibid., remark 2.30).

Offsets and ranks are measured on samples of fixed seeds, as the statistics of batch norms are, so a sample depends on
its own codes only. They are no part of the run's state.
"""

from __future__ import annotations

from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..base.randomness import mix
from ..core.game import Game
from ..core.play import Play
from ..data.encoding import Encoding, TableField, normal_scores

ROWS = 20_000
"""Samples that offsets and ranks are measured on."""
FEW = 4000
"""The same for the pictures of a run in training, which are many."""
_PIECE = 2000
_KNOTS = 1001
_SWEEPS = 400
_LEAST = 1e-30  # a share: the logarithm of less is that of this

_measured: WeakKeyDictionary[Game, tuple[tuple[int, ...], tuple[Correction, ...]]] = WeakKeyDictionary()


@dataclass(frozen=True)
class Column:
    """The correction of one column.

    Attributes:
        offsets: ``(k,)`` of the entries of its block; empty without one.
        ranks: the generator's numbers at ``_KNOTS`` evenly spaced normal scores; empty without numbers.
    """

    offsets: NDArray[np.float64]
    ranks: NDArray[np.float64]


@dataclass(frozen=True)
class Correction:
    """The corrections of all columns, in their order."""

    columns: tuple[Column, ...]

    def __call__(self, rows: NDArray[np.floating], encoding: Encoding) -> NDArray[np.float32]:
        """Rows ``(n, width)`` of the generator as encoded rows of the table."""
        parts = []
        for column, field, place in zip(self.columns, encoding.fields, encoding.places, strict=True):
            if field.width:
                parts.append(_corrected(column, field, rows[:, place].astype(np.float64)))
        return np.concatenate(parts, axis=1).astype(np.float32)


def _corrected(column: Column, field: TableField, rows: NDArray[np.float64]) -> NDArray[np.float64]:
    entry, numbers = _entries(field, rows, column.offsets)
    made = np.zeros_like(rows)
    if field.block:
        made[np.arange(len(rows)), field.continuous + entry] = 1.0
    if field.continuous:
        other = entry == field.entries - 1
        scores = np.interp(numbers[other], column.ranks, _scores(field)) if len(column.ranks) else numbers[other]
        made[other, 0] = field.score(field.number(scores))  # a value that the column can have
    return made


def _entries(
    field: TableField, rows: NDArray[np.float64], offsets: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The entry of each row, and its number, which a generator of tables multiplies by the share of the last entry."""
    numbers = rows[:, 0]
    if not field.block:
        return np.zeros(len(rows), dtype=np.int64), numbers
    shares = np.maximum(rows[:, int(field.continuous) :], _LEAST)
    entry = (np.log(shares) + offsets).argmax(1)
    return entry, numbers / np.maximum(shares[:, -1], 0.05)


def _scores(field: TableField) -> NDArray[np.float64]:
    return np.linspace(-field.reach, field.reach, _KNOTS)


def fitted(rows: NDArray[np.floating], encoding: Encoding) -> Correction:
    """The correction that gives these samples ``(n, width)`` of a generator the marginal laws of the data."""
    columns = []
    for field, place in zip(encoding.fields, encoding.places, strict=True):
        own = rows[:, place].astype(np.float64)
        offsets = np.zeros(0)
        if field.block:
            logs = np.log(np.maximum(own[:, int(field.continuous) :], _LEAST))
            offsets = offsets_of(logs, np.asarray(field.shares))
        ranks = np.zeros(0)
        if field.continuous:
            entry, numbers = _entries(field, own, offsets)
            kept = np.sort(numbers[entry == field.entries - 1])
            if len(kept) > 1:
                at = normal_scores((np.arange(len(kept)) + 0.5) / len(kept))
                ranks = np.maximum.accumulate(np.interp(_scores(field), at, kept))
        columns.append(Column(offsets, ranks))
    return Correction(tuple(columns))


def offsets_of(logs: NDArray[np.float64], shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Offsets b for which ``(logs + b).argmax(1)`` is k in the share ``shares[k]`` of the rows.

    The entry that is farthest from its share is set exactly, by a quantile of its margins, until all are within one row
    in 10,000. An entry without a share is never taken.

    Args:
        logs: ``(n, k)``.
        shares: ``(k,)``, of sum 1.

    Examples:
        >>> logs = np.log(np.array([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.6, 0.4]]))
        >>> (logs + offsets_of(logs, np.array([0.5, 0.5]))).argmax(1)
        array([0, 0, 1, 1])
    """
    n, k = logs.shape
    wanted = np.rint(shares * n)
    offsets = np.where(shares > 0, 0.0, -np.inf)
    best, least = offsets.copy(), np.inf
    for _ in range(_SWEEPS):
        moved = logs + offsets
        apart = np.bincount(moved.argmax(1), minlength=k) - wanted
        worst = int(np.abs(apart).argmax())
        if np.abs(apart).sum() < least:
            best, least = offsets.copy(), np.abs(apart).sum()
        if abs(apart[worst]) <= n // 10_000:
            break
        rival = np.delete(moved, worst, axis=1).max(1)
        margins = np.sort(rival - logs[:, worst])
        count = int(wanted[worst])
        below = margins[count - 1] if count > 0 else margins[0] - 1.0
        above = margins[count] if count < n else margins[-1] + 1.0
        offsets[worst] = (below + above) / 2
    return best


def correction_of(play: Play, encoding: Encoding, rows: int = ROWS) -> tuple[Correction, ...]:
    """The correction of each member of a play, kept until the play moves on; of a game that needs rows, none.

    Args:
        play: whose samples are corrected.
        encoding: of the table.
        rows: samples that it is measured on.
    """
    live = [*play.game.parameters(), *play.game.buffers(), *(t for own in play.averaged.values() for t in own.values())]
    state = (id(play), rows, play.round, play.turn, sum(tensor._version for tensor in live))
    kept = _measured.get(play.game)
    if kept is None or kept[0] != state:
        kept = (state, _of(play, encoding, rows))
        _measured[play.game] = kept
    return kept[1]


def _of(play: Play, encoding: Encoding, rows: int) -> tuple[Correction, ...]:
    if play.game.needs:
        plain = Correction(tuple(Column(np.zeros(field.block), np.zeros(0)) for field in encoding.fields))
        return (plain,) * max(1, len(play.game.seeds))
    pieces = [play.sample(_PIECE, mix(play.seed, 22, i)).cpu() for i in range(rows // _PIECE)]
    members = len(play.game.seeds)
    made = torch.cat(pieces, dim=1 if members else 0).numpy()
    return tuple(fitted(own, encoding) for own in (made if members else made[None]))


def finished(rows: Tensor, play: Play, encoding: Encoding, measured_on: int = ROWS) -> Tensor:
    """Samples ``(n, width)``, of an ensemble ``(members, n, width)``, as encoded rows of the table."""
    own = correction_of(play, encoding, measured_on)
    parts = rows.cpu().numpy() if rows.dim() == 3 else rows.cpu().numpy()[None]
    made = [torch.from_numpy(one(part, encoding)) for one, part in zip(own, parts, strict=True)]
    return torch.stack(made) if rows.dim() == 3 else made[0]
