"""VEEGAN (Srivastava et al. 2017) in one file outside the package: a user's game and recipe.

equilibria train own-veegan --with veegan_own_file.py --data ring8-U --out runs/veegan
equilibria train --resume runs/veegan --with veegan_own_file.py --steps 6000
equilibria sample runs/veegan --with veegan_own_file.py -n 2500 --out samples.png
equilibria apply runs/veegan reconstruct --with veegan_own_file.py --given ring8-U --out back.npz
equilibria diagnose runs/veegan --with veegan_own_file.py

From Python: equilibria.use_file("veegan_own_file.py"), then equilibria.train("own-veegan", "ring8-U").
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from equilibria import (
    Contest,
    DataSpec,
    Draw,
    Examined,
    Game,
    GameSpec,
    Latent,
    Loss,
    Map,
    Player,
    Recipe,
    record,
)
from equilibria.core.optimizers import Adam
from equilibria.networks import MLPPair, Networks

Rows = dict[str, Tensor]


@record
class Veegan(GameSpec):
    r"""A reconstructor F: X -> Z keeps the generator from dropping modes (their Algorithm 1).

    The discriminator tells pairs (x, F(x)) of data from pairs (G(z), z); its logit h is higher for data:

    D: E softplus(-h(x, F(x))) + E softplus(h(G(z), z));  G: E [-h(G(z), z)] + weight E |z - F(G(z))|^2;
    F: E |z - F(G(z))|^2.
    """

    latent: Latent = Latent(size=2)
    weight: float = 1.0

    def make(self, networks: Networks, data: DataSpec) -> dict[str, nn.Module]:
        return {
            "generator": networks.generator(self.latent.size, data.shape),
            "reconstructor": networks.encoder(data.shape, self.latent.size),
            "discriminator": networks.discriminator((data.numel + self.latent.size,)),
        }

    def assemble(self, modules: Mapping[str, nn.Module], data: DataSpec) -> Game:
        return VeeganGame(self, modules)


class VeeganGame(Game):
    def __init__(self, spec: Veegan, modules: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.spec = spec
        self.generator, self.reconstructor = modules["generator"], modules["reconstructor"]
        self.discriminator = modules["discriminator"]
        self.players = tuple(Player(name, (name,)) for name in ("discriminator", "generator", "reconstructor"))
        self.maps = {
            "encode": Map("encode", gives="codes", about="the reconstructor's code of each row"),
            "reconstruct": Map("reconstruct", about="each row, encoded and generated again"),
        }

    def codes(self, n: int, labels: Tensor | None = None) -> Rows:
        return {"latent": self.spec.latent.codes(n, labels)}

    def draw(self, batch: Rows) -> Rows:
        return {"real": batch["x"], "latent": self.spec.latent.codes(len(batch["x"]), batch["x"])}

    def score(self, x: Tensor, z: Tensor) -> Tensor:
        logit: Tensor = self.discriminator(torch.cat([x.flatten(1), z], 1))
        return logit

    def contests(self, draw: Draw) -> dict[str, Contest]:
        real, z = draw["real"], draw["latent"]
        return {"pairs": Contest((real, self.reconstructor(real)), (self.generator(z), z), self.score)}

    def loss(self, player: str, draw: Draw) -> Loss:
        pairs = self.contests(draw)["pairs"]
        made, z = pairs.fake
        if player == "discriminator":
            real, fake = pairs.scores("real"), pairs.scores("fake")
            parts = {"score/real": real.mean(), "score/fake": fake.mean()}
            return Loss(softplus(-real).mean() + softplus(fake).mean(), parts)
        error = (z - self.reconstructor(made)).square().sum(1).mean()
        if player == "reconstructor":
            return Loss(error, {"code_error": error})
        return Loss(self.spec.weight * error - pairs.scores("fake").mean())

    def sample(self, draw: Draw) -> Tensor:
        made: Tensor = self.generator(draw["latent"])
        return made

    def encode(self, rows: Rows) -> Tensor:
        code: Tensor = self.reconstructor(rows["x"])
        return code

    def reconstruct(self, rows: Rows) -> Tensor:
        made: Tensor = self.generator(self.encode(rows))
        return made

    def examined(self, clock: Callable[[], Any]) -> Examined:
        """What the doctor looks at: points with the codes that the reconstructor gives them."""
        like = next(self.generator.parameters())
        return Examined(
            self.generator,
            self.discriminator,
            lambda n: self.spec.latent.codes(n, like),
            lambda batch: (batch["x"], None),
            call={"discriminator": lambda x, y: self.score(x, self.reconstructor(x))},
            latent=self.spec.latent.size,
        )


RECIPE = Recipe(
    name="own-veegan",
    year=2017,
    cite="srivastava2017",
    source="Algorithm 1; networks of our own choice",
    about="a reconstructor of the codes, and a discriminator of pairs of points and codes",
    game=Veegan(),
    networks=MLPPair(width=128, depth=2, activation="relu"),
    optimizer=Adam(lr=1e-3, betas=(0.5, 0.999)),
    steps=5000,
)
