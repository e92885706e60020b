"""Networks: pairs of architectures as records, and their layers. They do not depend on losses."""

from .attention import SelfAttention
from .auto import Auto
from .canvas import CanvasGenerator, CanvasPair
from .checks import as_logits, check_pair
from .conv import ConvPair
from .energies import Energy, EnergyPair
from .heads import Encoder, Generator, Head, OneHots, Trunk
from .image_to_image import ImageToImage
from .init import INITS, initialise
from .layers import Downsample, Frozen, Maxout, Reshape, Upsample, activation, one_hot
from .minibatch import MinibatchDeviation, MinibatchDiscrimination
from .mlp import MaxoutPair, MLPPair
from .noisy import GaussianNoise, NoisyPair, WeightNorm
from .norms import BatchNorm, InstanceNorm, LayerNorm, VirtualBatchNorm, WithReference, calibrate
from .pairs import Networks
from .patch import PatchDiscriminator, PatchGAN, receptive_field
from .progressive import EqualisedRate, FadeIn, GrowingPair, PixelNorm, fade_in
from .registry import NETWORKS
from .residual import ResidualBlock, ResPair
from .resnet import ReflectionPad, ResNet
from .spectral import SpectralNorm, advance_spectral_norms
from .super_resolution import Enlarger, LatentCritic, SuperResolution
from .translators import Translator
from .unet import UNet

__all__ = [
    "INITS",
    "NETWORKS",
    "Auto",
    "BatchNorm",
    "CanvasGenerator",
    "CanvasPair",
    "ConvPair",
    "Downsample",
    "Encoder",
    "Energy",
    "EnergyPair",
    "Enlarger",
    "EqualisedRate",
    "FadeIn",
    "Frozen",
    "GaussianNoise",
    "Generator",
    "GrowingPair",
    "Head",
    "ImageToImage",
    "InstanceNorm",
    "LatentCritic",
    "LayerNorm",
    "MLPPair",
    "Maxout",
    "MaxoutPair",
    "MinibatchDeviation",
    "MinibatchDiscrimination",
    "Networks",
    "NoisyPair",
    "OneHots",
    "PatchDiscriminator",
    "PatchGAN",
    "PixelNorm",
    "ReflectionPad",
    "ResNet",
    "ResPair",
    "Reshape",
    "ResidualBlock",
    "SelfAttention",
    "SpectralNorm",
    "SuperResolution",
    "Translator",
    "Trunk",
    "UNet",
    "Upsample",
    "VirtualBatchNorm",
    "WeightNorm",
    "WithReference",
    "activation",
    "advance_spectral_norms",
    "as_logits",
    "calibrate",
    "check_pair",
    "fade_in",
    "initialise",
    "one_hot",
    "receptive_field",
]
