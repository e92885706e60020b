"""Public training code that this project did not write: where the doctor's two lines go, and what is broken in it.

The anchors are single lines of the code named; the code itself is fetched, never kept here.
"""

from __future__ import annotations

from dataclasses import dataclass, field

Edit = tuple[str, str]


@dataclass(frozen=True)
class Fault:
    """A mistake put into the code.

    Attributes:
        name: unique within the entry.
        condition: the condition that the doctor should name first.
        edits: each (old text, new text) of the entry's file; the old text must be there.
        published: whether it is in the code as published.
    """

    name: str
    condition: str
    edits: tuple[Edit, ...]
    published: bool = False


@dataclass(frozen=True)
class Entry:
    """A training loop of a public repository.

    Attributes:
        name: of the entry.
        repository: owner/name on GitHub.
        path: the file that is edited.
        commit: the commit that was read.
        attach: edits that add the two lines.
        small: edits, and command line arguments, that make the networks and the run small, or mend what does not run.
        narrow: divide the powers of two from 64 on in these files by this number: the channels.
        driver: code to run in place of the file, for a library.
        faults: what is planted.
    """

    name: str
    repository: str
    path: str
    commit: str
    attach: tuple[Edit, ...]
    faults: tuple[Fault, ...]
    small: tuple[Edit, ...] = ()
    arguments: tuple[str, ...] = ()
    narrow: tuple[tuple[str, int], ...] = ()
    more: tuple[tuple[str, str, str], ...] = ()
    driver: str = ""
    mended: tuple[Edit, ...] = field(default=())


ZOO, ZOO_COMMIT = "eriklindernoren/PyTorch-GAN", "36d3c77e5ff20ebe0aeefd322326a134a279b93e"
START = "Doctor = __import__('equilibria.doctor').doctor.Doctor\n"
ATTACH = START + "doctor = Doctor(generator, discriminator, real=dataloader, latent=opt.latent_dim)\n"
ROWS = "real=torch.stack([x for x, _ in dataloader.dataset])"
LABELS = "labels=torch.tensor([y for _, y in dataloader.dataset])"
END = "        batches_done = epoch * len(dataloader) + i\n"
CHECK = "        doctor.check(epoch * len(dataloader) + i + 1)\n"
TENSOR = "Tensor = torch.cuda.FloatTensor if cuda else torch.FloatTensor\n"
TWO_LINES = ((TENSOR, TENSOR + ATTACH), (END, CHECK + END))
CONVOLUTIONAL = ("dcgan", "lsgan", "acgan", "relativistic_gan", "infogan", "dragan")
ARGUMENTS = ("--n_epochs", "3", "--batch_size", "16")
Z = "z = Variable(Tensor(np.random.normal(0, 1, (imgs.shape[0], opt.latent_dim))))"
OPT_G = "optimizer_G = torch.optim.Adam(generator.parameters(), "
OPT_D = "optimizer_D = torch.optim.Adam(discriminator.parameters(), "
FAKE = "adversarial_loss(discriminator(gen_imgs.detach()), fake)"
REAL = "adversarial_loss(discriminator(real_imgs), valid)"
SWAPPED = ((FAKE, FAKE.replace("fake)", "valid)")), (REAL, REAL.replace("valid)", "fake)")))
REUSED = ((Z, "np.random.seed(1); " + Z),)
COPIED = ((OPT_G, OPT_G.replace("generator.", "__import__('copy').deepcopy(generator).")),)
RANGE = ("transforms.Normalize([0.5], [0.5])", "transforms.Normalize([0.0], [1 / 255])")
LOGITS = ("torch.nn.BCELoss()", "torch.nn.BCEWithLogitsLoss()")
UNCLEARED = (("        optimizer_G.zero_grad()\n", ""),)
UNDETACHED = (
    ("        optimizer_G.zero_grad()\n", ""),
    ("        optimizer_G.step()\n", "        optimizer_G.step()\n        optimizer_G.zero_grad()\n"),
    ("discriminator(gen_imgs.detach())", "discriminator(generator(z))"),
)


def zoo(name: str, faults: tuple[Fault, ...], **more: object) -> Entry:
    """A script of the collection."""
    small = ("--img_size", "16") if name in CONVOLUTIONAL else ()
    settings: dict[str, object] = {"attach": TWO_LINES, "arguments": (*ARGUMENTS, *small), **more}
    return Entry(f"zoo-{name}", ZOO, f"implementations/{name}/{name}.py", ZOO_COMMIT, faults=faults, **settings)  # type: ignore[arg-type]


def narrow(name: str, by: int, file: str = "") -> tuple[tuple[str, int], ...]:
    """Fewer channels in a script, or in its module of networks."""
    return ((f"implementations/{name}/{file or name}.py", by),)


GAN = zoo(
    "gan",
    (
        Fault("copy", "generator-never-updated", COPIED),
        Fault("noise", "noise-reused", REUSED),
        Fault("undetached", "other-players-gradient", UNDETACHED),
    ),
    narrow=narrow("gan", 4),
)
DCGAN = zoo(
    "dcgan",
    (
        Fault("double", "double-sigmoid", (LOGITS,)),
        Fault("same", "same-target-for-both", ((FAKE, FAKE.replace("fake)", "valid)")),)),
        Fault("range", "data-range-mismatch", (RANGE,)),
        Fault("eval", "batchnorm-in-eval", ((CHECK, CHECK + "        generator.eval(), discriminator.eval()\n"),)),
    ),
    narrow=narrow("dcgan", 4),
)
WGAN = zoo(
    "wgan",
    (
        Fault("unclipped", "lipschitz-violated", (("p.data.clamp_(-opt.clip_value, opt.clip_value)", "pass"),)),
        Fault(
            "sigmoid", "sigmoid-on-critic", (("            nn.Linear(256, 1),\n", "nn.Linear(256, 1), nn.Sigmoid()\n"),)
        ),
    ),
    attach=(
        (TENSOR, TENSOR + ATTACH),
        ("        batches_done += 1\n", "        batches_done += 1\n        doctor.check(batches_done)\n"),
    ),
    small=(("transforms.ToTensor(), ", "transforms.Resize(28), transforms.ToTensor(), "),),
)
WGAN_GP = zoo(
    "wgan_gp",
    (
        Fault("graph", "penalty-without-effect", (("create_graph=True", "create_graph=False"),)),
        Fault("axis", "penalty-of-wrong-norm", (("gradients = gradients.view(gradients.size(0), -1)", "pass"),)),
        Fault("normal", "penalty-off-the-segment", (("np.random.random((real", "np.random.normal(size=(real"),)),
    ),
    attach=((TENSOR, TENSOR + ATTACH), ("        # Configure input\n", CHECK.replace(" + 1", ""))),
    narrow=narrow("wgan_gp", 4),
)
LSGAN = zoo(
    "lsgan",
    (
        Fault("swapped", "swapped-labels", SWAPPED),
        Fault("batch", "same-batch-twice", (("gen_imgs.detach()", "real_imgs"),)),
        Fault("uncleared", "gradients-accumulate", UNCLEARED),
    ),
    narrow=narrow("lsgan", 4),
)
GEN_LABELS = "np.random.randint(0, opt.n_classes, batch_size)"
WITH_LABELS = START + f"doctor = Doctor(generator, discriminator, {ROWS}, {LABELS}, latent=opt.latent_dim)\n"
FLOAT = "FloatTensor = torch.cuda.FloatTensor if cuda else torch.FloatTensor\n"
CGAN = zoo(
    "cgan",
    (
        Fault("fixed", "condition-fixed", ((GEN_LABELS, "np.full(batch_size, 3)"),)),
        Fault("disagree", "labels-disagree", (("(gen_imgs.detach(), gen_labels)", "(gen_imgs.detach(), labels)"),)),
        Fault("unused", "label-ignored", (("self.label_embedding(labels))", "0 * self.label_embedding(labels))"),)),
    ),
    attach=((FLOAT, FLOAT + WITH_LABELS), (END, CHECK + END)),
    narrow=narrow("cgan", 4),
)
ACGAN_CALL = "call={'discriminator': lambda x, y: discriminator(x)}"
SOFTMAX = ("opt.n_classes), nn.Softmax())", "opt.n_classes))")
AC_G = "0.5 * (adversarial_loss(validity, valid) + auxiliary_loss(pred_label, gen_labels))"
ACGAN = zoo(
    "acgan",
    (
        Fault("published", "softmax-twice", (), published=True),
        Fault("class-only", "adversarial-term-missing", ((AC_G, "auxiliary_loss(pred_label, gen_labels)"), SOFTMAX)),
        Fault("copy", "generator-never-updated", (*COPIED, SOFTMAX)),
    ),
    attach=((FLOAT, FLOAT + WITH_LABELS.replace("latent=", ACGAN_CALL + ", latent=")), (END, CHECK + END)),
    mended=(SOFTMAX,),
    narrow=narrow("acgan", 4),
)
RTENSOR = "Tensor = torch.cuda.FloatTensor if torch.cuda.is_available() else torch.FloatTensor\n"
RELATIVISTIC = zoo(
    "relativistic_gan",
    (
        Fault(
            "swapped",
            "swapped-labels",
            (
                ("adversarial_loss(real_pred - fake_pred, valid)", "adversarial_loss(real_pred - fake_pred, fake)"),
                (
                    "            fake_loss = adversarial_loss(fake_pred - real_pred, fake)",
                    "            fake_loss = adversarial_loss(fake_pred - real_pred, valid)",
                ),
            ),
        ),
        Fault(
            "both-players",
            "wrong-player-trained",
            (
                (
                    OPT_D,
                    OPT_D.replace(
                        "discriminator.parameters()", "[*generator.parameters(), *discriminator.parameters()]"
                    ),
                ),
                ("discriminator(gen_imgs.detach())", "discriminator(generator(z))"),
            ),
        ),
    ),
    attach=((RTENSOR, RTENSOR + ATTACH), (END, CHECK + END)),
    narrow=narrow("relativistic_gan", 4),
)
CODES = (
    "lambda n: (torch.randn(n, opt.latent_dim), torch.eye(opt.n_classes)[torch.randint(opt.n_classes, (n,))], "
    "torch.rand(n, opt.code_dim) * 2 - 1)"
)
INFOGAN = zoo(
    "infogan",
    (
        Fault("published", "softmax-twice", (), published=True),
        Fault(
            "swapped",
            "swapped-labels",
            (
                ("adversarial_loss(real_pred, valid)", "adversarial_loss(real_pred, fake)"),
                ("adversarial_loss(fake_pred, fake)", "adversarial_loss(fake_pred, valid)"),
                SOFTMAX,
            ),
        ),
        Fault(
            "same",
            "same-target-for-both",
            (("adversarial_loss(fake_pred, fake)", "adversarial_loss(fake_pred, valid)"), SOFTMAX),
        ),
    ),
    attach=((FLOAT, FLOAT + ATTACH.replace("opt.latent_dim", CODES)), (END, CHECK + END)),
    mended=(SOFTMAX,),
    narrow=narrow("infogan", 4),
)
CYCLE_TENSOR = "Tensor = torch.cuda.FloatTensor if cuda else torch.Tensor\n"
LOADER_END = "    num_workers=1,\n)\n"
CYCLE = START + (
    "a, b = (torch.stack([d[k] for d in dataloader.dataset]) for k in 'AB')\n"
    "doctor = Doctor(G_AB, D_B, real=b, latent=lambda n: a[torch.randint(len(a), (n,))])\n"
)
END_EPOCH = "        batches_left = opt.n_epochs * len(dataloader) - batches_done\n"
CYCLEGAN = zoo(
    "cyclegan",
    (
        Fault(
            "identity",
            "identity-of-wrong-side",
            (
                ("criterion_identity(G_BA(real_A), real_A)", "criterion_identity(G_BA(real_B), real_B)"),
                ("criterion_identity(G_AB(real_B), real_B)", "criterion_identity(G_AB(real_A), real_A)"),
            ),
        ),
        Fault("detached", "adversarial-term-missing", (("D_B(fake_B), valid", "D_B(fake_B.detach()), valid"),)),
        Fault("frozen", "discriminator-never-updated", (("        optimizer_D_B.step()\n", ""),)),
    ),
    attach=((LOADER_END, LOADER_END + CYCLE), (END_EPOCH, CHECK + END_EPOCH)),
    arguments=(
        "--n_epochs",
        "1",
        "--decay_epoch",
        "0",
        "--batch_size",
        "5",
        "--img_height",
        "32",
        "--img_width",
        "32",
        "--n_cpu",
        "0",
        "--n_residual_blocks",
        "2",
        "--sample_interval",
        "100000",
    ),
    narrow=narrow("cyclegan", 16, "models"),
)
PIX = START + (
    "a, b = (torch.stack([d[k] for d in dataloader.dataset]) for k in 'AB')\n"
    "doctor = Doctor(generator, discriminator, real=a, labels=b)\n"
)
MODELS = "implementations/pix2pix/models.py"
PIX2PIX = zoo(
    "pix2pix",
    (
        Fault(
            "detached",
            "adversarial-term-missing",
            (("discriminator(fake_B, real_A)", "discriminator(fake_B.detach(), real_A)"),),
        ),
        Fault(
            "swapped",
            "swapped-labels",
            (
                ("criterion_GAN(pred_real, valid)", "criterion_GAN(pred_real, fake)"),
                ("criterion_GAN(pred_fake, fake)", "criterion_GAN(pred_fake, valid)"),
            ),
        ),
        Fault("uncleared", "gradients-accumulate", (("        optimizer_D.zero_grad()\n", ""),)),
    ),
    attach=((LOADER_END, LOADER_END + PIX), (END_EPOCH, CHECK + END_EPOCH)),
    arguments=(
        "--n_epochs",
        "1",
        "--batch_size",
        "5",
        "--img_height",
        "32",
        "--img_width",
        "32",
        "--n_cpu",
        "0",
        "--sample_interval",
        "100000",
    ),
    narrow=narrow("pix2pix", 8, "models"),
    more=(
        (
            MODELS,
            "        self.final = nn.",
            "        del self.down5, self.down6, self.down7, self.up2, self.up3, self.up4\n        self.final = nn.",
        ),
        (MODELS, "d5 = self.down5(d4)", "pass"),
        (MODELS, "d6 = self.down6(d5)", "pass"),
        (MODELS, "d7 = self.down7(d6)", "pass"),
        (MODELS, "self.down8(d7)", "self.down8(d4)"),
        (MODELS, "u1 = self.up1(d8, d7)", "pass"),
        (MODELS, "u2 = self.up2(u1, d6)", "pass"),
        (MODELS, "u3 = self.up3(u2, d5)", "pass"),
        (MODELS, "self.up4(u3, d4)", "self.up1(d8, d4)"),
    ),
)
PUBLISHED_PENALTY = "gradients.norm(2, dim=1)"
DRAGAN = zoo(
    "dragan",
    (
        Fault(
            "norm",
            "penalty-of-wrong-norm",
            (("gradient_penalty.backward()", "(d_loss + gradient_penalty).backward()"),),
            published=True,
        ),
        Fault(
            "graph",
            "penalty-without-effect",
            (
                ("create_graph=True", "create_graph=False"),
                ("gradient_penalty.backward()", "(d_loss + gradient_penalty).backward()"),
            ),
        ),
    ),
    attach=((TENSOR, TENSOR + ATTACH), ("        optimizer_D.step()\n", "        optimizer_D.step()\n" + CHECK)),
    small=(("enumerate(mnist_loader)", "enumerate(dataloader)"), ("len(mnist_loader)", "len(dataloader)")),
    mended=(
        (PUBLISHED_PENALTY, "gradients.flatten(1).norm(2, dim=1)"),
        ("gradient_penalty.backward()", "(d_loss + gradient_penalty).backward()"),
    ),
    narrow=narrow("dragan", 4),
)
EXAMPLE = Entry(
    "pytorch-dcgan",
    "pytorch/examples",
    "dcgan/main.py",
    "77f55b912142e11fcfdf5b530231fb9c52f181e8",
    attach=(
        (
            "if opt.dry_run:\n    opt.niter = 1\n",
            START + "doctor = Doctor(netG, netD, real=dataloader, latent=lambda n: torch.randn(n, nz, 1, 1))\n",
        ),
        ("        if i % 100 == 0:\n", CHECK + "        if i % 100 == 0:\n"),
    ),
    arguments=(
        "--dataset",
        "mnist",
        "--dataroot",
        ".",
        "--workers",
        "0",
        "--batchSize",
        "16",
        "--ngf",
        "8",
        "--ndf",
        "8",
        "--niter",
        "3",
    ),
    faults=(
        Fault("swapped", "swapped-labels", (("label.fill_(real_label)", "label.fill_(fake_label)"),)),
        Fault("uncleared", "gradients-accumulate", (("        netG.zero_grad()\n", ""),)),
        Fault(
            "noise",
            "noise-reused",
            (("noise = torch.randn(batch_size, nz, 1, 1, device=device)", "noise = fixed_noise"),),
        ),
        Fault(
            "clamped",
            "missing-sigmoid",
            (
                ("            nn.Sigmoid()\n", ""),
                (
                    "criterion = nn.BCELoss()",
                    "criterion = lambda p, y: nn.functional.binary_cross_entropy(p.clamp(0, 1), y)",
                ),
            ),
        ),
    ),
)
R3_DRIVER = """
import torch
from judge_public_stand_ins import Compose, Digits, ColourDigits, Resize, ToTensor, Normalize
from R3GAN.Networks import Discriminator, Generator
from R3GAN.Trainer import AdversarialTraining
torch.manual_seed(0)
data = ColourDigits(transform=Compose([Resize(16), ToTensor(), Normalize([.5], [.5])]))
x = torch.stack(data.x)
shape = dict(WidthPerStage=[16, 16, 16], CardinalityPerStage=[4, 4, 4], BlocksPerStage=[1, 1, 1], ExpansionFactor=2)
generator, discriminator = Generator(16, **shape), Discriminator(**shape)
g_opt = torch.optim.Adam(generator.parameters(), lr=2e-4, betas=(0.0, 0.99))
d_opt = torch.optim.Adam(discriminator.parameters(), lr=2e-4, betas=(0.0, 0.99))
game = AdversarialTraining(generator, discriminator)
from equilibria.doctor import Doctor
doctor = Doctor(generator, discriminator, real=x, latent=16)
for step in range(1, 121):
    rows = x[torch.randint(len(x), (16,))]
    d_opt.zero_grad()
    game.AccumulateDiscriminatorGradients(torch.randn(16, 16), rows, None, 1.0)
    d_opt.step()
    g_opt.zero_grad()
    game.AccumulateGeneratorGradients(torch.randn(16, 16), rows, None)
    g_opt.step()
    doctor.check(step)
"""
R3GAN = Entry(
    "r3gan",
    "brownvc/R3GAN",
    "R3GAN/Trainer.py",
    "19a7ddf463fbac2bd39b4c1c73d63f1c441c7403",
    attach=(),
    driver=R3_DRIVER,
    faults=(
        Fault("graph", "penalty-without-effect", (("create_graph=True", "create_graph=False, retain_graph=True"),)),
        Fault(
            "swapped",
            "swapped-labels",
            (("RelativisticLogits = RealLogits - FakeLogits", "RelativisticLogits = FakeLogits - RealLogits"),),
        ),
        Fault("mean", "penalty-of-wrong-norm", (("outputs=Critics.sum()", "outputs=Critics.mean()"),)),
    ),
)
TAB_DRIVER = """
import numpy as np, torch
from judge_public_stand_ins import wine
torch.manual_seed(0), np.random.seed(0)
from ctgan.synthesizers.ctgan import CTGAN
table = wine()
CTGAN(embedding_dim=16, generator_dim=(32, 32), discriminator_dim=(32, 32), batch_size=40, epochs=30).fit(
    table, ["target"]
)
"""
TAB_LINE = "        self.loss_values = pd.DataFrame(columns="
TAB_ATTACH = (
    "        from equilibria.doctor import Doctor\n"
    "        labelled = torch.cat([torch.tensor(train_data).float(), torch.tensor(train_data[:, -3:]).float()], 1)\n"
    "        def sampler(n):\n"
    "            c = torch.from_numpy(self._data_sampler.sample_condvec(n)[0])\n"
    "            out = self._generator(torch.cat([torch.randn(n, self._embedding_dim), c], 1))\n"
    "            return torch.cat([self._apply_activate(out), c], 1)\n"
    "        doctor = Doctor(self._generator, discriminator, real=labelled, sampler=sampler)\n"
)
TABULAR = Entry(
    "ctgan",
    "sdv-dev/CTGAN",
    "ctgan/synthesizers/ctgan.py",
    "f4fcd21d96e291fb1d6b7a14b83236927560b81e",
    attach=(
        (TAB_LINE, TAB_ATTACH + TAB_LINE),
        (
            "                optimizerG.step()\n",
            "                optimizerG.step()\n                doctor.check(i * steps_per_epoch + id_ + 1)\n",
        ),
    ),
    driver=TAB_DRIVER,
    faults=(
        Fault(
            "graph",
            "penalty-without-effect",
            (
                ("            create_graph=True", "            create_graph=False"),
                (
                    "alpha * real_data + ((1 - alpha) * fake_data)",
                    "(alpha * real_data + ((1 - alpha) * fake_data)).detach().requires_grad_()",
                ),
                ("pen.backward(retain_graph=True)", "pen.requires_grad_().backward(retain_graph=True)"),
            ),
        ),
        Fault(
            "sigmoid",
            "sigmoid-on-critic",
            (("seq += [Linear(dim, 1)]", "seq += [Linear(dim, 1), torch.nn.Sigmoid()]"),),
        ),
        Fault(
            "detached",
            "adversarial-term-missing",
            (
                (
                    "y_fake = discriminator(torch.cat([fakeact, c1], dim=1))",
                    "y_fake = discriminator(torch.cat([fakeact.detach(), c1], dim=1))",
                ),
            ),
        ),
        Fault(
            "uncleared", "gradients-accumulate", (("                optimizerG.zero_grad(set_to_none=False)\n", ""),)
        ),
    ),
)
STYLE_LINE = "    loader = sample_data(loader)\n"
STYLE_ATTACH = (
    "    from equilibria.doctor import Doctor\n"
    "    doctor = Doctor(generator, discriminator, real=torch.stack(loader.dataset.x), latent=args.latent, "
    "call={'generator': lambda z, y: generator([z])[0]})\n"
)
STYLE = Entry(
    "stylegan2",
    "rosinality/stylegan2-pytorch",
    "train.py",
    "bef283a1c24087da704d16c30abc8e36e63efa0e",
    attach=(
        (STYLE_LINE, STYLE_ATTACH + STYLE_LINE),
        (
            "        accumulate(g_ema, g_module, accum)\n",
            "        accumulate(g_ema, g_module, accum)\n        doctor.check(i + 1)\n",
        ),
    ),
    small=(
        ('device = "cuda"', 'device = "cpu"'),
        ("args.latent = 512", "args.latent = 16"),
        ("args.n_mlp = 8", "args.n_mlp = 2"),
        ("range=(-1, 1)", "value_range=(-1, 1)"),
        ("if i % 10000 == 0:", "if False:"),
    ),
    arguments=(".", "--size", "8", "--iter", "60", "--batch", "8", "--n_sample", "4"),
    narrow=(("model.py", 32),),
    faults=(
        Fault(
            "uncleared",
            "gradients-accumulate",
            (
                ("        generator.zero_grad()\n        g_loss", "        g_loss"),
                ("            generator.zero_grad()\n", ""),
            ),
        ),
        Fault(
            "swapped",
            "swapped-labels",
            (
                ("F.softplus(-real_pred)", "F.softplus(real_pred)"),
                ("    fake_loss = F.softplus(fake_pred)", "    fake_loss = F.softplus(-fake_pred)"),
            ),
        ),
        Fault(
            "graph",
            "penalty-without-effect",
            (
                (
                    "outputs=real_pred.sum(), inputs=real_img, create_graph=True",
                    "outputs=real_pred.sum(), inputs=real_img, retain_graph=True",
                ),
            ),
        ),
    ),
)
ENTRIES = (
    EXAMPLE,
    GAN,
    DCGAN,
    WGAN,
    WGAN_GP,
    LSGAN,
    CGAN,
    ACGAN,
    RELATIVISTIC,
    INFOGAN,
    DRAGAN,
    CYCLEGAN,
    PIX2PIX,
    R3GAN,
    TABULAR,
    STYLE,
)
