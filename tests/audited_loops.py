"""Training loops of many styles, all sound, for the tests of the audit."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from equilibria.doctor.audit import Audit
from equilibria.doctor.audit.audit import Audited

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
    assert found is not None and "the training step" not in found.unread, found
    return found


def holds(found: Audited) -> set[str]:
    return {one.condition for one in found.readings if one.holds}


def ruled_out(found: Audited) -> set[str]:
    return {one.condition for one in found.readings if not one.holds}


STYLES: dict[str, type[Pair]] = {}


def style(made: type[Pair]) -> type[Pair]:
    STYLES[made.__name__] = made
    return made


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
class LooksAtSlopes(Frozen):
    """The norms of slopes and of the gradient in the codes are written to a log; no loss has them."""

    def __call__(self) -> None:
        super().__call__()
        self.discriminator.requires_grad_(True)
        z = self.z().requires_grad_()
        made = self.generator(z)
        x = torch.cat([self.x(), made.detach()]).requires_grad_()
        self.log = torch.autograd.grad(self.discriminator(x).sum(), x)[0].norm(dim=1).mean()
        self.log = self.log + torch.autograd.grad(self.discriminator(made).sum(), z)[0].norm(dim=1).mean()


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
        return -torch.log(fake + 1e-12).mean()


@style
class FlooredLogarithms(Probabilities):
    """Probabilities near 0 under logarithms with a floor too low to be seen in the slopes."""

    def __post_init__(self) -> None:
        super().__post_init__()
        assert isinstance(self.discriminator, nn.Sequential)
        with torch.no_grad():
            self.discriminator[2].bias.fill_(-6.0)

    def loss_d(self, real: Tensor, fake: Tensor) -> Tensor:
        return -torch.log(real + 1e-12).mean() - torch.log((1 - fake).clamp(min=1e-12)).mean()


class Critic(Pair):
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
        slopes = torch.autograd.grad(outputs=self.discriminator(m).sum(), inputs=m, create_graph=True)[0]
        return self.weight * (self.norm(slopes) - 1).square().mean()


@style
class GradientPenalty(Critic):
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
class Cut(Critic):
    def penalty(self, x: Tensor, fake: Tensor) -> Tensor | float:
        return 0.0

    def __call__(self) -> None:
        super().__call__()
        with torch.no_grad():
            for p in self.discriminator.parameters():
                p.clamp_(-0.05, 0.05)


@style
class CutBeforeTheCall(Critic):
    """As in the first code of the Wasserstein GAN: cut at the begin of a step, so never at its end."""

    def penalty(self, x: Tensor, fake: Tensor) -> Tensor | float:
        return 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        with torch.no_grad():
            for p in self.discriminator.parameters():
                p.mul_(20)

    def __call__(self) -> None:
        with torch.no_grad():
            for p in self.discriminator.parameters():
                p.clamp_(-2, 2)
        super().__call__()


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
class BestScores(Pair):
    """The generator is trained on the half of its samples that score the highest, as in top-k training."""

    def loss_g(self, fake: Tensor) -> Tensor:
        return F.softplus(-fake.flatten().topk(len(fake) // 2).values).mean()


@style
class BestOfTheSorted(Pair):
    def loss_g(self, fake: Tensor) -> Tensor:
        return F.softplus(-fake.flatten().sort(descending=True).values[: len(fake) // 2]).mean()


@style
class AboveTheMedian(Pair):
    def loss_g(self, fake: Tensor) -> Tensor:
        return F.softplus(-fake[fake > fake.median()]).mean()


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
            return rows + 0.02 * torch.randn_like(rows) + 0.5 * torch.rand(())

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


@style
class InformationOfBoth(ClassHead):
    """As in InfoGAN: a third optimiser holds both players, for the term of the codes alone."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.both = torch.optim.Adam([*self.generator.parameters(), *self.discriminator.parameters()], 1e-4)

    def __call__(self) -> None:
        x, fake = self.x(), self.generator(self.z())
        self.d.zero_grad()
        self.loss_d(self.discriminator(x)[0], self.discriminator(fake.detach())[0]).backward()
        self.d.step()
        self.g.zero_grad()
        self.loss_g(self.discriminator(fake)[0]).backward()
        self.g.step()
        self.both.zero_grad()
        z = self.z()
        F.cross_entropy(self.discriminator(self.generator(z))[1], (z[:, 0] > 0).long()).backward()
        self.both.step()


@style
class GoesUpItsNegative(Pair):
    """An optimiser with ``maximize=True`` and the negative of the loss."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.g = torch.optim.Adam(self.generator.parameters(), 1e-3, maximize=True)

    def loss_g(self, fake: Tensor) -> Tensor:
        return -super().loss_g(fake)


@style
class SoftplusByHand(Pair):
    """log(1 + exp(-s)) summed and divided by the number of rows: no sigmoid is in it."""

    def loss_d(self, real: Tensor, fake: Tensor) -> Tensor:
        return (1 + (-real).exp()).log().sum() / len(real) + (1 + fake.exp()).log().sum() / len(fake)

    def loss_g(self, fake: Tensor) -> Tensor:
        return (1 + (-fake).exp()).log().sum() / len(fake)
