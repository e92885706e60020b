"""What the hardware makes fast: where a game lives, how its tensors lie in memory, how its turns are launched."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import nn

from ..base import distributed
from ..base.errors import ConfigError
from ..base.randomness import own_randomness
from ..core.cuda_graphs import CudaGraphs, Kernels, Launch, Replay
from ..core.game import Batch, Game, clocked, evaluate
from ..networks.folding import UpsampledConv2d, fold_upsampling
from .settings import Settings

# Measured on one AVX-512 core (docs/benchmarks.md): channels last is 1.4 times as fast for 3x3 convolutions of stride 1
# between 64 and 128 channels, and 0.9 to 1.05 times for strided ones and for narrow networks.
_WIDE = 64


def settled(game: Game, device: torch.device, settings: Settings, batch: Callable[[], Batch]) -> tuple[Game, Settings]:
    """The game on its device and in its memory format, and the settings with the format that was chosen.

    The choice follows from the networks, the device and the precision alone, never from a clock, so the same run on
    the same machine has the same bits. Channels last is left alone where a network cannot run in it.

    Args:
        game: as it was built.
        device: where it is to live.
        settings: of the run; ``memory_format="auto"`` is what is chosen here.
        batch: real rows to try the game on.

    Raises:
        ConfigError: graphs are asked for where there are none.
    """
    if settings.launch == "graphs" and device.type != "cuda":
        raise ConfigError(f"launch='graphs' on '{device.type}'", "CUDA graphs need a GPU; use launch=auto")
    game = placed(game, device, settings)
    if settings.memory_format == "auto":
        pays = _gains(game, device, settings.precision) and _runs(copy.deepcopy(game), batch)
        settings = replace(settings, memory_format="channels_last" if pays else "contiguous")
    return placed(game, device, settings), settings


def placed(game: Game, device: torch.device, settings: Settings) -> Game:
    """The game on a device, in the memory format of a run's settings; ``auto``: as before formats were chosen.

    On a CPU convolutions of doubled images are folded: measured 1.5 to 2.6 times as fast, forward and backward.
    """
    game = game.to(device)
    if device.type == "cpu":
        for name, part in game.named_children():
            game._modules[name] = fold_upsampling(part)
    if settings.memory_format == "channels_last":
        for layer in _convolutions(game):
            layer.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return game


def launched(device: torch.device, settings: Settings) -> Launch:
    """How a run's turns reach its device. Processes that play together speak between kernels, so they record none.

    Graphs have to be asked for: they have been tested on their twin (tests/taping.py), and on no GPU yet.
    """
    if settings.launch != "graphs" or device.type != "cuda" or distributed.here().count > 1:
        return Kernels()
    return Replay(CudaGraphs(device))


def _convolutions(game: Game) -> list[nn.Conv2d | nn.ConvTranspose2d]:
    return [layer for layer in game.modules() if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d))]


def _gains(game: Game, device: torch.device, precision: str) -> bool:
    """Whether channels last is faster: on tensor cores for any convolution, on a CPU for wide ones of stride 1."""
    layers = [layer for layer in _convolutions(game) if not isinstance(layer, UpsampledConv2d)]
    if device.type == "cuda":
        return bool(layers) and precision == "bfloat16"
    return device.type == "cpu" and any(
        isinstance(layer, nn.Conv2d)
        and layer.stride == (1, 1)
        and max(layer.kernel_size) > 1
        and min(layer.in_channels, layer.out_channels) >= _WIDE
        for layer in layers
    )


def _runs(game: Game, batch: Callable[[], Batch]) -> bool:
    """Whether every player has a loss in channels last: a ``view`` in one's own network may not take its strides."""
    placed(game, next(game.parameters()).device, Settings(memory_format="channels_last"))
    with own_randomness(), torch.random.fork_rng(devices=[]):
        draw = clocked(game.draw(batch()), 0)
        try:
            for player in game.players:
                evaluate(game, player.name, draw)
        except RuntimeError:
            return False
    return True
