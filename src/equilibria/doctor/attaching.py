"""Attaches the doctor to what a user's loop has: modules, lists of modules, rows, codes, labels, optimisers."""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from ..base.errors import ConfigError, DataError, did_you_mean
from .assumed import AssumedCodes, shapes_of_codes
from .codes import form_of_codes
from .evidence import NotAssessed
from .rows import RowForm, enough, finite_rows, form_of_rows, read_rows
from .scores import ScoreForm, tensors_of
from .subject import Subject, classes_of, unwrapped

_TRIED = 64  # codes in a first call
_PLAYERS = ("generator", "discriminator")


def module_of(who: str, given: Any) -> nn.Module:
    """The module that a user's loop trains, without its wrapper; of a list or a dict of modules, one that holds them.

    Raises:
        ConfigError: it is a function, a class or something else; the fix names the modules that a function uses.
    """
    found = _module(given)
    if found is not None:
        if any(isinstance(p, nn.parameter.UninitializedParameter) for p in found.parameters()):
            call = "generator(codes)" if who == "generator" else "discriminator(rows)"
            raise ConfigError(f"the {who} has parameters without a shape", f"call it once before: {call}")
        return found
    name = getattr(given, "__name__", who).replace("<lambda>", who)
    if isinstance(given, type):
        raise ConfigError(f"the {who} is the class {name}", f"pass the nn.Module that is trained: {name}(…)")
    what, x = f"the {who} is a {type(given).__name__}", "z" if who == "generator" else "x"
    if not callable(given):
        raise ConfigError(what, "pass the nn.Module that is trained, or a list of them with call=")
    if isinstance(given, types.MethodType) and isinstance(given.__self__, nn.Module):
        raise ConfigError(
            f"{what} of an nn.Module", f"pass the module, and call={{'{who}': lambda {x}, y: {who}.{name}({x})}}"
        )
    names = ", ".join(_modules_in(given)) or "trunk, head"
    raise ConfigError(
        what,
        f"pass the modules that it calls, as nn.ModuleList([{names}]), and "
        f"call={{'{who}': lambda {x}, y: {name}({x})}}",
    )


def _module(given: Any) -> nn.Module | None:
    """The module of a module, or of a list or a dict of modules; None for anything else."""
    if isinstance(given, nn.Module):
        return unwrapped(given)
    if isinstance(given, (list, tuple)) and given and all(isinstance(one, nn.Module) for one in given):
        return nn.ModuleList([unwrapped(one) for one in given])
    if isinstance(given, Mapping) and given and all(isinstance(one, nn.Module) for one in given.values()):
        return nn.ModuleDict({str(name): unwrapped(one) for name, one in given.items()})
    return None


def _modules_in(function: Any) -> list[str]:
    """The names under which a function refers to modules."""
    if isinstance(function, functools.partial):
        function = function.func
    if not isinstance(function, types.FunctionType):
        return []
    seen = inspect.getclosurevars(function)
    return [name for own in (seen.nonlocals, seen.globals) for name, v in own.items() if isinstance(v, nn.Module)]


def subject_of(generator: nn.Module, discriminator: nn.Module, real: Any, options: Mapping[str, Any]) -> Subject:
    """The pair with its inputs, in the form in which the doctor keeps them.

    Raises:
        DataError: no real rows, or another number of labels than rows.
        ConfigError: an argument has another form.
    """
    given, loaded = read_rows(real)
    latent = _latent(options.get("latent"))
    calls = _calls(options.get("call") or {}, generator, discriminator, options.get("sampler"))
    labels = _labels(options.get("labels"), loaded)
    size = latent if isinstance(latent, int) else 0
    codes = latent if callable(latent) else (lambda n: torch.randn(n, size)) if size else None
    conditions = latent is None and options.get("sampler") is None
    if conditions and (labels is None or classes_of(labels) is not None):
        codes, conditions = _assumed(Subject(generator, discriminator, given, labels, calls=calls)), False
        latent = codes
    elif conditions:
        codes = _no_codes
    subject = Subject(
        generator, discriminator, given, labels, None, codes, size, options.get("sampler"), calls,
        codes_are_rows=conditions,
    )  # fmt: skip
    subject.rows = form = _forms(subject, latent)
    rows = enough(given, form)
    count = given.shape[1] if form.steps and len(given) == form.steps else len(given)
    if labels is not None and len(labels) != count:
        raise DataError(
            f"{len(labels)} labels for {count} real rows", "pass one label for each row, in the order of the rows"
        )
    finite = finite_rows(rows)
    subject.real = rows[finite]
    subject.labels = None if labels is None else labels[: len(rows)][finite.to(labels.device)]
    subject.holdout = _holdout(options.get("holdout"), subject)
    subject.non_finite = 1 - float(finite.float().mean())
    subject.score_form = ScoreForm(1, _class_count(subject.classes, loaded), bool(form.steps))
    return subject


def _no_codes(n: int) -> Tensor:
    return torch.zeros(n, 0)


def _assumed(pair: Subject) -> AssumedCodes:
    """Codes of the shape that the generator's first layer takes, with which it makes rows like the real ones.

    Raises:
        ConfigError: there are none.
    """
    for shape in shapes_of_codes(pair.generator):
        pair.codes = AssumedCodes(shape)
        try:
            with pair.undisturbed(0), torch.no_grad():
                made = tensors_of(pair.output(pair.draw_codes(_TRIED)))
        except Exception:  # it takes another shape, or the labels are needed
            continue
        if any(tuple(x.shape) == (_TRIED, *pair.real.shape[1:]) for x in made):
            return pair.codes
    raise ConfigError(
        "neither latent nor sampler was given, and the generator's first layer does not tell the size of a code",
        "pass latent=128, or sampler=fn(n) -> samples",
    )


def _latent(given: Any) -> Any:
    latent = int(given) if isinstance(given, np.integer) else given
    if latent is not None and not callable(latent) and (not isinstance(latent, int) or latent < 1):
        raise ConfigError(f"latent={latent!r}", "a size of at least 1, or fn(n) -> codes")
    return latent


def _calls(
    given: Mapping[str, Any], generator: nn.Module, discriminator: nn.Module, sampler: Any
) -> Mapping[str, Callable[..., Any]]:
    """The calling conventions; modules that only hold others need one."""
    for who, called in given.items():
        if who not in _PLAYERS or not callable(called):
            raise ConfigError(f"call= with '{who}'", "call={'generator': fn(z, y), 'discriminator': fn(x, y)}")
    for who, net in zip(_PLAYERS, (generator, discriminator), strict=True):
        if who in given or not isinstance(net, (nn.ModuleList, nn.ModuleDict)):
            continue
        if who == "generator" and sampler is not None:
            continue
        fix = (
            "lambda x, y: [d(x) for d in discriminators]"
            if who == "discriminator"
            else "lambda z, y: generators[1](generators[0](z))"
        )
        kind = "list" if isinstance(net, nn.ModuleList) else "dict"
        raise ConfigError(
            f"the {who} is a {kind} of {len(net)} modules, which cannot be called", f"call={{'{who}': {fix}}}"
        )
    return given


def _forms(subject: Subject, latent: Any) -> RowForm:
    """How codes and rows are laid out, from one call of the generator; plain where it cannot be called."""
    with subject.undisturbed(0), torch.no_grad():
        if callable(latent):
            subject.code_form = form_of_codes(latent, _TRIED)
            if subject.code_form is not None and subject.code_form.kind == "dict" and subject.labels is not None:
                _refuse_dict(subject)
        given = subject.real
        if given.dim() == 2 and given.is_floating_point():
            return RowForm()
        try:
            out = subject.sampler(_TRIED) if subject.sampler else subject.output(subject.draw_codes(_TRIED))
        except Exception:  # inspect says why
            return RowForm()
        return form_of_rows(given, tensors_of(out), _TRIED)


def _refuse_dict(subject: Subject) -> None:
    if "generator" not in subject.calls:
        raise ConfigError(
            "latent= deals a dict, and labels= are given",
            "call={'generator': lambda z, y: generator(**z, y=y)}",
        )


def _holdout(given: Any, subject: Subject) -> Tensor | None:
    if isinstance(given, (tuple, list)) and given and isinstance(given[0], (Tensor, np.ndarray)):
        given = given[0]
    if given is None:
        return None
    rows = enough(read_rows(given, "holdout")[0], subject.rows, "holdout")
    rows = rows[finite_rows(rows)]
    if rows.shape[1:] != subject.real.shape[1:]:
        raise DataError(
            f"holdout rows of shape {tuple(rows.shape[1:])}, real rows of {tuple(subject.real.shape[1:])}",
            "pass both as the discriminator is fed",
        )
    return rows


def _labels(given: Any, loaded: Tensor | None) -> Tensor | None:
    """The label of each row: as given, or as the loader yields them if the rows come from a loader of ``(x, y)``."""
    if given is None:
        return None
    labels = torch.as_tensor(given)
    if loaded is not None and loaded.shape[1:] == labels.shape[1:]:
        return loaded.to(labels.dtype)  # a loader shuffles, and what was given is in the order of the data set
    return labels


def _class_count(classes: Tensor | None, loaded: Tensor | None) -> int:
    """How many classes the labels have, given or dealt by a loader; 0 if that is not known."""
    y = classes if classes is not None else loaded
    if y is None or not y.numel() or (classes is None and (y.dim() != 1 or y.is_floating_point())):
        return 0
    return y.shape[1] if y.dim() == 2 else int(y.max()) + 1


class JoinedOptimizers:
    """Several optimisers of one player, as far as the doctor reads them."""

    def __init__(self, optimizers: Sequence[torch.optim.Optimizer]) -> None:
        self.optimizers = tuple(optimizers)

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """The groups of all of them."""
        return [group for one in self.optimizers for group in one.param_groups]

    @property
    def state(self) -> dict[Any, Any]:
        """The states of all of them, by parameter."""
        return {p: state for one in self.optimizers for p, state in one.state.items()}


def optimizers_of(given: Any) -> dict[str, torch.optim.Optimizer]:
    """The optimiser of each player.

    Raises:
        ConfigError: another form, or a name that is no player's.
    """
    form = '{"generator": optimizer_g, "discriminator": optimizer_d}'
    if given is None:
        return {}
    if not isinstance(given, Mapping) or not set(_PLAYERS) & set(given):
        raise ConfigError("optimizers of another form", form)
    found: dict[str, torch.optim.Optimizer] = {}
    for name, one in given.items():
        if name not in _PLAYERS:
            raise ConfigError(f"an optimiser of '{name}'", did_you_mean(name, _PLAYERS))
        several = list(one) if isinstance(one, (list, tuple)) else [one]
        if not several or not all(hasattr(each, "param_groups") for each in several):
            raise ConfigError(f"an optimiser of '{name}' of type {type(one).__name__}", form)
        joined = cast(torch.optim.Optimizer, JoinedOptimizers(several))  # the same attributes that are read
        found[name] = one if one is several[0] else joined
    return found


def missing(subject: Subject, options: Mapping[str, Any]) -> list[NotAssessed]:
    """What cannot be assessed, and which argument would allow it."""
    found = []
    if subject.holdout is None:
        what = "memorisation and an overfitted discriminator"
        found.append(NotAssessed(what, "holdout", "real rows that are not trained on"))
    if "optimizers" not in options:
        what = "parameters left out of an optimiser or held by the wrong one"
        found.append(NotAssessed(what, "optimizers", "{'generator': optimizer_g, 'discriminator': optimizer_d}"))
    if "objective" not in options:
        what = "saturation of your own loss, a double sigmoid, a critic's Lipschitz constraint"
        found.append(NotAssessed(what, "objective", "a name, or (loss_d(real, fake), loss_g(fake))"))
    elif subject.probabilities and isinstance(options.get("objective"), str):
        why = "your two losses (loss_d(real, fake), loss_g(fake)); the discriminator ends in a sigmoid"
        found.append(NotAssessed("a double sigmoid", "objective", why))
    if subject.labels is None and _takes_labels(subject):
        found.append(
            NotAssessed(
                "whether samples have the labels asked for", "labels", "one for each real row, for a conditional pair"
            )
        )
    if subject.labels is not None and subject.classes is None:
        found.append(NotAssessed("whether samples match their conditions", reason="the conditions are not classes"))
    if subject.codes is None:
        what = "the generator's gradient and its use of the codes"
        found.append(NotAssessed(what, "latent", "the size of the codes, or fn(n) -> codes"))
    return [*found, *_of_the_form(subject)]


def _of_the_form(subject: Subject) -> list[NotAssessed]:
    """What the form of rows, codes and scores leaves out, and what was assumed."""
    found = []
    if isinstance(subject.codes, AssumedCodes):
        why = f"assumed: codes of shape {subject.codes.shape}, by the generator's first layer; their law is read"
        found.append(NotAssessed("codes of another form", "latent", why))
    if subject.codes is _no_codes:
        why = "the generator takes conditions and no codes"
        found.append(NotAssessed("the latent space: its use, its rank and its size", reason=why))
    if subject.rows.whole:
        why = "rows are whole numbers, through which no gradient passes"
        found.append(NotAssessed("the score's gradient in its input", reason=why))
    if subject.rows.words:
        why = f"real rows are compared one-hot with the generator's weights over {subject.rows.words} words"
        found.append(NotAssessed("numbers of words as such", reason=why))
    for assumption in subject.assumptions:
        why = f"{{'discriminator': fn(x, y) -> scores (n,)}}; assumed: {assumption}"
        found.append(NotAssessed("another reading of the discriminator's output", "call", why))
    return found


def _takes_labels(subject: Subject) -> bool:
    """Whether labels can be passed: a calling convention ``(x, y)``, or a network that takes a second input."""
    if subject.calls:
        return True
    try:
        inputs = [list(inspect.signature(net.forward).parameters.values()) for net in subject.networks.values()]
    except (TypeError, ValueError):  # a compiled network has no signature
        return False
    return any(sum(p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in own) > 1 for own in inputs)
