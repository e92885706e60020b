"""The pairs of architectures by name."""

from __future__ import annotations

from ..base.registry import Registry
from .auto import Auto
from .canvas import CanvasPair
from .conv import ConvPair
from .energies import EnergyPair
from .image_to_image import ImageToImage
from .mlp import MaxoutPair, MLPPair
from .noisy import NoisyPair
from .pairs import Networks
from .progressive import GrowingPair
from .residual import ResPair
from .super_resolution import SuperResolution

NETWORKS: Registry[Networks] = Registry(
    "network",
    {
        "auto": Auto(),
        "mlp": MLPPair(),
        "maxout": MaxoutPair(),
        "conv": ConvPair(),
        "residual": ResPair(),
        "growing": GrowingPair(),
        "noisy": NoisyPair(),
        "energy": EnergyPair(),
        "canvas": CanvasPair(),
        "image-to-image": ImageToImage(),
        "super-resolution": SuperResolution(),
    },
    aliases={"perceptron": "mlp", "convolutional": "conv", "res": "residual"},
    base=Networks,
)
"""Pairs of architectures by name, with their default sizes."""
