"""What the reproductions of translation share: one run by hand, and rows of pictures."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from matplotlib.axes import Axes
from torch import Tensor

from ..core.optimizers import OptimizerSpec
from ..core.play import Play
from ..core.updates import Alternating
from ..data import Dataset
from ..figures.panels import label
from ..games.spec import GameSpec
from ..networks import Networks
from .side_by_side import batches_of, seeded


def started(
    spec: GameSpec, networks: Networks, data: Dataset, seed: int, optimizer: OptimizerSpec, batch: int, rounds: int
) -> Play:
    """A play of one game at round 0; all turns of a round see the same real rows, as the papers' loops do."""
    game = seeded(spec, networks, data, seed)
    specs = {player.name: optimizer for player in game.players}
    play = Play(game, Alternating(share=True), specs, batches_of(data, batch), seed=seed, horizon=rounds)
    play.prepare()
    return play


def picture_rows(axes: Axes, rows: Sequence[tuple[str, Tensor]], title: str) -> None:
    """Rows of images, each with its name beside; images ``(n, c, h, w)`` in [-1, 1], gray ones among coloured ones."""
    lines, height = [], rows[0][1].shape[2]
    for _, images in rows:
        coloured = images.expand(-1, 3, -1, -1)
        lines.append(torch.cat([torch.nn.functional.pad(image, (0, 1, 0, 1), value=1.0) for image in coloured], dim=2))
    page = torch.cat(lines, dim=1).permute(1, 2, 0).clamp(-1, 1).add(1).div(2)
    axes.imshow(page.numpy(), interpolation="nearest")
    middles = [(height + 1) * i + height / 2 for i in range(len(rows))]
    axes.set_xticks([])
    axes.set_yticks(middles, [name for name, _ in rows])
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    label(axes, title=title)
