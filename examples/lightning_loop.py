"""A GAN as a LightningModule with manual optimisation, and the doctor as a callback.

    pip install lightning
    python examples/lightning_loop.py

A callback is called with the module after every batch, which is all that the doctor needs. Pass `DoctorCallback` in
`Trainer(callbacks=[…])` for any module with a generator and a discriminator; the module itself does not change.
"""

from __future__ import annotations

import argparse
from typing import Any

import lightning
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from equilibria.doctor import Diagnosis, Doctor

LATENT = 16


class DoctorCallback(lightning.Callback):
    """Attach a doctor to `module.generator` and `module.discriminator`; `options` are arguments of :class:`Doctor`."""

    def __init__(self, **options: Any) -> None:
        self.options = options
        self.doctor: Doctor | None = None
        self.batches = 0
        self.diagnosis: Diagnosis | None = None

    def on_train_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        if trainer.is_global_zero:
            opt_g, opt_d = trainer.optimizers  # in the order in which configure_optimizers returns them
            opts = {"generator": opt_g, "discriminator": opt_d}
            self.doctor = Doctor(module.generator, module.discriminator, optimizers=opts, **self.options)

    def on_train_batch_end(
        self, trainer: lightning.Trainer, module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.batches += 1  # trainer.global_step counts the steps of both optimisers
        if self.doctor is not None:
            self.doctor.check(self.batches)

    def on_train_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        if self.doctor is not None:
            self.diagnosis = self.doctor.diagnose()
            self.doctor = None


class GAN(lightning.LightningModule):
    def __init__(self, width: int = 128) -> None:
        super().__init__()
        self.automatic_optimization = False
        act = nn.LeakyReLU(0.2)
        self.generator = nn.Sequential(
            nn.Linear(LATENT, width), act, nn.Linear(width, width), act, nn.Linear(width, 64), nn.Tanh()
        )
        self.discriminator = nn.Sequential(nn.Linear(64, width), act, nn.Linear(width, width), act, nn.Linear(width, 1))

    def configure_optimizers(self) -> tuple[torch.optim.Optimizer, torch.optim.Optimizer]:
        opt_g = torch.optim.Adam(self.generator.parameters(), lr=1e-3, betas=(0.5, 0.99))
        opt_d = torch.optim.Adam(self.discriminator.parameters(), lr=1e-3, betas=(0.5, 0.99))
        return opt_g, opt_d

    def training_step(self, batch: tuple[Tensor], batch_idx: int) -> None:
        (x,) = batch
        opt_g, opt_d = self.optimizers()
        z = torch.randn(len(x), LATENT, device=self.device)

        self.toggle_optimizer(opt_d)
        x = x.requires_grad_()
        on_real, on_fake = self.discriminator(x), self.discriminator(self.generator(z).detach())
        (slope,) = torch.autograd.grad(on_real.sum(), x, create_graph=True)
        loss_d = F.softplus(-on_real).mean() + F.softplus(on_fake).mean()
        opt_d.zero_grad()
        self.manual_backward(loss_d + 0.5 * slope.square().sum(1).mean())
        opt_d.step()
        self.untoggle_optimizer(opt_d)

        self.toggle_optimizer(opt_g)
        loss_g = F.softplus(-self.discriminator(self.generator(z))).mean()
        opt_g.zero_grad()
        self.manual_backward(loss_g)
        opt_g.step()
        self.untoggle_optimizer(opt_g)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--batch", type=int, default=64)
    options = parser.parse_args()
    lightning.seed_everything(0)
    x_all = torch.from_numpy(load_digits().data).float() / 8 - 1
    x_train, x_unseen = x_all[:1500], x_all[1500:]
    loader = DataLoader(TensorDataset(x_train), batch_size=options.batch, shuffle=True, drop_last=True)
    doctor = DoctorCallback(real=x_train, holdout=x_unseen, latent=LATENT, objective="nonsaturating")
    trainer = lightning.Trainer(
        max_steps=2 * options.steps,  # two optimisers, so two steps per batch
        accelerator="cpu",
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[doctor],
    )
    trainer.fit(GAN(), loader)
    print(doctor.diagnosis)


if __name__ == "__main__":
    main()
