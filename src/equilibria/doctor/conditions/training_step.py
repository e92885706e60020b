"""Conditions that are read in the training step alone (:mod:`~equilibria.doctor.audit`): no measurement shows them."""

from __future__ import annotations

from ..findings import Severity
from .rule import Level, Rule

CRITICAL, WARNING = Severity.CRITICAL, Severity.WARNING
_ALGORITHM = "Goodfellow et al. 2014, Algorithm 1"
_CHAIN = "the chain rule"
_PENALTY = "Gulrajani et al. 2017, section 4: the penalty (||grad D|| - 1)^2 at points between real and generated rows"


def _read(
    level: Level, condition: str, severity: Severity, cause: str, source: str, *remedies: str, windows: int = 2
) -> Rule:
    return Rule(level, condition, severity, None, 1, cause, source, remedies, 1, windows)


RULES: tuple[Rule, ...] = (
    _read(
        Level.LOOP,
        "unbounded-logarithm",
        WARNING,
        "The loss takes the logarithm of a probability with no floor, and probabilities have come near 0. As soon as "
        "one is rounded to 0, the loss is infinite and its gradient not a number.",
        "IEEE 754; log 0 is minus infinity",
        "stable-losses",
        windows=1,
    ),
    _read(
        Level.LOOP,
        "no-gradient-path",
        CRITICAL,
        "No gradient passes from the generator's output to its parameters: an argmax, a rounding, detach(), .data or "
        "no_grad() inside its forward pass cuts it, so its loss cannot train it.",
        _CHAIN,
        "differentiable-output",
    ),
    _read(
        Level.LOOP,
        "adversarial-term-missing",
        CRITICAL,
        "The generator is trained by its other terms only: its loss has no term that comes through the discriminator, "
        "or the generated batch is detached in it.",
        "Isola et al. 2017, equation 4: the adversarial term beside the distance",
        "attach-adversarial-term",
    ),
    _read(
        Level.LOOP,
        "other-players-gradient",
        CRITICAL,
        "A player's step uses gradient that the other player's loss left in its parameters: the discriminator's loss "
        "was differentiated through generated rows that are not detached, or a gradient was not cleared in between.",
        _ALGORITHM,
        "detach-and-clear",
        "own-parameters-only",
    ),
    _read(
        Level.LOOP,
        "same-target-for-both",
        CRITICAL,
        "The discriminator's loss draws the scores of real and of generated rows to the same side, so it is not asked "
        "to tell them apart, and the generator learns nothing from it.",
        _ALGORITHM,
        "real-is-one",
        "both-sides",
    ),
    _read(
        Level.LOOP,
        "few-rows-used",
        CRITICAL,
        "The discriminator is trained on far fewer different rows than the data has: a batch that is fetched once, "
        "a subset left from a trial, or a loader that begins again each time. The generator can learn only those.",
        "Goodfellow et al. 2014, Algorithm 1: each step draws a minibatch from the data",
        "shuffle-data",
    ),
    _read(
        Level.LOOP,
        "missing-sigmoid",
        CRITICAL,
        "The loss takes the logarithm of a probability, and the discriminator gives a number without bounds that is "
        "clamped to [0, 1]: outside there is no gradient at all.",
        _ALGORITHM,
        "logits-loss",
    ),
    _read(
        Level.LOOP,
        "sigmoid-on-critic",
        CRITICAL,
        "The loss is linear in the scores, as a critic's, and a sigmoid bounds them: where it saturates the slope "
        "vanishes, and the loss no longer estimates a distance.",
        "Arjovsky et al. 2017, section 3: the critic is a Lipschitz function without bounds",
        "remove-sigmoid",
    ),
    _read(
        Level.LOOP,
        "softmax-twice",
        CRITICAL,
        "The class head ends in a softmax and its cross entropy applies another one: even a perfect answer keeps a "
        "large loss, and its gradient is small for all others.",
        "Odena et al. 2017: the class term is a log-likelihood",
        "one-softmax",
    ),
    _read(
        Level.LOOP,
        "flat-generator-loss",
        CRITICAL,
        "The generator's loss has no slope on the samples that the discriminator rates worst, which need it most: a "
        "hinge or a clamp belongs to the discriminator's loss only.",
        "Miyato et al. 2018, equation 17: the generator's hinge loss is -E D(G(z))",
        "linear-generator-loss",
    ),
    _read(
        Level.LOOP,
        "penalty-without-effect",
        CRITICAL,
        "The gradient penalty changes the value of the loss and not its gradient: the slopes are taken without "
        "create_graph=True, detached, or never added to the loss.",
        _PENALTY,
        "gradient-penalty",
    ),
    _read(
        Level.LOOP,
        "penalty-of-wrong-norm",
        CRITICAL,
        "The penalty holds another number than the norm of each row's slope: the norm is taken over one axis or of the "
        "whole batch, or the slope is that of the mean score.",
        _PENALTY,
        "gradient-penalty",
    ),
    _read(
        Level.LOOP,
        "penalty-off-the-segment",
        CRITICAL,
        "The penalty is taken at points that do not lie between a real and a generated row, so the slopes that the "
        "generator gets are not held.",
        _PENALTY,
        "gradient-penalty",
    ),
    _read(
        Level.INPUTS,
        "batchnorm-in-eval",
        WARNING,
        "Batch norms are in eval mode in the calls that train a network: their statistics are fixed, usually because "
        "the network was put in eval mode for a picture and not back.",
        "Ioffe & Szegedy 2015",
        "fix-normalisation",
    ),
    _read(
        Level.INPUTS,
        "average-without-buffers",
        CRITICAL,
        "Samples are drawn from an averaged copy of the generator whose batch norms still have their starting "
        "statistics: its parameters are averaged and its buffers were never copied.",
        "Ioffe & Szegedy 2015: running statistics are buffers",
        "copy-buffers",
    ),
    _read(
        Level.INPUTS,
        "condition-fixed",
        CRITICAL,
        "The generator gets the same condition in every row while it trains, so it learns one class only.",
        "Mirza & Osindero 2014, equation 2: the condition is drawn with the rows",
        "draw-conditions",
    ),
    _read(
        Level.INPUTS,
        "labels-disagree",
        CRITICAL,
        "Generated rows go into the discriminator with other labels than they were made with, so it cannot teach the "
        "generator what a label means.",
        "Mirza & Osindero 2014, equation 2",
        "use-labels",
    ),
    _read(
        Level.INPUTS,
        "identity-of-wrong-side",
        CRITICAL,
        "The translator is paid for returning its own input at the rows that it is to translate. The identity term "
        "belongs to rows of the side that it translates to.",
        "Zhu et al. 2017, section 5.2: the identity term is ||G(y) - y|| for target rows y",
        "identity-of-target",
    ),
    _read(
        Level.INPUTS,
        "noise-reused",
        CRITICAL,
        "The generator gets the same codes again and again: it learns those few points and not a law.",
        _ALGORITHM,
        "use-latent",
    ),
    _read(
        Level.INPUTS,
        "norm-before-output",
        WARNING,
        "A norm stands directly before the generator's output, so every sample has the same mean and variance there, "
        "whatever the data has.",
        "Radford et al. 2016, section 3: no batch norm in the generator's output layer",
        "no-output-norm",
    ),
    _read(
        Level.INPUTS,
        "dead-units",
        CRITICAL,
        "The generator returns the same row for every code, and its first layers get a gradient of exactly 0: units "
        "of a rectifier are off for every input and cannot recover.",
        "Maas et al. 2013: rectifiers without slope below 0",
        "leaky-units",
    ),
    _read(
        Level.GROWTH,
        "learning-rate-jump",
        CRITICAL,
        "A learning rate is many times higher than at any earlier step, so what was learnt is undone: a schedule, a "
        "restart or a resumed optimiser set it.",
        "Mescheder et al. 2017, section 3: step sizes beyond the stability limit",
        "lower-learning-rates",
    ),
    _read(
        Level.GRADIENTS,
        "step-below-rounding",
        WARNING,
        "A player's steps are so small that rounding loses most of them.",
        "IEEE 754: float32 resolves 6e-8 of a number",
        "larger-steps",
    ),
    _read(
        Level.GRADIENTS,
        "objective-disagrees",
        WARNING,
        "The loop trains another loss than the one that the doctor was told, so what it measures of the generator's "
        "gradient and of the discriminator's slopes is of a loss that nobody trains. Or the loop trains another loss "
        "than was meant.",
        "Goodfellow et al. 2014, equation 1; Arjovsky et al. 2017, equation 2",
        "declare-the-loss",
    ),
)
