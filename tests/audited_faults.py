"""Training loops with a fault each, for the tests of the audit."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from audited_loops import (
    REAL,
    ClassHead,
    Conditional,
    Critic,
    HingeWithSpectralNorm,
    OneBatch,
    Pair,
    Paired,
    Probabilities,
    SlopesOfRealRows,
    mlp,
)

FAULTS: dict[str, tuple[str, type[Pair]]] = {}


def fault(condition: str) -> Callable[[type[Pair]], type[Pair]]:
    def kept(made: type[Pair]) -> type[Pair]:
        FAULTS[made.__name__] = (condition, made)
        return made

    return kept


@fault("no-gradient-path")
class NoPath(Pair):
    def __post_init__(self) -> None:
        class Rounded(nn.Sequential):
            def forward(self, z: Tensor) -> Tensor:
                return super().forward(z).detach()

        self.generator = Rounded(nn.Linear(3, 6))
        super().__post_init__()


@fault("no-gradient-path")
class GradientsOff(Pair):
    """One batch for both players, made with gradients off; the generator's loss reaches the discriminator alone."""

    def __call__(self) -> None:
        with torch.no_grad():
            fake = self.generator(self.z())
        self.d.zero_grad()
        self.loss_d(self.discriminator(self.x()), self.discriminator(fake)).backward()
        self.d.step()
        self.g.zero_grad()
        self.loss_g(self.discriminator(fake)).backward()
        self.g.step()


@fault("no-gradient-path")
class RoundedOutput(Pair):
    def __post_init__(self) -> None:
        class Rounded(nn.Sequential):
            def forward(self, z: Tensor) -> Tensor:
                return super().forward(z).round()

        self.generator = Rounded(nn.Linear(3, 6))
        super().__post_init__()


@fault("generator-never-updated")
class OptimiserOfACopy(Pair):
    def __post_init__(self) -> None:
        super().__post_init__()
        self.g = torch.optim.Adam(copy.deepcopy(self.generator).parameters(), 1e-3)


@fault("discriminator-never-updated")
class ClearedTooLate(Pair):
    def __call__(self) -> None:
        x, fake = self.x(), self.generator(self.z())
        self.loss_d(self.discriminator(x), self.discriminator(fake.detach())).backward()
        self.d.zero_grad()
        self.d.step()
        self.g.zero_grad()
        self.loss_g(self.discriminator(fake)).backward()
        self.g.step()


@fault("wrong-player-trained")
class OneOptimiserForBoth(Pair):
    def __post_init__(self) -> None:
        super().__post_init__()
        self.g = torch.optim.Adam([*self.generator.parameters(), *self.discriminator.parameters()], 1e-3)


@fault("wrong-player-trained")
class Exchanged(Pair):
    def __post_init__(self) -> None:
        super().__post_init__()
        self.g, self.d = self.d, self.g


@fault("parameters-not-optimised")
class LayerLeftOut(Pair):
    def __post_init__(self) -> None:
        super().__post_init__()
        assert isinstance(self.generator, nn.Sequential)
        self.g = torch.optim.Adam(self.generator[2].parameters(), 1e-3)


@fault("gradients-accumulate")
class NeverCleared(Pair):
    def __call__(self) -> None:
        x, fake = self.x(), self.generator(self.z())
        self.loss_d(self.discriminator(x), self.discriminator(fake.detach())).backward()
        self.d.step()
        self.g.zero_grad()
        self.loss_g(self.discriminator(fake)).backward()
        self.g.step()


@fault("other-players-gradient")
class NotDetached(Pair):
    def __call__(self) -> None:
        self.d.zero_grad()
        self.g.zero_grad()
        x, fake = self.x(), self.generator(self.z())
        self.loss_d(self.discriminator(x), self.discriminator(fake)).backward()
        self.d.step()
        self.loss_g(self.discriminator(self.generator(self.z()))).backward()
        self.g.step()


@fault("other-players-gradient")
class Cancelled(Critic):
    """Both losses are linear in the same scores, and their gradients in the generator sum to exactly 0."""

    def __call__(self) -> None:
        self.d.zero_grad()
        self.g.zero_grad()
        x, fake = self.x(), self.generator(self.z())
        loss = self.loss_d(self.discriminator(x), self.discriminator(fake)) + self.penalty(x, fake.detach())
        loss.backward(retain_graph=True)
        self.loss_g(self.discriminator(fake)).backward(inputs=list(self.generator.parameters()))
        self.d.step()
        self.g.step()


@fault("adversarial-term-missing")
class Detached(Paired):
    detached = True


@fault("same-batch-twice")
class SameBatch(Pair):
    def __call__(self) -> None:
        x = self.x()
        self.d.zero_grad()
        self.loss_d(self.discriminator(x), self.discriminator(x)).backward()
        self.d.step()
        self.g.zero_grad()
        self.loss_g(self.discriminator(self.generator(self.z()))).backward()
        self.g.step()


@fault("same-batch-twice")
class SameBatchOfLeastSquares(SameBatch):
    """Scores below both targets are drawn up to each of them."""

    def loss_d(self, real: Tensor, fake: Tensor) -> Tensor:
        return (real - 1).square().mean() + (fake + 0).square().mean()

    def __post_init__(self) -> None:
        super().__post_init__()
        assert isinstance(self.discriminator, nn.Sequential)
        with torch.no_grad():
            self.discriminator[2].bias.fill_(-5.0)


@fault("same-target-for-both")
class SameTarget(Pair):
    def loss_d(self, real: Tensor, fake: Tensor) -> Tensor:
        return F.softplus(-real).mean() + F.softplus(-fake).mean()


@fault("swapped-labels")
class Swapped(Pair):
    def loss_d(self, real: Tensor, fake: Tensor) -> Tensor:
        return F.softplus(real).mean() + F.softplus(-fake).mean()


@fault("double-sigmoid")
class SigmoidInTheLoop(Pair):
    def loss_d(self, real: Tensor, fake: Tensor) -> Tensor:
        a, b = torch.sigmoid(real), torch.sigmoid(fake)
        lost = F.binary_cross_entropy_with_logits
        return lost(a, torch.ones_like(a)) + lost(b, torch.zeros_like(b))


@fault("double-sigmoid")
class SigmoidInTheNetwork(Probabilities):
    def loss_d(self, real: Tensor, fake: Tensor) -> Tensor:
        lost = F.binary_cross_entropy_with_logits
        return lost(real, torch.ones_like(real)) + lost(fake, torch.zeros_like(fake))


@fault("missing-sigmoid")
class ClampedScores(Pair):
    def __post_init__(self) -> None:
        self.discriminator = mlp(6, 8, 1)
        with torch.no_grad():
            self.discriminator[2].bias.fill_(0.5)
            self.discriminator[2].weight.mul_(5)
        super().__post_init__()

    def loss_d(self, real: Tensor, fake: Tensor) -> Tensor:
        a, b = real.clamp(0, 1), fake.clamp(0, 1)
        return F.binary_cross_entropy(a, torch.ones_like(a)) + F.binary_cross_entropy(b, torch.zeros_like(b))

    def loss_g(self, fake: Tensor) -> Tensor:
        return F.binary_cross_entropy(fake.clamp(0, 1), torch.ones_like(fake))


@fault("sigmoid-on-critic")
class BoundedCritic(Critic):
    def __post_init__(self) -> None:
        self.discriminator = mlp(6, 8, 1, last=nn.Sigmoid())
        super().__post_init__()


@fault("softmax-twice")
class TwoSoftmaxes(ClassHead):
    twice = True


@fault("adversarial-term-missing")
class ClassTermOnly(ClassHead):
    def loss_g(self, fake: Tensor) -> Tensor:
        return 0.0 * torch.zeros(())


@fault("missing-sigmoid")
class AllClamped(ClampedScores):
    """Every score is outside, so that no gradient comes to any."""

    def __post_init__(self) -> None:
        super().__post_init__()
        with torch.no_grad():
            self.discriminator[2].weight.mul_(0.01)
            self.discriminator[2].bias.fill_(-0.5)


@fault("label-ignored")
class LabelsTimesZero(Conditional):
    def __post_init__(self) -> None:
        super().__post_init__()

        class Zero(nn.Embedding):
            def forward(self, y: Tensor) -> Tensor:
                return 0 * super().forward(y)

        self.discriminator.table = Zero(2, 3)
        self.d = torch.optim.Adam(self.discriminator.parameters(), 1e-3)


@fault("flat-generator-loss")
class HingeForBoth(HingeWithSpectralNorm):
    def loss_g(self, fake: Tensor) -> Tensor:
        return -F.relu(3 * (fake - fake.detach().median())).mean()


@fault("penalty-without-effect")
class WithoutGraph(Critic):
    def penalty(self, x: Tensor, fake: Tensor) -> Tensor | float:
        m = self.at(x, fake).requires_grad_()
        slopes = torch.autograd.grad(self.discriminator(m).sum(), m)[0]
        return self.weight * (self.norm(slopes) - 1).square().mean()


@fault("swapped-labels")
class PairedTheWrongWay(Pair):
    """Relativistic pairs, the generated score above the real one for both players; R1 and R2 in the same backward."""

    def __call__(self) -> None:
        x, fake = self.x().requires_grad_(), self.generator(self.z()).detach().requires_grad_()
        real, made = self.discriminator(x), self.discriminator(fake)
        rows = F.softplus(real - made).flatten()
        for score, rows_of in ((real, x), (made, fake)):
            slopes = torch.autograd.grad(score.sum(), rows_of, create_graph=True)[0]
            rows = rows + 0.5 * slopes.square().sum(1)
        self.d.zero_grad()
        rows.mean().backward()
        self.d.step()
        self.g.zero_grad()
        real, made = self.discriminator(self.x()).detach(), self.discriminator(self.generator(self.z()))
        F.softplus(real - made).mean().backward()
        self.g.step()


@fault("penalty-without-effect")
class WithoutGraphByRow(Pair):
    """Loss and penalty are added row by row, before the mean."""

    def __call__(self) -> None:
        x, fake = self.x().requires_grad_(), self.generator(self.z()).detach()
        real = self.discriminator(x)
        slopes = torch.autograd.grad(real.sum(), x, retain_graph=True)[0]
        self.d.zero_grad()
        rows = F.softplus(self.discriminator(fake) - real).flatten()
        (rows + 0.5 * slopes.square().sum(1)).mean().backward()
        self.d.step()
        self.g.zero_grad()
        fake, real = self.generator(self.z()), self.discriminator(self.x()).detach()
        F.softplus(real - self.discriminator(fake)).mean().backward()
        self.g.step()


@fault("penalty-without-effect")
class NeverAdded(Critic):
    def penalty(self, x: Tensor, fake: Tensor) -> Tensor | float:
        super().penalty(x, fake)
        return 0.0


@fault("penalty-of-wrong-norm")
class WrongAxis(Critic):
    def __post_init__(self) -> None:
        self.real = REAL.reshape(-1, 2, 3)
        self.generator = mlp(3, 8, 6, last=nn.Unflatten(1, (2, 3)))
        self.discriminator = nn.Sequential(nn.Flatten(), mlp(6, 8, 1))
        super().__post_init__()

    def norm(self, slopes: Tensor) -> Tensor:
        return slopes.norm(dim=1)


@fault("penalty-of-wrong-norm")
class SlopeOfTheMean(Critic):
    def penalty(self, x: Tensor, fake: Tensor) -> Tensor | float:
        m = self.at(x, fake).requires_grad_()
        slopes = torch.autograd.grad(self.discriminator(m).mean(), m, create_graph=True)[0]
        return self.weight * (self.norm(slopes) - 1).square().mean()


@fault("penalty-off-the-segment")
class OffTheSegment(Critic):
    def at(self, x: Tensor, fake: Tensor) -> Tensor:
        return x + torch.randn(len(x), 1) * (fake - x)


@fault("lipschitz-violated")
class Unheld(Critic):
    def __post_init__(self) -> None:
        super().__post_init__()
        with torch.no_grad():
            for p in self.discriminator.parameters():
                p.mul_(20)

    def penalty(self, x: Tensor, fake: Tensor) -> Tensor | float:
        return 0.0


@fault("batchnorm-leakage")
class MixedBatch(OneBatch):
    def __post_init__(self) -> None:
        self.discriminator = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.LeakyReLU(0.2), nn.Linear(8, 1))
        super().__post_init__()


@fault("batchnorm-in-eval")
class LeftInEval(Pair):
    def __post_init__(self) -> None:
        self.generator = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 6)).eval()
        super().__post_init__()


@fault("condition-fixed")
class FixedCondition(Conditional):
    def asked(self, y: Tensor) -> Tensor:
        return torch.ones_like(y)


@fault("labels-disagree")
class OtherLabels(Conditional):
    def told(self, y: Tensor) -> Tensor:
        return 1 - y


@fault("label-ignored")
class UnusedLabels(Conditional):
    used = False


@fault("noise-reused")
class OneBatchOfNoise(Pair):
    def z(self) -> Tensor:
        return torch.randn(16, 3, generator=torch.Generator().manual_seed(0))


@fault("latent-too-small")
class NoNoise(Pair):
    def z(self) -> Tensor:
        return torch.randint(2, (16, 1)).float().expand(16, 3)


@fault("dead-units")
class Dead(Pair):
    def __post_init__(self) -> None:
        self.generator = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 6))
        with torch.no_grad():
            self.generator[0].bias.fill_(-30)
        super().__post_init__()


@fault("data-range-mismatch")
class Bytes(Pair):
    def __post_init__(self) -> None:
        self.real = (REAL * 127.5 + 127.5).round()
        super().__post_init__()


@fault("norm-before-output")
class NormLast(Pair):
    def __post_init__(self) -> None:
        self.real = torch.rand(300, 32, generator=torch.Generator().manual_seed(2)) * 1.6 - 0.8
        norm = nn.LayerNorm(32, elementwise_affine=False)
        self.generator = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 32), norm, nn.Tanh())
        self.discriminator = mlp(32, 8, 1)
        super().__post_init__()


@fault("norm-before-output")
class BatchNormLast(Pair):
    def __post_init__(self) -> None:
        self.generator = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 6), nn.BatchNorm1d(6), nn.Tanh())
        super().__post_init__()


@fault("norm-before-output")
class BatchNormAsOutput(Pair):
    def __post_init__(self) -> None:
        self.generator = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 6), nn.BatchNorm1d(6))
        super().__post_init__()


@fault("norm-before-output")
class LayerNormAsOutput(Pair):
    def __post_init__(self) -> None:
        self.generator = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 6), nn.LayerNorm(6))
        super().__post_init__()


@fault("generator-never-updated")
class RateOfZero(Pair):
    def __post_init__(self) -> None:
        super().__post_init__()
        self.g = torch.optim.Adam(self.generator.parameters(), 0.0)


@fault("sigmoid-on-critic")
class SigmoidUnderAHinge(Pair):
    def loss_d(self, real: Tensor, fake: Tensor) -> Tensor:
        return F.relu(1 - real.sigmoid()).mean() + F.relu(1 + fake.sigmoid()).mean()

    def loss_g(self, fake: Tensor) -> Tensor:
        return -fake.sigmoid().mean()


@fault("penalty-of-wrong-norm")
class NormOverTheBatch(Critic):
    def norm(self, slopes: Tensor) -> Tensor:
        return slopes.norm(dim=0)


@fault("swapped-labels")
class GoesUp(Pair):
    """The generator's optimiser goes up the gradient of a loss that is written to be minimised."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.g = torch.optim.Adam(self.generator.parameters(), 1e-3, maximize=True)


@fault("double-sigmoid")
class SigmoidByHand(SlopesOfRealRows):
    """A hook returns 1 / (1 + exp(-s)), and the loss takes logits; a penalty's gradient goes through it too."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.discriminator.register_forward_hook(lambda module, given, out: 1 / (1 + (-out).exp()))


@fault("missing-sigmoid")
class SumIsClamped(Pair):
    """The score is a sum of two layers, clamped to [0, 1] before the logarithm."""

    def __post_init__(self) -> None:
        first, second = mlp(6, 8, 1), nn.Linear(6, 1)

        class Both(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.first, self.second = first, second

            def forward(self, x: Tensor) -> Tensor:
                out: Tensor = self.first(x) + self.second(x) + 0.5
                return out

        self.discriminator = Both()
        super().__post_init__()

    def loss_d(self, real: Tensor, fake: Tensor) -> Tensor:
        real, fake = real.clamp(1e-6, 1 - 1e-6), fake.clamp(1e-6, 1 - 1e-6)
        return -real.log().mean() - (1 - fake).log().mean()

    def loss_g(self, fake: Tensor) -> Tensor:
        return -fake.clamp(1e-6, 1 - 1e-6).log().mean()


@fault("step-below-rounding")
class NoRate(Pair):
    def __post_init__(self) -> None:
        super().__post_init__()
        for group in self.g.param_groups:
            group["lr"] = 1e-12


@fault("unbounded-logarithm")
class NoFloor(Probabilities):
    def __post_init__(self) -> None:
        super().__post_init__()
        assert isinstance(self.discriminator, nn.Sequential)
        with torch.no_grad():
            self.discriminator[2].bias.fill_(-9.0)

    def loss_d(self, real: Tensor, fake: Tensor) -> Tensor:
        return -torch.log(real).mean() - torch.log(1 - fake).mean()

    def loss_g(self, fake: Tensor) -> Tensor:
        return -torch.log(fake).mean()
