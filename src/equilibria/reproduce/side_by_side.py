"""Several seeds of one game trained side by side, as one Ensemble; on a CPU this is faster for small MLPs."""

from __future__ import annotations

from collections.abc import Sequence

from ..base.randomness import reseed
from ..base.records import record
from ..core.ensemble import Ensemble
from ..core.game import Batches, Game, Loss, gradients
from ..core.optimizers import OptimizerSpec
from ..core.play import Play, Rule
from ..data import Dataset
from ..games.spec import GameSpec
from ..networks import Networks


def batches_of(data: Dataset, batch: int) -> Batches:
    """Batches of a data set."""
    return lambda seed, turn: data.batch(batch, seed, turn)


def seeded(spec: GameSpec, networks: Networks, data: Dataset, seed: int) -> Game:
    """The game with its parameters drawn from a seed."""
    reseed(seed)
    return spec.build(networks, data.spec)


def side_by_side(
    spec: GameSpec,
    networks: Networks,
    data: Dataset,
    seeds: Sequence[int],
    rule: Rule,
    optimizer: OptimizerSpec,
    batch: int,
) -> Play:
    """A play of one game per seed, as one Ensemble, at round 0."""
    game = Ensemble(lambda seed: seeded(spec, networks, data, seed), seeds)
    play = Play(game, rule, {p.name: optimizer for p in game.players}, batches_of(data, batch))
    play.prepare()
    return play


@record
class Turns:
    """Alternating turns with a given number of turns of each player per round; a player with 0 turns does not move."""

    discriminator: int = 1
    generator: int = 1

    def round(self, play: Play) -> dict[str, Loss]:
        """Play one round."""
        losses: dict[str, Loss] = {}
        for player, turns in (("discriminator", self.discriminator), ("generator", self.generator)):
            for _ in range(turns):
                draw = play.deal()
                grads, losses[player] = gradients(play.game, player, draw)
                play.move(player, grads)
                play.settle(player, draw, losses[player])
        return losses
