"""Networks: pairs of architectures as records, and their layers. They do not depend on losses."""

from .auto import Auto
from .checks import as_logits, check_pair
from .conv import ConvPair
from .heads import Encoder, Generator, Head, Trunk
from .init import INITS, initialise
from .layers import Downsample, Frozen, Maxout, Reshape, Upsample, activation, one_hot
from .mlp import MaxoutPair, MLPPair
from .norms import BatchNorm, LayerNorm, VirtualBatchNorm, WithReference, calibrate
from .pairs import Networks
from .residual import ResidualBlock, ResPair
from .spectral import SpectralNorm, advance_spectral_norms

__all__ = [
    "INITS",
    "Auto",
    "BatchNorm",
    "ConvPair",
    "Downsample",
    "Encoder",
    "Frozen",
    "Generator",
    "Head",
    "LayerNorm",
    "MLPPair",
    "Maxout",
    "MaxoutPair",
    "Networks",
    "ResPair",
    "Reshape",
    "ResidualBlock",
    "SpectralNorm",
    "Trunk",
    "Upsample",
    "VirtualBatchNorm",
    "WithReference",
    "activation",
    "advance_spectral_norms",
    "as_logits",
    "calibrate",
    "check_pair",
    "initialise",
    "one_hot",
]
