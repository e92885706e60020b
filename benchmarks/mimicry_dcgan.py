"""mimicry's residual DCGAN for 32x32 images with its own trainer on MNIST in three channels; run by driver.py.

The library ships a script for CIFAR-10 with other networks; this is that script with these networks, the digits, one
turn of the discriminator per step and the trainer's defaults. Its default widths, 256 and 128, are meant for a GPU: a
quarter of both is used. The package imports TensorFlow for its metrics only, so an empty module replaces it during that
import. Two other imported packages look for TensorFlow and work without it: they are imported before. The digits are
resized and normalised once, before the first step.
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

DIGITS = Path("../../data/mnist/MNIST/raw/train-images-idx3-ubyte")
STAND_IN = "tensorflow"


def pair(dcgan: Any) -> tuple[Any, Any]:
    """The generator and the discriminator of ``torch_mimicry.nets.dcgan``."""
    return dcgan.DCGANGenerator32(ngf=64), dcgan.DCGANDiscriminator32(ndf=32)


def digits() -> TensorDataset:
    """The digits in [-1, 1], three equal channels of 32x32, with labels that are not used."""
    pixels = np.frombuffer(DIGITS.read_bytes(), dtype=np.uint8, offset=16).reshape(-1, 1, 28, 28)
    x = functional.interpolate(torch.from_numpy(pixels.copy()).float() / 127.5 - 1, size=32, mode="bilinear")
    return TensorDataset(x.expand(-1, 3, -1, -1), torch.zeros(len(x), dtype=torch.long))


def main() -> None:
    """Train until the driver ends the process."""
    for name in ("torch.utils.tensorboard", "torchvision"):
        import_module(name)
    sys.modules[STAND_IN] = ModuleType(STAND_IN)
    mimicry: Any = import_module("torch_mimicry")
    del sys.modules[STAND_IN]
    generator, discriminator = pair(mimicry.nets.dcgan)
    opt_d, opt_g = (
        torch.optim.Adam(network.parameters(), 2e-4, betas=(0.0, 0.9)) for network in (discriminator, generator)
    )
    mimicry.training.Trainer(
        netD=discriminator,
        netG=generator,
        optD=opt_d,
        optG=opt_g,
        n_dis=1,
        num_steps=100_000,
        dataloader=DataLoader(digits(), batch_size=64, shuffle=True),
        device=torch.device("cpu"),
    ).train()


if __name__ == "__main__":
    main()
