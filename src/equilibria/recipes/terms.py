"""Two networks, one contest, with an autoencoder as discriminator or with terms beside the objective."""

from __future__ import annotations

from dataclasses import replace

from ..core.optimizers import Adam
from ..games.spec import Latent
from ..games.two_player import TwoPlayer
from ..losses import EnergyMargin, FeatureMatching, NonSaturating, PullAway
from ..networks import Auto, ConvPair, EnergyPair, MLPPair
from .row import Recipe

_energies = TwoPlayer(objective=EnergyMargin(margin=10.0), latent=Latent(size=100))
_autoencoders = EnergyPair(
    pair=Auto(vector=MLPPair(depth=2, activation="relu"), image=ConvPair(width=32)),
    code=32,
)

ENERGIES = (
    Recipe(
        name="ebgan",
        year=2017,
        cite="zhao2017",
        source="equations 1-2, section 2.3; margin and learning rate of the grid on MNIST (section 4.1), networks ours",
        about="an autoencoder as discriminator: its reconstruction error, with a margin, is low on data",
        game=_energies,
        networks=_autoencoders,
        optimizer=Adam(lr=1e-3, betas=(0.5, 0.999)),
    ),
    Recipe(
        name="ebgan-pt",
        year=2017,
        cite="zhao2017",
        source="as ebgan, with the pull-away term of section 2.4 (equation 4), weight 0.1",
        about="ebgan whose generator keeps the codes of its points in different directions",
        game=replace(_energies, terms=(PullAway(weight=0.1),)),
        networks=_autoencoders,
        optimizer=Adam(lr=1e-3, betas=(0.5, 0.999)),
    ),
)

MATCHED = (
    Recipe(
        name="feature-matching",
        year=2016,
        cite="salimans2016",
        source="section 3.1; the term takes the place of the generator's adversarial loss",
        about="the generator matches the means of the discriminator's features",
        game=TwoPlayer(objective=NonSaturating(), terms=(FeatureMatching(),), generator_weight=0.0),
        optimizer=Adam(lr=2e-4, betas=(0.5, 0.999)),
    ),
)

RECIPES = (*ENERGIES, *MATCHED)
