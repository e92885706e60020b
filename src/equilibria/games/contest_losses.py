"""Losses of discriminator and generator in one contest, and checks of settings and shapes that many games need."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from ..base.errors import ConfigError, ShapeError
from ..core.game import Contest, Draw, Loss
from ..losses import Objective, Penalty


def discriminator_loss(
    contest: Contest, objective: Objective, penalties: Sequence[Penalty], draw: Draw, name: str = ""
) -> Loss:
    r"""The discriminator's loss in one contest, :math:`L_D(h(x), h(\tilde x)) + \sum_i R_i`.

    Penalties come first, because computing a slope also stores its score: so each forward pass is done once. The parts
    are named ``score/real`` and ``score/fake``, with the prefix ``name/`` if a game has several contests.
    """
    prefix = f"{name}/" if name else ""
    found = {f"{prefix}penalty/{type(p).__name__}": p(contest, draw) for p in penalties}
    real, fake = contest.scores("real"), contest.scores("fake")
    total = objective.discriminator(real, fake)
    for penalty in found.values():
        total = total + penalty
    return Loss(total, {f"{prefix}score/real": real.mean(), f"{prefix}score/fake": fake.mean(), **found})


def generator_loss(contest: Contest, objective: Objective) -> Tensor:
    """The loss of the player that makes the fake inputs of a contest."""
    real = contest.scores("real") if objective.pairs else None
    return objective.generator(contest.scores("fake"), real)


def need_single(objective: Objective, game: str) -> None:
    """Refuse relativistic objectives for a game without pairs of real and generated rows.

    Raises:
        ConfigError: the objective pairs rows.
    """
    if objective.pairs:
        raise ConfigError(
            f"{game} with {type(objective).__name__}, which pairs real with generated rows",
            settings={"objective": "nonsaturating"},
        )


def need_positive(**values: float) -> None:
    """Check that settings are positive.

    Raises:
        ConfigError: one is not; the message names it.
    """
    for name, value in values.items():
        if not value > 0:
            raise ConfigError(f"{name}={value!r} is not positive", settings={name: 1})


def need_shape(given: Tensor, wanted: tuple[int, ...], who: str) -> None:
    """Check that the output of a user's module has the shape that the game needs.

    Raises:
        ShapeError: it has another shape.
    """
    if tuple(given.shape) != wanted:
        raise ShapeError(f"{who} returns {tuple(given.shape)} and the game needs {wanted}", "match its last layer")


def features_of(trunk: nn.Module) -> int:
    """The size of a trunk's feature vectors.

    Raises:
        ShapeError: the trunk has no attribute ``features``.
    """
    size = getattr(trunk, "features", None)
    if not isinstance(size, int):
        raise ShapeError(f"{type(trunk).__name__} has no integer attribute 'features'", "set its .features: int")
    return size
