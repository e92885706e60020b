"""Between check-ups: a few cheap numbers at a fixed share of the steps, and a test of whether one of them jumped.

A check-up costs several training steps, and the next one is a fifth later; what fails in between would wait for it. A
pulse costs one forward pass of 32 rows. A jump makes no finding: it only brings the next check-ups forward.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from ..base.randomness import mix
from .chart import median
from .subject import Subject

_ROWS = 32
_FIRST, _APART, _SHARE = 200, 20, 0.01  # check-ups are dense before; at least so many steps apart; of the steps so far
_KEPT, _LEAST = 24, 10  # pulses that a new one is compared with
_TIMES = 2.5  # times the largest deviation from their median
_FLOOR = 0.4  # that a deviation has at least: numbers are logarithms, or relative to the data's size
_NEVER = 1 << 62
_STEPS, _VALUES, _PARTS, _SIDES = "watch/steps", "watch/values/", "watch/entries/", "watch/off/"  # stored names
_ENTRIES = 16  # of each parameter, whose movement is followed


@dataclass
class Watch:
    """Follows a pair of networks between check-ups.

    Attributes:
        upcoming: the step of the next pulse.
        pulses: the newest features, oldest first.
    """

    upcoming: int = _FIRST
    pulses: list[dict[str, float]] = field(default_factory=list)
    _entries: dict[str, Tensor] = field(default_factory=dict)
    _last: int = 0
    _off: set[tuple[str, int]] = field(default_factory=set)

    def due(self, step: int) -> bool:
        """Whether a pulse is due."""
        return step >= self.upcoming

    def jumped(self, step: int, subject: Subject) -> bool:
        """Measure a pulse, and say whether a number jumped at it and, in the same direction, at the one before.

        If it cannot be measured, no other pulse is due; a check-up says why.
        """
        self.upcoming = step + max(_APART, int(_SHARE * step))
        try:
            return self.take({**self._moved(step, subject.networks), **_scored(subject, step)})
        except Exception:
            self.upcoming = _NEVER
            return False

    def take(self, found: dict[str, float]) -> bool:
        """Compare a pulse with those before it; after a jump, what is normal is learnt again."""
        known = self.pulses[: len(self.pulses) - 1] if self._off else self.pulses
        off = {(name, side) for name, value in found.items() if (side := _side(value, name, known))}
        jumped = bool(off & self._off)
        finite = {name: value for name, value in found.items() if math.isfinite(value)}
        self.pulses, self._off = ([], set()) if jumped else ([*self.pulses, finite][-_KEPT:], off)
        return jumped

    def tensors(self) -> dict[str, Tensor]:
        """All that it knows as named tensors, from which the next session of a run continues."""
        names = sorted({name for pulse in self.pulses for name in pulse})
        series = {name: [pulse.get(name, math.nan) for pulse in self.pulses] for name in names}
        values = {_VALUES + name: torch.tensor(one, dtype=torch.float64) for name, one in series.items()}
        entries = {_PARTS + who: vector.clone() for who, vector in self._entries.items()}
        sides = {f"{_SIDES}{name}/{'+' if side > 0 else '-'}": torch.tensor(side) for name, side in self._off}
        return {**values, **entries, **sides, _STEPS: torch.tensor([self.upcoming, self._last])}

    @classmethod
    def restored(cls, saved: Mapping[str, Tensor]) -> Watch:
        """The watch that :meth:`tensors` gave; a new one if that is not among ``saved``."""
        steps = saved.get(_STEPS)
        if steps is None or steps.shape != (2,) or steps.dtype != torch.int64:
            return cls()
        upcoming, last = steps.tolist()
        found = cls(upcoming, _last=last)
        found._entries = {n.removeprefix(_PARTS): t.clone() for n, t in saved.items() if n.startswith(_PARTS)}
        found._off = {(n.removeprefix(_SIDES)[:-2], int(t)) for n, t in saved.items() if n.startswith(_SIDES)}
        series = {n.removeprefix(_VALUES): t.flatten().tolist() for n, t in saved.items() if n.startswith(_VALUES)}
        columns = zip(*series.values(), strict=False)
        found.pulses = [{n: v for n, v in zip(series, row, strict=True) if math.isfinite(v)} for row in columns]
        return found

    def _moved(self, step: int, networks: Mapping[str, nn.Module]) -> dict[str, float]:
        """The logarithm of each player's movement per step since the last pulse, over the size of its parameters."""
        values = {}
        for who, net in networks.items():
            parts = [p.detach().reshape(-1)[:_ENTRIES].float() for p in net.parameters() if p.is_floating_point()]
            if not parts:
                continue
            now, before = torch.cat(parts), self._entries.get(who)
            if before is not None and step > self._last:
                size = float((now - before).norm()) / max(float(now.norm()), 1e-12) / (step - self._last)
                values[f"moved/{who}"] = math.log(size + 1e-9) if math.isfinite(size) else math.nan
            self._entries[who] = now
        self._last = step
        return values


def _side(value: float, name: str, pulses: list[dict[str, float]]) -> int:
    """1 or -1 if a number is above or below all that is usual, 0 if not, or if that is not known yet."""
    known = [pulse[name] for pulse in pulses if name in pulse]
    if len(known) < _LEAST:
        return 0
    if not math.isfinite(value):
        return 1
    centre = median(known)
    largest = max(abs(v - centre) for v in known if math.isfinite(v))
    return 0 if abs(value - centre) <= max(_TIMES * largest, _FLOOR) else 1 if value > centre else -1


def _scored(subject: Subject, step: int) -> dict[str, float]:
    """Scores of real and generated rows, and where the generated ones lie along four fixed directions."""
    with subject.undisturbed(mix(step, 9)), torch.no_grad():
        x, y = subject.batch(_ROWS)
        if subject.sampler is not None:
            fake, label = subject.sample(_ROWS), y
        else:
            codes = subject.draw_codes(_ROWS)
            fake, label = subject.make(codes), codes[1]
        real, made = subject.score(x, y), subject.score(fake, label)
        both = torch.cat([real, made])
        values = {"gap": _signed_log(float(real.mean() - made.mean())), "scores": _log(float(both.std()))}
        a, b = x.flatten(1).float(), fake.flatten(1).float()
        draw = torch.Generator().manual_seed(a.shape[1])
        ways = torch.randn(a.shape[1], 4, generator=draw).to(a.device) / math.sqrt(a.shape[1])
        size = float((a @ ways).std().clamp(min=1e-12))
        for i, (centre, spread) in enumerate(zip((b @ ways).mean(0).tolist(), (b @ ways).std(0).tolist(), strict=True)):
            values[f"centre/{i}"] = _signed_log(centre / size)
            values[f"spread/{i}"] = _log(spread / size)
    return values


def _log(value: float) -> float:
    return math.log(value + 1e-6) if math.isfinite(value) else math.nan


def _signed_log(value: float) -> float:
    return math.copysign(math.log1p(abs(value)), value) if math.isfinite(value) else math.nan
