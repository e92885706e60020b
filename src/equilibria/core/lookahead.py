"""Lookahead: a rule around another rule, which lets all players go back part of the way every few rounds."""

from __future__ import annotations

import torch

from ..base.errors import ConfigError
from ..base.records import record
from .game import Loss
from .play import Play, Rule
from .updates import Alternating


@record
class Lookahead:
    r"""Lookahead-minmax (Chavdarova et al. 2021, Algorithm 1): every ``period`` rounds, all players go part of the way.

    .. math:: \bar\theta \leftarrow \bar\theta + \alpha\,(\theta - \bar\theta), \quad \theta \leftarrow \bar\theta

    where :math:`\theta` holds the parameters of all players after ``period`` rounds of another rule, and
    :math:`\bar\theta` what they were before. Rules that circle or slowly diverge converge with it. The optimisers'
    state is kept; :math:`\bar\theta` is in the play's memory, and so in a checkpoint.

    Args:
        rule: the rule of the rounds in between; a lookahead of another period makes nested lookahead.
        period: rounds between two steps back (the paper's k), at least 2.
        rate: :math:`\alpha`, above 0 and at most 1; 1 changes nothing.

    Raises:
        ConfigError: two nested lookaheads of one period.
    """

    rule: Rule = Alternating()
    period: int = 5
    rate: float = 0.5

    def __post_init__(self) -> None:
        inner = self.rule
        while isinstance(inner, Lookahead):
            if inner.period == self.period:
                what = f"a lookahead of period {self.period} inside of one of the same period"
                raise ConfigError(what, "give the outer one a longer period", settings={"period": 10 * self.period})
            inner = inner.rule

    def round(self, play: Play) -> dict[str, Loss]:
        key, own = f"lookahead-{self.period}", {n: p.detach() for n, p in play.game.named_parameters()}
        if any(f"{key}/{name}" not in play.memory for name in own):
            play.remember(key, own)
        losses = self.rule.round(play)
        if (play.round + 1) % self.period == 0:
            with torch.no_grad():
                for name, parameter in own.items():
                    slow = play.memory[f"{key}/{name}"]
                    slow.lerp_(parameter, self.rate)
                    parameter.copy_(slow)
        return losses
