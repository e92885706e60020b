"""A peer's networks, read from its script, for our side of the comparison."""

from __future__ import annotations

import ast
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from equilibria.base.errors import ConfigError

from .mimicry_dcgan import pair


def classes(script: Path, options: dict[str, Any], **names: Any) -> dict[str, Any]:
    """The classes and functions that a script defines at module level, without running the script.

    Args:
        script: the file.
        options: the values of its command line, available to it as ``opt``.
        names: other globals that its classes read.

    Raises:
        ConfigError: the script defines no Generator and Discriminator.
    """
    tree = ast.parse(script.read_text(encoding="utf-8"))
    wanted: list[ast.stmt] = [part for part in tree.body if isinstance(part, (ast.ClassDef, ast.FunctionDef))]
    found: dict[str, Any] = {"np": np, "torch": torch, "nn": nn, "F": functional, "opt": SimpleNamespace(**options)}
    found |= names
    exec(compile(ast.Module(wanted, []), str(script), "exec"), found)
    if not {"Generator", "Discriminator"} <= found.keys():
        raise ConfigError(f"{script} defines no Generator and Discriminator", "use the project's newest commit")
    return found


def dcgan(script: Path) -> dict[str, nn.Module]:
    """The networks of dcgan.py: the same layers in the same order, without the sigmoid, because our losses take logits.

    The layers are put into new ``Sequential`` containers, because the script's ``view`` refuses channels-last images.
    """
    made = classes(script, {"latent_dim": 100, "img_size": 32, "channels": 1})
    generator, discriminator = made["Generator"](), made["Discriminator"]()
    for network in (generator, discriminator):
        network.apply(made["weights_init_normal"])
    side = generator.init_size
    return {
        "generator": nn.Sequential(generator.l1, nn.Unflatten(1, (128, side, side)), generator.conv_blocks),
        "discriminator": nn.Sequential(discriminator.model, nn.Flatten(), discriminator.adv_layer[0]),
    }


def mimicry_dcgan(project: Path) -> dict[str, nn.Module]:
    """The networks that mimicry_dcgan.py trains, unchanged.

    Only the modules of the networks are imported, because the whole package needs TensorFlow; they are unloaded again.

    Raises:
        ConfigError: the project has no networks.
    """
    package = ModuleType("torch_mimicry")
    package.__path__ = [str(project / package.__name__)]
    sys.modules[package.__name__] = package
    try:
        generator, discriminator = pair(import_module(f"{package.__name__}.nets.dcgan"))
    except ImportError as missing:
        raise ConfigError(f"{project} has no networks of mimicry: {missing}", "clone the project there") from missing
    finally:
        for name in [name for name in sys.modules if name.split(".")[0] == package.__name__]:
            del sys.modules[name]
    return {"generator": generator, "discriminator": discriminator}


def pythae_aae(project: Path) -> dict[str, nn.Module]:
    """pythae's default perceptrons for an adversarial autoencoder of 28x28 images, without the discriminator's sigmoid.

    The two heads of its encoder are one layer here.
    """
    return {
        "encoder": nn.Sequential(nn.Flatten(), nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 16)),
        "decoder": nn.Sequential(
            nn.Linear(8, 512), nn.ReLU(), nn.Linear(512, 784), nn.Sigmoid(), nn.Unflatten(1, (1, 28, 28))
        ),
        "discriminator": nn.Sequential(nn.Linear(8, 256), nn.ReLU(), nn.Linear(256, 1)),
    }


def wgan_gp(script: Path) -> dict[str, nn.Module]:
    """The networks of wgan_gp.py, unchanged."""
    options = {"latent_dim": 100, "img_size": 28, "channels": 1}
    made = classes(script, options, img_shape=(1, 28, 28))
    return {"generator": made["Generator"](), "discriminator": made["Discriminator"]()}
