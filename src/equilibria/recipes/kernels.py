"""Distances between samples by kernels: fixed (GMMN) and learned by an adversary (MMD-GAN)."""

from __future__ import annotations

from ..core.optimizers import Adam, RMSprop
from ..games.kernels import GMMN, MMDGAN
from ..networks import Auto, ConvPair, MLPPair
from .row import Recipe

RECIPES = (
    Recipe(
        name="gmmn",
        year=2015,
        cite="li2015",
        source="section 3, the root of the biased estimate; scales of Li et al. 2017, networks and Adam ours",
        about="no adversary: a generator that descends a kernel distance; needs large batches",
        game=GMMN(),
        networks=Auto(vector=MLPPair(depth=3, activation="relu"), image=MLPPair(width=256, activation="relu")),
        optimizer=Adam(lr=1e-3, betas=(0.9, 0.999)),
        batch=512,
    ),
    Recipe(
        name="mmd-gan",
        year=2017,
        cite="li2017mmd",
        source="algorithm 1 and the authors' code: one-sided term 16, reconstruction 8, clipping 0.01, RMSProp 5e-5",
        about="a kernel distance between codes that an adversary learns, as an autoencoder with clipped weights",
        game=MMDGAN(),
        networks=Auto(vector=MLPPair(depth=2, activation="leaky_relu"), image=ConvPair(width=32)),
        optimizer=RMSprop(lr=5e-5),
    ),
)
