"""What rows each call of the discriminator got: generated, real, both, between the two, or made from generated ones."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

import torch
from torch import Tensor

from .hashing import row_hashes
from .trace import Call, Trace


class Kind(StrEnum):
    """Of the rows of a call of the discriminator."""

    REAL = "real"
    FAKE = "fake"
    MIXED = "mixed"
    BETWEEN = "between"
    OTHER = "other"


@dataclass
class Fed:
    """The rows of one call.

    Attributes:
        call: the call.
        kind: of its rows.
        fake: for each row whether it is generated; of mixed calls.
        maker: the call of the generator that made them, where it is known.
        share: for a call between: the weight of the generated row in each.
        sums: for a call of sums of a real and a generated row each that are not between: the sum of the two weights.
        sure: whether real rows were recognised, and not only left over.
        plain: whether generated rows were recognised by their bits, and not only by the graph.
    """

    call: Call
    kind: Kind
    fake: Tensor
    maker: Call | None = None
    share: Tensor | None = None
    sums: Tensor | None = None
    sure: bool = True
    plain: bool = False

    @property
    def attached(self) -> bool:
        """Whether gradient can flow from it into the generator."""
        return bool(self.call.descends)


@dataclass
class Known:
    """The generated rows of a window and the real rows, by their hashes.

    Attributes:
        made: hash to the place of the generator's call.
        real: hashes of real rows; empty where none are known.
    """

    made: dict[int, int] = field(default_factory=dict)
    real: frozenset[int] = frozenset()


def fed_of(trace: Trace, real: frozenset[int]) -> list[Fed]:
    """The rows of each call of the discriminator, in their order."""
    makers = trace.of("generator")
    known = Known(real=real)
    for place, call in enumerate(makers):
        for out in call.outputs:
            if out.value.dim() and len(out.value):
                for key in row_hashes(out.value).tolist():
                    known.made.setdefault(key, place)
    found = [_by_rows(call, makers, known) for call in trace.of("discriminator")]
    reals = [f.call.rows for f in found if f.kind is Kind.REAL]
    # What is neither is between the two, made from generated rows, or real by elimination.
    recognised = bool(reals)
    plain = any(f.kind in (Kind.FAKE, Kind.MIXED) and not f.attached for f in found)  # no augmentation on its way
    others = [f for f in found if f.kind is Kind.OTHER]
    candidates = reals or [f.call.rows for f in others if not f.call.leaf]
    fakes = [out.value for call in makers for out in call.outputs]
    for one in others:
        own = one.call.rows
        if (share := _between(own, [r for r in candidates if r is not own], fakes)) is not None:
            one.kind, one.share = Kind.BETWEEN, share
        elif reals and (sums := _combined(own, reals, fakes)) is not None:
            one.kind, one.sums = Kind.BETWEEN, sums
        elif not plain and (maker := _augmented(own, makers)) is not None:
            one.kind, one.maker, one.fake = Kind.FAKE, maker, torch.ones(len(own), dtype=torch.bool)
        elif not recognised or not real:
            one.kind, one.sure = Kind.REAL, False
    if real and recognised:
        # Rows that were augmented on their way are in no list: real by elimination where no call was left unread.
        for one in others:
            if one.kind is Kind.OTHER and not one.call.leaf:
                one.kind, one.sure = Kind.REAL, False
    return found


def _by_rows(call: Call, makers: list[Call], known: Known) -> Fed:
    rows = call.rows
    count = len(rows) if rows.dim() else 0
    nothing = torch.zeros(count, dtype=torch.bool)
    if call.descends:
        made = next((m for m in makers if m.seq in call.descends), None)
        fake, _ = _recognised(call, makers, known)
        if fake is not None and bool(fake.any()) and not bool(fake.all()):
            return Fed(call, Kind.MIXED, fake, made)
        plain = fake is not None and count > 0 and bool(fake.all())
        return Fed(call, Kind.FAKE, torch.ones(count, dtype=torch.bool), made, plain=plain)
    fake, real = _recognised(call, makers, known)
    if fake is None or real is None:
        return Fed(call, Kind.OTHER, nothing)
    if count and bool(fake.all()):
        return Fed(call, Kind.FAKE, fake, _maker(call, makers, known), plain=True)
    if bool(fake.any()) and 0.2 < float(fake.float().mean()) < 0.8:
        return Fed(call, Kind.MIXED, fake)
    if count and bool(real.all()):
        return Fed(call, Kind.REAL, nothing)
    return Fed(call, Kind.OTHER, nothing)


def _maker(call: Call, makers: list[Call], known: Known) -> Call | None:
    for part in _parts(call.rows, makers):
        place = known.made.get(int(row_hashes(part[:1])[0]))
        if place is not None:
            return makers[place]
    return None


def _recognised(call: Call, makers: list[Call], known: Known) -> tuple[Tensor | None, Tensor | None]:
    """For each row whether it is a generated one, and whether a real one; of the row or of a part of it.

    Where the discriminator gets a condition beside the rows, ``cat((condition, x), 1)``, the part is as wide as a
    generated row, at either end.
    """
    best: tuple[Tensor | None, Tensor | None] = (None, None)
    most = -1
    for part in _parts(call.rows, makers):
        keys = row_hashes(part).tolist()
        fake = torch.tensor([key in known.made for key in keys], dtype=torch.bool)
        real = torch.tensor([key in known.real and key not in known.made for key in keys], dtype=torch.bool)
        if int(fake.sum() + real.sum()) > most:
            best, most = (fake, real), int(fake.sum() + real.sum())
    return best


def _parts(rows: Tensor, makers: list[Call]) -> list[Tensor]:
    if rows.dim() < 1 or not len(rows):
        return []
    found = [rows]
    for out in (out.value for call in makers for out in call.outputs):
        if out.dim() == rows.dim() and out.dim() > 1 and out.shape[2:] == rows.shape[2:]:
            extra = rows.shape[1] - out.shape[1]
            if extra > 0 and all(len(f[0]) != out.shape[1] for f in found[1:]):
                found += [rows[:, extra:], rows[:, : out.shape[1]]]
    return found


def _between(rows: Tensor, reals: list[Tensor], fakes: list[Tensor]) -> Tensor | None:
    """The weight of the generated row in each, where rows lie on lines through a real and a generated row each."""
    m = rows.double().flatten(1)
    for r in reals:
        for f in fakes:
            n = min(len(m), len(r), len(f))
            if r.shape[1:] != rows.shape[1:] or f.shape[1:] != rows.shape[1:] or n < 2:
                continue
            a, b = r[:n].double().flatten(1), f[:n].double().flatten(1)
            across = b - a
            length = across.square().sum(1)
            share = ((m[:n] - a) * across).sum(1) / length.clamp(min=1e-300)
            left = (m[:n] - a - share[:, None] * across).norm(dim=1)
            if bool((left < 1e-4 * length.sqrt() * share.abs().clamp(min=1)).all()) and bool((length > 0).all()):
                return share
    return None


def _combined(rows: Tensor, reals: list[Tensor], fakes: list[Tensor]) -> Tensor | None:
    """The sum of the two weights in each row, where rows are weighted sums of a real and a generated row each."""
    m = rows.double().flatten(1)
    for r in reals:
        for f in fakes:
            n = min(len(m), len(r), len(f))
            if r.shape[1:] != rows.shape[1:] or f.shape[1:] != rows.shape[1:] or n < 2 or m.shape[1] < 4:
                continue
            one, two, sums = r[:n].double().flatten(1), f[:n].double().flatten(1), m[:n]
            aa, bb, ab = one.square().sum(1), two.square().sum(1), (one * two).sum(1)
            a, b = (one * sums).sum(1), (two * sums).sum(1)
            area = (aa * bb - ab.square()).clamp(min=1e-300)  # of the parallelogram, squared: the normal equations
            weights = torch.stack([(bb * a - ab * b) / area, (aa * b - ab * a) / area], 1)
            left = (sums - weights[:, :1] * one - weights[:, 1:] * two).norm(dim=1)
            if bool((left < 1e-4 * sums.norm(dim=1)).all()):
                total: Tensor = weights.sum(1)
                return total
    return None


def _augmented(rows: Tensor, makers: list[Call]) -> Call | None:
    """The call whose rows are the nearest, row by row, for more than half: augmented, or with noise."""
    for call in makers:
        for out in call.outputs:
            made = out.value
            n = min(len(rows), len(made)) if made.dim() else 0
            if n < 4 or made.shape[1:] != rows.shape[1:]:
                continue
            apart = torch.cdist(rows[:n].float().flatten(1), made[:n].float().flatten(1))
            if float((apart.argmin(1) == torch.arange(n, device=apart.device)).float().mean()) > 0.5:
                return call
    return None
