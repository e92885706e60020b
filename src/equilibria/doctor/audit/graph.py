"""Walks through autograd graphs: what lies between a loss and a score, and whose output an input descends from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor

from .bounds import SAME_VALUES, clamp_length, interval, name_of

_MOST = 4000
_SUMS = frozenset(("Add", "Sub", "Stack"))
_LINEAR = SAME_VALUES | _SUMS | frozenset(("Sum", "Mul", "Div", "Neg"))
_FLOORS = frozenset(("Add", "Clamp", "ClampMin", "Maximum", "Where"))
BARE_LOG = "Log without a floor"
"""Stands among the operations where a logarithm's input is neither clamped nor has something added."""
UNBOUNDED_LOG = "Log of more than 1"
"""Stands among the operations where nothing keeps a logarithm's input in an interval of length 1."""
SQUASHED = "Squashed"
"""Stands for the operations that keep a value in an interval of length 1, where they are no sigmoid or softmax."""
CUT = "Cut"
"""Stands for a clamp to an interval of length 2 or less, where it is the last operation of the discriminator."""
_SQUASHING = frozenset(("Sigmoid", "Softmax"))
_POSITIVE = frozenset(("Exp", "Softplus", "Elu", "Logsumexp", "Expm1", "LogSigmoid", "Div", "Reciprocal"))


def is_squashed(node: Any) -> bool:
    """Whether what comes before a value keeps it in an interval of length 1.

    Examples:
        >>> import torch
        >>> x = torch.ones(3, 1, requires_grad=True)
        >>> is_squashed((0.5 * (x.tanh() + 1)).grad_fn), is_squashed(x.tanh().grad_fn)
        (True, False)
    """
    return interval(node).length <= 1 + 1e-6


def parents(node: Any) -> list[Any]:
    """The nodes that a node passes gradient to."""
    return [] if node is None else [after for after, _ in node.next_functions if after is not None]


def last_operation(node: Any) -> str:
    """The last operation that changes values: reshapes, copies and means are passed over.

    Examples:
        >>> import torch
        >>> x = torch.ones(3, 1, requires_grad=True)
        >>> last_operation(torch.sigmoid(x).view(-1).mean().grad_fn)
        'Sigmoid'
    """
    node = _changing(node)
    return "" if node is None else name_of(node)


def operation_before(node: Any) -> str:
    """The operation before the last one, on the way of its first input.

    Examples:
        >>> import torch
        >>> x = torch.ones(3, 1, requires_grad=True)
        >>> operation_before(x.exp().view(-1).tanh().grad_fn)
        'Exp'
    """
    last = _changing(node)
    return "" if last is None else last_operation(next(iter(parents(last)), None))


def _changing(node: Any) -> Any:
    """The node, or the first one before it that changes values."""
    while node is not None and name_of(node) in SAME_VALUES:
        node = next(iter(parents(node)), None)
    return node


def last_of_scores(node: Any) -> str:
    """The last operation before scores, under its own name, or as :data:`SQUASHED` or :data:`CUT`.

    Examples:
        >>> import torch
        >>> x = torch.ones(3, 1, requires_grad=True)
        >>> last_of_scores(x.clamp(0, 1).grad_fn), last_of_scores(x.clamp(-50, 50).grad_fn)
        ('Cut', 'Clamp')
    """
    last = last_operation(node)
    if last not in _SQUASHING and is_squashed(node):
        return SQUASHED
    return CUT if clamp_length(_changing(node)) <= 2 else last


def reaches(node: Any, variables: set[int]) -> bool:
    """Whether gradient can flow from a node to one of these tensors, given by their ids.

    Examples:
        >>> import torch
        >>> x = torch.ones(3, requires_grad=True)
        >>> reaches(x.exp().sum().grad_fn, {id(x)})
        True
    """
    ahead, seen = [node], set[Any]()
    while ahead and len(seen) < _MOST:
        here = ahead.pop()
        if here is None or here in seen:
            continue
        seen.add(here)
        if id(getattr(here, "variable", None)) in variables:
            return True
        ahead += parents(here)
    return False


def first_met(node: Any, wanted: Mapping[Any, Any]) -> set[Any]:
    """The values of the wanted nodes that are met first on the ways from ``node``."""
    found: set[Any] = set()
    seen: set[Any] = set()
    ahead = [node]
    while ahead and len(seen) < _MOST:
        here = ahead.pop()
        if here is None or here in seen:
            continue
        seen.add(here)
        if here in wanted:
            found.add(wanted[here])
        else:
            ahead += parents(here)
    return found


def between(roots: Iterable[Any], wanted: Mapping[Any, int]) -> dict[int, frozenset[str]]:
    """For each wanted node, by its number, the operations on the ways from the roots to it."""
    above: dict[Any, list[Any]] = {}
    ahead = [root for root in roots if root is not None]
    seen = set(ahead)
    while ahead and len(seen) < _MOST:
        here = ahead.pop()
        if here in wanted:
            continue
        for after in parents(here):
            above.setdefault(after, []).append(here)
            if after not in seen:
                seen.add(after)
                ahead.append(after)
    found: dict[int, set[str]] = {}
    for node, number in wanted.items():
        if node not in seen:
            continue
        back, known = list(above.get(node, [])), set()
        while back:
            here = back.pop()
            if here not in known:
                known.add(here)
                back += above.get(here, [])
        found.setdefault(number, set()).update(_names(known, is_squashed(node)))
    return {number: frozenset(names) for number, names in found.items()}


def _names(nodes: set[Any], already: bool) -> set[str]:
    """The operations of nodes; what first squashes a value stands under one name, unless it was squashed already."""
    squashed = set()
    if not already:
        squashed = {node for node in nodes if is_squashed(node) and not any(map(is_squashed, parents(node)))}
    behind: set[Any] = set()
    ahead = list(squashed)
    while ahead:
        behind_it = [after for after in parents(ahead.pop()) if after in nodes and after not in behind]
        behind.update(behind_it)
        ahead += behind_it
    names = {name_of(node) for node in nodes - behind - squashed}
    if squashed:
        own = {name_of(node) for node in behind | squashed} & _SQUASHING
        names |= own or {SQUASHED}
    for node in nodes:
        if name_of(node) == "Log":
            before = parents(node)
            if not {name_of(after) for after in before} & _FLOORS:
                names.add(BARE_LOG)
            if not already and not any(map(is_squashed, before)) and not {name_of(n) for n in nodes} & _POSITIVE:
                names.add(UNBOUNDED_LOG)
    return names


def has_constant_term(roots: Iterable[Any]) -> bool:
    """Whether a term without a gradient is added to a loss.

    Examples:
        >>> import torch
        >>> x = torch.ones(3, requires_grad=True)
        >>> has_constant_term([(x.square() + torch.ones(3)).mean().grad_fn])
        True
        >>> has_constant_term([(x - torch.ones(3)).square().mean().grad_fn])
        False
    """
    ahead = [root for root in roots if root is not None]
    seen = set(ahead)
    while ahead and len(seen) < _MOST:
        here = ahead.pop()
        if name_of(here) in _SUMS and any(after is None for after, _ in here.next_functions):
            return True
        # Behind another operation a constant is a target or a margin, and no term.
        for after in parents(here) if name_of(here) in _LINEAR else ():
            if after not in seen:
                seen.add(after)
                ahead.append(after)
    return False


def edges_to(nodes: Iterable[Any], node: Any, number: int) -> list[tuple[Any, int]]:
    """The nodes behind ``nodes`` that pass gradient to output ``number`` of ``node``, each with the place of that."""
    found: list[tuple[Any, int]] = []
    seen: set[Any] = set()
    ahead = list(nodes)
    while ahead and len(seen) < _MOST:
        here = ahead.pop()
        if here is None or here in seen or here is node:
            continue
        seen.add(here)
        for place, (after, output) in enumerate(here.next_functions):
            if after is node and output == number:
                found.append((here, place))
            elif after is not None:
                ahead.append(after)
    return found


def root_nodes(tensors: Any) -> list[Any]:
    """The nodes of the tensors that a backward pass begins at."""
    given = tensors if isinstance(tensors, (tuple, list)) else [tensors]
    return [one.grad_fn for one in given if isinstance(one, Tensor)]
