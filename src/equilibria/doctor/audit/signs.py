"""Readings of the losses: which are trained, where they draw the scores, and against which last operation."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from . import graph, losses
from .calls import Kind
from .passes import Window, is_score, rows_of, scores_of
from .reading import Reading
from .trace import Came

_LOGIT_LOSSES = frozenset({"BinaryCrossEntropyWithLogits", "Softplus", "LogSigmoid"})
_LINEAR = frozenset(
    {
        *("Mean", "Sum", "Neg", "Sub", "Rsub", "Add", "Mul", "Div"),
        *("View", "UnsafeView", "Reshape", "Squeeze", "Unsqueeze", "Expand", "Permute", "T", "Transpose"),
        *("Select", "Slice", "Split", "SplitWithSizes", "Chunk", "Narrow", "Unbind", "Index", "IndexSelect"),
        *("Cat", "Stack", "Clone", "Alias", "ToCopy"),
    }
)
_RECTIFIERS = frozenset({"Relu", "ClampMin", "Clamp", "Maximum", "Minimum", "Where", "Threshold"})
_SQUASHED = frozenset({"Sigmoid", "Softmax", graph.SQUASHED})  # scores in [0, 1]; of a softmax one column
_BOUNDED = _SQUASHED | {"Tanh", graph.CUT}
_LAYERS = frozenset({"Addmm", "Mm", "Linear", "Bmm", "Convolution"})
_CLAMPS = frozenset({"Clamp", "ClampMin", "Hardtanh"})
_CHOOSING = frozenset({"Topk", "Sort", "Index", "IndexSelect", "Gather", "MaskedSelect"})
_LOGARITHMS = frozenset({"Log", "BinaryCrossEntropy"})
_TINY = 0.01
_WORDS = {1: "higher", -1: "lower"}


@dataclass
class Entry:
    """Scores of one call with what a loss asks of them.

    Attributes:
        owner: whose loss.
        kind: of the rows: real or generated.
        came: the gradient.
        s: scores.
        y: the number of scores times the gradient at them.
        laws: the losses that fit.
        last: the last operation of the discriminator.
        formula: the operations between the loss and the scores.
        sure: whether the rows were recognised, and not only left over.
        turned: whether the gradient changes its sign on its way to the samples.
    """

    owner: str
    kind: Kind
    came: Came
    s: Tensor
    y: Tensor
    laws: list[losses.Law]
    last: str
    formula: frozenset[str]
    sure: bool = True
    turned: bool = False

    @property
    def families(self) -> set[str]:
        """Of the laws that fit; where the formula names the loss, that alone."""
        found = {law.family for law in self.laws}
        if self.formula & _LOGIT_LOSSES and "logits" in found:
            return {"logits"}
        if {"MseLoss"} & self.formula and "least-squares" in found:
            return {"least-squares"}
        return found

    @property
    def law(self) -> losses.Law | None:
        """The law of the family, where it is the only one."""
        families = self.families
        return next((law for law in self.laws if law.family in families), None) if len(families) == 1 else None


@dataclass
class Losses:
    """The losses of both players as they were read.

    Attributes:
        entries: one for each call and kind of rows.
        real, fake, made: whether the discriminator's loss draws real and generated scores up (1) or down (-1), and the
            generator's loss those of its samples; None where that was not read.
        heads: class heads: the gradient at them and the formula.
    """

    entries: list[Entry] = field(default_factory=list)
    real: int | None = None
    fake: int | None = None
    made: int | None = None
    heads: list[tuple[Came, frozenset[str], str]] = field(default_factory=list)

    @property
    def inverted(self) -> bool:
        """Whether low scores mean real, in both players' losses."""
        return (self.real, self.fake, self.made) == (-1, 1, -1)

    @property
    def families(self) -> set[str]:
        """The one family of each player's losses, where it is read."""
        return {law.family for e in self.entries if (law := e.law) is not None}


def read_losses(w: Window) -> Losses:
    """What the losses of a window ask of the scores."""
    found = Losses()
    live = {id(s.call) for s in w.trace.slopes if s.second is not None}
    for one in w.passes.values():
        for came in one.scores:
            out = came.call.outputs[came.output]
            fed = w.fed.get(came.call.seq)
            formula = _with_sigmoid(w.trace.formulas.get(came.task, {}).get(came.call.seq, frozenset()))
            if fed is None or out.value.shape != came.value.shape or not len(out.value):
                continue
            if not is_score(out.value):
                found.heads.append((came, formula, out.last))
                continue
            if not one.owner or (id(came.call) in live and out.last in _SQUASHED):
                continue
            for kind, (s, y) in _parts(w, came):
                y = -y if w.maximizes(one.owner) else y
                fits = _laws(s, y, out.value.dtype, formula) if len(s) else []
                # A penalty on the slope of a score that goes through a sigmoid comes back to the score as well.
                if len(s) and (fits or id(came.call) not in live or "Sigmoid" not in formula):
                    turned = one.owner == "generator" and _turned(w, came)
                    found.entries.append(Entry(one.owner, kind, came, s, y, fits, out.last, formula, fed.sure, turned))
    _narrow(found.entries)
    found.real = _common(found, "discriminator", Kind.REAL)
    found.fake = _common(found, "discriminator", Kind.FAKE)
    found.made = _common(found, "generator", Kind.FAKE)
    return found


def _turned(w: Window, came: Came) -> bool:
    """Whether the gradient at the samples is that at the discriminator's input with the other sign in each entry.

    A hook of the input itself may turn it, so what comes out of the discriminator's layers is compared as well.
    """
    slopes, through = (
        [s.value for s in found if s.task == came.task and s.call is came.call]
        for found in (w.trace.slopes, w.trace.through)
    )
    if through and all(part.shape == through[0].shape for part in through):
        slopes.append(torch.stack(through).sum(0))
    maker = w.fed[came.call.seq].maker
    made = [s.value for s in w.trace.samples if s.task == came.task and s.call is maker]
    pairs = [(a, b) for a in slopes for b in made if a.shape == b.shape and bool(a.any())]
    return any(float((a + b).norm()) < 1e-5 * float(a.norm()) for a, b in pairs)


def _narrow(entries: list[Entry]) -> None:
    """Keep of each player's laws the family that fits all of its losses; of several, the one with likely targets.

    Where scores hardly spread, a logistic loss and least squares fit the same gradients, with other targets.
    """
    for owner in {e.owner for e in entries}:
        own = [e for e in entries if e.owner == owner and e.laws]
        common = set.intersection(*(e.families for e in own)) if own else set()
        if not common:
            continue
        likely = {name for name in common if all(_likely(law) for e in own for law in e.laws if law.family == name)}
        for entry in own:
            entry.laws = [law for law in entry.laws if law.family in (likely or common)]


def _likely(law: losses.Law) -> bool:
    """Whether the target is one that is in use: near 0 or 1 for classes, of the size of 1 for least squares."""
    if law.family == "logits":
        return not 0.35 < law.target < 0.65
    return law.family != "least-squares" or abs(law.target) < 1.5


def _with_sigmoid(formula: frozenset[str]) -> frozenset[str]:
    """The operations, with a sigmoid that is written as 1 / (1 + exp(-s)) under its name."""
    by_hand = formula >= {"Exp", "Reciprocal"} or (formula >= {"Exp", "Div"} and not formula & {"Log", "Log1P"})
    return formula | {"Sigmoid"} if by_hand else formula


def _laws(s: Tensor, y: Tensor, precision: torch.dtype, formula: frozenset[str]) -> list[losses.Law]:
    """The laws that fit; of equal scores, and inside the margin of a hinge, only the formula tells a linear loss."""
    found = losses.laws(s, y, precision)
    if not found and formula and formula <= _LINEAR and bool((y == y.flatten()[:1]).all()) and bool(y.any()):
        found = [losses.Law("linear", abs(float(y.flatten()[0])), math.nan, 0.0)]
    hinge = [replace(law, family="hinge") for law in found if law.family == "linear"]
    if not formula and bool((s.abs() < 1).all()):  # the formula was not seen: either
        return [*found, *hinge]
    return [*(law for law in found if law.family != "linear"), *hinge] if formula & _RECTIFIERS else found


def _parts(w: Window, came: Came) -> list[tuple[Kind, tuple[Tensor, Tensor]]]:
    fed = w.fed[came.call.seq]
    if fed.kind is Kind.MIXED:
        return [(Kind.FAKE, rows_of(came, fed.fake)), (Kind.REAL, rows_of(came, ~fed.fake))]
    return [(fed.kind, scores_of(came))] if fed.kind in (Kind.REAL, Kind.FAKE) else []


def direction(entry: Entry, targets: tuple[float, float] | None = None) -> int | None:
    """Whether a loss draws scores up or down; None where its terms disagree.

    For laws with a target it is that of the target, not of the mean gradient, which changes its sign near a target.

    Args:
        entry: the scores.
        targets: of the discriminator's real and generated side, for least squares: a target that is not that of the
            generated side draws away from it (the generator's may lie between the two).
    """
    found = set()
    for law in entry.laws:
        if law.family not in entry.families:
            continue
        if law.family in ("logits", "probabilities"):
            found.add(_sign((law.target - 0.5) * law.weight))
        elif law.family == "least-squares" and targets is not None:
            real, fake = targets
            same = abs(law.target - fake) < 0.05 * abs(real - fake)
            found.add(_sign((fake - real if same else law.target - fake) * law.weight))
        else:
            found.add(-_sign(float(entry.y.sum())))
    if not entry.laws:
        signs = {_sign(v) for v in entry.y.flatten().tolist() if v}
        found = {-s for s in signs}
    return found.pop() if len(found) == 1 else None


def _sign(value: float) -> int:
    return (value > 0) - (value < 0)


def _common(found: Losses, owner: str, kind: Kind) -> int | None:
    """The direction in which all entries of a player and a kind of rows draw the scores; None where they disagree."""
    sides = []
    for side in (Kind.REAL, Kind.FAKE):
        own = [e for e in found.entries if e.owner == "discriminator" and e.kind is side]
        drawn = [law.target for e in own for law in e.laws if law.family == "least-squares"]
        sides.append(sum(drawn) / len(drawn) if drawn else math.nan)
    apart = abs(sides[0] - sides[1]) > 1e-3  # False where either is not known
    own = [e for e in found.entries if e.owner == owner and e.kind is kind]
    if owner == "generator":
        own = [e for e in own if e.came.call.descends] or own
    own = [e for e in own if not _unbounded(e)]  # an absolute value draws scores away from 0, to either side
    drawn_to = [(direction(e, (sides[0], sides[1]) if apart else None), e.turned) for e in own]
    signs = {-sign if turned else sign for sign, turned in drawn_to if sign}
    return signs.pop() if len(signs) == 1 else None


def sides(w: Window, found: Losses) -> Iterator[Reading]:
    """Whether the discriminator is asked to tell the two apart, and the generator to do the opposite."""
    twice = _same_rows(found)
    if twice:
        text = (
            f"{twice} rows are asked to score higher and lower in one step: both sides of its loss get the same batch"
        )
        yield Reading("same-batch-twice", True, text, {"rows": twice})
    elif _half_unused(found):
        text = "real and generated rows go through the discriminator together, and its loss uses no generated score"
        twice = 1
        yield Reading("same-batch-twice", True, text)
    elif _no_samples(found):
        text = "real rows are asked to score higher and lower, and no sample of the generator is in the loss"
        twice = 1
        yield Reading("same-batch-twice", True, text)
    real, fake, made = found.real, found.fake, found.made
    shared = _shared_target(found)
    if shared is not None:
        text = f"the discriminator's loss draws both real and generated scores to {shared:.3g}"
        yield Reading("same-target-for-both", True, text, {"target": shared})
    elif _beyond_a_margin(found):
        text = (
            "generated scores get no gradient from the discriminator's hinge loss although they are far above the "
            "margin that it has for samples: its target for them is that of real rows"
        )
        yield Reading("same-target-for-both", True, text)
    elif real is not None and fake is not None:
        if not twice:
            yield Reading("same-batch-twice", False)
        both = f"the discriminator's loss draws both real and generated scores {_WORDS[real]}"
        yield Reading("same-target-for-both", real == fake, both if real == fake else "")
        if made is not None and real != fake:
            text = (
                f"the discriminator's loss draws generated scores {_WORDS[fake]}, and the generator's loss draws them "
                f"{_WORDS[made]} as well; real scores are drawn {_WORDS[real]}"
            )
            yield Reading("swapped-labels", made == fake, text if made == fake else "")
    if made is not None and _borrowed(found, made):
        text = (
            f"a step of the discriminator uses a pass that draws generated scores {_WORDS[made]}, as the generator's "
            "loss does"
        )
        yield Reading("other-players-gradient", True, text)


def _borrowed(found: Losses, made: int) -> bool:
    """Whether some passes of the discriminator draw generated scores down, and one that could reach the generator up.

    The signs are those of the usual convention; ``made`` is where the generator's loss draws them.
    """
    own = [e for e in found.entries if e.owner == "discriminator" and e.kind is Kind.FAKE]
    signs = {(direction(e), bool(e.came.call.descends)) for e in own}
    return (made, True) in signs and (-made, False) in signs


def _shared_target(found: Losses) -> float | None:
    """The target of least squares to which the discriminator's loss draws real and generated scores alike."""
    own = [(e.kind, e.law) for e in found.entries if e.owner == "discriminator"]
    if {kind for kind, _ in own} < {Kind.REAL, Kind.FAKE}:
        return None
    targets = [law.target for _, law in own if law is not None and law.family == "least-squares"]
    if len(targets) < len(own) or max(targets) - min(targets) > 1e-3:
        return None
    return targets[0]


def _beyond_a_margin(found: Losses) -> bool:
    """Whether a hinge loss of the discriminator leaves generated scores alone that are as high as it draws real ones.

    Such scores are inside the margin of samples, and a hinge draws them down from there.
    """
    own = [e for e in found.entries if e.owner == "discriminator"]
    real = [e for e in own if e.kind is Kind.REAL and e.law is not None and e.law.family == "hinge"]
    fake = [e for e in own if e.kind is Kind.FAKE and e.formula & _RECTIFIERS]
    if found.real != 1 or not real or len(fake) < 2 or any(bool(e.y.any()) for e in fake):
        return False
    return min(float(e.s.min()) for e in fake) > 1


def _same_rows(found: Losses) -> int:
    """How many rows are drawn both up and down, or to two targets of least squares, by the discriminator's loss.

    They have the same order and the same conditions in both calls: discrete rows are alike by chance as well, and a
    discriminator may learn that real rows with another condition are wrong. Rows that are none of the generator's count
    as well if each is nearest to the row in its place: the same ones with noise.
    """
    drawn: dict[float, list[Entry]] = {}
    for entry in found.entries:
        if entry.owner != "discriminator" or len(entry.s) != len(entry.came.call.rows):
            continue
        law = entry.law
        squares = law is not None and law.family == "least-squares"
        side = round(law.target, 1) if law is not None and squares else direction(entry)
        if side is not None:
            drawn.setdefault(side, []).append(entry)
    pairs = [(a, b) for one, two in itertools.combinations(drawn.values(), 2) for a in one for b in two]
    return max((_alike(a, b) for a, b in pairs), default=0)


def _half_unused(found: Losses) -> bool:
    """Whether the discriminator's loss takes all scores of a call of both sides from its real rows.

    Losses that are flat for some scores, or of chosen ones, may leave out all samples by themselves.
    """
    own = [e for e in found.entries if e.owner == "discriminator" and e.sure]
    joined = {id(e.came.call) for e in own if e.kind is Kind.REAL}
    made = [e for e in own if e.kind is Kind.FAKE and id(e.came.call) in joined]
    flat = _RECTIFIERS | _CHOOSING | _CLAMPS
    return bool(made) and all(bool(e.formula) and not e.formula & flat and not e.y.any() for e in made)


def _no_samples(found: Losses) -> bool:
    """Whether the discriminator's loss draws some real rows up and others down, and has no generated ones.

    Among rows that repeat, as those of a few categories, generated ones are taken for real rows.
    """
    own = [e for e in found.entries if e.owner == "discriminator"]
    if any(e.kind is not Kind.REAL or not e.sure for e in own):
        return False
    keys = [e.came.call.together() for e in own]
    return all(len(set(one)) > 0.9 * len(one) for one in keys) and {direction(e) for e in own} == {1, -1}


def _alike(a: Entry, b: Entry) -> int:
    """The number of rows of two calls if nearly all are the same in the same order, or the same with noise; else 0."""
    one, two = a.came.call, b.came.call
    if one.rows.shape != two.rows.shape:
        return 0
    first, second = one.together(), two.together()
    same = torch.tensor([x == y for x, y in zip(first, second, strict=True)])
    if float(same.float().mean()) > 0.9:
        return int(same.sum())
    if {a.kind, b.kind} != {Kind.REAL} or a.sure == b.sure or len(one.rows) < 8 or not one.rows.is_floating_point():
        return 0
    apart = torch.cdist(one.rows.float().flatten(1), two.rows.float().flatten(1))
    places = torch.arange(len(apart), device=apart.device)
    return len(apart) if float((apart.argmin(1) == places).float().mean()) > 0.9 else 0


def flatness(found: Losses) -> Iterator[Reading]:
    """Whether the generator's loss has no slope on the samples that the discriminator rates worst."""
    own = [e for e in found.entries if e.owner == "generator" and e.came.call.descends]
    own = [e for e in own if not _CHOOSING & e.formula]  # as a loss of the samples with the best scores alone
    if not own or (found.made is None and any(bool(e.y.any()) for e in own)):
        return
    for entry in own:
        zero = (entry.y == 0).flatten()
        s = entry.s.flatten()
        if bool(zero.any()) and not bool(zero.all()) and found.made is not None:
            off, on = s[zero], s[~zero]
            worst = bool(off.max() < on.min() if found.made == 1 else off.min() > on.max())
        else:
            worst = bool(zero.all())
        if worst and float(s[zero].abs().max()) < 20:
            share = float(zero.float().mean())
            text = f"the generator's loss has slope 0 at {share:.0%} of its samples, the worst by the discriminator"
            yield Reading("flat-generator-loss", True, text, {"share": share})
            return
    if all(_CLAMPS & e.formula and e.formula <= _LINEAR | _CLAMPS for e in own):
        text = "the generator's loss clamps the scores of its samples: those outside of the interval get no gradient"
        yield Reading("flat-generator-loss", True, text, certain=False)
        return
    yield Reading("flat-generator-loss", False)


def last_operations(found: Losses) -> Iterator[Reading]:
    """Whether the loss fits the last operation of the discriminator."""
    judged = [e for e in found.entries if e.laws or _clamped(e) or _unbounded(e) or _bounded(e) or _double(e)]
    if not judged:
        return
    clamped = [e for e in judged if _clamped(e)]
    if any(_unbounded(e) for e in judged):
        text = "a logarithm gets scores that nothing keeps in [0, 1]: there is no sigmoid"
        yield Reading("missing-sigmoid", True, text)
    elif clamped:
        share = float(torch.cat([((e.s < 0) | (e.s > 1)).float().flatten() for e in clamped]).mean())
        text = (
            f"scores without a sigmoid are clamped to [0, 1] before a logarithm: {share:.0%} of them are outside now, "
            "and get no gradient"
        )
        yield Reading("missing-sigmoid", True, text, {"share": share})
    else:
        yield Reading("missing-sigmoid", False)
    double = [e for e in found.entries if _double(e)]
    if double:
        where = "in the loop" if double[0].last not in _SQUASHED else "as its last operation"
        yield Reading("double-sigmoid", True, f"a sigmoid ({where}) comes before a loss that takes logits")
    elif any(e.law is not None for e in judged):
        yield Reading("double-sigmoid", False)
    bounded = [e for e in judged if _bounded(e)]
    if {e.owner for e in bounded} >= {"discriminator"}:
        kind = "hinge" if "hinge" in bounded[0].families or bounded[0].formula & _RECTIFIERS else "linear"
        used = {bounded[0].last, *bounded[0].formula}
        short = "an interval of length 2 or less" if graph.CUT in used else "an interval of length 1"
        ends = "[-1, 1]" if "Tanh" in used else short if used & {graph.SQUASHED, graph.CUT} else "[0, 1]"
        text = f"the loss is {kind} in a score that the discriminator keeps in {ends}"
        yield Reading("sigmoid-on-critic", True, text)
    elif any(e.law is not None and not _BOUNDED & {e.last, *e.formula} for e in judged):
        yield Reading("sigmoid-on-critic", False)


def _bounded(entry: Entry) -> bool:
    """Whether a loss that is linear, or a hinge, gets a bounded score, by its gradients or by the formula."""
    if not _BOUNDED & {entry.last, *entry.formula}:
        return False
    if any("Log" in name or "Entropy" in name for name in entry.formula):
        return False
    plain = bool(_BOUNDED & entry.formula) and entry.formula - _BOUNDED <= _LINEAR | _RECTIFIERS
    return plain or (bool(entry.families) and entry.families <= {"linear", "hinge"})


def _unbounded(entry: Entry) -> bool:
    """Whether a logarithm gets scores of a last layer without a sigmoid, made positive in another way than by one."""
    return (
        graph.UNBOUNDED_LOG in entry.formula
        and not _SQUASHED & {entry.last, *entry.formula}
        and not _CLAMPS & entry.formula
        and entry.last in _LAYERS | {"Add", "Sum"}
    )


def _clamped(entry: Entry) -> bool:
    """Whether scores without a sigmoid are clamped before a logarithm, by the formula or by their gradients."""
    if _SQUASHED & {entry.last, *entry.formula}:
        return False
    outside = (entry.s < 0) | (entry.s > 1)
    flat = bool(outside.any()) and not bool(entry.y[outside].any())
    named = bool(entry.formula & _CLAMPS and entry.formula & _LOGARITHMS)
    asks = entry.families == {"probabilities"} or "BinaryCrossEntropy" in entry.formula
    if named and asks and entry.last in _LAYERS | {"Add", "Sum"}:
        return True  # whatever the scores are now, nothing keeps them in [0, 1]
    return flat and (named or losses.clamped(entry.s, entry.y))


def _double(entry: Entry) -> bool:
    if not _SQUASHED & {entry.last, *entry.formula}:
        return False
    if entry.formula:
        return bool(entry.formula & _LOGIT_LOSSES) and "Log" not in entry.formula
    return entry.families == {"logits"}


def logarithms(found: Losses) -> Iterator[Reading]:
    """Whether a probability near 0 goes into a logarithm without a floor: the next ones may be exactly 0."""
    own = [
        e for e in found.entries if graph.BARE_LOG in e.formula and "probabilities" in {law.family for law in e.laws}
    ]
    for entry in own:
        s, y = entry.s.flatten(), entry.y.flatten()
        least = float(torch.where(y < 0, s, 1 - s).min())
        if 0 < least < _TINY:
            text = f"a logarithm without a floor of probabilities down to {least:.1g}; at 0 the loss is infinite"
            yield Reading("unbounded-logarithm", True, text, {"smallest": least})
            return


def class_heads(found: Losses) -> Iterator[Reading]:
    """Whether a softmax comes before a loss that applies one itself."""
    judged = False
    for came, formula, last in found.heads:
        s, y = came.call.outputs[came.output].value, came.value * len(came.value)
        if s.dim() != 2 or s.shape[1] < 2:
            continue
        cross = "LogSoftmax" in formula or losses.class_head(s, y) is not None
        if cross:
            judged = True
            normed = bool((s >= 0).all()) and bool(((s.sum(1) - 1).abs() < 1e-4).all())
            if last == "Softmax" or "Softmax" in formula or normed:
                text = f"a cross entropy, which applies a softmax, gets {s.shape[1]} probabilities instead of logits"
                yield Reading("softmax-twice", True, text, {"classes": s.shape[1]})
                return
    if judged:
        yield Reading("softmax-twice", False)
