"""Translation between two domains, with pairs and without, and from small images to large ones."""

from __future__ import annotations

from ..base.schedules import Linear
from ..core.optimizers import Adam
from ..core.updates import Alternating
from ..games.paired_translation import Pix2Pix
from ..games.super_resolution import LAG
from ..games.unpaired_translation import CycleGAN
from ..networks import Auto, ImageToImage, MLPPair, PatchGAN, ResNet, SuperResolution, UNet
from .row import For, Recipe

RECIPES = (
    Recipe(
        name="pix2pix",
        year=2017,
        cite="isola2017",
        source="equations 1 to 4, section 3.3, appendix 6.1 (batch 1, where batch norm is instance norm)",
        about="images to images from aligned pairs (`aligned:A,B`): U-Net, patches scored with their input, L1",
        game=Pix2Pix(),
        networks=Auto(vector=MLPPair(), image=ImageToImage(translator=UNet(), patch=PatchGAN())),
        update=Alternating(share=True),
        optimizer=Adam(lr=2e-4, betas=(0.5, 0.999)),
        averages=(),
        batch=1,
    ),
    Recipe(
        name="cyclegan",
        year=2017,
        cite="zhu2017",
        source="equations 1 to 3, section 4, appendix 7 (the rate is constant for half of the run, then falls to 0)",
        about="two domains without pairs (`pairs:A,B`): two translators that undo each other, pools of 50",
        game=CycleGAN(),
        networks=Auto(vector=MLPPair(), image=ImageToImage(translator=ResNet(), patch=PatchGAN())),
        update=Alternating(share=True),
        optimizer=Adam(lr=Linear(start=2e-4, end=0.0, after=0.5), betas=(0.5, 0.999)),
        averages=(),
        batch=1,
    ),
    Recipe(
        name="lag",
        year=2020,
        cite="berthelot2020",
        source="losses of section 3; rates, noise and rounding of the authors' code; all resolutions at once, narrower "
        "networks",
        about="super-resolution by 4: noise chooses among images that agree with a small one; for images",
        game=LAG(),
        networks=SuperResolution(),
        update=Alternating(share=True),
        optimizer=Adam(lr=1e-3, betas=(0.0, 0.99)),
        optimizers=(For(player="discriminator", optimizer=Adam(lr=4e-3, betas=(0.0, 0.99))),),
        batch=16,
    ),
)
