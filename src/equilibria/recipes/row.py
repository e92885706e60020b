"""What a recipe is: one frozen row that names a game, an update rule, networks, optimisers, and the paper."""

from __future__ import annotations

from ..errors import ConfigError
from ..games.boosting import Boosting
from ..games.spec import GameSpec
from ..networks import Auto, Networks
from ..optimizers import Adam, OptimizerSpec
from ..play import Average, Rule
from ..records import record, replace_at
from ..updates import Alternating


@record
class For:
    """An optimiser for one player, in place of the recipe's common one."""

    player: str
    optimizer: OptimizerSpec


@record
class Recipe:
    """A named, cited, complete configuration. Two rows side by side differ only in what their papers differ in.

    Args:
        name: kebab-case.
        year: of the paper.
        cite: its key in references.bib.
        source: where in the paper the row is from.
        about: one line for the table of recipes.
        game: the family of games with its objective and penalties.
        networks: the architectures, for any shape of data.
        update: how the players move.
        optimizer: of every player not named in ``optimizers``.
        optimizers: exceptions, one per player.
        averages: players whose parameters are averaged; samples are taken from the averages.
        batch: real examples per turn.
        steps: rounds that the row takes by default; of each component where there is a procedure.
        procedure: trains the game several times, on data reweighted by what the finished ones miss; None for once.

    Examples:
        >>> from equilibria.recipes import recipe
        >>> recipe("wgan-gp").cite
        'gulrajani2017'
    """

    name: str
    year: int
    cite: str
    source: str
    about: str
    game: GameSpec
    networks: Networks = Auto()
    update: Rule = Alternating()
    optimizer: OptimizerSpec = Adam()
    optimizers: tuple[For, ...] = ()
    averages: tuple[Average, ...] = (Average(),)
    batch: int = 64
    steps: int = 20_000
    procedure: Boosting | None = None

    def optimizer_of(self, player: str) -> OptimizerSpec:
        """The optimiser of a player."""
        for row in self.optimizers:
            if row.player == player:
                return row.optimizer
        return self.optimizer

    def with_settings(self, settings: dict[str, str]) -> Recipe:
        """The recipe with settings by dotted path, as ``--set key=value`` gives them.

        Raises:
            ConfigError: no such setting, or a value that does not fit it.

        Examples:
            >>> from equilibria.recipes import recipe
            >>> recipe("wgan-gp").with_settings({"optimizer.lr": "1e-3", "batch": "32"}).batch
            32
        """
        changed: Recipe = self
        for path, text in settings.items():
            if path.split(".")[0] in {"name", "year", "cite", "source", "about"}:
                raise ConfigError(f"'{path}' says where a recipe comes from", "set what it does, for example batch=32")
            if path in {"procedure.rounds", "procedure.batch"}:
                own = "steps" if path.endswith("rounds") else "batch"
                raise ConfigError(f"'{path}' follows the recipe's {own}", f"set {own}")
            changed = replace_at(changed, path, text)
        return changed
