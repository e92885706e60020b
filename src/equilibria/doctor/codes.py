"""How the user's function deals codes: one tensor, a tuple, a dict, or tensors with time first."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..base.errors import ConfigError

_FIX = "latent=fn(n) that returns a tensor (n, …), or a tuple or a dict of such tensors"


@dataclass(frozen=True)
class CodePart:
    """One entry of what a user's function deals.

    Attributes:
        name: its key in a dict; its position in a tuple as text.
        batch: the dimension along which codes lie; None for an entry that is the same for all codes.
        shape: of one code.
        dtype: of the entry.
        value: the entry itself where it is the same for all codes.
    """

    name: str
    batch: int | None = 0
    shape: tuple[int, ...] = ()
    dtype: torch.dtype = torch.float32
    value: Any = None

    @property
    def numbers(self) -> int:
        """How many numbers one code has here."""
        return 0 if self.batch is None else int(np.prod(self.shape, dtype=np.int64))

    @classmethod
    def of(cls, name: str, entry: Any, n: int) -> CodePart:
        """The part that an entry of ``n`` codes is."""
        if isinstance(entry, Tensor):
            for batch in (0, 1):
                if entry.dim() > batch and entry.shape[batch] == n:
                    shape = tuple(entry.shape[:batch]) + tuple(entry.shape[batch + 1 :])
                    return cls(name, batch, shape, entry.dtype)
        return cls(name, None, value=entry)


@dataclass(frozen=True)
class CodeForm:
    """How codes that are not one tensor ``(n, …)`` become one, and back.

    A tuple or a dict is packed into a tensor ``(n, numbers)``; a tensor with time first, ``(time, n, …)``, is
    transposed. Whole numbers are kept exactly below 2**24.

    Attributes:
        parts: the entries.
        kind: ``"tensor"``, ``"tuple"`` or ``"dict"``.

    Examples:
        >>> form = form_of_codes(lambda n: (torch.randn(n, 3), torch.randint(5, (n,))))
        >>> z = form.pack((torch.ones(2, 3), torch.tensor([4, 0])))
        >>> z.shape, form.unpack(z)[1].tolist(), form.size
        (torch.Size([2, 4]), [4, 0], 3)
    """

    parts: tuple[CodePart, ...]
    kind: str

    @property
    def size(self) -> int:
        """How many real numbers one code has; whole numbers do not count."""
        return sum(part.numbers for part in self.parts if part.dtype.is_floating_point)

    def pack(self, dealt: Any) -> Tensor:
        """The codes as one tensor ``(n, …)``."""
        if self.kind == "tensor":
            return torch.as_tensor(dealt).transpose(0, self.parts[0].batch or 0)
        entries = dict(dealt) if self.kind == "dict" else {str(i): entry for i, entry in enumerate(dealt)}
        rows = [
            torch.as_tensor(entries[part.name]).movedim(part.batch, 0).flatten(1)
            if part.shape
            else torch.as_tensor(entries[part.name])[:, None]
            for part in self.parts
            if part.batch is not None
        ]
        wide = torch.promote_types(torch.float32, max((r.dtype for r in rows), key=_precision))
        return torch.cat([r.to(wide) for r in rows], 1)

    def unpack(self, z: Tensor) -> Any:
        """The codes as the user's function deals them."""
        if self.kind == "tensor":
            return z.transpose(0, self.parts[0].batch or 0)
        pieces = iter(torch.split(z, [part.numbers for part in self.parts if part.batch is not None], 1))
        entries: dict[str, Any] = {}
        for part in self.parts:
            if part.batch is None:
                entries[part.name] = part.value
                continue
            piece = next(pieces).reshape(len(z), *part.shape).movedim(0, part.batch)
            entries[part.name] = (piece if part.dtype.is_floating_point else piece.round()).to(part.dtype)
        return entries if self.kind == "dict" else tuple(entries.values())


def _precision(dtype: torch.dtype) -> int:
    return torch.finfo(dtype).bits if dtype.is_floating_point else 0


def form_of_codes(codes: Callable[[int], Any], n: int = 64) -> CodeForm | None:
    """The form of the codes that a function deals; None for one tensor ``(n, …)``, which needs none.

    Raises:
        ConfigError: it deals something else.
    """
    dealt = codes(n)
    if isinstance(dealt, (tuple, list)):
        entries, kind = {str(i): entry for i, entry in enumerate(dealt)}, "tuple"
    elif isinstance(dealt, Mapping):
        entries, kind = {str(name): entry for name, entry in dealt.items()}, "dict"
    else:
        entries, kind = {"": dealt}, "tensor"
    entries = {name: torch.from_numpy(e) if isinstance(e, np.ndarray) else e for name, e in entries.items()}
    parts = tuple(CodePart.of(name, entry, n) for name, entry in entries.items())
    if all(part.batch is None for part in parts):
        shown = ", ".join(str(tuple(e.shape)) if isinstance(e, Tensor) else type(e).__name__ for e in entries.values())
        raise ConfigError(f"latent= deals {shown or 'nothing'} for {n} codes", _FIX)
    plain = kind == "tensor" and parts[0].batch == 0 and isinstance(dealt, Tensor)
    return None if plain else CodeForm(parts, kind)
