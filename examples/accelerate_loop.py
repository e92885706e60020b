"""A GAN under Hugging Face Accelerate (mixed precision, devices, several processes), with the doctor.

    pip install 'equilibria[trackers]'
    python examples/accelerate_loop.py
    python examples/accelerate_loop.py --precision bf16

The doctor gets the unwrapped networks (`unwrap_model`), because each process makes its check-ups by itself; only the
main process asks it. Its numbers are those of the networks as Accelerate calls them, in low precision if that is set.
"""

from __future__ import annotations

import argparse

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from equilibria.doctor import Doctor

LATENT = 16


def perceptron(inputs: int, outputs: int, width: int = 128) -> nn.Sequential:
    act = nn.LeakyReLU(0.2)
    return nn.Sequential(nn.Linear(inputs, width), act, nn.Linear(width, width), act, nn.Linear(width, outputs))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--precision", default="no", choices=["no", "fp16", "bf16"])
    options = parser.parse_args()
    accelerator = Accelerator(mixed_precision=options.precision)
    set_seed(0)
    x_all = torch.from_numpy(load_digits().data).float() / 8 - 1
    x_train, x_unseen = x_all[:1500], x_all[1500:]
    loader = DataLoader(TensorDataset(x_train), batch_size=options.batch, shuffle=True, drop_last=True)
    G, D = nn.Sequential(perceptron(LATENT, 64), nn.Tanh()), perceptron(64, 1)
    opt_g = torch.optim.Adam(G.parameters(), lr=1e-3, betas=(0.5, 0.99))
    opt_d = torch.optim.Adam(D.parameters(), lr=1e-3, betas=(0.5, 0.99))
    G, D, opt_g, opt_d, loader = accelerator.prepare(G, D, opt_g, opt_d, loader)

    doctor = None
    if accelerator.is_main_process:
        G_bare, D_bare = accelerator.unwrap_model(G), accelerator.unwrap_model(D)
        opts = {"generator": opt_g, "discriminator": opt_d}
        known = {"latent": LATENT, "objective": "nonsaturating", "holdout": x_unseen, "optimizers": opts}
        doctor = Doctor(G_bare, D_bare, real=x_train, **known)

    step = 0
    while step < options.steps:
        for (x,) in loader:
            step += 1
            z = torch.randn(len(x), LATENT, device=accelerator.device)
            x = x.requires_grad_()
            with accelerator.autocast():
                on_real, on_fake = D(x), D(G(z).detach())
                loss_d = F.softplus(-on_real).mean() + F.softplus(on_fake).mean()
            (slope,) = torch.autograd.grad(on_real.float().sum(), x, create_graph=True)
            opt_d.zero_grad()
            accelerator.backward(loss_d + 0.5 * slope.float().square().sum(1).mean())
            opt_d.step()
            with accelerator.autocast():
                loss_g = F.softplus(-D(G(z))).mean()
            opt_g.zero_grad()
            accelerator.backward(loss_g)
            opt_g.step()
            if doctor is not None:
                doctor.check(step)
            if step % 100 == 0:
                accelerator.print(f"[{step}/{options.steps}] loss_d {loss_d.item():.3f} loss_g {loss_g.item():.3f}")
            if step == options.steps:
                break
    if doctor is not None:
        print(doctor.diagnose())


if __name__ == "__main__":
    main()
