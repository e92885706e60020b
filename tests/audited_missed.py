"""Training loops with a fault that was not read in an exam of whole runs, as short loops; they join the others."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audited_faults import FAULTS, fault
from audited_loops import Critic, Pair, mlp

__all__ = ["FAULTS"]


@fault("double-sigmoid")
class ClampedSigmoidUnderSoftplus(Pair):
    """Probabilities that are kept off 0 and 1 go into a logistic loss that is written with softplus."""

    def loss_d(self, real: Tensor, fake: Tensor) -> Tensor:
        return super().loss_d(*(s.sigmoid().clamp(1e-4, 1 - 1e-4) for s in (real, fake)))

    def loss_g(self, fake: Tensor) -> Tensor:
        return super().loss_g(fake.sigmoid())


@fault("same-target-for-both")
class BeyondTheMargin(Pair):
    """The hinge of samples has the margin of real rows, and all scores of samples are far above it."""

    def __post_init__(self) -> None:
        super().__post_init__()
        assert isinstance(self.discriminator, nn.Sequential)
        with torch.no_grad():
            self.discriminator[2].bias.fill_(3.0)

    def loss_d(self, real: Tensor, fake: Tensor) -> Tensor:
        return F.relu(4 - real).mean() + F.relu(1 - fake).mean()

    def loss_g(self, fake: Tensor) -> Tensor:
        return -fake.mean()


@fault("swapped-labels")
class HookOfTheInput(Pair):
    """A hook of the discriminator's input negates the gradient of the samples."""

    def __call__(self) -> None:
        x, fake = self.x(), self.generator(self.z())
        self.d.zero_grad()
        self.loss_d(self.discriminator(x), self.discriminator(fake.detach())).backward()
        self.d.step()
        self.g.zero_grad()
        shown = fake * 1.0
        shown.register_hook(torch.neg)
        self.loss_g(self.discriminator(shown)).backward()
        self.g.step()


@fault("penalty-of-wrong-norm")
class EachEntry(Critic):
    """Each partial derivative is drawn to 1: the square is taken before the sum."""

    def norm(self, slopes: Tensor) -> Tensor:
        return slopes.flatten()


@fault("norm-before-output")
class EachSampleStandardised(Pair):
    def __post_init__(self) -> None:
        inner = mlp(3, 8, 6)

        class Standardised(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.inner = inner

            def forward(self, z: Tensor) -> Tensor:
                x = self.inner(z)
                out: Tensor = (x - x.mean(1, keepdim=True)) / (x.std(1, keepdim=True) + 1e-5)
                return out

        self.generator = Standardised()
        super().__post_init__()
