"""Losses of one contest and of labelled rows, and checks of settings and shapes that many games need."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from torch import Tensor, nn

from ..base import distributed
from ..base.errors import ConfigError, ShapeError, did_you_mean
from ..core.game import Contest, Draw, Loss
from ..data import DataSpec
from ..losses import Objective, Penalty, Term
from ..losses.base import wide


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


def labelled_columns(data: DataSpec) -> tuple[str, str]:
    """The columns of labelled rows and of their labels: a stream of their own where the data has one, else the batch's.

    Examples:
        >>> labelled_columns(DataSpec(kind="vector", shape=(2,), classes=3))
        ('x', 'y')
    """
    own = data.column("labelled") is not None and data.column("label") is not None
    return ("labelled", "label") if own else ("x", "y")


def labelled_entropy(outputs: Tensor, target: Tensor) -> Loss:
    r"""The cross entropy over labelled rows, in nats: a mean over rows that have a label, 0 where none has.

    Args:
        outputs: unnormalised log-probabilities ``(n, K)``.
        target: one-hot labels ``(n, K)``; a row without a label is a row of zeros.
    """
    # Processes divide by the share of labelled rows of all of them.
    (share,) = distributed.mean(target.sum(1).mean())
    entropy = -(wide(outputs).log_softmax(1) * target).sum(1)
    right = ((outputs.argmax(1) == target.argmax(1)) * target.sum(1)).mean()
    floor = share.clamp(min=1 / 2**20)
    return Loss(entropy.mean() / floor, {"accuracy/labelled": right / floor, "share/labelled": share})


def need_term(term: Term, offered: Collection[str], players: Sequence[str]) -> None:
    """Refuse a term that reads what a game does not have, before anything is trained.

    Args:
        term: of a player's loss.
        offered: entries of the game's draw, and ``"features"`` if its contest has them.
        players: names of the game's players.

    Raises:
        ConfigError: the message names what is missing.
    """
    for name in term.reads:
        if name not in offered:
            raise ConfigError(f"{type(term).__name__} reads '{name}', which this game does not have", _fixes(name))
    if term.player not in players:
        raise ConfigError(
            f"{type(term).__name__} is a term of '{term.player}'", did_you_mean(term.player, list(players))
        )


def _fixes(name: str) -> str:
    known = {
        "features": "give the discriminator a method features(x) that returns (n, k)",
        "label": "set conditional=true",
        "classes": "use networks with condition=classifier, as acgan does, or a discriminator with a method both",
        "latent_scale": "set latent=Embedded(points=1000), whose codes have it",
    }
    return known.get(name, "use a latent law whose codes have it")


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
