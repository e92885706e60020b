"""A pool of generated examples from earlier turns, as state of a game."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..base import distributed
from ..base.errors import ConfigError
from ..core.game import Batch

KEPT, SWAPPED = 1, 2


class ImagePool(nn.Module):
    """The last generated examples, of which a discriminator sees some again (Shrivastava et al. 2017, section 2.3).

    The rule is that of Zhu et al. 2017 (section 4 and their code): until the pool is full, each new example is put in
    and seen as it is. From then on a coin decides for each new example: it is seen as it is and forgotten, or it takes
    the place of one in the pool, which is seen instead.

    The pool is a buffer of the game. Which example goes where is decided in the draw (:meth:`places`), the loss reads
    the pool (:meth:`seen`), and only ``after`` writes it (:meth:`store`). The examples of one turn get different
    places. In the turn that fills the pool, those that come when it is full are seen as they are.

    Args:
        size: how many examples it holds; 0 for no pool.
        shape: of one example.

    Raises:
        ConfigError: a negative size.

    Examples:
        >>> pool = ImagePool(4, (2,))
        >>> entries = pool.places(3)
        >>> pool.store(torch.ones(3, 2), entries["place"], entries["role"])
        >>> pool.held.item(), pool.images[:, 0].tolist()
        (3, [1.0, 1.0, 1.0, 0.0])
    """

    images: Tensor
    held: Tensor

    def __init__(self, size: int, shape: tuple[int, ...]) -> None:
        super().__init__()
        if size < 0:
            raise ConfigError(f"a pool of {size} examples", "use 0 for no pool")
        self.size = size
        if size:
            self.register_buffer("images", torch.zeros(size, *shape))
            self.register_buffer("held", torch.zeros((), dtype=torch.int64))

    def places(self, n: int) -> Batch:
        """For ``n`` new examples: the place of each, and its role (0 seen as it is, 1 and stored, 2 swapped)."""
        if not self.size:
            return {}
        device = self.images.device
        order = torch.arange(n, device=device)
        fills = self.held + order
        filling, full = fills < self.size, (self.held >= self.size) & (order < self.size)
        free = torch.nn.functional.pad(torch.randperm(self.size, device=device), (0, max(0, n - self.size)))[:n]
        coin = torch.rand(n, device=device) < 0.5
        role = filling * KEPT + (full & coin) * SWAPPED
        return {"place": torch.where(filling, fills, free), "role": role}

    def seen(self, fresh: Tensor, place: Tensor, role: Tensor) -> Tensor:
        """What a discriminator sees in place of the new examples ``(n, *shape)``."""
        old = self.images.index_select(0, place)
        return torch.where(_beside(role == SWAPPED, fresh), old, fresh)

    @torch.no_grad()
    def store(self, fresh: Tensor, place: Tensor, role: Tensor) -> None:
        """Put new examples in their places, in place, by tensor operations; those of all processes that play."""
        slots = torch.arange(self.size, device=place.device)
        taken = (place.unsqueeze(1) == slots) & (role > 0).unsqueeze(1)
        row, count = taken.to(torch.int8).argmax(0), distributed.playing().count
        written = taken.any(0)
        values = torch.where(_beside(written, self.images), fresh.index_select(0, row).to(self.images), 0.0)
        if count > 1:  # each place is written by one process, and is zero in the others
            values, written = (part * count for part in distributed.mean(values, written.to(values)))
            written = written > 0.5
        self.images.copy_(torch.where(_beside(written, self.images), values, self.images))
        self.held.copy_((self.held + len(fresh) * count).clamp(max=self.size))


def _beside(flags: Tensor, rows: Tensor) -> Tensor:
    """Flags ``(n,)`` in a shape that broadcasts against rows ``(n, …)``."""
    return flags.reshape(-1, *[1] * (rows.ndim - 1))
