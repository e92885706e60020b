"""Three GANs on a ring of 8 Gaussians. The final losses of the first two are similar, and only one of them is healthy.

    python examples/sick_and_healthy.py                # a minute or less
    python examples/sick_and_healthy.py --only broken  # one of: healthy, broken, saturating

`healthy` has every mode. `broken` has none: its discriminator's learning rate is 2e-5, so it cannot follow the
generator. `saturating` has one: the generator is trained on log(1 - D), at a low learning rate, from a narrow start.
"""

from __future__ import annotations

import argparse
import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from equilibria.doctor import Diagnosis, Doctor

LATENT, BATCH, MODES = 8, 128, 8
RUNS = {
    "healthy": {"rate_g": 1e-3, "rate_d": 1e-3, "r1": 0.5},
    "broken": {"rate_g": 1e-3, "rate_d": 2e-5},
    "saturating": {"rate_g": 1e-4, "rate_d": 1e-3, "saturating": True, "gain": 0.05},
}


def centres() -> Tensor:
    angle = torch.arange(MODES) * 2 * math.pi / MODES
    return 2 * torch.stack([angle.cos(), angle.sin()], 1)


def ring(n: int) -> Tensor:
    return centres()[torch.randint(MODES, (n,))] + 0.07 * torch.randn(n, 2)


def perceptron(inputs: int, outputs: int) -> nn.Sequential:
    act = nn.LeakyReLU(0.2)
    return nn.Sequential(nn.Linear(inputs, 64), act, nn.Linear(64, 64), act, nn.Linear(64, outputs))


def train(
    steps: int,
    seed: int,
    rate_g: float,
    rate_d: float,
    r1: float = 0.0,
    saturating: bool = False,
    gain: float = 1.0,
) -> tuple[nn.Module, Diagnosis, float, float]:
    """A plain loop; losses are the mean of its last 500 steps."""
    torch.manual_seed(seed)
    real = ring(4096)
    G, D = perceptron(LATENT, 2), perceptron(2, 1)
    with torch.no_grad():
        G[-1].weight.mul_(gain)
    opt_g = torch.optim.Adam(G.parameters(), lr=rate_g, betas=(0.5, 0.99))
    opt_d = torch.optim.Adam(D.parameters(), lr=rate_d, betas=(0.5, 0.99))
    opts = {"generator": opt_g, "discriminator": opt_d}
    objective = "saturating" if saturating else "nonsaturating"
    doctor = Doctor(G, D, real=real, latent=LATENT, objective=objective, optimizers=opts, holdout=ring(1024))
    late: list[tuple[float, float]] = []
    for step in range(1, steps + 1):
        x = real[torch.randint(len(real), (BATCH,))].requires_grad_(r1 > 0)
        on_real, on_fake = D(x), D(G(torch.randn(BATCH, LATENT)).detach())
        loss_d = F.softplus(-on_real).mean() + F.softplus(on_fake).mean()
        penalty = torch.zeros(())
        if r1:
            (slope,) = torch.autograd.grad(on_real.sum(), x, create_graph=True)
            penalty = 0.5 * r1 * slope.square().sum(1).mean()
        opt_d.zero_grad()
        (loss_d + penalty).backward()
        opt_d.step()
        on_fake = D(G(torch.randn(BATCH, LATENT)))
        loss_g = -F.softplus(on_fake).mean() if saturating else F.softplus(-on_fake).mean()
        opt_g.zero_grad()
        loss_g.backward()
        opt_g.step()
        doctor.check(step)
        late = [*late[-499:], (loss_g.item(), loss_d.item())]
    means = torch.tensor(late).mean(0).tolist()
    return G, doctor.diagnose(), means[0], means[1]


def found(G: nn.Module, n: int = 2000) -> tuple[int, float]:
    """Modes with at least a tenth of their share of samples within 3 standard deviations, and the share of those."""
    with torch.no_grad():
        far, nearest = torch.cdist(G(torch.randn(n, LATENT)), centres()).min(1)
    good = far < 0.21
    counts = torch.bincount(nearest[good], minlength=MODES)
    return int((counts >= 0.1 * n / MODES).sum()), float(good.float().mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=2)
    parser.add_argument("--only", choices=[*RUNS], help="one of the three")
    options = parser.parse_args()
    for name in [options.only] if options.only else RUNS:
        G, diagnosis, loss_g, loss_d = train(options.steps, options.seed, **RUNS[name])
        modes, share = found(G)
        print(f"== {name}: losses of generator and discriminator {loss_g:.3f} / {loss_d:.3f}")
        print(f"   (the truth: {modes} of {MODES} modes, {share:.0%} of samples on a mode)\n")
        print(diagnosis, end="\n\n\n", flush=True)


if __name__ == "__main__":
    main()
