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
_FIRST, _APART, _SHARE = 400, 20, 0.01  # check-ups are dense before; at least so many steps apart; of the steps so far
_KEPT, _LEAST = 24, 12  # pulses that a new one is compared with
_LIMIT, _IN_A_ROW = 8.0, 2  # deviations from their median, in their median absolute deviation
_FLOOR = 0.05  # of a deviation: features are logarithms, or relative to the data's size
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
    _alarms: int = 0

    def due(self, step: int) -> bool:
        """Whether a pulse is due."""
        return step >= self.upcoming

    def jumped(self, step: int, subject: Subject) -> bool:
        """Measure a pulse, and say whether a number jumped at it and at the one before."""
        self.upcoming = step + max(_APART, int(_SHARE * step))
        found = {**self._moved(step, subject.networks), **_scored(subject, step)}
        off = [name for name, value in found.items() if self._is_off(name, value)]
        self._alarms = self._alarms + 1 if off else 0
        self.pulses = [*self.pulses, found][-_KEPT:]
        if self._alarms < _IN_A_ROW:
            return False
        self.pulses, self._alarms = [], 0  # what is normal is learnt again
        return True

    def _is_off(self, name: str, value: float) -> bool:
        known = [pulse[name] for pulse in self.pulses if name in pulse][: len(self.pulses) - self._alarms]
        if len(known) < _LEAST:
            return False
        if not math.isfinite(value):
            return True
        centre = median(known)
        spread = 1.4826 * median(abs(v - centre) for v in known)
        return abs(value - centre) > _LIMIT * max(spread, _FLOOR)

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
