"""Readings of the updates: which gradients reach a player, and which of them its optimiser uses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import torch

from . import graph
from .calls import Kind
from .passes import Pass, Window, is_adversarial
from .reading import Reading
from .trace import PLAYERS, Came, Held, OptimizerStep

_JUMP = 5.0  # a warm-up raises a rate by less between two windows
_BELOW_ROUNDING = 6e-7  # ten times the rounding of float32: most entries do not change
OTHER = {"generator": "discriminator", "discriminator": "generator"}


def gradient_path(w: Window) -> Iterator[Reading]:
    """Whether gradient can reach the generator through what it returns."""
    made = [call for call in w.trace.of("generator") if call.outputs]
    calls = [call for call in made if call.grads]
    if not any(p.requires_grad for call in made for p in call.module.parameters()):
        return
    if not calls:
        steps = [s for s in w.steps("generator") if not s.closure]
        if made and steps and not any(h.norm is not None for s in steps for h in s.held if h.who == "generator"):
            text = f"it is called {len(made)} times, always with gradients off, and its optimiser steps without any"
            yield Reading("no-gradient-path", True, text, {"calls": len(made)})
        return
    if not any(out.attached for call in calls for out in call.outputs):
        yield Reading(
            "no-gradient-path",
            True,
            f"in {len(calls)} calls with gradients on, no output of the generator requires gradient",
            {"calls": len(calls)},
        )
        return
    came = [c for one in w.passes.values() for c in one.samples if float(c.value.norm())]
    if came and not any("generator" in one.reached for one in w.passes.values()) and _used(came):
        text = "a gradient other than 0 comes to its output, and none to its parameters, from which the output is made"
        yield Reading("no-gradient-path", True, text)
        return
    own = [
        one
        for one in w.passes.values()
        if "generator" in one.reached and any(float(c.value.norm()) for c in one.samples)
    ]
    lost = [one for one in own if "generator" not in one.moved]
    if lost and any(who == "generator" for who, _ in w.trace.hooked):
        text = "a gradient comes to its output, and hooks on its parameters make every gradient of them 0"
        yield Reading("generator-never-updated", True, text)
    elif own:
        text = "a gradient other than 0 comes to its output, and every parameter of the generator gets exactly 0"
        yield Reading("no-gradient-path", len(lost) == len(own), text if len(lost) == len(own) else "")


def _used(came: list[Came]) -> bool:
    """Whether by the graph every output that a gradient came to is made from a parameter of its network."""
    return all(
        graph.reaches(c.call.outputs[c.output].node, {id(p) for p in c.call.module.parameters() if p.requires_grad})
        for c in came
    )


@dataclass
class Pauses:
    """How long each player's parameters have been still, in windows, and how long they were at most before.

    Attributes:
        now: windows without a change, up to the last one.
        longest: the longest such time that ended.
        moved: the players that ever changed between two windows.
    """

    now: dict[str, int] = field(default_factory=dict)
    longest: dict[str, int] = field(default_factory=dict)
    moved: set[str] = field(default_factory=set)

    def take(self, still: Mapping[str, bool]) -> None:
        """Count a window."""
        for who, quiet in still.items():
            if quiet:
                self.now[who] = self.now.get(who, 0) + 1
            else:
                self.longest[who] = max(self.longest.get(who, 0), self.now.get(who, 0))
                self.now[who] = 0
                self.moved.add(who)

    def frozen(self, who: str) -> bool:
        """Whether a player that was trained has been still for longer than ever before: twice as long, and a window."""
        return who in self.moved and self.now.get(who, 0) > 2 * self.longest.get(who, 0)


def stepping(w: Window, still: Mapping[str, bool], pauses: Pauses, before: Rates) -> Iterator[Reading]:
    """Whether each player's parameters are moved by an optimiser that has their gradient.

    Args:
        w: the window.
        still: by player, whether no parameter has changed since the window before; without an entry in the first.
        pauses: how long they have been still; this window is counted.
        before: the learning rates of earlier windows.
    """
    pauses.take(still)
    now = any(rate for who in PLAYERS for s in w.steps(who) for rate in s.rates)
    vanished = not now and before.highest.keys() >= set(PLAYERS)  # of one player alone, it was set to 0
    for who in PLAYERS:
        other = {name for name, quiet in still.items() if not quiet} - {who}
        own = [one for one in w.own(who) if who in one.reached]
        steps = w.steps(who)
        moved, fed = _moved(steps, who), _fed(steps, who)
        rated = vanished or any(rate for s in steps for rate in s.rates)
        if steps and own and not any(who in one.moved for one in own):
            continue  # it is stepped, on a gradient of exactly 0: its loss is flat
        if fed and not moved and rated:
            continue  # it is stepped by its gradient: rounding loses the change, which is read elsewhere
        if other and pauses.frozen(who) and not moved:
            text = f"the {who} was trained, and not one of its parameters has changed between the last windows"
            yield Reading(f"{who}-never-updated", True, text)
            continue
        name = f"{who}-never-updated"
        got = any(who in one.moved for one in w.passes.values())
        asked = any(float(c.value.norm()) for one in own for c in one.scores)
        if steps and asked and _emptied(steps, who) and not _polluted(w, who):
            text = f"its {len(steps)} steps found a gradient of exactly 0, after a loss that has one: it was set to 0"
            yield Reading(name, True, text)
            continue
        if moved > 0 and still.get(who):
            text = "its steps change it, and it is as it was at the window before: something sets it back"
            yield Reading(name, True, text)
            continue
        if moved > 0 or still.get(who) is False:
            yield Reading(name, False)
            continue
        if fed and not moved:
            yield Reading(name, True, f"its {len(steps)} steps have a learning rate of 0")
            continue
        if not got or who not in still:
            continue
        foreign = [s for s in w.trace.steps if not s.held]
        if steps and not fed and not _polluted(w, who):
            yield Reading(
                name, True, f"its {len(steps)} steps found no gradient: it was cleared between backward() and step()"
            )
        elif not steps:
            why = "an optimiser that holds none of its parameters is stepped" if foreign else "no optimiser holds it"
            yield Reading(name, True, f"it gets gradient, and {why}; not one of its parameters has changed")


def _moved(steps: list[OptimizerStep], who: str) -> float:
    """The sum of the squared changes of a player's parameters in its steps."""
    return sum(float(s.moved[who][0]) for s in steps if who in s.moved)


def _fed(steps: list[OptimizerStep], who: str) -> bool:
    """Whether any of the steps had a gradient other than 0 of a player's parameters."""
    return any(h.norm is not None and float(h.norm) for s in steps for h in s.held if h.who == who)


def _emptied(steps: list[OptimizerStep], who: str) -> bool:
    """Whether every gradient of a player's parameters that its steps found is 0, and there are some."""
    norms = [float(h.norm) for s in steps if not s.closure for h in s.held if h.who == who and h.norm is not None]
    return bool(norms) and not any(norms)


def membership(w: Window, seen: set[tuple[str, str]]) -> Iterator[Reading]:
    """Which optimiser holds what. ``seen``: the parameters that any optimiser ever held; it is added to."""
    steps = [s for s in w.trace.steps if s.held]
    seen |= {(h.who, h.name) for s in steps for h in s.held}
    wrong = next((found for s in steps if (found := _foreign(w, s))), None)
    if wrong is None:
        wrong = _doubly(steps) or _exchanged(w) or _both_step(w)
    if wrong is not None:
        yield Reading("wrong-player-trained", True, wrong)
    elif steps:
        yield Reading("wrong-player-trained", False)
    for who in PLAYERS:
        if not w.steps(who) or any(s.closure for s in w.steps(who)):
            continue
        own = {one.task for one in w.own(who)}
        lost = sorted(
            name
            for (player, name), added in w.trace.added.items()
            if player == who and (who, name) not in seen and any(a.task in own and float(a.norm) for a in added)
        )
        if lost:
            text = f"{len(lost)} parameters of the {who} get gradient and are in no optimiser: {', '.join(lost[:4])}"
            yield Reading("parameters-not-optimised", True, text, {"parameters": len(lost)})
            return
    if all(w.steps(who) for who in PLAYERS):
        yield Reading("parameters-not-optimised", False)


def _foreign(w: Window, step: OptimizerStep) -> str | None:
    """What is wrong with a step of an optimiser that holds both players."""
    if {h.who for h in step.held} != set(PLAYERS):
        return None
    for who in PLAYERS:
        others = {one.task for one in w.own(OTHER[who])}
        if any(h.who == who and h.norm is not None and float(h.norm) and _last_passes(h) & others for h in step.held):
            return f"one optimiser holds both players, and a step on the {OTHER[who]}'s loss moves the {who} too"
    return None


def _doubly(steps: list[OptimizerStep]) -> str | None:
    for who in PLAYERS:
        optimizers = {s.optimizer for s in steps if {h.who for h in s.held} == {who}}
        names = [{h.name for h in s.held} for s in steps if {h.who for h in s.held} == {who}]
        alone = not any(h.who == OTHER[who] for s in steps for h in s.held)
        if alone and len(optimizers) > 1 and names and set.intersection(*names):
            return f"two optimisers hold the {who}'s parameters, and none the {OTHER[who]}'s"
    return None


def _exchanged(w: Window) -> str | None:
    """What is wrong where each player's optimiser is stepped on the other's loss: the generator's finds no gradient."""
    through = _through(w)
    makers, judges = w.steps("generator"), w.steps("discriminator")
    if not makers:
        return None
    wrong = "the discriminator is stepped on the generator's loss, and the generator on the discriminator's"
    before = {who: [_pass_before(w, s) for s in steps] for who, steps in (("g", makers), ("d", judges))}
    nothing = all(one is not None and "generator" not in one.moved for one in before["g"])
    if judges and nothing and all(one is not None and one.task in through for one in before["d"]):
        return wrong
    if _fed(makers, "generator"):
        return None
    used = [_passes_of(s) for s in judges]
    if used and all(tasks and tasks <= through for tasks in used):
        return wrong
    return None


def _both_step(w: Window) -> str | None:
    """What is wrong where the discriminator's optimiser also steps on the generator's loss."""
    through = {t for t in _through(w) if any(is_adversarial(came) for came in w.passes[t].scores)}
    made = [_passes_of(s) for s in w.steps("generator")]
    judged = [_passes_of(s) for s in w.steps("discriminator")]
    wrong = [tasks for tasks in judged if tasks and tasks <= through and tasks in made]
    if wrong and any(tasks and not tasks & through for tasks in judged):
        return "the discriminator's optimiser is stepped once more on the generator's loss"
    return None


def _through(w: Window) -> set[int]:
    """The passes that come through scores of samples into the generator, and through no score of a real row."""
    real = (Kind.REAL, Kind.MIXED)
    return {
        one.task
        for one in w.passes.values()
        if any(w.attached(came) for came in one.scores) and not any(w.kind(came) in real for came in one.scores)
    }


def _pass_before(w: Window, step: OptimizerStep) -> Pass | None:
    """The last pass of a loss that came to a score before a step."""
    begun = {one.task: min(came.seq for came in one.scores) for one in w.passes.values() if one.scores}
    earlier = {task: seq for task, seq in begun.items() if seq < step.seq}
    return w.passes[max(earlier, key=lambda task: earlier[task])] if earlier else None


def _passes_of(step: OptimizerStep) -> set[int]:
    """The passes since the last step that its gradients hold."""
    return {task for h in step.held if h.norm is not None for task in _last_passes(h)}


def _last_passes(held: Held) -> set[int]:
    """The passes since the last step before this one."""
    found: set[int] = set()
    for kind, number in held.chain:
        found = set() if kind == "step" else found | {number}
    return found


def leftovers(w: Window) -> Iterator[Reading]:
    """Whether a step uses gradients of an earlier step, or of the other player's loss."""
    judged = False
    for who in PLAYERS:
        steps = w.steps(who)
        judged = judged or sum(not s.closure for s in steps) > 1
        if any(_most_used_twice(s, who, steps) for s in steps):
            text = (
                f"gradients of the {who} that a step has used are used by the next step again: they are never cleared"
            )
            yield Reading("gradients-accumulate", True, text)
            return
    if judged:
        yield Reading("gradients-accumulate", False)
    for who in PLAYERS:
        if share := _polluted(w, who):
            text = (
                f"a step of the {who} uses gradient that the {OTHER[who]}'s loss left in its parameters "
                f"({share:.0%} of them)"
            )
            yield Reading("other-players-gradient", True, text, {"share": share})
            return
    if any(w.steps(who) for who in PLAYERS) and all(one.owner for one in w.passes.values()):
        yield Reading("other-players-gradient", False)


def _used_twice(held: Held, step: OptimizerStep, steps: list[OptimizerStep]) -> bool:
    """Whether its chain has an earlier step of the same optimiser after a pass, and a pass after that."""
    if held.replaced or held.norm is None or not float(held.norm):
        return False
    before = {s.seq for s in steps if s.optimizer == step.optimizer and s.seq < step.seq}
    passed = stepped = False
    for kind, number in held.chain:
        if kind == "step" and number in before and (passed or not held.known):
            stepped = True
        elif kind == "pass":
            if stepped:
                return True
            passed = True
    return False


def _most_used_twice(step: OptimizerStep, who: str, steps: list[OptimizerStep]) -> bool:
    """Whether that holds for at least half of the numbers in a player's parameters that have a gradient."""
    own = [h for h in step.held if h.who == who and h.norm is not None]
    return 2 * sum(h.size for h in own if _used_twice(h, step, steps)) >= sum(h.size for h in own) > 0


def _polluted(w: Window, who: str) -> float:
    """The share of a player's parameters whose gradient at a step holds a pass of the other's loss."""
    others = {one.task for one in w.own(OTHER[who])}
    largest = 0.0
    for step in w.steps(who):
        if step.closure or {h.who for h in step.held} != {who}:
            continue
        own = [h for h in step.held if h.norm is not None and not h.replaced]  # two losses may cancel to 0
        hit = [h for h in own if _last_passes(h) & others and _nonzero(w, h, others)]
        largest = max(largest, len(hit) / len(own) if own else 0.0)
    return largest


def _nonzero(w: Window, held: Held, tasks: set[int]) -> bool:
    return any(a.task in tasks and float(a.norm) for a in w.trace.added.get((held.who, held.name), []))


def adversarial(w: Window) -> Iterator[Reading]:
    """Whether the generator's loss has a term that comes through the discriminator."""
    if w.uncovered["generator"] or w.uncovered["discriminator"]:
        return
    own = [one for one in w.own("generator") if "generator" in one.moved]
    trained = any("discriminator" in one.moved for one in w.own("discriminator"))
    if not own:
        return
    scores = [came for one in own for came in one.scores if w.attached(came) and is_adversarial(came)]
    if any(float(came.value.norm()) for came in scores):
        share = _adversarial_share(w, {one.task for one in own})
        yield Reading("adversarial-term-missing", False, "", {} if share is None else {"share": share})
    elif trained and not scores:
        beside = sum(bool(one.scores) for one in own)
        how = "scores in its loss are of a detached batch" if beside else "no score is in its loss"
        yield Reading("adversarial-term-missing", True, f"the generator is moved by other terms only: {how}")


def _adversarial_share(w: Window, tasks: set[int]) -> float | None:
    """The norm of the gradient at the samples that came through the discriminator, over that plus the rest's."""
    through, rest = 0.0, 0.0
    for came in w.trace.samples:
        parts = [t.value for t in w.trace.through if t.task == came.task and t.value.shape == came.value.shape]
        if came.task in tasks and parts:
            own = torch.stack(parts).sum(0)
            through, rest = through + float(own.norm()), rest + float((came.value - own).norm())
    return through / (through + rest) if through else None


def sizes(w: Window) -> Iterator[Reading]:
    """Whether steps are so small that rounding loses them."""
    found = {}
    for who in PLAYERS:
        parts = [s.moved[who] for s in w.steps(who) if who in s.moved]
        if parts and _fed(w.steps(who), who):
            moved, size = (sum(float(p[i]) for p in parts) for i in (0, 1))
            found[who] = (moved / size) ** 0.5 if size else 1.0
    small = {who: value for who, value in found.items() if value < _BELOW_ROUNDING}
    for who, value in small.items():
        rate = max((r for s in w.steps(who) for r in s.rates), default=0.0)
        text = f"a step changes the {who}'s parameters by {value:.1g} of their size (learning rate {rate:.3g})"
        yield Reading("step-below-rounding", True, text, {"step": value, "rate": rate}, certain=not rate)
        return
    if found:
        yield Reading("step-below-rounding", False)


@dataclass
class Rates:
    """The learning rates of earlier windows.

    Attributes:
        highest: by player, the highest rate that was not a jump.
    """

    highest: dict[str, float] = field(default_factory=dict)


def rates(w: Window, seen: Rates) -> Iterator[Reading]:
    """Whether a learning rate is far above every earlier one; ``seen`` is added to."""
    judged = False
    for who in PLAYERS:
        own = [r for s in w.steps(who) for r in s.rates]
        if not own:
            continue
        now, before = max(own), seen.highest.get(who, 0.0)
        if before and now > _JUMP * before:
            text = f"the learning rate of the {who} is {now:.3g}, and was {before:.3g} at most"
            yield Reading("learning-rate-jump", True, text, {"rate": now, "before": before}, certain=False)
            return
        judged = judged or bool(before)
        if now:
            seen.highest[who] = max(now, before)
    if judged:
        yield Reading("learning-rate-jump", False)
