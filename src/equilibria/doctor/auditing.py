"""What the doctor makes of an audit: its readings, the loss that it now knows, and what could not be read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from ..losses import OBJECTIVES, Hinge, LeastSquares, Minimax, NonSaturating, Objective, Wasserstein
from .assumed import AssumedCodes
from .audit import Audit, Reading
from .audit.average import average_reading
from .audit.hashing import row_hashes
from .audit.signs import Losses
from .chart import Chart
from .evidence import NotAssessed
from .objective import Declared
from .rows import RowForm
from .subject import Subject

_MOST_ROWS = 2**14  # real rows whose part of the data is known
_DISAGREES = "objective-disagrees"
_LOGISTIC = ("logits", "probabilities")
_FAMILIES: dict[str, type[Objective]] = {
    "linear": Wasserstein,
    "hinge": Hinge,
    "logits": NonSaturating,
    "probabilities": NonSaturating,
    "least-squares": LeastSquares,
}


def audit_of(given: Mapping[str, Any], subject: Subject, chart: Chart) -> Audit | None:
    """The audit of the networks as the loop calls them; None where they are lists of modules, which no call names.

    Args:
        given: what the user passed, by player.
        subject: the pair.
        chart: it says what cannot be read.
    """
    for who, net in given.items():
        if not isinstance(net, nn.Module) or isinstance(net, (nn.ModuleList, nn.ModuleDict)):
            reason = f"the {who} is several modules: pass one module with a forward method, as your loop calls it"
            chart.unread = [NotAssessed("the training step", reason=reason)]
            return None
    real = subject.real if subject.rows == RowForm() else None
    parts = {} if real is None else _parts(real[:_MOST_ROWS], chart)
    return Audit({who: [net] for who, net in given.items()}, real, subject.classes, parts)


def _parts(real: Tensor, chart: Chart) -> dict[int, int]:
    """By the hash of a real row, its cell; empty where some rows have none."""
    cells = chart.space.cell_of(chart.space(real)).tolist()
    return dict(zip(row_hashes(real).tolist(), cells, strict=True)) if len(cells) == len(real) else {}


def take_in(audit: Audit, subject: Subject, chart: Chart) -> dict[str, Reading]:
    """Close the audit's window and read it: the readings by condition.

    Where both players' losses were read, they take the place of a guessed objective, and their convention that of
    "higher is more real": in the inverted one every score is taken with the other sign.
    """
    audited = audit.read()
    if audited is None:
        return {}
    chart.unread = [
        NotAssessed(f"part of the training step ({who})", reason=why) for who, why in audited.unread.items()
    ]
    if isinstance(subject.codes, AssumedCodes) and audited.codes is not None:
        subject.codes.take(audited.codes)
    # The first of those that hold; one that holds goes before one that does not.
    readings = {one.condition: one for one in sorted(reversed(audited.readings), key=lambda one: one.holds)}
    losses = audited.losses
    if losses.real and losses.fake and losses.made:
        subject.inverted = losses.inverted
    family = _family(losses)
    if family:
        readings |= _agreement(family, chart.objective)
    if family and not chart.objective.known:
        chart.objective = Declared(Minimax() if _saturating(losses) else _FAMILIES[family]())
        chart.not_assessed = [one for one in chart.not_assessed if one.argument != "objective"]
    if {"wrong-player-trained", "parameters-not-optimised"} <= set(readings):
        chart.not_assessed = [one for one in chart.not_assessed if one.argument != "optimizers"]
    if subject.sampler is not None:
        with subject.undisturbed(3):
            average = average_reading(subject.sampler, subject.generator)
        if average is not None:
            readings[average.condition] = average
    return readings


def _saturating(losses: Losses) -> bool:
    """Whether the generator's loss is that of the discriminator with the other sign: its weight is negative."""
    laws = [e.law for e in losses.entries if e.owner == "generator"]
    return bool(laws) and all(law is not None and law.family in _LOGISTIC and law.weight < 0 for law in laws)


def _agreement(family: str, objective: Declared) -> dict[str, Reading]:
    """Whether the loss that is trained is the one that was declared by name."""
    told = objective.pair
    if told is None or not isinstance(told, (Minimax, *_FAMILIES.values())):
        return {}
    trained = _FAMILIES[family]()
    agrees = isinstance(told, type(trained)) or (isinstance(told, Minimax) and family in _LOGISTIC)
    text = f"the discriminator's loss is {_words(trained)}, and objective= says {_words(told)}"
    return {_DISAGREES: Reading(_DISAGREES, not agrees, "" if agrees else text)}


def _words(objective: Objective) -> str:
    return next(name for name, known in OBJECTIVES.items() if type(known) is type(objective))


def _family(losses: Losses) -> str:
    """The one family of the discriminator's loss; empty where it was not read."""
    laws = [e.law for e in losses.entries if e.owner == "discriminator"]
    found = {law.family for law in laws if law is not None}
    return found.pop() if len(found) == 1 and all(law is not None for law in laws) else ""
