"""One pair of networks that grows from small images to large ones, resolution by resolution."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor, nn

from ..base.errors import ConfigError, DataError, RunError
from ..base.records import record
from ..core.game import Batch, Draw, Game
from ..data import Dataset, DataSpec
from ..networks import GrowingPair, Upsample
from .pyramids import Level
from .stages import Finished, Procedure, Row, Stage, Task, anchor


class GrownGame(Game):
    """Images of the largest resolution that is finished, enlarged to the data's size. It has no players.

    Args:
        last: the game of that resolution; None where none is finished.
        enlarged: how often its images are doubled, by repeating pixels.
    """

    judged: Mapping[str, str] = {"samples": "x"}

    def __init__(self, last: Game | None, enlarged: int) -> None:
        super().__init__()
        self.games = nn.ModuleList([] if last is None else [last])
        self.enlarged = enlarged
        if last is not None:
            self.classes, self.class_shares = last.classes, last.class_shares
        self.enlarge = Upsample()
        self.anchor = anchor()

    def codes(self, n: int, labels: Tensor | None = None) -> Batch:
        return self._last.codes(n, labels)

    def sample(self, draw: Draw) -> Tensor:
        image = self._last.sample(draw)
        for _ in range(self.enlarged):
            image = self.enlarge(image)
        return image

    @property
    def _last(self) -> Game:
        if not len(self.games):
            raise RunError("no resolution is finished yet", "continue the run, then sample")
        game = self.games[0]
        assert isinstance(game, Game)
        return game


@record
class Growing(Procedure):
    r"""Progressive growing (Karras et al. 2018, section 2): one stage for each resolution, small to large.

    A stage begins with the parameters and averages of the one before. The level that it adds is faded in during the
    share ``fade`` of its rounds,

    .. math:: G(z) = (1 - \alpha)\, u(G_{k-1}(z)) + \alpha\, G_k(z), \qquad
              \alpha = \min(1, t / \text{fade})

    and in the same way in the discriminator, which at :math:`\alpha = 0` is that of the stage before on the halved
    image. :math:`u` repeats pixels. The paper also blends the real images during a transition; here they are whole.

    Args:
        fade: share of a stage's rounds, in (0, 1).
        first: side in pixels below which no stage is trained; 0 for all sizes.

    Raises:
        ConfigError: a share outside (0, 1), or a recipe with other networks than :class:`GrowingPair`.

    Examples:
        >>> from equilibria.recipes import recipe
        >>> list(Growing().plan(recipe("progressive"), DataSpec(kind="image", shape=(1, 32, 32))))
        ['size-4', 'size-8', 'size-16', 'size-32']
    """

    fade: float = 0.5
    first: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.fade < 1:
            raise ConfigError(f"fade={self.fade} is not a share in (0, 1)", settings={"fade": 0.5})
        if self.first < 0:
            raise ConfigError(f"first={self.first} is below 0", settings={"first": 0})

    def plan(self, row: Row, data: DataSpec) -> dict[str, int]:
        if data.kind != "image":
            raise DataError("growing needs images", "give a data set of images, for example data='digits'")
        networks = getattr(row, "networks", None)
        if not isinstance(networks, GrowingPair):
            what = f"networks of type {type(networks).__name__} do not grow"
            raise ConfigError(what, "--set networks=growing")
        return {_name(data, halvings): row.steps for halvings in self._halvings(data)}

    def settled(self, row: Row, data: Dataset) -> Growing:
        return self

    def stages(self, done: tuple[Finished, ...], task: Task) -> Stage | None:
        spec = task.data.spec
        left = self._halvings(spec)[len(done) :]
        if not left:
            return None
        fade = self.fade if done else 0.0
        row = replace(task.row, networks=replace(task.row.networks, fade=fade))
        start = done[-1].name if done else None
        return Stage(_name(spec, left[0]), row, Level(halvings=left[0]) if left[0] else None, start)

    def joined(self, done: tuple[Finished, ...], data: DataSpec) -> Game:
        left = len(self._halvings(data)) - max(1, len(done))
        return GrownGame(done[-1].game if done else None, left)

    def _halvings(self, data: DataSpec) -> list[int]:
        """How often the images of each stage are halved, in the stages' order."""
        most = GrowingPair.halvings(data.shape)
        return [n for n in range(most, -1, -1) if n == 0 or min(data.shape[1:]) >> n >= self.first]


def _name(data: DataSpec, halvings: int) -> str:
    return f"size-{data.shape[1] >> halvings}"
