"""A CUDA graph's twin on any device: it records the operations of work and does them again on the same tensors.

As with a graph, only tensors' places are kept: whatever Python computes between operations (a rate, a branch, a name
given to another tensor) happens once, and reading a number back is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from equilibria.core.cuda_graphs import Losses

_READ_BACK = {torch.ops.aten._local_scalar_dense.default, torch.ops.aten.nonzero.default, torch.ops.aten.equal.default}
_MADE_ON_THE_CPU = {
    torch.arange, torch.empty, torch.eye, torch.full, torch.linspace, torch.normal, torch.ones, torch.rand,
    torch.randint, torch.randn, torch.randperm, torch.tensor, torch.zeros, torch.as_tensor, torch.scalar_tensor,
}  # fmt: skip


class Tape:
    """A :class:`~equilibria.core.cuda_graphs.Recorder` that needs no GPU."""

    def __init__(self) -> None:
        self.recorded = 0

    def warm(self, work: Callable[[], Losses]) -> Losses:
        return work()

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        # Unlike a graph's, its operations are done while they are recorded: what they write is put back.
        tape = _Operations()
        try:
            with _Placed(), tape:
                work()
        finally:
            for tensor, value in reversed(tape.before):
                tensor.copy_(value)
        self.recorded += 1
        return tape.again


class _Placed(TorchFunctionMode):
    """Refuses tensors that are made where nobody says: on a GPU's behalf they would have to be sent there."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in _MADE_ON_THE_CPU and (kwargs or {}).get("device") is None:
            raise RuntimeError(f"{func.__name__} without a device, inside a turn")
        return func(*args, **(kwargs or {}))


class _Operations(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.done: list[tuple[Any, Any, Any, Any]] = []
        self.before: list[tuple[Tensor, Tensor]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in _READ_BACK:
            raise RuntimeError(f"{func} reads a number back, inside a turn")
        kwargs = kwargs or {}
        schema = func._schema.arguments
        for i, argument in enumerate(schema):
            if argument.alias_info is not None and argument.alias_info.is_write:
                value = args[i] if i < len(args) else kwargs.get(argument.name)
                self.before += [(t.detach(), t.detach().clone()) for t in tree_leaves(value) if isinstance(t, Tensor)]
        out = func(*args, **kwargs)
        self.done.append((func, args, kwargs, out))
        return out

    @torch.no_grad()
    def again(self) -> None:
        for func, args, kwargs, out in self.done:
            found = func(*args, **kwargs)
            for was, now in zip(tree_leaves(out), tree_leaves(found), strict=True):
                if isinstance(was, Tensor) and was.data_ptr() != now.data_ptr():
                    was.detach().copy_(now)
