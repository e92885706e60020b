"""Records a window of training through read-only hooks; nothing that it does changes a number of the run.

Global hooks see every module and optimiser of the process and are kept only while a window is open; they hold the
recorder weakly, so that a loop that ends by an exception leaves nothing behind. A window also closes by itself when
far more happens in it than in a few training steps.
"""

from __future__ import annotations

import functools
import warnings
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import get_gradient_edge
from torch.nn.modules import module as modules
from torch.optim import optimizer as optimizers

from . import backward, graph
from .hashing import MOST_ROWS, row_hashes
from .trace import Added, Call, Came, Held, OptimizerStep, Output, Trace

_MOST_CALLS, _MOST_ENTRIES = 600, 2**20


def _guarded(hook: Callable[..., None]) -> Callable[..., None]:
    """An error in a hook is noted and never raised into the training loop.

    Hooks of gradients get the gradient last, which is None where a function has no backward pass: there came none.
    """

    @functools.wraps(hook)
    def safe(self: Recorder, *given: Any) -> None:
        try:
            if given[-1] is not None:
                hook(self, *given)
        except Exception as error:
            self.trace.failures.append(f"{hook.__name__.strip('_')}: {type(error).__name__}: {error}"[:200])

    return safe


class Recorder:
    """Records what happens to two networks between :meth:`open` and :meth:`close`.

    Args:
        networks: the modules of each player, as the loop calls them.
    """

    def __init__(self, networks: Mapping[str, Sequence[nn.Module]]) -> None:
        self.trace = Trace()
        self._watched = {id(net): who for who, own in networks.items() for net in own}
        self._parameters: dict[int, tuple[str, str, Tensor]] = {}
        for who, own in networks.items():
            for net in own:
                for name, p in net.named_parameters():
                    self._parameters.setdefault(id(p), (who, name, p))
        self._clear()

    def _clear(self) -> None:
        self._hooked: set[int] = set()
        self._chains: dict[int, tuple[bool, list[tuple[str, int]], int]] = {}
        self._before: dict[int, bool] = {}
        self._values: dict[int, list[tuple[str, Tensor, Tensor]]] = {}
        self._made: dict[Any, int] = {}
        self._scored: dict[Any, int] = {}
        self._formula: dict[int, frozenset[str]] | None = None
        self._constant = False
        self._largest: dict[float, int] = {}
        self._aim: frozenset[str] = frozenset()
        self._handles: list[Any] = []
        self._seq = 0
        self._finalizer: Callable[[], object] | None = None

    @property
    def is_open(self) -> bool:
        """Whether a window is open."""
        return bool(self._handles)

    def open(self) -> None:
        """Begin a window."""
        self.close()
        self.trace = Trace()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns of global hooks where a compiled module is alive
            self._handles += [
                modules.register_module_forward_hook(self._weakly("_called"), with_kwargs=True),
                optimizers.register_optimizer_step_pre_hook(self._weakly("_step")),
                optimizers.register_optimizer_step_post_hook(self._weakly("_stepped")),
                backward.watch(self._weakly("_backward")),
            ]
        self._finalizer = weakref.finalize(self, _remove, self._handles)

    def close(self) -> Trace:
        """End the window: no hook is left. What was recorded in it is returned."""
        if self._finalizer is not None:
            self._finalizer()
        self._clear()
        return self.trace

    def _weakly(self, name: str, *first: Any) -> Callable[..., None]:
        me = weakref.ref(self)

        def hook(*given: Any) -> None:
            own = me()
            if own is not None and own._handles:
                getattr(own, name)(*first, *given)

        return hook

    def _next(self) -> int:
        self._seq += 1
        return self._seq

    # Calls

    @_guarded
    def _called(self, net: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
        who = self._watched.get(id(net))
        if who is None:
            return
        if len(self.trace.calls) >= _MOST_CALLS:
            self.trace.failures.append("more calls than a few training steps have")
            self.close()
            return
        given = [t for t in _tensors((args, kwargs)) if isinstance(t, Tensor)]
        if not given:
            return
        self._watch_parameters()
        main = max(range(len(given)), key=lambda i: (given[i].is_floating_point(), given[i].numel()))
        x = given[main]
        call = Call(
            self._next(),
            who,
            net,
            [t.detach()[:MOST_ROWS].clone() if t.dim() else t.detach().clone() for t in given],
            [row_hashes(t[:MOST_ROWS]) if t.dim() else None for t in given],
            main,
            x.grad_fn,
            x.is_leaf and x.requires_grad,
            x.requires_grad,
            torch.is_grad_enabled(),
            net.training,
            [(m, m.training) for m in net.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)],
        )
        if who == "discriminator":
            call.cut, call.kept = self._cut(net)
        call.trained = any(p.requires_grad for p in net.parameters())
        self.trace.calls.append(call)
        for key, tensor in _named(out):
            if isinstance(tensor, Tensor) and tensor.is_floating_point():
                self._output(call, key, tensor)
        if who == "discriminator" and x.requires_grad and call.grads:
            self._watch_input(call, x)

    def _output(self, call: Call, key: str, tensor: Tensor) -> None:
        attached, node = tensor.requires_grad, tensor.grad_fn
        small = tensor.numel() <= _MOST_ENTRIES
        value = tensor.detach().clone() if small else tensor.detach()[:0].clone()
        if call.who == "generator":
            value = value[:MOST_ROWS]
        index = len(call.outputs)
        last = graph.last_of_scores(node) if call.who == "discriminator" else graph.last_operation(node)
        call.outputs.append(Output(value, node, last, attached, key))
        if not attached:
            return
        if node is not None:
            (self._scored if call.who == "discriminator" else self._made)[node] = call.seq
        rows = None if call.who == "discriminator" else MOST_ROWS
        self._handles.append(tensor.register_hook(self._weakly("_came", call, index, rows)))  # type: ignore[no-untyped-call]

    def _watch_input(self, call: Call, x: Tensor) -> None:
        self._handles.append(x.register_hook(self._weakly("_sloped", call)))  # type: ignore[no-untyped-call]
        if x.grad_fn is not None:
            edge = get_gradient_edge(x)
            nodes = [one.node for one in call.outputs if one.node is not None]
            for node, place in graph.edges_to(nodes, edge.node, edge.output_nr):
                self._handles.append(node.register_hook(self._weakly("_went_through", call, place)))
            call.descends = graph.first_met(x.grad_fn, self._made)

    def _cut(self, net: nn.Module) -> tuple[bool, bool]:
        """Whether several entries have exactly the largest absolute value (4, or 2 of few); whether it stays."""
        values = [p.detach().abs().flatten() for p in net.parameters() if p.is_floating_point() and p.numel()]
        if not values:
            return False, False
        entries = torch.cat(values)
        largest = float(entries.max())
        steps = sum(any(one.who == "discriminator" for one in step.held) for step in self.trace.steps)
        alike = int((entries == largest).sum()) > (3 if len(entries) > 32 else 1)
        return largest > 0 and alike, largest > 0 and steps > self._largest.setdefault(largest, steps)

    # Gradients

    @_guarded
    def _came(self, call: Call, index: int, rows: int | None, gradient: Tensor) -> None:
        found = Came(*self._where(), call, index, gradient.detach()[:rows].clone(), torch.is_grad_enabled())
        (self.trace.scores if call.who == "discriminator" else self.trace.samples).append(found)
        if self._aim:
            self.trace.aims[found.task] = self._aim
        if self._formula is not None:
            self.trace.formulas.setdefault(found.task, self._formula)
            if self._constant:
                self.trace.constants.add(found.task)

    @_guarded
    def _sloped(self, call: Call, gradient: Tensor) -> None:
        found = Came(*self._where(), call, -1, gradient.detach()[:MOST_ROWS].clone(), torch.is_grad_enabled())
        self.trace.slopes.append(found)
        if found.graph and gradient.requires_grad:
            self._handles.append(gradient.register_hook(self._weakly("_came_to_slope", found)))  # type: ignore[no-untyped-call]

    @_guarded
    def _came_to_slope(self, slope: Came, gradient: Tensor) -> None:
        slope.second, slope.later = gradient.detach()[:MOST_ROWS].clone(), self._where()[1]

    @_guarded
    def _went_through(self, call: Call, place: int, inputs: tuple[Tensor | None, ...], _: Any) -> None:
        gradient = inputs[place]
        if gradient is not None:
            value = gradient.detach()[:MOST_ROWS].clone()
            self.trace.through.append(Came(*self._where(), call, -1, value, torch.is_grad_enabled()))

    def _where(self) -> tuple[int, int]:
        return self._next(), torch._C._current_graph_task_id()

    @_guarded
    def _backward(self, roots: Any, inputs: Any, begins: bool) -> None:
        nodes = graph.root_nodes(roots)
        self._aim = self._owners(inputs) if begins and inputs is not None else frozenset()
        self.trace.bare += begins and inputs is None and bool(nodes) and all(node is None for node in nodes)
        of_a_loss = begins and (inputs is None or bool(self._aim))  # and no slope
        self._formula = graph.between(nodes, self._scored) if of_a_loss else None
        self._constant = of_a_loss and graph.has_constant_term(nodes)

    def _owners(self, inputs: Any) -> frozenset[str]:
        """The players whose parameters these tensors are: by their memory, or as copies of all by their shapes."""
        given = [t for t in _tensors(inputs) if isinstance(t, Tensor)]
        places = {p.data_ptr(): who for who, _, p in self._parameters.values() if p.numel()}
        found = {places[t.data_ptr()] for t in given if t.data_ptr() in places}
        if not found and len(given) > 1:
            shapes = sorted(tuple(t.shape) for t in given)
            for who in {who for who, _, _ in self._parameters.values()}:
                own = [tuple(p.shape) for owner, _, p in self._parameters.values() if owner == who]
                found |= {who} if sorted(own) == shapes else set()
        return frozenset(found)

    def _watch_parameters(self) -> None:
        """Parameters may have been frozen when the window began, so new ones are looked for at each call."""
        for key, (who, name, p) in self._parameters.items():
            if key not in self._hooked and p.requires_grad:
                self._hooked.add(key)
                if p._backward_hooks:
                    self.trace.hooked.add((who, name))
                self._handles.append(p.register_hook(self._weakly("_contributed", key)))  # type: ignore[no-untyped-call]
                self._handles.append(p.register_post_accumulate_grad_hook(self._weakly("_accumulated", key)))  # type: ignore[no-untyped-call]

    @_guarded
    def _contributed(self, key: int, gradient: Tensor) -> None:
        held = self._parameters[key][2].grad
        self._before[key] = held is not None and bool(held.any())
        who, name, _ = self._parameters[key]
        task = torch._C._current_graph_task_id()
        self.trace.added.setdefault((who, name), []).append(Added(task, gradient.detach().norm(), self._before[key]))

    @_guarded
    def _accumulated(self, key: int, p: Tensor) -> None:
        before = self._before.pop(key, False)
        known, tokens, _ = self._chains.get(key, (False, [], 0))
        if not before:
            known, tokens = True, []
        now = 0 if p.grad is None else p.grad.data_ptr()
        self._chains[key] = (known, [*tokens, ("pass", torch._C._current_graph_task_id())], now)

    # Optimisers

    @_guarded
    def _step(self, optimizer: torch.optim.Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        given = [p for group in optimizer.param_groups for p in group["params"]]
        own = [(id(p), p) for p in given if id(p) in self._parameters]
        closure = any(callable(one) for one in (*args[1:], *kwargs.values()))
        number = self._next()
        held = [self._held(key, p) for key, p in own]
        rates = tuple(float(group.get("lr", 0.0)) for group in optimizer.param_groups)
        strangers = len(given) - len(own)
        upwards = any(bool(group.get("maximize")) for group in optimizer.param_groups)
        self.trace.steps.append(OptimizerStep(number, id(optimizer), held, strangers, rates, closure, upwards))
        self._values[id(optimizer)] = [(self._parameters[key][0], p, p.detach().clone()) for key, p in own]
        for key, _ in own:
            known, tokens, pointer = self._chains.get(key, (False, [], 0))
            self._chains[key] = (known, [*tokens, ("step", number)], pointer)

    def _held(self, key: int, p: Tensor) -> Held:
        who, name, _ = self._parameters[key]
        known, tokens, pointer = self._chains.get(key, (False, [], 0))
        passes = any(kind == "pass" for kind, _ in tokens)
        replaced = passes and p.grad is not None and p.grad.data_ptr() != pointer
        norm = None if p.grad is None else p.grad.detach().norm()
        return Held(who, name, norm, tuple(tokens), known, replaced, p.numel())

    @_guarded
    def _stepped(self, optimizer: torch.optim.Optimizer, *_: Any) -> None:
        step = next((s for s in reversed(self.trace.steps) if s.optimizer == id(optimizer)), None)
        if step is None:
            return
        if step.closure:  # its gradients came inside the step
            given = [p for group in optimizer.param_groups for p in group["params"]]
            step.held = [self._held(id(p), p) for p in given if id(p) in self._parameters]
        for who, p, before in self._values.pop(id(optimizer), []):
            moved, size = (p.detach() - before).double().square().sum(), before.double().square().sum()
            old = step.moved.get(who, (torch.zeros_like(moved), torch.zeros_like(size)))
            step.moved[who] = (old[0] + moved, old[1] + size)


def _remove(handles: list[Any]) -> None:
    for handle in handles:
        handle.remove()
    handles.clear()


def _tensors(value: Any) -> Iterator[Any]:
    for _, one in _named(value):
        yield one


def _named(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Every leaf of nested tuples, lists and mappings, with the name under which it stands."""
    if isinstance(value, Mapping):
        for name, one in value.items():
            yield from _named(one, str(name))
    elif isinstance(value, (tuple, list)):
        for one in value:
            yield from _named(one, key)
    else:
        yield key, value
