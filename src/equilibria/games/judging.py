"""What games with several contests have in common: one contest's share of the two sides' losses."""

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

    Penalties come first: a slope leaves its score behind, so that no forward is done twice. The parts are named
    ``score/real`` and ``score/fake``, with ``name/`` before them where a game has several contests.
    """
    prefix = f"{name}/" if name else ""
    found = {f"{prefix}penalty/{type(p).__name__}": p(contest, draw) for p in penalties}
    real, fake = contest.scores("real"), contest.scores("fake")
    total = objective.discriminator(real, fake)
    for penalty in found.values():
        total = total + penalty
    return Loss(total, {f"{prefix}score/real": real.mean(), f"{prefix}score/fake": fake.mean(), **found})


def generator_loss(contest: Contest, objective: Objective) -> Tensor:
    """The loss of the player that makes the fakes of a contest."""
    real = contest.scores("real") if objective.pairs else None
    return objective.generator(contest.scores("fake"), real)


def need_single(objective: Objective, game: str) -> None:
    """Refuse relativistic objectives where real and generated rows do not come in pairs.

    Raises:
        ConfigError: the objective pairs rows.
    """
    if objective.pairs:
        raise ConfigError(
            f"{game} with {type(objective).__name__}, which pairs real with generated rows",
            settings={"objective": "nonsaturating"},
        )


def need_positive(**values: float) -> None:
    """Hold settings to positive numbers.

    Raises:
        ConfigError: names the first that is not.
    """
    for name, value in values.items():
        if not value > 0:
            raise ConfigError(f"{name}={value!r} is not positive", settings={name: 1})


def need_shape(given: Tensor, wanted: tuple[int, ...], who: str) -> None:
    """Hold one forward of a user's module to the shape that the game needs.

    Raises:
        ShapeError: says what came and what was needed.
    """
    if tuple(given.shape) != wanted:
        raise ShapeError(f"{who} gives {tuple(given.shape)} and the game needs {wanted}", "match its last layer")


def features_of(trunk: nn.Module) -> int:
    """The size of a trunk's feature vectors.

    Raises:
        ShapeError: the trunk does not say.
    """
    size = getattr(trunk, "features", None)
    if not isinstance(size, int):
        raise ShapeError(f"{type(trunk).__name__} does not say how many features it gives", "set its .features: int")
    return size
