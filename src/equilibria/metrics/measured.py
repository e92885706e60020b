"""A measured number together with the score of a perfect sampler, and a table of such pairs."""

from __future__ import annotations

import math
from collections.abc import Mapping

from ..base import notebooks
from ..base.records import record

P_VALUE = "p-value"
"""The unit of a test's p-value."""
_LEVEL = 0.005


@record
class Measured:
    """A measured value and its floor: the score of fresh real data with the same protocol and the same ``n``.

    A metric of finite samples is not zero (or one) for a perfect sampler, so a value means little without its floor:
    a reverse KL of 0.029 over 1000 modes is excellent at 26 000 samples, where a perfect sampler scores 0.019.

    Args:
        value: the measured number.
        floor: expectation of the same number for a perfect sampler; ``None`` if it is unknown.
        spread: standard deviation of the floor over repetitions; 0 if the floor is exact and does not vary.
        unit: unit of the number (``"nats"``, ``"share"``, ``"modes"``, ``"distance"``, …).
        n: number of generated samples behind the value.
        higher: whether higher is better.
        chance: the same number for a map that ignores its input; ``None`` if that is not defined.
        repeats: number of repetitions that the spread is estimated from; 0 where it is computed.

    Examples:
        >>> print(Measured(value=0.97, floor=0.9889, spread=0.002, unit="share", n=2500, higher=True))
        0.97 | 0.9889 ± 0.002 share
    """

    value: float
    floor: float | None = None
    spread: float = 0.0
    unit: str = ""
    n: int = 0
    higher: bool = False
    chance: float | None = None
    repeats: int = 0

    @property
    def excess(self) -> float | None:
        """The difference from the floor, positive if worse, in the unit of the value; <= 0 is as good as real data.

        Examples:
            >>> Measured(value=0.5, floor=0.2).excess
            0.3
        """
        if self.floor is None:
            return None
        return self.floor - self.value if self.higher else self.value - self.floor

    @property
    def tells(self) -> bool:
        r"""Whether the number tells the samples from real rows: a perfect sampler scores so badly in 1 of 200 cases.

        With a floor :math:`f` and its spread :math:`s` over r repetitions, a value is worse than another draw of the
        floor at the one-sided level 0.005 if its excess is above :math:`t_{0.995, r-1}\sqrt{1 + 1/r}\; s` (Student's
        prediction interval; 5.04 s for r = 5); with a spread that is computed and not estimated, above 2.58 s. A
        p-value tells if it is below 0.005.

        Examples:
            >>> [Measured(value=x, floor=2.2, spread=0.3, repeats=5).tells for x in (9.0, 2.9)]
            [True, False]
        """
        if self.unit == P_VALUE:
            return self.value < _LEVEL
        if self.excess is None:
            return False
        from scipy.special import ndtri, stdtrit  # the quantiles of scipy.stats, in a third of its time to import

        r = self.repeats
        quantile = stdtrit(r - 1, 1 - _LEVEL) * math.sqrt(1 + 1 / r) if r > 1 else ndtri(1 - _LEVEL)
        return not self.excess <= quantile * self.spread + 1e-9 * abs(self.floor or 0.0)

    def to_dict(self) -> dict[str, float | int | str | bool | None]:
        """Plain values for JSON; non-finite numbers become ``None``, and a missing chance level is left out.

        Examples:
            >>> Measured(value=float("inf"), unit="nats").to_dict()["value"] is None
            True
        """
        values: dict[str, float | int | str | bool | None] = {
            "value": _finite(self.value),
            "floor": _finite(self.floor),
            "spread": _finite(self.spread),
            "unit": self.unit,
            "n": self.n,
            "higher": self.higher,
        }
        return values if self.chance is None else {**values, "chance": _finite(self.chance)}

    def __str__(self) -> str:
        """``value | floor ± spread unit``."""
        floor = "–" if self.floor is None else f"{self.floor:.4g}"
        # A spread far below the last printed digit is not shown.
        spread = f" ± {self.spread:.1g}" if self.spread > 1e-6 * abs(self.floor or 0.0) else ""
        return f"{self.value:.4g} | {floor}{spread} {self.unit}".rstrip()

    def _repr_html_(self) -> str:
        return notebooks.shown(f"value | perfect sampler\n{self}")


def table(measured: Mapping[str, Measured]) -> str:
    """Lines ``name  value | floor of a perfect sampler``, aligned, for a terminal.

    Examples:
        >>> print(table({"modes": Measured(value=24, floor=25, unit="modes", n=2500, higher=True)}))
        metric  value | floor of a perfect sampler  n
        modes      24 | 25 modes                    2500
    """
    head = ("metric", "value", "floor of a perfect sampler", "n")
    rows = [(name, *(part.strip() for part in str(m).split("|")), str(m.n)) for name, m in measured.items()]
    width = [max(len(row[i]) for row in [head, *rows]) for i in range(3)]
    return "\n".join(
        f"{name:<{width[0]}}  {value:>{width[1]}} | {floor:<{width[2]}}  {n}" for name, value, floor, n in [head, *rows]
    )


def _finite(number: float | None) -> float | None:
    return float(number) if number is not None and math.isfinite(number) else None
