"""A generator against a discriminator: Goodfellow et al. 2014 under any objective, penalty and schedule."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ..base.errors import ConfigError
from ..base.records import record
from ..base.schedules import Schedule
from ..core.doctor_view import Examined
from ..core.game import Batch, Contest, Draw, Game, Loss, Player, Tensors
from ..data import DataSpec
from ..losses import Augmentation, Clip, InstanceNoise, NonSaturating, Objective, Penalty, Term
from ..networks import Energy, Head, Networks, SpectralNorm, WithReference, advance_spectral_norms, fade_in, one_hot
from .contest_losses import need_term
from .laws import LatentLaw, Law
from .spec import GameSpec, Latent, fit_pair, logits


@record
class TwoPlayer(GameSpec):
    """The two-player game, unconditional or conditional on labels (Mirza & Osindero 2014).

    A conditional discriminator sees the label of real and generated examples alike:

    .. math:: \\min_G \\max_D E_{(x,y)\\sim p}[\\log D(x,y)] + E_{z,y}[\\log(1 - D(G(z,y),y))]

    (eq. 2 of that paper with the conditioning of D written out in both terms).

    Args:
        objective: the pair of adversarial losses.
        penalties: added to the discriminator's loss.
        terms: added to the loss of the player that each names (feature matching, the pull-away term).
        generator_weight: of the objective in the generator's loss; 0 where a term takes its place.
        clip: the discriminator's strategy set, a box (weight clipping).
        instance_noise: added to real and generated inputs of the discriminator.
        augmentation: random changes of real and generated images before the discriminator; after ``instance_noise``.
        discriminator_turns: the discriminator's turns in a round, or a schedule of them.
        latent: the law of the codes; what it learns from the data is a buffer of the game.
        conditional: whether both networks see the label.
        standardise: whether the game is played in units in which the data has mean zero and root mean square one (one
            scale for all coordinates, from the first batch), so that slope penalties do not depend on the data's units.
            Samples are in the data's units. The rows of a table are in such units already and are left as they are.
        one_pass: whether the discriminator scores real and generated images in one pass instead of two. The losses are
            the same up to rounding. A round of few small images is faster by 8 to 12 % (16 images of 28 x 28) if slopes
            on both sides are penalised, or on none. Vectors are always scored so.

    Raises:
        ConfigError: ``one_pass`` with a discriminator that mixes the rows of a batch, such as one with batch
            normalisation, when the game is built.

    Examples:
        >>> from equilibria.losses import FeatureMatching
        >>> from equilibria.networks import MLPPair
        >>> spec = TwoPlayer(terms=(FeatureMatching(),), generator_weight=0.0)
        >>> game = spec.build(MLPPair(width=8), DataSpec(kind="vector", shape=(2,)))
        >>> [player.name for player in game.players]
        ['discriminator', 'generator']
    """

    objective: Objective = NonSaturating()
    penalties: tuple[Penalty, ...] = ()
    terms: tuple[Term, ...] = ()
    generator_weight: float = 1.0
    clip: Clip | None = None
    instance_noise: InstanceNoise | None = None
    augmentation: Augmentation | None = None
    discriminator_turns: int | Schedule = 1
    latent: LatentLaw = Latent()
    conditional: bool = False
    standardise: bool = False
    one_pass: bool = False

    def __post_init__(self) -> None:
        if not self.generator_weight >= 0:
            what = f"generator_weight={self.generator_weight} is below 0"
            raise ConfigError(what, settings={"generator_weight": 1.0})

    def _classes(self, data: DataSpec) -> int:
        return data.labels_for("a conditional game") if self.conditional else 0

    def make(self, networks: Networks, data: DataSpec) -> dict[str, nn.Module]:
        classes = self._classes(data)
        if self.augmentation is not None:
            self.augmentation.fits(data.shape)
        return {
            "generator": networks.generator(self.latent.size, data.shape, classes),
            "discriminator": networks.discriminator(data.shape, classes),
        }

    def assemble(self, modules: Mapping[str, nn.Module], data: DataSpec) -> Game:
        return TwoPlayerGame(self, modules["generator"], modules["discriminator"], data)


class TwoPlayerGame(Game):
    """The game that :class:`TwoPlayer` describes."""

    shift: Tensor
    scale: Tensor
    augment_probability: Tensor

    def __init__(self, spec: TwoPlayer, generator: nn.Module, discriminator: nn.Module, data: DataSpec) -> None:
        super().__init__()
        self.spec, self.classes = spec, spec._classes(data)
        self.class_shares = data.class_shares if self.classes else ()
        fit_pair(generator, discriminator, spec.latent.size, data.shape, self.classes)
        self._tells = any("classes" in term.reads for term in spec.terms)
        self.generator, self.discriminator = generator, logits(discriminator, self._tells)
        self.law, self.prepared_on = Law(spec.latent), spec.latent.prepared_on
        rowwise = isinstance(discriminator, (Head, Energy)) and discriminator.rowwise
        if spec.one_pass and not rowwise:
            what = "one_pass=True, and the discriminator mixes the rows of a batch, or does not say that it does not"
            raise ConfigError(what, settings={"game.one_pass": False})
        # One pass over both sides saves calls, which is what vectors cost; large images cost arithmetic.
        self._one_pass = rowwise and (spec.one_pass or len(data.shape) == 1)
        self._normed = {
            name
            for name, net in (("generator", generator), ("discriminator", discriminator))
            if any(isinstance(part, SpectralNorm) for part in net.modules())
        }
        self.standardised = spec.standardise and data.encoding is None
        self.register_buffer("shift", torch.zeros(data.shape) if self.standardised else None)
        self.register_buffer("scale", torch.ones(()) if self.standardised else None)
        change = spec.augmentation
        self.register_buffer("augment_probability", None if change is None else torch.tensor(change.probability))
        self.players = (
            Player("discriminator", ("discriminator",), spec.discriminator_turns, spec.clip),
            Player("generator", ("generator",)),
        )
        found = {"features": described(self.discriminator), "classes": classified(self.discriminator)}
        offered = {"real", *self.codes(2), *(name for name, one in found.items() if one is not None)}
        for term in spec.terms:
            need_term(term, offered, [player.name for player in self.players])

    def codes(self, n: int, labels: Tensor | None = None) -> Batch:
        codes: Batch = self.law(n, labels)
        if self.classes:
            y = self.usual_classes(n) if labels is None else labels
            codes["label"] = one_hot(y.to(codes["latent"].device), self.classes)
        return codes

    def prepare(self, batch: Batch) -> None:
        if self.standardised:
            self.shift.copy_(batch["x"].mean(0))
            self.scale.copy_((batch["x"] - self.shift).square().mean().sqrt().clamp(min=1e-8))
        self.law.prepare(self._units(batch["x"]))
        for part in self.generator.modules():
            if isinstance(part, WithReference):  # the reference batch has the law of the codes
                drawn = self.codes(len(part.reference))
                label = (drawn["label"],) if self.classes else ()
                part.reference.copy_(torch.cat([drawn["latent"], *label], dim=1))

    def draw(self, batch: Batch) -> Batch:
        real = self._units(batch["x"])
        codes: Batch = {"real": real, **self.law(len(real), real)}
        if self.classes:
            codes["label"] = one_hot(batch["y"], self.classes)
        for source in (*self.spec.penalties, self.spec.instance_noise, self.spec.augmentation, *self.spec.terms):
            if source is not None:
                codes.update(source.noise(real))
        return codes

    def contests(self, draw: Draw) -> dict[str, Contest]:
        real, fake = draw["real"], self._made(draw)
        if self.spec.instance_noise is not None:
            real = self.spec.instance_noise(real, draw["noise_real"], draw)
            fake = self.spec.instance_noise(fake, draw["noise_fake"], draw)
        if self.spec.augmentation is not None:
            real = self.spec.augmentation(real, draw["augment_real"], self.augment_probability)
            fake = self.spec.augmentation(fake, draw["augment_fake"], self.augment_probability)
        label = (draw["label"],) if self.classes else ()
        net = self.discriminator
        both = classified(net) if self._tells else None
        return {"data": Contest((real, *label), (fake, *label), net, described(net), both)}

    def loss(self, player: str, draw: Draw) -> Loss:
        return self._loss(player, self.contests(draw)["data"], draw)

    def losses(self, draw: Draw) -> dict[str, Loss]:
        contest = self.contests(draw)["data"]
        return {player.name: self._loss(player.name, contest, draw) for player in self.players}

    def _loss(self, player: str, contest: Contest, draw: Draw) -> Loss:
        if player == "generator":
            (total, parts), carry = self._generator(contest), {}
        else:
            (total, parts), carry = self._discriminator(contest, draw), self._sureness(contest)
        for term in self.spec.terms:
            if term.player == player:
                parts[f"term/{type(term).__name__}"] = value = term(contest, draw)
                total = total + value
        return Loss(total, parts, carry)

    def _sureness(self, contest: Contest) -> Tensors:
        """How sure the discriminator is of the training images, for an augmentation that follows it."""
        if self.spec.augmentation is None or self.spec.augmentation.target is None:
            return {}
        real, fake = contest.scores("real"), contest.scores("fake")
        try:
            middle = self.spec.objective.optimal_score(torch.zeros_like(real))
        except ConfigError:  # only differences of scores have a meaning
            middle = fake
        return {"sure": torch.sign(real - middle).mean()}

    def _generator(self, contest: Contest) -> tuple[Tensor, Tensors]:
        objective = self.spec.objective
        real = contest.scores("real") if objective.pairs else None
        return self.spec.generator_weight * objective.generator(contest.scores("fake"), real), {}

    def _discriminator(self, contest: Contest, draw: Draw) -> tuple[Tensor, Tensors]:
        if self._one_pass:
            contest.together(slopes={side for p in self.spec.penalties for side in p.sides} == {"real", "fake"})
        penalties = {f"penalty/{type(p).__name__}": p(contest, draw) for p in self.spec.penalties}
        real, fake = contest.scores("real"), contest.scores("fake")
        total = self.spec.objective.discriminator(real, fake)
        for penalty in penalties.values():
            total = total + penalty
        return total, {"score/real": real.detach().mean(), "score/fake": fake.detach().mean(), **penalties}

    def sample(self, draw: Draw) -> Tensor:
        made = self._made(draw)
        return made * self.scale + self.shift if self.standardised else made

    def examined(self, clock: Callable[[], Any]) -> Examined:
        noise, change, like = self.spec.instance_noise, self.spec.augmentation, next(self.generator.parameters())

        def score(x: Tensor, y: Tensor | None) -> Tensor:
            if noise is not None:
                x = noise(x, torch.randn_like(x), clock())
            if change is not None:
                x = change(x, change.noise(x)["augment_real"], self.augment_probability)
            out: Tensor = self.discriminator(x, *(() if y is None else (y,)))
            return out

        def real(batch: Batch) -> tuple[Tensor, Tensor | None]:
            return self._units(batch["x"]), one_hot(batch["y"], self.classes) if self.classes else None

        return Examined(
            self.generator,
            self.discriminator,
            lambda n: self.law(n, like)["latent"],
            real,
            self.spec.objective,
            {} if noise is None and change is None else {"discriminator": score},
            self.spec.latent.size,
        )

    def _units(self, x: Tensor) -> Tensor:
        """Points of the data in the units the game is played in."""
        return (x - self.shift) / self.scale if self.standardised else x

    def _made(self, draw: Draw) -> Tensor:
        """Generated points in the units the game is played in."""
        label = (draw["label"],) if self.classes else ()
        made: Tensor = self.generator(draw["latent"], *label)
        return made

    def after(self, player: str, draw: Draw, carry: Tensors) -> None:
        if player in self._normed:
            advance_spectral_norms(self.get_submodule(player))
        if player == "generator":  # the last of a round, so that both networks show the same share of a new level
            fade_in(self, draw.time)
        if "sure" in carry:
            assert self.spec.augmentation is not None
            moved = self.spec.augmentation.moved(self.augment_probability, carry["sure"], len(draw["real"]))
            self.augment_probability.copy_(moved)


def classified(discriminator: nn.Module) -> Callable[..., tuple[Tensor, Tensor]] | None:
    """What a discriminator with a classifier says by a method ``both``, or None.

    It gives scores ``(n,)`` and outputs ``(n, K)``, unnormalised log-probabilities of the classes, in one pass.
    """
    owner = discriminator if hasattr(discriminator, "both") else getattr(discriminator, "net", None)
    both: Callable[..., tuple[Tensor, Tensor]] | None = getattr(owner, "both", None)
    if both is None or not getattr(owner, "auxiliary", True):
        return None
    return lambda *point: both(*point)


def described(discriminator: nn.Module) -> Callable[..., Tensor] | None:
    """The features ``(n, k)`` that a discriminator says it has by a method ``features``, or None.

    It is looked up in the module of the game at hand: a game that is copied describes points by its own copy.
    """
    own = getattr(discriminator, "features", None) or getattr(getattr(discriminator, "net", None), "features", None)
    features: Callable[..., Tensor] | None = own
    return None if features is None else lambda *point: features(*point).flatten(1)
