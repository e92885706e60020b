"""The backward passes of a window: which scores each came through, whom it reached, and whose loss it was."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from .calls import Fed, Kind
from .trace import PLAYERS, Came, OptimizerStep, Trace


@dataclass
class Pass:
    """A backward pass.

    Attributes:
        task: its number.
        scores: gradients at scores.
        reached: the players whose parameters got a gradient other than 0, or one of 0.
        moved: those whose parameters got a gradient other than 0.
        owner: the player whose loss it was; empty where that is not known.
    """

    task: int
    scores: list[Came] = field(default_factory=list)
    samples: list[Came] = field(default_factory=list)
    reached: set[str] = field(default_factory=set)
    moved: set[str] = field(default_factory=set)
    owner: str = ""


@dataclass
class Window:
    """A trace with what is derived first.

    Attributes:
        trace: the record.
        fed: what each call of the discriminator got, by the number of the call.
        passes: the backward passes in which a loss was differentiated, by their number, in their order.
        sloping: the passes in which slopes were taken.
        uncovered: for each player why gradient reached it in a way that was not seen; empty where all was seen.
    """

    trace: Trace
    fed: dict[int, Fed]
    passes: dict[int, Pass]
    sloping: set[int]
    uncovered: dict[str, str]

    @classmethod
    def of(cls, trace: Trace, fed: list[Fed]) -> Window:
        """What is derived from a trace."""
        passes: dict[int, Pass] = {}
        for (who, _), all_added in sorted(trace.added.items()):
            for added in all_added:
                own = passes.setdefault(added.task, Pass(added.task))
                own.reached.add(who)
                if float(added.norm):
                    own.moved.add(who)
        for came in trace.scores:
            passes.setdefault(came.task, Pass(came.task)).scores.append(came)
        for came in trace.samples:
            passes.setdefault(came.task, Pass(came.task)).samples.append(came)
        for task, players in trace.aims.items():
            if task in passes:
                passes[task].reached |= players
                passes[task].moved |= players
        sloped = {slope.task for slope in trace.slopes}
        sloping = {task for task, one in passes.items() if task in sloped and not one.reached}
        losses = {task: one for task, one in passes.items() if task not in sloping}
        found = cls(trace, {one.call.seq: one for one in fed}, losses, sloping, {})
        for one in losses.values():
            one.owner = found._owner(one)
        found.uncovered = found._uncovered()
        return found

    def kind(self, came: Came) -> Kind:
        """Of the rows whose scores a gradient came to."""
        return self.fed[came.call.seq].kind if came.call.seq in self.fed else Kind.OTHER

    def attached(self, came: Came) -> bool:
        """Whether it went on into the generator."""
        return came.call.seq in self.fed and self.fed[came.call.seq].attached

    def _owner(self, one: Pass) -> str:
        """Whose loss it was: of real and no attached rows the discriminator's, else of who steps first on it."""
        scores = [came for came in one.scores if float(came.value.norm())] or one.scores  # a term may have weight 0
        kinds = {self.kind(came) for came in scores}
        attached = any(self.attached(came) for came in scores)
        sure = any(self.fed[c.call.seq].sure for c in scores if c.call.seq in self.fed)
        if kinds & {Kind.REAL, Kind.MIXED} and sure and not attached:
            return "discriminator"
        for step in (one for one in self.trace.steps if not one.closure):  # a closure is called inside its step
            holders = {h.who for h in step.held if ("pass", one.task) in h.chain}
            if holders:
                if len(holders) == 1:
                    return next(iter(holders))
                break
        if one.scores and not any(is_adversarial(came) for came in one.scores):
            return ""  # of a class or a code head alone: a term that both players may train
        if attached and not kinds & {Kind.REAL, Kind.MIXED} and "generator" in one.reached:
            return "generator"
        if kinds & {Kind.REAL, Kind.MIXED}:
            return "discriminator"
        # A pass that no step used is nobody's, if there were steps that could have.
        return next(iter(one.reached)) if len(one.reached) == 1 and not attached and not self.trace.steps else ""

    def _uncovered(self) -> dict[str, str]:
        found = dict.fromkeys(PLAYERS, "")
        penalties = {slope.later for slope in self.trace.slopes if slope.second is not None}
        for one in self.passes.values():
            if "discriminator" in one.reached and not one.scores and one.task not in penalties:
                found["discriminator"] = "gradient reaches the discriminator in a way that was not seen"
            if "generator" in one.reached and not one.samples and not any(self.attached(c) for c in one.scores):
                found["generator"] = "gradient reaches the generator in a way that was not seen"
        return found

    def own(self, who: str) -> list[Pass]:
        """The backward passes of a player's losses."""
        return [one for one in self.passes.values() if one.owner == who]

    def steps(self, who: str) -> list[OptimizerStep]:
        """The steps of optimisers that hold parameters of a player, without those with a closure."""
        return [s for s in self.trace.steps if any(h.who == who for h in s.held)]

    def maximizes(self, who: str) -> bool:
        """Whether every step of a player goes up the gradient of its loss."""
        steps = self.steps(who)
        return bool(steps) and all(s.maximizes for s in steps)


def is_score(value: Tensor) -> bool:
    """Whether an output is a score, or a map of scores: one number, and not one for each class."""
    return value.dim() == 1 or value.shape[1] == 1 or value.shape[-1] == 1


def is_adversarial(came: Came) -> bool:
    """Whether a gradient came to a score; to any output, where the discriminator has no score."""
    outputs = [out.value for out in came.call.outputs if out.value.dim()]
    scores = [is_score(value) for value in outputs]
    return not any(scores) or is_score(came.call.outputs[came.output].value)


def scores_of(came: Came) -> tuple[Tensor, Tensor]:
    """The scores that a gradient came to, and their number times the gradient."""
    s, y = came.call.outputs[came.output].value, came.value
    return s, y * y.numel()


def rows_of(came: Came, chosen: Tensor) -> tuple[Tensor, Tensor]:
    """The same for some rows of a call: scores, and the number of scores in the call times their gradient."""
    s, y = scores_of(came)
    keep = chosen.to(s.device)
    if len(keep) < len(s):
        keep = torch.cat([keep, torch.zeros(len(s) - len(keep), dtype=torch.bool, device=s.device)])
    return s[keep], y[keep]
