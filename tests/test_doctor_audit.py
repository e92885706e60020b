"""What an audit reads in loops of every style: the fault where there is one, and nothing where there is none."""

from __future__ import annotations

import copy
import gc
import io
import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules import module as modules
from torch.nn.utils.parametrizations import spectral_norm
from torch.optim import optimizer as optimizers

from equilibria.doctor.audit import Audit
from equilibria.doctor.audit.audit import Audited
from equilibria.doctor.audit.backward import _listeners
from equilibria.losses import OBJECTIVES

REAL = torch.rand(300, 6, generator=torch.Generator().manual_seed(1)) * 1.6 - 0.8
LABELS = (REAL[:, 0] > 0).long()
Step = Callable[[], None]


def mlp(*sizes: int, last: nn.Module | None = None) -> nn.Sequential:
    layers: list[nn.Module] = []
    for i, (a, b) in enumerate(itertools.pairwise(sizes)):
        layers += [nn.Linear(a, b), *([nn.LeakyReLU(0.2)] if i < len(sizes) - 2 else [])]
    return nn.Sequential(*layers, *([last] if last else []))


@dataclass
class Pair:
    """Two networks, their optimisers, and a training step in the plainest style; a fault or a style changes a part."""

    generator: nn.Module = field(default_factory=lambda: mlp(3, 8, 6, last=nn.Tanh()))
    discriminator: nn.Module = field(default_factory=lambda: mlp(6, 8, 1))
    real: Tensor = REAL
    n: int = 16

    def __post_init__(self) -> None:
        self.g = torch.optim.Adam(self.generator.parameters(), 1e-3)
        self.d = torch.optim.Adam(self.discriminator.parameters(), 1e-3)

    def x(self) -> Tensor:
        return self.real[torch.randint(len(self.real), (self.n,))]

    def z(self) -> Tensor:
        return torch.randn(self.n, 3)

    def loss_d(self, real: Tensor, fake: Tensor) -> Tensor:
        return F.softplus(-real).mean() + F.softplus(fake).mean()

    def loss_g(self, fake: Tensor) -> Tensor:
        return F.softplus(-fake).mean()

    def penalty(self, x: Tensor, fake: Tensor) -> Tensor | float:
        return 0.0

    def __call__(self) -> None:
        x, fake = self.x(), self.generator(self.z())
        self.d.zero_grad()
        loss = self.loss_d(self.discriminator(x), self.discriminator(fake.detach()))
        (loss + self.penalty(x, fake.detach())).backward()
        self.d.step()
        self.g.zero_grad()
        self.loss_g(self.discriminator(fake)).backward()
        self.g.step()


def audited(step: Any, windows: int = 2, steps: int = 2, real: Tensor | None = REAL, **more: Any) -> Audited:
    audit = Audit({"generator": [step.generator], "discriminator": [step.discriminator]}, real, **more)
    found: Audited | None = None
    for _ in range(windows):
        audit.arm()
        for _ in range(steps):
            step()
        found = audit.read()
        step()
    assert found is not None and not found.failures, found
    return found


def holds(found: Audited) -> set[str]:
    return {one.condition for one in found.readings if one.holds}


def ruled_out(found: Audited) -> set[str]:
    return {one.condition for one in found.readings if not one.holds}


STYLES: dict[str, type[Pair]] = {}
FAULTS: dict[str, tuple[str, type[Pair]]] = {}


def style(made: type[Pair]) -> type[Pair]:
    STYLES[made.__name__] = made
    return made


def fault(condition: str) -> Callable[[type[Pair]], type[Pair]]:
    def kept(made: type[Pair]) -> type[Pair]:
        FAULTS[made.__name__] = (condition, made)
        return made

    return kept


style(Pair)


@style
class GeneratorFirst(Pair):
    def __call__(self) -> None:
        x, fake = self.x(), self.generator(self.z())
        self.g.zero_grad()
        self.loss_g(self.discriminator(fake)).backward()
        self.g.step()
        self.d.zero_grad()
        self.loss_d(self.discriminator(x), self.discriminator(fake.detach())).backward()
        self.d.step()


@style
class Frozen(Pair):
    """The discriminator takes no gradient in the generator's step, and the optimiser is cleared last."""

    def __call__(self) -> None:
        x = self.x()
        self.discriminator.requires_grad_(True)
        with torch.no_grad():
            fake = self.generator(self.z())
        self.loss_d(self.discriminator(x), self.discriminator(fake)).backward()
        self.d.step()
        self.d.zero_grad()
        self.discriminator.requires_grad_(False)
        self.loss_g(self.discriminator(self.generator(self.z()))).backward()
        self.g.step()
        self.g.zero_grad()


@style
class Accumulating(Pair):
    """Three small batches for each step; gradients are set to 0 and not to None."""

    def __call__(self) -> None:
        for _ in range(3):
            x, fake = self.x(), self.generator(self.z()).detach()
            (self.loss_d(self.discriminator(x), self.discriminator(fake)) / 3).backward()
        self.d.step()
        self.d.zero_grad(set_to_none=False)
        for _ in range(3):
            (self.loss_g(self.discriminator(self.generator(self.z()))) / 3).backward()
        self.d.zero_grad(set_to_none=False)
        self.g.step()
        self.g.zero_grad(set_to_none=False)


@style
class SeparatePasses(Pair):
    def __call__(self) -> None:
        self.discriminator.zero_grad()
        F.binary_cross_entropy_with_logits(self.discriminator(self.x()), torch.full((16, 1), 0.9)).backward()
        fake = self.generator(self.z())
        F.binary_cross_entropy_with_logits(self.discriminator(fake.detach()), torch.zeros(16, 1)).backward()
        self.d.step()
        self.generator.zero_grad()
        F.binary_cross_entropy_with_logits(self.discriminator(fake), torch.ones(16, 1)).backward()
        self.g.step()


@style
class NotDetachedButCleared(Pair):
    """Wasteful and right: the generator's gradient of the discriminator's loss is cleared before its step."""

    def __call__(self) -> None:
        x, fake = self.x(), self.generator(self.z())
        self.d.zero_grad()
        self.loss_d(self.discriminator(x), self.discriminator(fake)).backward()
        self.d.step()
        self.g.zero_grad()
        self.loss_g(self.discriminator(self.generator(self.z()))).backward()
        self.g.step()


@style
class Inverted(Pair):
    """Low scores mean real, in both losses."""

    def loss_d(self, real: Tensor, fake: Tensor) -> Tensor:
        return F.softplus(real).mean() + F.softplus(-fake).mean()

    def loss_g(self, fake: Tensor) -> Tensor:
        return F.softplus(fake).mean()


@style
class Minimax(Pair):
    def loss_g(self, fake: Tensor) -> Tensor:
        return torch.log1p(-torch.sigmoid(fake)).mean()


@style
class OneBatch(Pair):
    def __call__(self) -> None:
        x, fake = self.x(), self.generator(self.z())
        self.d.zero_grad()
        target = torch.cat([torch.ones(16, 1), torch.zeros(16, 1)])
        F.mse_loss(self.discriminator(torch.cat([x, fake.detach()])), target).backward()
        self.d.step()
        self.g.zero_grad()
        F.mse_loss(self.discriminator(fake), torch.ones(16, 1)).backward()
        self.g.step()


@style
class Probabilities(Pair):
    def __post_init__(self) -> None:
        self.discriminator = mlp(6, 8, 1, last=nn.Sigmoid())
        super().__post_init__()

    def loss_d(self, real: Tensor, fake: Tensor) -> Tensor:
        return F.binary_cross_entropy(real, torch.ones_like(real)) + F.binary_cross_entropy(
            fake, torch.zeros_like(fake)
        )

    def loss_g(self, fake: Tensor) -> Tensor:
        return -torch.log(fake + 1e-8).mean()


class _Critic(Pair):
    weight = 10.0

    def loss_d(self, real: Tensor, fake: Tensor) -> Tensor:
        return fake.mean() - real.mean()

    def loss_g(self, fake: Tensor) -> Tensor:
        return -fake.mean()

    def norm(self, slopes: Tensor) -> Tensor:
        return slopes.flatten(1).norm(dim=1)

    def at(self, x: Tensor, fake: Tensor) -> Tensor:
        u = torch.rand(len(x), *[1] * (x.dim() - 1))
        return u * x + (1 - u) * fake

    def penalty(self, x: Tensor, fake: Tensor) -> Tensor | float:
        m = self.at(x, fake).requires_grad_()
        slopes = torch.autograd.grad(self.discriminator(m).sum(), m, create_graph=True)[0]
        return self.weight * (self.norm(slopes) - 1).square().mean()


@style
class GradientPenalty(_Critic):
    pass


@style
class SlopesOfRealRows(Pair):
    """R1 through the very call that is scored."""

    def __call__(self) -> None:
        x, fake = self.x().requires_grad_(), self.generator(self.z())
        self.d.zero_grad()
        on_real = self.discriminator(x)
        slopes = torch.autograd.grad(on_real.sum(), x, create_graph=True)[0]
        loss = self.loss_d(on_real, self.discriminator(fake.detach())) + 0.1 * slopes.square().sum(1).mean()
        loss.backward()
        self.d.step()
        self.g.zero_grad()
        self.loss_g(self.discriminator(fake)).backward()
        self.g.step()


@style
class Cut(_Critic):
    def penalty(self, x: Tensor, fake: Tensor) -> Tensor | float:
        return 0.0

    def __call__(self) -> None:
        super().__call__()
        with torch.no_grad():
            for p in self.discriminator.parameters():
                p.clamp_(-0.05, 0.05)


@style
class HingeWithSpectralNorm(Pair):
    def __post_init__(self) -> None:
        self.discriminator = nn.Sequential(
            spectral_norm(nn.Linear(6, 8)), nn.LeakyReLU(0.2), spectral_norm(nn.Linear(8, 1))
        )
        super().__post_init__()

    def loss_d(self, real: Tensor, fake: Tensor) -> Tensor:
        return F.relu(1 - 3 * real).mean() + F.relu(1 + 3 * fake).mean()

    def loss_g(self, fake: Tensor) -> Tensor:
        return -fake.mean()


@style
class Relativistic(Pair):
    def __call__(self) -> None:
        x, fake = self.x(), self.generator(self.z())
        self.d.zero_grad()
        F.softplus(self.discriminator(fake.detach()) - self.discriminator(x)).mean().backward()
        self.d.step()
        self.g.zero_grad()
        F.softplus(self.discriminator(x) - self.discriminator(fake)).mean().backward()
        self.g.step()


@style
class HalfPrecision(Pair):
    def __call__(self) -> None:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            super().__call__()


@style
class Augmented(Pair):
    def __call__(self) -> None:
        def noisy(rows: Tensor) -> Tensor:
            return rows + 0.02 * torch.randn_like(rows)

        x, fake = self.x(), self.generator(self.z())
        self.d.zero_grad()
        self.loss_d(self.discriminator(noisy(x)), self.discriminator(noisy(fake.detach()))).backward()
        self.d.step()
        self.g.zero_grad()
        self.loss_g(self.discriminator(noisy(fake))).backward()
        self.g.step()


@style
class Checkpointed(Pair):
    def __call__(self) -> None:
        from torch.utils.checkpoint import checkpoint

        x, fake = self.x(), checkpoint(self.generator, self.z(), use_reentrant=False)
        self.d.zero_grad()
        self.loss_d(self.discriminator(x), self.discriminator(fake.detach())).backward()
        self.d.step()
        self.g.zero_grad()
        self.loss_g(self.discriminator(fake)).backward()
        self.g.step()


@style
class AssignedByHand(Pair):
    def __call__(self) -> None:
        x, fake = self.x(), self.generator(self.z())
        own = list(self.discriminator.parameters())
        loss = self.loss_d(self.discriminator(x), self.discriminator(fake.detach()))
        for p, gradient in zip(own, torch.autograd.grad(loss, own), strict=True):
            p.grad = gradient
        self.d.step()
        own = list(self.generator.parameters())
        for p, gradient in zip(own, torch.autograd.grad(self.loss_g(self.discriminator(fake)), own), strict=True):
            p.grad = gradient
        self.g.step()


@style
class WithClosures(Pair):
    def __post_init__(self) -> None:
        self.g: Any = torch.optim.LBFGS(self.generator.parameters(), lr=0.01, max_iter=2)
        self.d: Any = torch.optim.LBFGS(self.discriminator.parameters(), lr=0.01, max_iter=2)

    def __call__(self) -> None:
        x, fake = self.x(), self.generator(self.z()).detach()

        def closure_d() -> Tensor:
            self.d.zero_grad()
            loss = self.loss_d(self.discriminator(x), self.discriminator(fake))
            loss.backward()
            return loss

        z = self.z()

        def closure_g() -> Tensor:
            self.g.zero_grad()
            loss = self.loss_g(self.discriminator(self.generator(z)))
            loss.backward()
            return loss

        self.d.step(closure_d)
        self.g.step(closure_g)


class _Labelled(nn.Module):
    def __init__(self, inputs: int, outputs: int, used: bool = True) -> None:
        super().__init__()
        self.table, self.body, self.used = nn.Embedding(2, 3), mlp(inputs + 3, 8, outputs), used

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.body(torch.cat([x, self.table(y) * self.used if self.used else torch.zeros(len(x), 3)], 1))


@style
class Conditional(Pair):
    used = True

    def __post_init__(self) -> None:
        self.generator, self.discriminator = _Labelled(3, 6), _Labelled(6, 1, self.used)
        super().__post_init__()

    def asked(self, y: Tensor) -> Tensor:
        return y

    def told(self, y: Tensor) -> Tensor:
        return y

    def __call__(self) -> None:
        rows = torch.randint(len(REAL), (16,))
        x, y = REAL[rows], LABELS[rows]
        asked = self.asked(y)
        fake = self.generator(self.z(), asked)
        self.d.zero_grad()
        self.loss_d(self.discriminator(x, y), self.discriminator(fake.detach(), self.told(asked))).backward()
        self.d.step()
        self.g.zero_grad()
        self.loss_g(self.discriminator(fake, self.told(asked))).backward()
        self.g.step()


@style
class Paired(Pair):
    """A translator: the discriminator gets the condition beside the rows, and a distance is in the loss."""

    detached = False

    def __post_init__(self) -> None:
        self.generator, self.discriminator = mlp(6, 8, 6, last=nn.Tanh()), mlp(12, 8, 1)
        super().__post_init__()

    def __call__(self) -> None:
        x = self.x()
        c = x.flip(1)
        fake = self.generator(c)
        self.d.zero_grad()
        on_real = self.discriminator(torch.cat([c, x], 1))
        self.loss_d(on_real, self.discriminator(torch.cat([c, fake.detach()], 1))).backward()
        self.d.step()
        self.g.zero_grad()
        made = fake.detach() if self.detached else fake
        (self.loss_g(self.discriminator(torch.cat([c, made], 1))) + 10 * (fake - x).abs().mean()).backward()
        self.g.step()


@style
class ClassHead(Pair):
    twice = False

    def __post_init__(self) -> None:
        trunk, twice = mlp(6, 8, 8), self.twice

        class Two(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.trunk, self.score, self.classes = trunk, nn.Linear(8, 1), nn.Linear(8, 2)

            def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
                h = self.trunk(x)
                logits = self.classes(h)
                return self.score(h), logits.softmax(1) if twice else logits

        self.discriminator = Two()
        super().__post_init__()

    def __call__(self) -> None:
        rows = torch.randint(len(REAL), (16,))
        x, y, fake = REAL[rows], LABELS[rows], self.generator(self.z())
        self.d.zero_grad()
        (a, classes), (b, _) = self.discriminator(x), self.discriminator(fake.detach())
        (self.loss_d(a, b) + F.cross_entropy(classes, y)).backward()
        self.d.step()
        self.g.zero_grad()
        score, classes = self.discriminator(fake)
        (self.loss_g(score) + F.cross_entropy(classes, y)).backward()
        self.g.step()


@fault("no-gradient-path")
class NoPath(Pair):
    def __post_init__(self) -> None:
        class Rounded(nn.Sequential):
            def forward(self, z: Tensor) -> Tensor:
                return super().forward(z).detach()

        self.generator = Rounded(nn.Linear(3, 6))
        super().__post_init__()


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
class BoundedCritic(_Critic):
    def __post_init__(self) -> None:
        self.discriminator = mlp(6, 8, 1, last=nn.Sigmoid())
        super().__post_init__()


@fault("softmax-twice")
class TwoSoftmaxes(ClassHead):
    twice = True


@fault("flat-generator-loss")
class HingeForBoth(HingeWithSpectralNorm):
    def loss_g(self, fake: Tensor) -> Tensor:
        return -F.relu(3 * (fake - fake.detach().median())).mean()


@fault("penalty-without-effect")
class WithoutGraph(_Critic):
    def penalty(self, x: Tensor, fake: Tensor) -> Tensor | float:
        m = self.at(x, fake).requires_grad_()
        slopes = torch.autograd.grad(self.discriminator(m).sum(), m)[0]
        return self.weight * (self.norm(slopes) - 1).square().mean()


@fault("penalty-without-effect")
class NeverAdded(_Critic):
    def penalty(self, x: Tensor, fake: Tensor) -> Tensor | float:
        super().penalty(x, fake)
        return 0.0


@fault("penalty-of-wrong-norm")
class WrongAxis(_Critic):
    def __post_init__(self) -> None:
        self.real = REAL.reshape(-1, 2, 3)
        self.generator = mlp(3, 8, 6, last=nn.Unflatten(1, (2, 3)))
        self.discriminator = nn.Sequential(nn.Flatten(), mlp(6, 8, 1))
        super().__post_init__()

    def norm(self, slopes: Tensor) -> Tensor:
        return slopes.norm(dim=1)


@fault("penalty-of-wrong-norm")
class SlopeOfTheMean(_Critic):
    def penalty(self, x: Tensor, fake: Tensor) -> Tensor | float:
        m = self.at(x, fake).requires_grad_()
        slopes = torch.autograd.grad(self.discriminator(m).mean(), m, create_graph=True)[0]
        return self.weight * (self.norm(slopes) - 1).square().mean()


@fault("penalty-off-the-segment")
class OffTheSegment(_Critic):
    def at(self, x: Tensor, fake: Tensor) -> Tensor:
        return x + torch.randn(len(x), 1) * (fake - x)


@fault("lipschitz-violated")
class Unheld(_Critic):
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


@pytest.mark.parametrize("name", FAULTS)
def test_the_fault_is_read(name: str) -> None:
    torch.manual_seed(0)
    condition, made = FAULTS[name]
    step = made()
    found = audited(step, real=step.real, labels=LABELS if isinstance(step, Conditional) else None)
    assert condition in holds(found), (found.readings, found.unread)


@pytest.mark.parametrize("known", [True, False], ids=["real rows known", "not known"])
@pytest.mark.parametrize("name", STYLES)
def test_a_sound_loop_has_no_reading_that_holds(name: str, known: bool) -> None:
    torch.manual_seed(0)
    step = STYLES[name]()
    found = audited(step, windows=3, real=step.real if known else None)
    assert not holds(found), [one for one in found.readings if one.holds]


READ_IN_FULL = (
    "Pair",
    "GeneratorFirst",
    "Frozen",
    "Accumulating",
    "SeparatePasses",
    "Inverted",
    "GradientPenalty",
    "Relativistic",
)


@pytest.mark.parametrize("name", READ_IN_FULL)
def test_what_is_ruled_out_in_a_loop_that_is_seen_in_full(name: str) -> None:
    torch.manual_seed(0)
    found = audited(STYLES[name](), windows=3)
    assert not found.unread
    assert ruled_out(found) >= {
        "no-gradient-path", "generator-never-updated", "discriminator-never-updated", "wrong-player-trained",
        "parameters-not-optimised", "gradients-accumulate", "other-players-gradient", "adversarial-term-missing",
        "same-target-for-both", "same-batch-twice", "swapped-labels",
    }  # fmt: skip
    assert found.losses.inverted is (name == "Inverted")


def test_the_critic_with_a_bounded_score_and_the_uneven_steps_are_seen_in_a_longer_window() -> None:
    torch.manual_seed(0)

    class Rarely(GradientPenalty):
        turn = 0

        def __call__(self) -> None:
            self.turn += 1
            x, fake = self.x(), self.generator(self.z())
            self.d.zero_grad()
            on = self.loss_d(self.discriminator(x), self.discriminator(fake.detach())) + self.penalty(x, fake.detach())
            on.backward()
            self.d.step()
            if self.turn % 5 == 0:
                self.g.zero_grad()
                self.loss_g(self.discriminator(self.generator(self.z()))).backward()
                self.g.step()

    step = Rarely()
    audit = Audit({"generator": [step.generator], "discriminator": [step.discriminator]}, REAL)
    found = None
    for _ in range(6):
        for _ in range(3):
            step()
        audit.arm()
        for _ in range(audit.span):
            step()
        found = audit.read()
        assert found is not None and not holds(found)
    assert audit.span > 5 and found is not None and "gradients-accumulate" in ruled_out(found)


class Named(Pair):
    """A loop on an objective of the library."""

    objective: Any = None

    def __call__(self) -> None:
        x, fake = self.x(), self.generator(self.z())
        self.d.zero_grad()
        self.objective.discriminator(
            self.discriminator(x).flatten(), self.discriminator(fake.detach()).flatten()
        ).backward()
        self.d.step()
        self.g.zero_grad()
        on_real = self.discriminator(x).flatten() if self.objective.pairs else None
        self.objective.generator(self.discriminator(fake).flatten(), on_real).backward()
        self.g.step()


@pytest.mark.parametrize("name", list(OBJECTIVES))
def test_the_losses_of_the_library_are_sound_and_read(name: str) -> None:
    torch.manual_seed(0)
    step = Named()
    made: Any = OBJECTIVES[name]
    step.objective = made() if isinstance(made, type) else made
    found = audited(step, windows=2)
    assert not holds(found) - {"lipschitz-violated"}, [one for one in found.readings if one.holds]
    families = {
        "wasserstein": "linear", "least-squares": "least-squares", "nonsaturating": "logits", "minimax": "logits",
    }  # fmt: skip
    if name in families:
        assert found.losses.families == {families[name]}, [(e.laws, e.formula) for e in found.losses.entries]


def weights(step: Pair) -> list[Tensor]:
    state: list[Any] = [*step.generator.state_dict().values(), *step.discriminator.state_dict().values()]
    for optimizer in (step.g, step.d):
        for own in optimizer.state_dict()["state"].values():
            state += [v for v in own.values() if isinstance(v, Tensor)]
    return [t.detach().clone() for t in state] + [torch.get_rng_state()]


@pytest.mark.parametrize("name", [*STYLES, *FAULTS])
def test_a_loop_with_windows_is_the_loop_without_bit_for_bit(name: str) -> None:
    made = STYLES[name] if name in STYLES else FAULTS[name][1]
    ends = []
    for watching in (False, True):
        torch.manual_seed(3)
        step = made()
        audit = Audit({"generator": [step.generator], "discriminator": [step.discriminator]}, step.real)
        for turn in range(8):
            if watching and turn % 4 == 0:
                audit.arm()
            step()
            if watching and turn % 4 == 1:
                assert audit.read() is not None
        ends.append(weights(step))
    assert all(torch.equal(a, b) or (a != a).any() for a, b in zip(*ends, strict=True))


def hooks() -> tuple[int, int, int, int]:
    return (
        len(modules._global_forward_hooks),
        len(optimizers._global_optimizer_pre_hooks),
        len(optimizers._global_optimizer_post_hooks),
        len(_listeners),
    )


def on_parameters(step: Pair) -> int:
    parameters = [*step.generator.parameters(), *step.discriminator.parameters()]
    return sum(len(p._backward_hooks or ()) + len(p._post_accumulate_grad_hooks or ()) for p in parameters)


def watched(step: Pair) -> Audit:
    audit = Audit({"generator": [step.generator], "discriminator": [step.discriminator]}, REAL)
    audit.arm()
    return audit


def test_nothing_is_left_behind() -> None:
    before, original = hooks(), torch.autograd.backward
    step = Pair()
    audit = watched(step)
    assert hooks() != before
    step()
    assert on_parameters(step) > 0 and torch.autograd.backward is not original
    audit.read()
    assert hooks() == before and on_parameters(step) == 0 and torch.autograd.backward is original
    audit = watched(step)
    step()
    del audit  # as after an error in the loop that nobody caught
    gc.collect()
    assert hooks() == before and on_parameters(step) == 0 and torch.autograd.backward is original


def test_two_windows_at_once_end_in_any_order() -> None:
    original = torch.autograd.backward
    one, two = Pair(), Pair()
    first, second = watched(one), watched(two)
    one()
    two()
    first.read()
    one()
    assert torch.autograd.backward is not original
    second.read()
    assert torch.autograd.backward is original


def test_an_error_in_a_hook_ends_the_reading_and_not_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    from equilibria.doctor.audit import recorder

    def broken(*_: Any) -> Tensor:
        raise RuntimeError("a fault of ours")

    step = Pair()
    monkeypatch.setattr(recorder, "row_hashes", broken)
    audit = Audit({"generator": [step.generator], "discriminator": [step.discriminator]})
    audit.arm()
    step()
    found = audit.read()
    assert found is not None and not found.readings and "a fault of ours" in found.unread["the training step"]


def test_networks_are_saved_and_copied_inside_a_window() -> None:
    step = Pair()
    audit = watched(step)
    step()
    file = io.BytesIO()
    torch.save(step.generator, file)
    twin = copy.deepcopy(step.generator)
    state: Mapping[str, Tensor] = step.generator.state_dict()
    calls = len(audit._recorder.trace.calls)
    twin(torch.randn(2, 3))
    assert len(audit._recorder.trace.calls) == calls and set(state) == set(twin.state_dict())
    assert not any(p._backward_hooks for p in twin.parameters())
    audit.read()


def test_calls_that_are_not_seen_are_not_taken_for_absent() -> None:
    """A compiled twin, another method, ``forward`` itself, parts: nothing is said to be missing."""

    class Hidden(Pair):
        def __call__(self) -> None:
            x, fake = self.x(), self.generator(self.z())
            self.d.zero_grad()
            self.loss_d(self.discriminator.forward(x), self.discriminator.forward(fake.detach())).backward()
            self.d.step()
            self.g.zero_grad()
            (self.loss_g(self.discriminator.forward(fake)) + fake.square().mean()).backward()
            self.g.step()

    found = audited(Hidden(), windows=3)
    assert not holds(found) and "adversarial-term-missing" not in ruled_out(found)
    assert "was not seen" in " ".join(found.unread.values())
