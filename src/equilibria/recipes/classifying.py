"""Classifiers in the game: K + 1 classes with few labels, CatGAN with few or none, and Triple-GAN's third player."""

from __future__ import annotations

from ..base.schedules import Linear
from ..core.optimizers import Adam
from ..core.play import Average
from ..games.classifying import Categorical, Classifying, KPlusOne
from ..games.spec import Latent
from ..games.triple_gan import TripleGAN
from ..losses import FeatureMatching
from ..networks import Auto, MLPPair, NoisyPair
from .row import For, Recipe

_perceptrons = Auto(
    vector=MLPPair(depth=2, activation="relu"),
    image=NoisyPair(),
)

RECIPES = (
    Recipe(
        name="improved-gan",
        year=2016,
        cite="salimans2016",
        source="section 5 and the authors' MNIST configuration: weights 1 and 1/2, feature matching, noise "
        "and weight norms in D, Adam, averaged parameters; lengths of the weights start at 1",
        about="generated rows are class K + 1 of the discriminator; for data with few labels, such as few:mnist,100",
        game=Classifying(
            losses=KPlusOne(),
            adversarial_weight=0.5,
            terms=(FeatureMatching(),),
            generator_weight=0.0,
            latent=Latent(size=100, law="uniform"),
        ),
        networks=NoisyPair(),
        optimizer=Adam(lr=3e-3, betas=(0.5, 0.999)),
        averages=(Average(), Average(player="discriminator", decay=0.9999)),
        batch=100,
        steps=180_000,
    ),
    Recipe(
        name="catgan",
        year=2016,
        cite="springenberg2016",
        source="the unsupervised objectives with K = 20 classes as on MNIST; networks ours",
        about="classes without labels: sure and even on data, unsure on generated rows",
        game=Classifying(losses=Categorical(), classes=20, labelled_weight=0.0),
        networks=_perceptrons,
        optimizer=Adam(lr=2e-4, betas=(0.5, 0.999)),
        averages=(Average(), Average(player="discriminator")),
        batch=128,
    ),
    Recipe(
        name="catgan-semi",
        year=2016,
        cite="springenberg2016",
        source="the semi-supervised objective: the cross entropy of labelled rows is added; networks ours",
        about="catgan with the classes of a few labelled rows; for data such as few:mnist,100",
        game=Classifying(losses=Categorical()),
        networks=_perceptrons,
        optimizer=Adam(lr=2e-4, betas=(0.5, 0.999)),
        averages=(Average(), Average(player="discriminator")),
        batch=128,
    ),
    Recipe(
        name="triple-gan",
        year=2017,
        cite="li2017triple",
        source="section 3, Algorithm 1, alpha = 1/2; a sum over classes in place of drawn ones; half of D's real pairs "
        "have the classifier's class (section 3.3); networks of improved-gan, rates and the rise of alpha_P ours",
        about="a classifier is the third player, D scores pairs of row and class; for data such as few:mnist,100",
        game=TripleGAN(pseudo_weight=Linear(start=0.0, end=1.0, until=0.5), pseudo_pairs=0.5),
        networks=_perceptrons,
        optimizer=Adam(lr=5e-4, betas=(0.5, 0.999)),
        optimizers=(For(player="classifier", optimizer=Adam(lr=1e-3, betas=(0.5, 0.999))),),
        averages=(Average(), Average(player="classifier")),
        batch=100,
    ),
)
