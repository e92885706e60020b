"""Readings of what goes into the networks: modes of batch norms, conditions, codes, and the range of the data."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from . import graph
from .calls import Fed, Kind
from .passes import Window
from .reading import Reading
from .trace import Call

_MOST_KEPT = 8192
_FEWEST_WINDOWS, _FEW = 3, 0.4  # of the different rows that random draws hold
_RANGES = {"Tanh": (-1.0, 1.0), "Sigmoid": (0.0, 1.0), "Softmax": (0.0, 1.0)}


@dataclass
class Seen:
    """What earlier windows saw.

    Attributes:
        codes: hashes of the generator's input rows.
        conditions: values of its conditions.
        real: hashes of the real rows that the discriminator was trained on.
        drawn: the sum of the different ones of each window.
        windows: in which there were any.
        parts: the parts of the data that those rows came from.
        dead: the generator's layers that got a gradient of exactly 0 in the last window.
        slopes: of every step with a zero-centred penalty, the norm of the batch's slopes and the penalty's weight.
    """

    codes: set[int] = field(default_factory=set)
    conditions: set[int] = field(default_factory=set)
    real: set[int] = field(default_factory=set)
    drawn: int = 0
    windows: int = 0
    parts: set[int] = field(default_factory=set)
    dead: frozenset[str] = frozenset()
    slopes: list[tuple[float, float]] = field(default_factory=list)


def rows_used(w: Window, seen: Seen, known: frozenset[int], parts: Mapping[int, int]) -> Iterator[Reading]:
    """Whether the discriminator gets far fewer different real rows than random draws from the data would hold.

    Of N rows, T random draws hold N (1 - (1 - 1/N)^T) different ones on average. A row counts once in a window, because
    a discriminator may well take several steps on a batch. N is the number of rows in the parts of the data from which
    there was any: parts that are left out are read by :func:`parts_used`.

    Args:
        w: the window.
        seen: what earlier ones saw; it is added to.
        known: the hashes of the real rows.
        parts: by the hash of a real row, the part of the data that it is in.
    """
    fed = {key for f in w.fed.values() if f.kind is Kind.REAL for key in _main_hashes(f.call)}
    seen.parts |= {parts[key] for key in fed if key in parts}
    own = fed & known
    seen.drawn += len(own)
    seen.windows += bool(own)
    seen.real |= own
    if seen.windows < _FEWEST_WINDOWS:
        return
    share = sum(part in seen.parts for part in parts.values()) / len(parts) if parts else 1.0
    rows = max(share * len(known), 2.0)
    expected = rows * -math.expm1(seen.drawn * math.log1p(-1 / rows))
    few = len(seen.real) < _FEW * expected
    text = (
        f"in {seen.windows} windows the discriminator got {len(seen.real)} different real rows of {len(known)}; random "
        f"draws would have been {expected:.0f}"
    )
    yield Reading("few-rows-used", few, text if few else "", {"different": len(seen.real), "expected": expected})


def parts_used(seen: Seen, parts: Mapping[int, int]) -> Iterator[Reading]:
    """Whether the discriminator gets no real row of some parts of the data, by far more than chance.

    Of T random draws none is in parts that hold the share m of the data with a probability of about exp(-T m). It is
    read where that is below exp(-40), for parts that were chosen afterwards. Call it after :func:`rows_used`.

    Args:
        seen: what this window and earlier ones saw.
        parts: by the hash of a real row, the part of the data that it is in.
    """
    if seen.windows < _FEWEST_WINDOWS or not seen.parts:
        return
    without = sum(part not in seen.parts for part in parts.values()) / len(parts)
    if without > 0.1 and without * seen.drawn > 40:
        left, all_parts = len(set(parts.values()) - seen.parts), len(set(parts.values()))
        text = (
            f"of {seen.drawn} real rows that the discriminator got in {seen.windows} windows, none is from {left} of "
            f"{all_parts} parts of the data, which hold {without:.0%} of it"
        )
        yield Reading("mode-dropping", True, text, {"share": without}, certain=False)


def _main_hashes(call: Call) -> list[int]:
    hashes = call.hashes[call.main] if call.grads else None
    return [] if hashes is None else hashes.tolist()


def _trained(w: Window) -> list[Call]:
    """The calls of the generator to whose output gradient came."""
    return list({id(c.call): c.call for c in w.trace.samples if float(c.value.norm())}.values())


def batch_norms(w: Window) -> Iterator[Reading]:
    """Whether batch norms mix real and generated rows, or are in eval mode while they train."""
    made = _trained(w)
    judged = [f.call for f in w.fed.values()]
    scored = {id(c.call) for one in w.passes.values() for c in one.scores}
    fed = [f for f in w.fed.values() if id(f.call) in scored]
    mixed = [f for f in fed if f.kind is Kind.MIXED and any(on for _, on in f.call.norms)]
    alone = [f for f in fed if f.kind is Kind.FAKE and f.attached and any(on for _, on in f.call.norms)]
    if any(call.norms for call in judged):
        text = (
            "one call with batch norms in train mode holds real and generated rows, in the generator's step only those"
        )
        both = bool(mixed and alone)
        if fed:
            yield Reading("batchnorm-leakage", both, text if both else "")
    for who, calls in (("generator", made), ("discriminator", [f.call for f in fed])):
        own = [call for call in calls if call.norms]
        if own:
            off = all(not on for call in own for _, on in call.norms)
            text = f"every batch norm of the {who} is in eval mode in all {len(own)} calls that gradient comes back to"
            yield Reading("batchnorm-in-eval", off, text if off else "")
            if off:
                return
    stale = _stale(w)
    if stale is not None:
        yield stale


def _stale(w: Window) -> Reading | None:
    norms = {id(m): m for call in w.trace.of("generator") for m, _ in call.norms}
    worst = 0.0
    for norm in norms.values():
        count = getattr(norm, "num_batches_tracked", None)
        if count is not None and isinstance(norm.momentum, float) and int(count) >= 100:
            worst = max(worst, (1 - norm.momentum) ** int(count))
    if worst <= 0.5:
        return None
    text = f"{worst:.0%} of the running statistics of a batch norm are still their start: its momentum is too small"
    return Reading("train-eval-mismatch", True, text, {"share": worst}, certain=False)


def conditions(w: Window, seen: Seen, labels: Tensor | None) -> Iterator[Reading]:
    """Whether conditions vary, agree between the two networks, and are used."""
    calls = [(call, y) for call in _trained(w) if (y := _condition(call)) is not None and len(y) >= 8]
    if calls:
        values = {int(v) for _, y in calls for v in y.tolist()}
        seen.conditions |= values
        several = labels is not None and bool((labels != labels[:1]).any())
        several = several or any(
            bool((y != y[:1]).any())
            for f in w.fed.values()
            if f.kind is Kind.REAL and (y := _condition(f.call)) is not None
        )
        if several:
            fixed = len(seen.conditions) == 1
            text = f"the generator's condition is {next(iter(values))} in every row, and the data has several"
            yield Reading("condition-fixed", fixed, text if fixed else "")
    apart = [share for f in w.fed.values() if (share := _disagreement(f)) is not None]
    if apart:
        wrong = max(apart) > 0.1
        text = (
            f"{max(apart):.0%} of generated rows go into the discriminator with another label than they were made with"
        )
        yield Reading("labels-disagree", wrong, text if wrong else "", {"share": max(apart)})
    yield from _label_use(w)


def _condition(call: Call) -> Tensor | None:
    """The classes among a call's inputs, one for each row."""
    for i, x in enumerate(call.inputs):
        if i == call.main and x.is_floating_point():
            continue
        if x.dim() == 1 and not x.is_floating_point() and x.dtype is not torch.bool:
            return x.long()
        if x.dim() == 2 and x.shape[1] == 1 and not x.is_floating_point():
            return x[:, 0].long()
        if _one_hot(x):
            return x.argmax(1)
    return None


def _one_hot(x: Tensor) -> bool:
    """Whether each row has a single 1 among zeros."""
    return x.dim() == 2 and x.shape[1] > 1 and bool(((x == 0) | (x == 1)).all()) and bool((x.sum(1) == 1).all())


def _disagreement(fed: Fed) -> float | None:
    """The share of generated rows whose label beside the discriminator is not the one that they were made with."""
    if fed.kind is not Kind.FAKE or fed.maker is None:
        return None
    rows = fed.call.rows
    if not bool(torch.isfinite(rows).all()) or _all_same(rows):  # then their call is not known by the rows
        return None
    given, asked = _condition(fed.call), _condition(fed.maker)
    if given is None or asked is None or len(given) != len(asked) or len(given) < 8 or bool((asked == asked[:1]).all()):
        return None
    return float((given != asked).float().mean())


def _label_use(w: Window) -> Iterator[Reading]:
    """Whether an embedding of the discriminator gets no gradient although its other parameters do."""
    own = {one.task for one in w.own("discriminator")}
    reached = {
        name
        for (who, name), added in w.trace.added.items()
        if who == "discriminator" and any(a.task in own and float(a.norm) for a in added)
    }
    if not reached:
        return
    tables: list[str] = []
    for call in w.trace.of("discriminator"):
        if _condition(call) is None:
            return
        tables = [
            f"{name}.weight".lstrip(".")
            for name, m in call.module.named_modules()
            if isinstance(m, nn.Embedding) and m.weight.requires_grad
        ]
    if tables and not set(tables) & reached:
        text = f"the discriminator gets labels, and no gradient reaches {', '.join(tables)}: they are not used"
        yield Reading("label-ignored", True, text)


def blindness(w: Window) -> Iterator[Reading]:
    """Whether the discriminator gives every row the same score, in bits or to one part in 100,000 of its size."""
    judged = []
    for f in w.fed.values():
        scores = [out.value for out in f.call.outputs if out.value.dim() and len(out.value) == len(f.call.rows)]
        if len(f.call.rows) >= 8 and not _all_same(f.call.rows.reshape(len(f.call.rows), -1)) and scores:
            judged.append(all(_spread(value) < 1e-5 for value in scores))
    cut = any(f.call.cut for f in w.fed.values())  # then what blinds it is the bound, which is measured
    if judged and all(judged) and not cut:
        text = f"all rows of a batch get the same score, in {len(judged)} calls of the discriminator"
        yield Reading("discriminator-blind", True, text)


def _spread(value: Tensor) -> float:
    """The root mean square of the differences between rows, as a share of that of the entries."""
    value = value.double().reshape(len(value), -1)
    return float((value - value.mean(0)).square().mean().sqrt() / value.square().mean().sqrt().clamp(min=1e-300))


def codes(w: Window, seen: Seen, real: frozenset[int]) -> Iterator[Reading]:
    """Whether the generator gets new codes, and makes different rows of different ones."""
    keys: set[int] = set()
    repeated = same = total = near = 0
    for call in _trained(w):
        if call.main >= len(call.hashes) or call.hashes[call.main] is None or len(call.rows) < 8:
            continue
        own = _code_keys(call)
        total += 1
        keys |= set(own)
        repeated += len(set(own)) < 0.5 * len(own)
        same += any(_same_within(out.value, _condition(call)) for out in call.outputs) and len(set(own)) > 1
        near += all(_spread(out.value) < 1e-4 for out in call.outputs) and _spread(call.rows.float()) > 0.1
    if not total:
        return
    old = len(keys & seen.codes) / len(keys)
    rows = len(keys & real) > 0.5 * len(keys)
    if repeated == total and (few := _different_rows(w)):
        text = f"a batch has {few} different real rows, each several times, and repeated codes: it is that small"
        yield Reading("noisy-generator-gradient", True, text, {"rows": few}, certain=False)
    elif repeated == total:
        text = "fewer than half of the generator's input rows in a batch differ from each other"
        yield Reading("latent-too-small", True, text, certain=False)
    elif seen.codes and not rows:
        text = f"{old:.0%} of the generator's input rows were fed to it before: the noise is not drawn anew"
        yield Reading("noise-reused", old > 0.9, text if old > 0.9 else "", {"share": old}, certain=False)
    seen.codes |= set(list(keys)[: _MOST_KEPT - len(seen.codes)])
    if same:
        yield Reading(*_constant(w))
    elif near == total:
        text = "generated rows differ by less than one part in 10,000 although their codes differ"
        yield Reading("latent-ignored", True, text, certain=False)


def _different_rows(w: Window) -> int:
    """How many different rows the real batches have at most, where each has fewer than half of its rows; else 0."""
    counts = [
        (len(set(keys)), len(keys))
        for f in w.fed.values()
        if f.kind is Kind.REAL and len(keys := _main_hashes(f.call)) >= 8
    ]
    return max(n for n, _ in counts) if counts and all(2 * n < of for n, of in counts) else 0


def _code_keys(call: Call) -> list[int]:
    """A hash for each row of the inputs that are no condition."""
    kept = [i for i, x in enumerate(call.inputs) if i == call.main or (x.is_floating_point() and not _one_hot(x))]
    return call.together(kept)


def _same_within(value: Tensor, condition: Tensor | None) -> bool:
    """Whether rows are the same in bits wherever their conditions are."""
    if condition is None or len(condition) != len(value) or value.dim() < 2:
        return _all_same(value)
    groups = [own for own in (value[condition == y] for y in torch.unique(condition)) if len(own) > 1]
    return bool(groups) and all(_all_same(own) for own in groups)


def _constant(w: Window) -> tuple[str, bool, str]:
    if dead := _without_gradient(w):  # the weights of a layer alone: its input is 0, not its units
        which = ", ".join(name or "its own parameters" for name in sorted(dead)[:3])
        text = f"all generated rows are equal in bits, and weights and biases of {which} get a gradient of exactly 0"
        return "dead-units", True, text
    return "latent-ignored", True, "all generated rows of a batch are equal in bits although the codes differ"


def _without_gradient(w: Window) -> frozenset[str]:
    """The generator's layers of several parameters that all get a gradient of exactly 0."""
    layers: dict[str, list[bool]] = {}
    for (who, name), added in w.trace.added.items():
        if who == "generator":
            layers.setdefault(name.rpartition(".")[0], []).append(not any(float(a.norm) for a in added))
    return frozenset(name for name, zero in layers.items() if len(zero) > 1 and all(zero))


def dead_layers(w: Window, seen: Seen) -> Iterator[Reading]:
    """Whether some layers of the generator get a gradient of exactly 0 in two windows, though others get one.

    In one window it may be a branch that is faded in. ``seen`` is brought up to date.
    """
    dead, before = _without_gradient(w), seen.dead
    seen.dead = dead
    moved = any(float(a.norm) for (who, _), added in w.trace.added.items() if who == "generator" for a in added)
    if moved and (still := sorted(dead & before)):
        which = ", ".join(name or "its own parameters" for name in still[:3])
        text = f"weights and biases of {which} in the generator get a gradient of exactly 0, in two windows"
        yield Reading("dead-units", True, text, {"layers": len(still)}, certain=False)


def _all_same(value: Tensor) -> bool:
    return value.dim() > 1 and len(value) > 1 and bool((value == value[:1]).all())


def ranges(w: Window) -> Iterator[Reading]:
    """Whether the generator's last operation can reach the values of the real rows.

    The mean distance of real entries to its range, over their root mean square, is a lower bound of what any such
    generator leaves; 1 % of it is what a sample of some thousand rows resolves.
    """
    last = {out.last for call in _trained(w) for out in call.outputs[:1] if out.attached}
    plain = any(f.kind is Kind.FAKE and f.plain for f in w.fed.values())  # else both may be augmented
    rows = [f.call.rows for f in w.fed.values() if f.kind is Kind.REAL and (f.sure or plain)]
    shapes = {tuple(out.value.shape[1:]) for call in _trained(w) for out in call.outputs[:1]}
    rows = [x for x in rows if x.is_floating_point() and tuple(x.shape[1:]) in shapes]
    if len(last) != 1 or not rows or (name := next(iter(last))) not in _RANGES:
        return
    x = torch.cat([r.float().flatten() for r in rows])
    low, high = _RANGES[name]
    away = float((x - x.clamp(low, high)).abs().mean() / x.square().mean().sqrt().clamp(min=1e-12))
    least, most = float(x.min()), float(x.max())
    about = (
        f"the generator ends in {name.lower()}, in [{low:g}, {high:g}]; real values are in [{least:.3g}, {most:.3g}]"
    )
    if away > 0.01:
        yield Reading(
            "data-range-mismatch",
            True,
            f"{about}: at least {away:.0%} of their size cannot be reached",
            {"unreachable": away},
        )
    elif name == "Tanh" and float(x.min()) == 0.0 and float(x.max()) > 0.5:
        yield Reading(
            "data-range-mismatch", True, f"{about}: half of the range is not used", {"unreachable": away}, certain=False
        )
    elif low == -1 and float(x.min()) < -0.2:
        yield Reading("data-range-mismatch", False)


def norm_before_output(w: Window) -> Iterator[Reading]:
    """Whether a norm stands before the last operation: in the graph, or by what every sample has in common."""
    for call in _trained(w):
        out = call.outputs[0]
        norm = graph.operation_before(out.node) if out.last in _RANGES else out.last
        if norm.endswith(("BatchNorm", "LayerNorm", "GroupNorm")):
            where = "is" if norm == out.last else f"stands directly before the {out.last.lower()} that is"
            kind = re.sub(r"(?<=[a-z])(?=Norm$)", " ", norm.removeprefix("Native")).lower()
            yield Reading("norm-before-output", True, f"a {kind} {where} the generator's last operation")
            return
        if _standardised(out.value):
            text = "in every batch each entry of the samples has mean 0 and one variance: the batch is standardised"
            yield Reading("norm-before-output", True, text, certain=False)
            return
        if _standardised(out.value.flatten(1).T) and _spread(out.value) > 1e-3:
            text = "every sample has mean 0 and one variance over its entries: each is standardised by itself"
            yield Reading("norm-before-output", True, text, certain=False)
            return
        if out.last != "Tanh" or out.value.dim() < 2 or out.value[0].numel() < 16 or len(out.value) < 8:
            continue
        before = out.value.double().clamp(-1 + 1e-7, 1 - 1e-7).flatten(1).atanh()
        mean, variance, square = before.mean(1), before.var(1), before.square().mean(1)
        size = float(variance.mean().sqrt())
        centred = float(mean.std()) < 2e-3 * size and float(variance.std()) < 1e-2 * float(variance.mean())
        frozen = centred or float(square.std()) < 2e-3 * float(square.mean())
        moves = _spread(out.value) > 1e-3
        which = "mean and variance" if centred else "the mean square"
        text = f"{which} of every sample before its tanh are the same: a norm stands directly before the output"
        yield Reading("norm-before-output", frozen and moves, text if frozen and moves else "", certain=False)
        return


def _standardised(value: Tensor) -> bool:
    """Whether each entry has, over a batch's rows, a mean of 0 and the same deviation, nearer than chance gives."""
    if value.dim() < 2 or min(len(value), value[0].numel()) < 2 or max(len(value), value[0].numel()) < 16:
        return False
    rows = value.double().flatten(1)
    mean, deviation = rows.mean(0), rows.std(0)
    size = float(deviation.mean())
    return size > 0 and float(mean.abs().max()) < 1e-3 * size and float(deviation.std()) < 1e-3 * size


def identity(w: Window) -> Iterator[Reading]:
    """Whether the generator is also paid for returning its own input: an identity term of the wrong side."""
    adversarial = {id(f.maker): f.maker for f in w.fed.values() if f.attached and f.maker is not None}
    for came in w.trace.samples:
        call, out = came.call, came.call.outputs[came.output].value
        if call.rows.shape[1:] != out.shape[1:] or not call.rows.is_floating_point():
            continue
        gradient = came.value
        source = next((m for m in adversarial.values() if _same_input(m, call)), None)
        if source is None:
            continue
        if call is source:
            through = [t for t in w.trace.through if t.task == came.task and t.value.shape == gradient.shape]
            for one in through:
                gradient = gradient - one.value
        n = min(len(call.rows), len(out), len(gradient))
        asked = (out[:n] - call.rows[:n]).sign()
        given = gradient[:n].sign()
        used = (asked != 0) & (given != 0)
        if float(used.float().mean()) > 0.5 and float((asked == given)[used].float().mean()) > 0.999:
            text = "a term draws the generator's output to its own input, at the very rows that it is to translate"
            gaps = (out[:n] - call.rows[:n]).abs().flatten().float()
            close = float(gaps.kthvalue(max(1, len(gaps) // 10)).values) < 0.05 * float(call.rows[:n].float().std())
            yield Reading("identity-of-wrong-side", True, text, certain=close)  # else a target nearby looks the same
            return
    if adversarial:
        yield Reading("identity-of-wrong-side", False)


def _same_input(a: Call, b: Call) -> bool:
    first, second = a.hashes[a.main], b.hashes[b.main]
    return a.module is b.module and first is not None and second is not None and torch.equal(first, second)
