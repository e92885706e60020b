"""The variational bound of an f-divergence as an objective."""

from __future__ import annotations

from torch import Tensor

from ..base.errors import not_known
from ..base.records import record
from ..theory.divergences import F_DIVERGENCES, FDivergence
from .base import Objective, wide


@record
class FGan(Objective):
    r"""The variational bound of an f-divergence (Nowozin et al. 2016, eq. 6); one step of each player per turn there.

    .. math::
        L_D = -E_p\, g_f(v) + E_q\, f^*(g_f(v)), \qquad
        L_G = -E_q\, f^*(g_f(v)), \quad\text{or with the trick}\quad L_G = -E_q\, g_f(v)

    Optimum: :math:`g_f(v^*) = f'(p/q)`, :math:`\min L_D = -D_f(p\|q)`. The trick (sec. 3.2) is the non-saturating form.
    With ``"pearson"`` the conjugate is Table 2's on the whole line: it decreases for ``v < -2``, where the generator
    without the trick is pushed the wrong way.

    Examples:
        >>> import torch
        >>> FGan(divergence="gan").discriminator(torch.zeros(4), torch.zeros(4))
        tensor(1.3863)
    """

    divergence: str = "kl"
    trick: bool = False

    def __post_init__(self) -> None:
        if self.divergence not in F_DIVERGENCES:
            raise not_known("divergence", self.divergence, F_DIVERGENCES)

    @property
    def row(self) -> FDivergence:
        """The divergence's row of the table."""
        return F_DIVERGENCES[self.divergence]

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        return self.row.conjugate_output(wide(fake)).mean() - self.row.output_map(wide(real)).mean()

    def generator(self, fake: Tensor, real: Tensor | None = None) -> Tensor:
        reward = self.row.output_map if self.trick else self.row.conjugate_output
        return -reward(wide(fake)).mean()

    def optimal_score(self, log_ratio: Tensor) -> Tensor:
        return self.row.optimal_score(log_ratio)


OBJECTIVES: dict[str, Objective] = {f"f-gan-{name}": FGan(divergence=name) for name in F_DIVERGENCES}
