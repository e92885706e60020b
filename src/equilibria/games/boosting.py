"""Mixtures of generators grown one game at a time: AdaGAN, with bagging and independent runs as its controls."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from ..base.errors import ConfigError, DataError, RunError, not_known
from ..base.randomness import mix, own_randomness, reseed
from ..base.records import record
from ..core.game import Batch, Batches, Draw, Game, make_draw
from ..data import Dataset, DataSpec
from ..data.views import Reweighted
from ..networks import Auto, Networks
from .contest_losses import need_positive
from .stages import Finished, Procedure, Row, Stage, Task, anchor

LAW_ROWS = 10_000
"""Rows that are drawn from a law once and for all: weights belong to rows, and a law has none of its own."""
SCHEMES = ("adagan", "bagging", "independent")
_PIECE = 1024  # rows of one forward pass


def boosting_weights(ratios: Tensor, beta: float) -> Tensor:
    r"""The optimal weights of the data rows for the next component (Tolstikhin et al. 2017, eq. 12 with 13).

    .. math:: w_i = \frac{1}{N\beta}\big(\lambda^* - (1-\beta) h_i\big)_+, \qquad
        \lambda^* = \frac{\beta}{|I|/N}\Big(1 + \frac{1-\beta}{\beta} \frac1N \sum_{i \in I} h_i\Big)

    with :math:`I` the rows of smallest :math:`h` for which this is consistent (all and only those get weight). They
    are the projection that makes :math:`(1-\beta) Q + \beta W` closest to the data in every f-divergence.

    Args:
        ratios: :math:`h_i = dQ/dP(x_i) = (1 - D)/D`, the mixture's density at row i over the data's, ``(n,)``, >= 0.
        beta: the share of the next component in the mixture, in (0, 1].

    Returns:
        ``(n,)`` float64, non-negative, with sum 1.

    Raises:
        ConfigError: ``beta`` outside (0, 1].
        DataError: no ratio, or one that is negative or not finite.

    Examples:
        >>> boosting_weights(torch.tensor([0.0, 1.0, 3.0, 3.0]), 0.5).tolist()
        [0.625, 0.375, 0.0, 0.0]
        >>> boosting_weights(torch.ones(4), 0.5).tolist()
        [0.25, 0.25, 0.25, 0.25]
    """
    if not 0 < beta <= 1:
        raise ConfigError(f"beta={beta} is not a share in (0, 1]", settings={"beta": 0.5})
    if ratios.dim() != 1 or not len(ratios) or not bool((ratios.isfinite() & (ratios >= 0)).all()):
        raise DataError(f"density ratios of shape {tuple(ratios.shape)}", "give one finite number >= 0 per data row")
    # λ and h enter by their difference only: measured from the smallest h, large ratios lose no digits.
    h = (ratios.double() - ratios.double().min()) * (1 - beta)
    ordered = h.sort().values
    count = torch.arange(1, len(h) + 1, dtype=torch.float64, device=h.device)
    # λ of each prefix, times N: above the prefix's own last h up to the consistent prefix, and not beyond.
    levels = (beta * len(h) + ordered.cumsum(0)) / count
    level = levels[levels > ordered][-1]
    weights = (level - h).clamp(min=0)
    return weights / weights.sum()


def weighted_batches(rows: Tensor, weights: Tensor, batch: int) -> Batches:
    """Batches of ``rows`` drawn with replacement by weight, a function of (seed, turn).

    Examples:
        >>> deal = weighted_batches(torch.eye(3), torch.tensor([0.0, 1.0, 0.0]), batch=2)
        >>> deal(0, 0)["x"].tolist()
        [[0.0, 1.0, 0.0], [0.0, 1.0, 0.0]]
    """
    edges = weights.double().cumsum(0).cpu()

    def deal(seed: int, turn: int) -> Batch:
        generator = torch.Generator().manual_seed(mix(seed, turn, 5))
        places = torch.rand(batch, generator=generator, dtype=torch.float64) * edges[-1]
        chosen = torch.searchsorted(edges, places, right=True).clamp(max=len(edges) - 1)
        return {"x": rows[chosen.to(rows.device)]}

    return deal


def mixture_sample(games: tuple[Game, ...], n: int, seed: int = 0) -> Tensor:
    """``n`` samples of the mixture of the games' laws in equal parts (β_t = 1/t), a function of the seed.

    Raises:
        ConfigError: no game.
    """
    if not games:
        raise ConfigError("a mixture of no games", "finish a stage first")
    counts = torch.randint(len(games), (n,), generator=torch.Generator().manual_seed(mix(seed, 0))).bincount()
    parts = []
    with own_randomness(), torch.no_grad():
        for i, count in enumerate(counts.tolist()):
            if count:
                reseed(mix(seed, i, 1))
                with torch.device(next(games[i].parameters()).device):
                    draw = make_draw(games[i].codes(count), mix(seed, i, 2), time=1.0)
                    pieces = torch.split(torch.arange(count), _PIECE)
                parts += [games[i].sample(rows_at(draw, piece, games[i].whole)) for piece in pieces]
    return torch.cat(parts)


def rows_at(draw: Draw, index: Tensor, whole: tuple[str, ...] = ()) -> Draw:
    """The draw of the rows at ``index``; entries named in ``whole`` are not one row per example."""
    rows = {name: tensor if name in whole else tensor[index] for name, tensor in draw.tensors.items()}
    return replace(draw, tensors=rows)


class Mixture(Game):
    r"""The mixture of finished games in equal parts, :math:`Q_t = \frac1t \sum_{i \le t} G_i` (:math:`\beta_t = 1/t`).

    A game without players: it is sampled and not played. Each sample is of a component drawn at random, so samples are
    independent and in no order.

    Args:
        games: the components, on one device.

    Raises:
        RunError: from ``codes``, when there is no component.
    """

    def __init__(self, games: tuple[Game, ...] = ()) -> None:
        super().__init__()
        self.games = nn.ModuleList(games)
        self.classes: int = getattr(games[0], "classes", 0) if games else 0
        self.class_shares = games[0].class_shares if games else ()
        self.whole = games[0].whole if games else ()
        self.anchor = anchor()

    def codes(self, n: int, labels: Tensor | None = None) -> Batch:
        if not len(self.games):
            raise RunError("no component is finished yet", "continue the run, then sample")
        chosen = torch.randint(len(self.games), (n,))
        rows: Batch = {}
        for i, game in enumerate(self._components()):
            own = chosen == i
            for name, tensor in game.codes(n, labels).items():
                if name not in rows:
                    rows[name] = tensor
                elif name not in self.whole:
                    rows[name][own] = tensor[own]
        return {**rows, "component": chosen}

    def sample(self, draw: Draw) -> Tensor:
        parts, places = [], []
        for i, game in enumerate(self._components()):
            own = (draw["component"] == i).nonzero().squeeze(1)
            if len(own):
                parts.append(game.sample(rows_at(draw, own, self.whole)))
                places.append(own)
        made = torch.cat(parts)
        return torch.empty_like(made).index_copy_(0, torch.cat(places), made)

    def _components(self) -> tuple[Game, ...]:
        return tuple(game for game in self.games if isinstance(game, Game))


def weighed_rows(data: Dataset, seed: int) -> Batch:
    """The rows that weights belong to: all training rows, in the order of one epoch; of a law 10,000 draws."""
    return data.batch(data.size or LAW_ROWS, seed, 0)


@record
class Boosting(Procedure):
    r"""AdaGAN (Tolstikhin et al. 2017, Algorithm 1) over any game: component t sees reweighted data.

    .. math:: Q_t = (1 - \beta_t) Q_{t-1} + \beta_t G_t, \qquad \beta_t = 1/t

    Before component t a discriminator (``judge``) is trained on the data against :math:`Q_{t-1}`; its
    :math:`h = (1-D)/D` gives the weights of :func:`boosting_weights`. Everything is a function of the finished games
    and the seed, so the procedure resumes between stages and inside each.

    Args:
        components: number of games.
        rounds: of each game.
        batch: rows in a batch.
        scheme: ``"adagan"``; or a control: ``"bagging"`` (each component sees a bootstrap sample of the rows) or
            ``"independent"`` (each sees all rows; as a mixture an ensemble, and the best of them "best of T").
        judge: the architecture of the discriminator that gives the weights.
        judge_steps: steps of its training with Adam, on ``batch`` real and ``batch`` generated rows.
        judge_rate: its learning rate.

    Raises:
        ConfigError: an unknown scheme, or a count that is not positive.

    Examples:
        >>> Boosting(components=3).scheme
        'adagan'
    """

    components: int = 10
    rounds: int = 2000
    batch: int = 64
    scheme: str = "adagan"
    judge: Networks = Auto()
    judge_steps: int = 1000
    judge_rate: float = 1e-3

    def __post_init__(self) -> None:
        if self.scheme not in SCHEMES:
            raise not_known("scheme", self.scheme, SCHEMES)
        need_positive(components=self.components, rounds=self.rounds, batch=self.batch, judge_steps=self.judge_steps)

    def plan(self, row: Row, data: DataSpec) -> dict[str, int]:
        return {_name(t): row.steps for t in range(1, self.components + 1)}

    def settled(self, row: Row, data: Dataset) -> Boosting:
        if data.spec.paired:
            raise ConfigError(f"AdaGAN weighs rows, and those of '{data.name}' come in pairs", "name one domain")
        self.judge.discriminator(data.spec.shape)
        return replace(self, rounds=row.steps, batch=row.batch)

    def stages(self, done: tuple[Finished, ...], task: Task) -> Stage | None:
        t = len(done) + 1
        if t > self.components:
            return None
        games = tuple(stage.game for stage in done)

        def find() -> Tensor:
            return self.weights(games, weighed_rows(task.data, task.seed)["x"], task.seed).cpu()

        size = task.data.size or LAW_ROWS
        weights = task.keep(f"weights/{_name(t)}", find, partial(_is_law, n=size))
        view = Reweighted(weights=tuple(weights.tolist()), seed=task.seed)
        return Stage(_name(t), task.row, view, numbers={"weights/effective_share": _effective(weights)})

    def joined(self, done: tuple[Finished, ...], data: DataSpec) -> Game:
        return Mixture(tuple(stage.game for stage in done))

    def weights(self, done: tuple[Game, ...], rows: Tensor, seed: int) -> Tensor:
        """The data rows' weights for the component after ``done``, ``(n,)``, with sum 1."""
        t, n = len(done) + 1, len(rows)
        if self.scheme == "bagging":
            chosen = torch.randint(n, (n,), generator=torch.Generator().manual_seed(mix(seed, t, 6)))
            return chosen.bincount(minlength=n).double() / n
        if self.scheme == "independent" or t == 1:
            return torch.full((n,), 1 / n, dtype=torch.float64)
        return boosting_weights(self.ratios(done, rows, mix(seed, t, 7)), 1 / t)

    def ratios(self, done: tuple[Game, ...], rows: Tensor, seed: int) -> Tensor:
        """A trained discriminator's estimate of (mixture density)/(data density) at each row, ``(n,)``."""
        fakes = mixture_sample(done, len(rows), seed).to(rows)
        with own_randomness(), torch.enable_grad():
            reseed(seed)
            judge = self.judge.discriminator(tuple(rows.shape[1:])).to(rows)
            optimizer = torch.optim.Adam(judge.parameters(), lr=self.judge_rate)
            for _ in range(self.judge_steps):
                real, fake = (side[torch.randint(len(rows), (self.batch,))] for side in (rows, fakes))
                loss = softplus(-judge(real)).mean() + softplus(judge(fake)).mean()
                optimizer.zero_grad(set_to_none=True)
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
        with torch.no_grad():
            judge.eval()
            return torch.cat([judge(part) for part in rows.split(4096)]).double().neg().clamp(max=80.0).exp()  # type: ignore[no-untyped-call]


def _name(t: int) -> str:
    return f"component-{t:02d}"


def _is_law(weights: Tensor, n: int) -> bool:
    """Whether these are non-negative weights of ``n`` rows with sum 1."""
    valid = weights.shape == (n,) and weights.dtype == torch.float64 and abs(float(weights.sum()) - 1) < 1e-6
    return valid and bool((weights >= 0).all())


def _effective(weights: Tensor) -> float:
    r"""The share of the rows that count, :math:`1 / (n \sum_i w_i^2)`: 1 for equal weights."""
    return float(1 / (len(weights) * weights.square().sum()))
