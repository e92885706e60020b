"""Choices that depend on the hardware: the device of a game, its memory format, and how its turns are launched."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import nn

from ..base import distributed
from ..base.errors import ConfigError
from ..base.randomness import own_randomness
from ..core.cuda_graphs import CudaGraphs, Eager, Launch, Replay
from ..core.game import Batch, Game, evaluate, make_draw
from ..networks.folding import UpsampledConv2d, fold_upsampling
from .settings import Settings

# Measured on one AVX-512 core (docs/benchmarks.md): channels last is 1.4 times as fast for 3x3 convolutions of stride 1
# between 64 and 128 channels, and 0.9 to 1.05 times for strided ones and for narrow networks.
_WIDE = 64


def settled(game: Game, device: torch.device, settings: Settings, batch: Callable[[], Batch]) -> tuple[Game, Settings]:
    """Move the game to its device and memory format; returns it and the settings with the chosen format.

    The choice depends on the networks, the device and the precision only, never on a time measurement, so the same run
    on the same machine has the same bits. Channels last is not chosen for a network that cannot run in it.

    Args:
        game: the game as it was built.
        device: its device.
        settings: settings of the run; ``memory_format="auto"`` is decided here.
        batch: returns real rows on which the game is tried.

    Raises:
        ConfigError: ``launch="graphs"`` on a device without CUDA graphs.
    """
    if settings.launch == "graphs" and device.type != "cuda":
        raise ConfigError(f"launch='graphs' on '{device.type}'", "CUDA graphs need a GPU; use launch=auto")
    game = placed(game, device, settings)
    if settings.memory_format == "auto":
        pays = _gains(game, device, settings.precision) and _runs(copy.deepcopy(game), batch)
        settings = replace(settings, memory_format="channels_last" if pays else "contiguous")
    return placed(game, device, settings), settings


def placed(game: Game, device: torch.device, settings: Settings) -> Game:
    """Move the game to a device and to the memory format of the settings; ``auto`` leaves the format as it is.

    On a CPU an upsampling and the convolution after it are replaced by one transposed convolution: measured 1.5 to 2.6
    times as fast, forward and backward.
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
    """How a run's turns are launched. Several processes communicate between kernels, so they use no graphs.

    Graphs are used only with ``launch="graphs"``: so far they have been tested on a CPU stand-in for CUDA graphs
    (tests/taping.py), and not on a GPU.
    """
    if settings.launch != "graphs" or device.type != "cuda" or distributed.here().count > 1:
        return Eager()
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
    """Whether every player's loss can be computed in channels last: ``view`` in a user's network may refuse it."""
    placed(game, next(game.parameters()).device, Settings(memory_format="channels_last"))
    with own_randomness(), torch.random.fork_rng(devices=[]):
        draw = make_draw(game.draw(batch()), 0)
        try:
            for player in game.players:
                evaluate(game, player.name, draw)
        except RuntimeError:
            return False
    return True
