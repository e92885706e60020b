"""Mixtures of generators grown one game at a time: AdaGAN, with bagging and independent runs as its controls."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import softplus

from ..base.errors import ConfigError, DataError, did_you_mean
from ..base.randomness import mix, own_randomness, reseed
from ..base.records import record
from ..core.game import Batch, Batches, Draw, Game, clocked
from ..networks import Auto, Networks
from .judging import need_positive
from .stages import Procedure, Stage

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
        raise ConfigError(f"beta={beta}", "use a share in (0, 1]")
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
                    draw = clocked(games[i].codes(count), mix(seed, i, 2), time=1.0)
                    pieces = torch.split(torch.arange(count), _PIECE)
                parts += [games[i].sample(rows_at(draw, piece, games[i].whole)) for piece in pieces]
    return torch.cat(parts)


def rows_at(draw: Draw, index: Tensor, whole: tuple[str, ...] = ()) -> Draw:
    """The draw of the rows at ``index``; entries named in ``whole`` are not one row per example."""
    rows = {name: tensor if name in whole else tensor[index] for name, tensor in draw.tensors.items()}
    return replace(draw, tensors=rows)


@record
class Boosting:
    r"""AdaGAN (Tolstikhin et al. 2017, Algorithm 1) over any game: component t sees reweighted data.

    .. math:: Q_t = (1 - \beta_t) Q_{t-1} + \beta_t G_t, \qquad \beta_t = 1/t

    Before component t a judge learns to tell the data from :math:`Q_{t-1}`; its :math:`h = (1-D)/D` gives the weights
    of :func:`boosting_weights`. Everything is a function of the finished games and the seed, so the procedure resumes
    between stages and inside each.

    Args:
        components: how many games.
        rounds: of each game.
        batch: rows in a batch.
        scheme: ``"adagan"``; or a control: ``"bagging"`` (each component sees a bootstrap sample of the rows) or
            ``"independent"`` (each sees all rows; as a mixture an ensemble, and the best of them "best of T").
        judge: the judge's architecture.
        judge_steps: steps of its training, Adam at ``judge_rate``, ``batch`` rows of each side.
        judge_rate: see there.

    Raises:
        ConfigError: an unknown scheme, or a count that is not positive.

    Examples:
        >>> Boosting(components=3).procedure(make=None, rows=torch.zeros(8, 2), seed=0)(()).name
        'component-1'
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
            raise ConfigError(f"scheme '{self.scheme}'", did_you_mean(self.scheme, SCHEMES))
        need_positive(components=self.components, rounds=self.rounds, batch=self.batch, judge_steps=self.judge_steps)

    def procedure(self, make: Callable[[int], Game], rows: Tensor, seed: int) -> Procedure:
        """The stages on data ``rows`` ``(n, …)``; ``make`` builds a component from its seed."""

        def stages(done: tuple[Game, ...]) -> Stage | None:
            t = len(done) + 1
            if t > self.components:
                return None
            own = mix(seed, t)
            batches = weighted_batches(rows, self.weights(done, rows, seed), self.batch)
            return Stage(f"component-{t}", lambda: make(own), batches, self.rounds)

        return stages

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
        """A trained judge's estimate of (mixture density)/(data density) at each row, ``(n,)``."""
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
