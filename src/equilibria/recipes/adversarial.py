"""Two networks, one contest: the recipes that differ in objective, penalty and schedule."""

from __future__ import annotations

from ..base.schedules import Bursts, Cosine, Decay, Linear
from ..core.optimizers import SGD, Adam, RMSprop
from ..core.play import Average
from ..core.updates import Alternating, Consensus, Extragradient, Optimistic, Simultaneous, Unrolled
from ..games.spec import Latent
from ..games.two_player import TwoPlayer
from ..losses import (
    R1,
    R2,
    Augmentation,
    AuxiliaryClassifier,
    ClassifiedSamples,
    Clip,
    Dragan,
    FGan,
    GradientPenalty,
    Hinge,
    InstanceNoise,
    LeastSquares,
    MaximumLikelihood,
    Minimax,
    NonSaturating,
    RelativisticAverage,
    RelativisticPairing,
    Wasserstein,
)
from ..networks import Auto, CanvasPair, ConvPair, MaxoutPair, MLPPair
from .row import For, Recipe

_paired = TwoPlayer(
    objective=RelativisticPairing(),
    penalties=(R1(gamma=Cosine(start=2.0, end=0.2)), R2(gamma=Cosine(start=2.0, end=0.2))),
)
_spectral = Auto(vector=MLPPair(spectral_norm=True), image=ConvPair(spectral_norm=True))

CLASSIC = (
    Recipe(
        name="gan",
        year=2014,
        cite="goodfellow2014",
        source="Algorithm 1, with the non-saturating generator loss of section 3",
        about="the original game, -log D for the generator",
        game=TwoPlayer(objective=NonSaturating()),
    ),
    Recipe(
        name="gan-minimax",
        year=2014,
        cite="goodfellow2014",
        source="equation 1, Algorithm 1",
        about="the original zero-sum game; its generator saturates",
        game=TwoPlayer(objective=Minimax()),
    ),
    Recipe(
        name="gan-mle",
        year=2016,
        cite="goodfellow2016",
        source="section 3.2.4",
        about="the generator loss whose gradient is that of maximum likelihood when D is optimal",
        game=TwoPlayer(objective=MaximumLikelihood()),
    ),
    Recipe(
        name="gan-maxout",
        year=2014,
        cite="goodfellow2014",
        source="section 5 and the authors' MNIST configuration",
        about="the 2014 networks: rectifier generator, maxout discriminator with dropout, SGD with momentum",
        game=TwoPlayer(objective=NonSaturating(), latent=Latent(size=100, law="uniform")),
        networks=MaxoutPair(),
        optimizer=SGD(lr=0.1, momentum=0.5),
        batch=100,
    ),
    Recipe(
        name="gan-smoothed",
        year=2016,
        cite="salimans2016",
        source="section 3.4",
        about="one-sided label smoothing: real target 0.9",
        game=TwoPlayer(objective=NonSaturating(real_target=0.9)),
    ),
    Recipe(
        name="cgan",
        year=2014,
        cite="mirza2014",
        source="equation 2, with D conditioned in both terms",
        about="both networks see the label",
        game=TwoPlayer(objective=NonSaturating(), conditional=True),
    ),
    Recipe(
        name="lsgan",
        year=2017,
        cite="mao2017",
        source="equation 9 (a=0, b=c=1)",
        about="least squares",
        game=TwoPlayer(objective=LeastSquares()),
    ),
    Recipe(
        name="hinge",
        year=2018,
        cite="miyato2018",
        source="equations 16-17, section 4",
        about="hinge loss with a spectrally normalised discriminator",
        game=TwoPlayer(objective=Hinge()),
        networks=_spectral,
        optimizer=Adam(lr=2e-4, betas=(0.0, 0.9)),
    ),
    Recipe(
        name="dcgan",
        year=2016,
        cite="radford2016",
        source="sections 3 (architecture guidelines) and 4; kernels of 4 pixels in place of 5",
        about="strided convolutions with batch norm in both networks; for images",
        game=TwoPlayer(objective=NonSaturating(), latent=Latent(size=100, law="uniform")),
        networks=ConvPair(width=64, norm="batch", generator_activation="relu", init="normal02"),
        optimizer=Adam(lr=2e-4, betas=(0.5, 0.999)),
        batch=128,
    ),
    Recipe(
        name="dcgan-vbn",
        year=2016,
        cite="salimans2016",
        source="section 3.5, in the generator; the rest as dcgan",
        about="dcgan with virtual batch norm in the generator: a sample does not depend on its batch; for images",
        game=TwoPlayer(objective=NonSaturating(), latent=Latent(size=100, law="uniform")),
        networks=ConvPair(
            width=64, norm="batch", generator_norm="virtual", generator_activation="relu", init="normal02"
        ),
        optimizer=Adam(lr=2e-4, betas=(0.5, 0.999)),
        batch=128,
    ),
    Recipe(
        name="minibatch-gan",
        year=2016,
        cite="salimans2016",
        source="section 3.2; 100 kernels of 5 dimensions and the scales of the authors' code",
        about="minibatch discrimination: the discriminator sees how close the points of its batch are",
        game=TwoPlayer(objective=NonSaturating()),
        networks=Auto(vector=MLPPair(minibatch="discrimination"), image=ConvPair(minibatch="discrimination")),
        optimizer=Adam(lr=2e-4, betas=(0.5, 0.999)),
    ),
    Recipe(
        name="gran",
        year=2016,
        cite="im2016",
        source="section 4, three steps; no norms, Adam as in the rows of Radford et al. 2016",
        about="recurrent: the generator adds to a canvas in three steps and reads what it has painted; for images",
        game=TwoPlayer(objective=NonSaturating(), latent=Latent(size=100, law="uniform")),
        networks=CanvasPair(steps=3, code=64, pair=ConvPair(width=32)),
        optimizer=Adam(lr=2e-4, betas=(0.5, 0.999)),
    ),
    Recipe(
        name="sagan",
        year=2019,
        cite="zhang2019",
        source="section 3 (attention, eq. 1 to 3), section 4 (hinge, spectral norm in both, two rates); strided "
        "convolutions, and the label beside the code, in place of residual blocks and conditional batch norms",
        about="self-attention and spectral norm in both networks, classes by projection; for images with labels",
        game=TwoPlayer(objective=Hinge(), latent=Latent(size=128), conditional=True),
        networks=ConvPair(
            width=64,
            generator_norm="batch",
            generator_activation="relu",
            init="xavier",
            spectral_norm=True,
            generator_spectral=True,
            attention=1,
        ),
        optimizer=Adam(lr=1e-4, betas=(0.0, 0.9)),
        optimizers=(For(player="discriminator", optimizer=Adam(lr=4e-4, betas=(0.0, 0.9))),),
    ),
    Recipe(
        name="acgan",
        year=2017,
        cite="odena2017",
        source="section 3 (L_S and L_C in both losses), rates of appendix A; our pairs without dropout or norms",
        about="an auxiliary classifier: the discriminator tells the class instead of being given it; for labelled data",
        game=TwoPlayer(
            objective=NonSaturating(),
            conditional=True,
            terms=(AuxiliaryClassifier(), ClassifiedSamples()),
            latent=Latent(size=100),
        ),
        networks=Auto(vector=MLPPair(condition="classifier"), image=ConvPair(condition="classifier")),
        optimizer=Adam(lr=2e-4, betas=(0.5, 0.999)),
    ),
    Recipe(
        name="instance-noise",
        year=2017,
        cite="sonderby2017",
        source="section 2.3",
        about="Gaussian noise on real and generated inputs of D, annealed to zero",
        game=TwoPlayer(objective=NonSaturating(), instance_noise=InstanceNoise(std=Linear(start=0.5, end=0.0))),
    ),
    Recipe(
        name="diffaugment",
        year=2020,
        cite="zhao2020",
        source="equations 4-5 and section 3.3, on a small pair with R1 in place of StyleGAN2",
        about="for few images: both sides are changed at random before D (color, translation, cutout)",
        game=TwoPlayer(objective=NonSaturating(), penalties=(R1(gamma=1.0),), augmentation=Augmentation()),
        networks=Auto(image=ConvPair(width=16)),
        optimizer=Adam(lr=1e-3, betas=(0.0, 0.99)),
        batch=32,
    ),
    Recipe(
        name="ada",
        year=2020,
        cite="karras2020ada",
        source="section 3 (r_t, target 0.6), with four operations, on a small pair with R1 in place of StyleGAN2",
        about="for few images: changed as often as keeps D from being sure of the training images",
        game=TwoPlayer(
            objective=NonSaturating(),
            penalties=(R1(gamma=1.0),),
            augmentation=Augmentation(
                operations=("flip", "color", "translation", "cutout"), probability=0.0, target=0.6, images=100_000.0
            ),
        ),
        networks=Auto(image=ConvPair(width=16)),
        optimizer=Adam(lr=1e-3, betas=(0.0, 0.99)),
        batch=32,
    ),
    Recipe(
        name="dragan",
        year=2017,
        cite="kodali2017",
        source="equation 4",
        about="unit slope around the data",
        game=TwoPlayer(objective=NonSaturating(), penalties=(Dragan(),)),
    ),
)

WASSERSTEIN = (
    Recipe(
        name="wgan",
        year=2017,
        cite="arjovsky2017wgan",
        source="Algorithm 1 and the authors' critic schedule",
        about="Wasserstein critic held Lipschitz by clipping its weights",
        game=TwoPlayer(objective=Wasserstein(), clip=Clip(value=0.01), discriminator_turns=Bursts()),
        optimizer=RMSprop(lr=5e-5),
    ),
    Recipe(
        name="wgan-gp",
        year=2017,
        cite="gulrajani2017",
        source="Algorithm 1",
        about="Wasserstein critic held Lipschitz by a gradient penalty",
        game=TwoPlayer(
            objective=Wasserstein(), penalties=(GradientPenalty(weight=10.0, center=1.0),), discriminator_turns=5
        ),
        optimizer=Adam(lr=1e-4, betas=(0.0, 0.9)),
    ),
)

RELATIVISTIC = (
    Recipe(
        name="ragan",
        year=2019,
        cite="jolicoeur2018",
        source="equations 12-13 (relativistic average, logistic)",
        about="each score relative to the mean of the other side",
        game=TwoPlayer(objective=RelativisticAverage()),
    ),
    Recipe(
        name="r1gan",
        year=2018,
        cite="mescheder2018",
        source="equation 9 (R1, gamma/2 E|grad D|^2 on data)",
        about="non-saturating game with a zero-centred slope penalty on the data",
        game=TwoPlayer(objective=NonSaturating(), penalties=(R1(gamma=1.0),)),
        optimizer=Adam(lr=1e-4, betas=(0.0, 0.99)),
    ),
    Recipe(
        name="r3gan",
        year=2024,
        cite="huang2024r3gan",
        source="section 2 (RpGAN + R1 + R2), cosine schedules of its appendix, small networks",
        about="relativistic pairing, slope penalties on both sides; the default for images",
        game=_paired,
        networks=Auto(image=ConvPair(width=16)),
        optimizer=Adam(lr=Cosine(start=2e-3, end=1e-4), betas=(0.0, 0.99)),
        steps=10_000,
    ),
    Recipe(
        name="r3gan-conditional",
        year=2024,
        cite="huang2024r3gan",
        source="section 2 (RpGAN + R1 + R2); labels in both networks; batch, rates, gamma and widths chosen on MNIST",
        about="r3gan with labels",
        game=TwoPlayer(
            objective=RelativisticPairing(),
            penalties=(R1(gamma=Cosine(start=0.1, end=0.01)), R2(gamma=Cosine(start=0.1, end=0.01))),
            conditional=True,
            one_pass=True,
        ),
        networks=Auto(image=ConvPair(width=16, generator_width=32, dense=(128,))),
        update=Alternating(share=True),
        optimizer=Adam(lr=Cosine(start=4e-3, end=2e-4), betas=(0.0, 0.99)),
        averages=(Average(decay=0.995),),
        batch=16,
        steps=20_000,
    ),
    Recipe(
        name="r3gan-small",
        year=2024,
        cite="huang2024r3gan",
        source="section 2 (RpGAN + R1 + R2) with falling penalties, perceptrons",
        about="relativistic pairing, slope penalties on both sides; the default for vectors",
        game=TwoPlayer(
            objective=RelativisticPairing(),
            penalties=(R1(gamma=Decay(start=0.5, end=1e-5)), R2(gamma=Decay(start=0.5, end=1e-5))),
            latent=Latent(size=2, law="uniform"),
            standardise=True,
        ),
        networks=Auto(vector=MLPPair(width=64, depth=5, discriminator_depth=3, init="kaiming")),
        optimizer=Adam(lr=Cosine(start=4e-3, end=1e-4), betas=(0.0, 0.99)),
        averages=(Average(decay=0.995),),
        batch=256,
        steps=30_000,
    ),
    Recipe(
        name="r3gan-table",
        year=2024,
        cite="huang2024r3gan",
        source="as r3gan-small; wider codes, a softmax over each one-hot block and corrected marginal laws are ours",
        about="relativistic pairing, slope penalties on both sides; the default for tables of columns",
        game=TwoPlayer(
            objective=RelativisticPairing(),
            penalties=(R1(gamma=Decay(start=0.5, end=1e-3)), R2(gamma=Decay(start=0.5, end=1e-3))),
            latent=Latent(size=64),
        ),
        networks=Auto(vector=MLPPair(width=256, depth=2, init="kaiming")),
        optimizer=Adam(lr=Cosine(start=2e-3, end=1e-4), betas=(0.0, 0.99)),
        averages=(Average(decay=0.995),),
        batch=128,
        steps=4_000,
    ),
)

DYNAMICS = (
    Recipe(
        name="gan-simultaneous",
        year=2017,
        cite="nagarajan2017",
        source="section 2 (simultaneous gradient descent)",
        about="both players move at once",
        game=TwoPlayer(objective=NonSaturating()),
        update=Simultaneous(),
    ),
    Recipe(
        name="extragradient",
        year=2019,
        cite="gidel2019",
        source="Algorithm 4 (ExtraAdam), optimiser state moved once per round",
        about="step with the gradient found at a look-ahead point",
        game=TwoPlayer(objective=Wasserstein(), penalties=(GradientPenalty(weight=10.0),)),
        update=Extragradient(),
        optimizer=Adam(lr=2e-4, betas=(0.5, 0.9)),
    ),
    Recipe(
        name="past-extragradient",
        year=2019,
        cite="gidel2019",
        source="equations 13-14",
        about="extragradient that reuses the last look-ahead gradient",
        game=TwoPlayer(objective=Wasserstein(), penalties=(GradientPenalty(weight=10.0),)),
        update=Extragradient(past=True),
        optimizer=Adam(lr=2e-4, betas=(0.5, 0.9)),
    ),
    Recipe(
        name="optimistic",
        year=2018,
        cite="daskalakis2018",
        source="Algorithm 1 (optimistic Adam)",
        about="steps along twice the gradient minus the last one",
        game=TwoPlayer(objective=Wasserstein(), penalties=(GradientPenalty(weight=10.0),)),
        update=Optimistic(),
        optimizer=Adam(lr=1e-4, betas=(0.5, 0.9)),
    ),
    Recipe(
        name="consensus",
        year=2017,
        cite="mescheder2017numerics",
        source="Algorithm 2",
        about="descends the squared norm of the vector field as well",
        game=TwoPlayer(objective=NonSaturating()),
        update=Consensus(gamma=10.0),
        optimizer=RMSprop(lr=1e-4),
    ),
    Recipe(
        name="unrolled",
        year=2017,
        cite="metz2017",
        source="equations 7-10, appendix A",
        about="the generator sees ten steps of the discriminator ahead",
        game=TwoPlayer(objective=Minimax(), latent=Latent(size=256)),
        networks=Auto(
            vector=MLPPair(depth=2, discriminator_depth=1, activation="relu", init="orthogonal", input_scale=0.25)
        ),
        update=Unrolled(steps=10),
        optimizer=Adam(lr=1e-4, betas=(0.5, 0.999)),
        batch=512,
    ),
)

F_GAN = tuple(
    Recipe(
        name=f"fgan-{name}",
        year=2016,
        cite="nowozin2016",
        source=f"Table 2 ({name}), Algorithm 1",
        about=f"variational {name.replace('-', ' ')} divergence, one simultaneous step",
        game=TwoPlayer(objective=FGan(divergence=name)),
        update=Simultaneous(),
    )
    for name in ("kl", "reverse-kl", "pearson", "neyman", "squared-hellinger", "jeffreys", "js", "gan")
)

RECIPES = (*CLASSIC, *WASSERSTEIN, *RELATIVISTIC, *DYNAMICS, *F_GAN)
