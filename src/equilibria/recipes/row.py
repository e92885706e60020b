"""What a recipe is: one frozen row that names a game, an update rule, networks, optimisers, and the paper."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import nn

from ..base import notebooks
from ..base.errors import ConfigError, EquilibriaError, did_you_mean
from ..base.memory import too_large
from ..base.randomness import mix, own_randomness, reseed
from ..base.records import encode, record
from ..base.settings import option, placed, replace_at
from ..core import registry  # noqa: F401  (the names of update rules)
from ..core.game import Batches, Game
from ..core.optimizers import Adam, OptimizerSpec
from ..core.play import Average, Play, Rule
from ..core.updates import Alternating
from ..data import DataSpec
from ..games.spec import GameSpec
from ..games.stages import Procedure
from ..networks import Auto, Networks
from ..training import Settings, engine

_LARGE = 1024  # sizes up to it give networks that any machine holds


@record
class For:
    """An optimiser for one player, in place of the recipe's common one."""

    player: str
    optimizer: OptimizerSpec


START = "start"
"""The source whose parameters, buffers and averages training begins with."""


@record
class Source:
    """A finished run that another run starts from; its weights are copied into the new run's folder.

    Args:
        name: the module of the game that the source becomes, frozen; or ``"start"``: training begins with its weights.
        run: its folder; empty in a recipe that needs a run and leaves it to the user which (``--from RUN``).
        sha256: of its weights; empty for whatever they are when training begins. A run's own record has it.
        partial: with ``"start"``, whether what does not fit is left as it was initialised, instead of being refused.
    """

    name: str
    run: str = ""
    sha256: str = ""
    partial: bool = False


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
        steps: rounds that the row takes by default; of each stage where there is a procedure.
        procedure: trains several games one after another, in stages; None for the game alone.
        sources: finished runs that it starts from.

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
    procedure: Procedure | None = None
    sources: tuple[Source, ...] = ()

    def _repr_html_(self) -> str:
        lines = [f"{self.name}: {self.about}", f"{self.cite} ({self.year}), {self.source}", ""]
        settings = encode(self)
        shown = (name for name in settings if name not in {"type", "name", "year", "cite", "source", "about"})
        return notebooks.shown("\n".join([*lines, *(f"{name} = {json.dumps(settings[name])}" for name in shown)]))

    def optimizer_of(self, player: str) -> OptimizerSpec:
        """The optimiser of a player."""
        for row in self.optimizers:
            if row.player == player:
                return row.optimizer
        return self.optimizer

    def build(self, data: DataSpec, seed: int, own: Mapping[str, nn.Module] | None = None) -> Game:
        """The game of this recipe for data of this kind; its parameters are a function of the seed.

        Args:
            data: what rows of the data are.
            seed: of the run.
            own: modules in place of the recipe's, by their names in the game; those of its sources among them.
        """
        with own_randomness():
            try:
                self._refuse_too_large(data)
                reseed(mix(seed, 5))
                return self.game.build(self.networks, data, own)
            except EquilibriaError as error:
                raise placed(error, "game.") from error

    def _refuse_too_large(self, data: DataSpec) -> None:
        """Refuse networks that this machine has no memory for, before it is asked for any.

        Where a size is beyond :data:`_LARGE`, its modules are first made without memory, on torch's meta device.

        Raises:
            ConfigError: parameters, gradients and two moments of them do not fit.
        """
        if max(_numbers([encode(self.game), encode(self.networks), list(data.shape), data.classes])) <= _LARGE:
            return
        try:
            with torch.device("meta"):
                modules = nn.ModuleDict(self.game.make(self.networks, data))
        except EquilibriaError:
            raise
        except Exception:
            return  # networks of the user's that cannot be made without memory
        weights = sum(t.numel() * t.element_size() for t in (*modules.parameters(), *modules.buffers()))
        if why := too_large(4 * weights):
            raise ConfigError(
                f"the networks of '{self.name}' with their gradients and moments {why}", "use smaller sizes"
            )

    def play(
        self,
        game: Game,
        batches: Batches,
        *,
        seed: int = 0,
        horizon: int | None = None,
        settings: Settings | None = None,
    ) -> Play:
        """The live state of this recipe at round 0: the one place where a play is put together.

        Args:
            game: the game, on its device.
            batches: real rows as a function of (seed, turn), for example ``dataset.batches(recipe.batch)``.
            seed: all randomness is a function of it and the turn.
            horizon: rounds that schedules count as the whole run; None for the recipe's steps.
            settings: precision and how turns are launched.

        Raises:
            ConfigError: an optimiser or an average is for a player that the game does not have.
        """
        names, chosen = [player.name for player in game.players], settings or Settings()
        for who in (*(own.player for own in self.optimizers), *(a.player for a in self.averages if a != Average())):
            if who not in names:
                raise ConfigError(f"{self.name} has no player '{who}'", did_you_mean(who, names))
        return Play(
            game,
            self.update,
            {name: self.optimizer_of(name) for name in names},
            batches,
            seed=seed,
            horizon=self.steps if horizon is None else horizon,
            averages=tuple(a for a in self.averages if a.player in names),
            precision=chosen.precision,
            launch=engine.launched(next(game.parameters()).device, chosen),
        )

    def with_settings(self, settings: Mapping[str, str] | Iterable[tuple[str, str]]) -> Recipe:
        """The recipe with settings by dotted path, as ``--set key=value`` gives them, applied in their order.

        Raises:
            ConfigError: no such setting, or a value that does not fit it.

        Examples:
            >>> from equilibria.recipes import recipe
            >>> recipe("wgan-gp").with_settings({"optimizer.lr": "1e-3", "batch": "32"}).batch
            32
        """
        changed: Recipe = self
        for path, text in settings.items() if isinstance(settings, Mapping) else settings:
            if path.split(".")[0] in {"name", "year", "cite", "source", "about"}:
                what = f"'{path}' says where a recipe comes from; settings change what it does"
                raise ConfigError(what, option({"batch": self.batch}))
            if path in {"procedure.rounds", "procedure.batch"}:
                own = "steps" if path.endswith("rounds") else "batch"
                raise ConfigError(f"'{path}' follows the recipe's {own}", option({own: text}))
            changed = replace_at(changed, path, text)
        return changed


def _numbers(value: Any) -> Iterator[float]:
    """The numbers in a plain value, at any depth, and 0."""
    yield 0
    if isinstance(value, (int, float)):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _numbers(inner)
