"""Games of more than two players, of more than one contest, or of several generators."""

from __future__ import annotations

from ..core.optimizers import SGD, Adam
from ..core.play import Average
from ..core.updates import Alternating
from ..games.autoencoding import AAE, LawPrior, Petals
from ..games.boosting import Boosting
from ..games.coupled import CoGAN
from ..games.growing import Growing
from ..games.inference import InfoGAN
from ..games.inversion import InverseGAN
from ..games.mixture import MGAN
from ..games.pyramids import LaplacianPyramid
from ..games.semi_supervised import SemiSupervisedAAE
from ..games.spec import Latent
from ..games.two_discriminators import D2GAN
from ..games.two_player import TwoPlayer
from ..losses import DriftPenalty, GradientPenalty, NonSaturating, Wasserstein
from ..networks import Auto, ConvPair, GrowingPair, MLPPair
from .row import For, Recipe, Source

_perceptrons = Auto(
    vector=MLPPair(depth=2, discriminator_depth=1, activation="relu"),
    image=MLPPair(width=512, depth=2, activation="relu"),
)
_wide = MLPPair(width=1000, depth=2, activation="relu")

MANY = (
    Recipe(
        name="d2gan",
        year=2017,
        cite="nguyen2017",
        source="equation 1, section 5.1 (the authors' synthetic set-up)",
        about="two discriminators: one pays for KL(p||q), one for KL(q||p)",
        game=D2GAN(latent=Latent(size=256)),
        networks=_perceptrons,
        optimizer=Adam(lr=2e-4, betas=(0.5, 0.999)),
        batch=512,
        steps=25_000,
    ),
    Recipe(
        name="mgan",
        year=2018,
        cite="hoang2018",
        source="equation 3, with the classifier trained in the discriminator's turn as in the authors' code",
        about="several generators, kept apart by a classifier that shares the discriminator's trunk",
        game=MGAN(generators=8, beta=0.125, latent=Latent(size=256)),
        networks=_perceptrons,
        optimizer=Adam(lr=2e-4, betas=(0.5, 0.999)),
        batch=128,
        steps=25_000,
    ),
    Recipe(
        name="cogan",
        year=2016,
        cite="liu2016",
        source="equation 5, section 2",
        about="two domains without pairs: first layers of G and last layers of D tied",
        game=CoGAN(),
        optimizer=Adam(lr=2e-4, betas=(0.5, 0.999)),
        averages=(Average(player="generators"),),
    ),
)

INFERENCE = (
    Recipe(
        name="infogan",
        year=2016,
        cite="chen2016",
        source="equation 6; codes, noise, rates and batch norms of appendix C.1, no hidden dense layers",
        about="a category and two numbers among the codes can be read from the samples; chosen with code.c1=3",
        game=InfoGAN(),
        networks=Auto(
            vector=MLPPair(depth=2, discriminator_depth=2, activation="relu"),
            image=ConvPair(width=64, cap=2, norm="batch", generator_activation="relu", init="normal02"),
        ),
        optimizer=Adam(lr=1e-3, betas=(0.5, 0.999)),
        optimizers=(For(player="discriminator", optimizer=Adam(lr=2e-4, betas=(0.5, 0.999))),),
        batch=128,
    ),
)

AUTOENCODERS = tuple(
    Recipe(
        name=name,
        year=2015,
        cite="makhzani2015",
        source="section 2, figure 1; networks of appendix A",
        about=about,
        game=AAE(prior=prior),
        networks=_wide,
        update=Alternating(share=True),
        optimizer=Adam(lr=2e-4, betas=(0.5, 0.999)),
        optimizers=(For(player="autoencoder", optimizer=optimizer),),
        averages=(Average(player="autoencoder"),),
        batch=100,
    )
    for name, about, prior, optimizer in (
        (
            "aae",
            "autoencoder whose codes are drawn to a normal prior by a discriminator",
            Latent(size=8),
            Adam(lr=1e-3, betas=(0.9, 0.999)),
        ),
        (
            "aae-petals",
            "the same with a mixture of ten Gaussians in the plane",
            Petals(),
            Adam(lr=1e-3, betas=(0.9, 0.999)),
        ),
        (
            "aae-swissroll",
            "the same with a swiss roll in the plane, and SGD with momentum for the autoencoder",
            LawPrior(name="swissroll"),
            SGD(lr=0.05, momentum=0.9),
        ),
    )
)

SEMI_SUPERVISED = (
    Recipe(
        name="aae-semi",
        year=2015,
        cite="makhzani2015",
        source="section 4, figure 6; networks of appendix A; normal noise on the encoder's input and Adam are ours",
        about="three phases, two adversaries: classes from a few labelled rows; for data such as few:mnist,100",
        game=SemiSupervisedAAE(prior=Latent(size=10), noise=0.3),
        networks=_wide,
        update=Alternating(share=True),
        optimizer=Adam(lr=2e-4, betas=(0.5, 0.999)),
        optimizers=(
            For(player="autoencoder", optimizer=Adam(lr=1e-3, betas=(0.9, 0.999))),
            For(player="classifier", optimizer=Adam(lr=1e-3, betas=(0.9, 0.999))),
        ),
        averages=(Average(player="autoencoder"),),
        batch=100,
    ),
)

PROCEDURES = (
    Recipe(
        name="adagan",
        year=2017,
        cite="tolstikhin2017",
        source="Algorithm 1, equations 12-13, beta_t = 1/t; each component the game of 2014 with perceptrons",
        about="boosting: ten GANs in turn, each on the data that the mixture of those before misses",
        game=TwoPlayer(objective=NonSaturating(), latent=Latent(size=5)),
        networks=Auto(
            vector=MLPPair(width=32, depth=2, activation="relu"), image=MLPPair(width=512, depth=2, activation="relu")
        ),
        optimizer=Adam(lr=1e-3, betas=(0.5, 0.999)),
        steps=2000,
        procedure=Boosting(components=10, judge_steps=500),
    ),
    Recipe(
        name="lapgan",
        year=2015,
        cite="denton2015",
        source="section 3, equation 4; three-layer convolutional generators of section 4, our convolutional "
        "discriminators and Adam",
        about="from coarse to fine: a GAN of small images and one of the band that each doubling adds",
        game=TwoPlayer(objective=NonSaturating(), latent=Latent(size=64)),
        networks=Auto(image=ConvPair(width=32)),
        optimizer=Adam(lr=2e-4, betas=(0.5, 0.999)),
        batch=64,
        steps=4000,
        procedure=LaplacianPyramid(levels=2),
    ),
    Recipe(
        name="progressive",
        year=2018,
        cite="karras2018",
        source="sections 2 to 4, appendix A (drift .001, one turn of D, Adam 1e-3 with betas 0 and .99, average .999); "
        "narrower networks, fixed batch, real images not blended",
        about="growing: one pair of networks from 4 pixels up, each new resolution faded in; for images",
        game=TwoPlayer(
            objective=Wasserstein(),
            penalties=(GradientPenalty(weight=10.0, center=1.0), DriftPenalty(weight=1e-3)),
            latent=Latent(size=128),
        ),
        networks=GrowingPair(),
        optimizer=Adam(lr=1e-3, betas=(0.0, 0.99)),
        averages=(Average(decay=0.999),),
        batch=16,
        steps=4000,
        procedure=Growing(),
    ),
)

SOURCED = (
    Recipe(
        name="inverse-gan",
        year=2018,
        cite="creswell2018",
        source="Algorithm 1, with steps that shrink and the best of several starts; first start and learned inverse as "
        "in Zhu et al. 2016, section 3.1",
        about="codes of given images under a trained generator (`--from RUN`): by search and by a network",
        game=InverseGAN(),
        networks=_perceptrons,
        optimizer=Adam(lr=1e-3, betas=(0.9, 0.999)),
        averages=(Average(player="encoder"),),
        steps=4000,
        sources=(Source(name="generator"),),
    ),
)

RECIPES = (*MANY, *INFERENCE, *AUTOENCODERS, *SEMI_SUPERVISED, *PROCEDURES, *SOURCED)
