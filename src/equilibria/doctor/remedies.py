"""Remedies: named changes, as settings of a recipe and as code for your own training loop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .applying import changed


@dataclass(frozen=True)
class Remedy:
    """A change that the doctor prescribes.

    Attributes:
        name: kebab-case, stable.
        what: the change as a sentence.
        snippet: the change as code for your own training loop; it runs there without edits.
        settings: the change as settings of a recipe, by dotted path, values as JSON forms of records or plain values
            (see :func:`~equilibria.doctor.applying.changed`).
    """

    name: str
    what: str
    snippet: str = ""
    settings: tuple[tuple[str, Any], ...] = ()

    def apply(self, recipe: Any) -> Any:
        """A changed copy of the recipe.

        Raises:
            ValueError: the remedy changes code, not settings.
            ConfigError: the recipe's game has no such setting.

        Examples:
            >>> from equilibria.recipes import recipe
            >>> REMEDIES["non-saturating-loss"].apply(recipe("gan-minimax")).game.objective
            NonSaturating(real_target=1.0, fake_target=0.0)
        """
        if not self.settings:
            raise ValueError(f"the remedy '{self.name}' changes code, not settings: {self.what}")
        for path, change in self.settings:
            recipe = changed(recipe, path, change)
        return recipe

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"name": self.name, "what": self.what, "snippet": self.snippet, "settings": dict(self.settings)}


_R1 = """\
x_real.requires_grad_(True)
slopes = torch.autograd.grad(discriminator(x_real).sum(), x_real, create_graph=True)[0]
loss_d = loss_d + 0.5 * gamma * slopes.flatten(1).square().sum(1).mean()  # gamma 0.1, images 1"""

_PENALTY = """\
u = torch.rand(len(x_real), *[1] * (x_real.dim() - 1))
x_mid = (u * x_real + (1 - u) * x_fake.detach()).requires_grad_(True)
slopes = torch.autograd.grad(discriminator(x_mid).sum(), x_mid, create_graph=True)[0]
loss_d = loss_d + 10 * (slopes.flatten(1).norm(dim=1) - 1).square().mean()"""
_RELATIVISTIC = """\
x_real.requires_grad_(True)
x_made = x_fake.detach().requires_grad_(True)
on_real, on_fake = discriminator(x_real), discriminator(x_made)
slopes = torch.autograd.grad((on_real.sum() + on_fake.sum()), (x_real, x_made), create_graph=True)
loss_d = F.softplus(on_fake - on_real).mean()
loss_d = loss_d + 0.5 * gamma * sum(s.flatten(1).square().sum(1).mean() for s in slopes)  # gamma 0.1, images 1
loss_g = F.softplus(discriminator(x_real).detach() - discriminator(x_fake)).mean()"""
_CLAMPED = (("game.penalties", [{"type": "GradientPenalty"}]), ("if-there", {"game.clip": None}))

_ROWS: tuple[Remedy, ...] = (
    Remedy(
        "non-saturating-loss",
        "train the generator on -log D(G(z)) instead of log(1 - D(G(z)))",
        "loss_g = torch.nn.functional.softplus(-discriminator(generator(z))).mean()",
        (("game.objective", {"type": "NonSaturating"}),),
    ),
    Remedy(
        "slope-penalty",
        "add a zero-centred gradient penalty on the data (R1) to the discriminator's loss",
        _R1,
        (("game.penalties", [{"type": "R1", "gamma": 0.1}]),),
    ),
    Remedy(
        "relativistic-with-penalties",
        "use relativistic pairing and gradient penalties on real and generated rows (RpGAN + R1 + R2)",
        _RELATIVISTIC,
        (
            ("game.objective", {"type": "RelativisticPairing"}),
            ("game.penalties", [{"type": "R1", "gamma": 0.1}, {"type": "R2", "gamma": 0.1}]),
        ),
    ),
    Remedy(
        "gradient-penalty",
        "keep the critic's gradient norm at 1 by a gradient penalty of weight 10",
        _PENALTY,
        _CLAMPED,
    ),
    Remedy(
        "known-good-base",
        "go back to a game that is known to converge: non-saturating or relativistic losses with a gradient penalty "
        "on the data (R1), Adam with betas (0, 0.99) and one learning rate for both of at most 1e-3, one step each, "
        "and a discriminator no smaller than the generator",
        "optimizer_g = torch.optim.Adam(generator.parameters(), lr=1e-3, betas=(0.0, 0.99))\n"
        "optimizer_d = torch.optim.Adam(discriminator.parameters(), lr=1e-3, betas=(0.0, 0.99))\n" + _R1,
        (
            ("game.objective", {"type": "NonSaturating"}),
            ("game.penalties", [{"type": "R1", "gamma": 0.1}]),
            ("if-there", {"game.discriminator_turns": 1, "game.clip": None}),
            ("optimizer", {"type": "Adam", "lr": 1e-3, "betas": [0.0, 0.99]}),
            ("optimizers", ()),
        ),
    ),
    Remedy(
        "lower-learning-rates",
        "use one constant learning rate for each player: a third of what it is, and at most 1e-3",
        "for optimizer in (optimizer_g, optimizer_d):\n    for group in optimizer.param_groups:\n"
        '        group["lr"] = min(group["lr"] / 3, 1e-3)',
        (("scale-rates", {"all": 1 / 3, "at most": 1e-3}),),
    ),
    Remedy(
        "balance-turns",
        "give the discriminator at least as many steps as the generator",
        "for _ in range(2):\n    discriminator_step()\ngenerator_step()",
        (("at-least", {"game.discriminator_turns": 2}),),
    ),
    Remedy(
        "slow-discriminator",
        "divide the discriminator's learning rate by 10 and give it one step for each generator step",
        'for group in optimizer_d.param_groups:\n    group["lr"] /= 10',
        (("scale-rates", {"discriminator": 0.1}), ("if-there", {"game.discriminator_turns": 1})),
    ),
    Remedy(
        "faster-discriminator",
        "raise the discriminator's learning rate to that of the generator, and give it as many steps",
        'for group in optimizer_d.param_groups:\n    group["lr"] = optimizer_g.param_groups[0]["lr"]',
        (("scale-rates", {"discriminator": 10.0}),),
    ),
    Remedy(
        "larger-discriminator",
        "use a wider and deeper discriminator",
        "discriminator = build_discriminator(width=128, depth=3)",
        (("grow", "discriminator"),),
    ),
    Remedy(
        "seeing-discriminator",
        "make the score depend on its input: remove the layer that makes it constant, use leaky ReLUs and zero "
        "initial biases",
        "assert discriminator(x_real).std() > 0  # the same score for every row: the input has no effect",
    ),
    Remedy(
        "clean-data",
        "remove the rows that hold NaN or infinity from the data",
        "x = x[torch.isfinite(x.flatten(1)).all(1)]",
    ),
    Remedy(
        "stable-losses",
        "compute the losses from logits and in float32: softplus(-h), never -log(sigmoid(h))",
        "loss_d = F.softplus(-discriminator(x_real)).mean() + F.softplus(discriminator(x_fake.detach())).mean()",
        (("scale-rates", {"all": 0.1}),),
    ),
    Remedy(
        "larger-generator",
        "use a generator at least as wide and deep as the discriminator",
        "generator = build_generator(width=128, depth=3)",
        (("grow", "generator"),),
    ),
    Remedy(
        "larger-latent",
        "use more latent dimensions than the data's intrinsic dimension",
        "latent = 64",
        (("at-least", {"game.latent.size": 64}),),
    ),
    Remedy(
        "larger-batch",
        "use a larger batch and a lower learning rate",
        "loader = DataLoader(data, batch_size=128, shuffle=True)",
        (("at-least", {"batch": 128}), ("scale-rates", {"all": 0.3})),
    ),
    Remedy(
        "more-data",
        "use more training data, or augment real and generated rows alike before the discriminator",
        "x_real, x_fake = augment(x_real), augment(x_fake)  # the same random augmentation for both",
    ),
    Remedy(
        "loosen-clipping",
        "replace weight clipping by a gradient penalty, or clip at a larger value",
        f"{_PENALTY}  # and no clamp_ on the weights",
        _CLAMPED,
    ),
    Remedy(
        "weaker-penalty",
        "divide the weight of the discriminator's penalty by 100: R1 with gamma 0.1 for points, 1 for images",
        "gamma = gamma / 100  # in loss_d = ... + 0.5 * gamma * slopes.flatten(1).square().sum(1).mean()",
        (("game.penalties", [{"type": "R1", "gamma": 0.1}]),),
    ),
    Remedy(
        "match-data-range",
        "scale the data to the range that the generator can produce (tanh: [-1, 1]; sigmoid: [0, 1])",
        "x_real = 2 * (x_real - x_min) / (x_max - x_min) - 1  # before training, for a tanh output",
    ),
    Remedy(
        "smaller-output-weights",
        "initialise the generator's last layer smaller, and lower its learning rate",
        "torch.nn.init.normal_(last_layer.weight, 0, 0.02)",
    ),
    Remedy(
        "update-generator",
        "step the generator's optimiser, and let gradients reach the generator in its loss",
        "optimizer_g.zero_grad()\nloss_g = F.softplus(-discriminator(generator(z))).mean()  # no detach here\n"
        "loss_g.backward()\noptimizer_g.step()",
    ),
    Remedy(
        "update-discriminator",
        "step the discriminator's optimiser",
        "optimizer_d.zero_grad()\nloss_d.backward()\noptimizer_d.step()",
    ),
    Remedy(
        "optimise-all-parameters",
        "give all of the network's parameters to its optimiser",
        "optimizer_g = torch.optim.Adam(generator.parameters(), lr=2e-4, betas=(0.5, 0.999))",
    ),
    Remedy(
        "own-parameters-only",
        "give each optimiser its own network's parameters, and detach fakes in the discriminator's loss",
        "loss_d = F.softplus(-discriminator(x_real)).mean() + F.softplus(discriminator(x_fake.detach())).mean()",
    ),
    Remedy(
        "zero-gradients",
        "clear the gradients of a network before each of its steps",
        "optimizer_g.zero_grad()  # before loss_g.backward()\noptimizer_d.zero_grad()  # before loss_d.backward()",
    ),
    Remedy(
        "one-sigmoid",
        "remove the sigmoid from the discriminator, or use binary_cross_entropy without logits",
        "loss = F.binary_cross_entropy_with_logits(logits, target)  # logits: no sigmoid before",
    ),
    Remedy(
        "real-is-one",
        "label real examples 1 and generated ones 0 in the discriminator's loss, and generated ones 1 in the "
        "generator's",
        "loss_d = bce(discriminator(x_real), ones) + bce(discriminator(x_fake.detach()), zeros)",
    ),
    Remedy(
        "declare-the-loss",
        "leave out objective=, which is read in the training step, or train the loss that it says",
        "doctor = Doctor(generator, discriminator, real=x_real, latent=latent)  # without objective=",
    ),
    Remedy(
        "both-sides",
        "feed the discriminator one batch of real and one of generated examples",
        "loss_d = bce(discriminator(x_real), ones) + bce(discriminator(generator(z).detach()), zeros)",
    ),
    Remedy(
        "use-labels",
        "give the label to both networks, for real and for generated examples",
        "score_real = discriminator(x_real, y)\nscore_fake = discriminator(generator(z, y), y)",
        (("game.conditional", True),),
    ),
    Remedy(
        "use-latent",
        "give the generator new latent codes at every step, and make sure that no layer discards them",
        "z = torch.randn(len(x_real), latent)\nx_fake = generator(z)",
    ),
    Remedy(
        "fix-normalisation",
        "let BatchNorm compute its running statistics in train mode (momentum 0.1), or use a norm without them",
        "generator.train()  # while training; generator.eval() only to sample",
    ),
    Remedy(
        "norm-without-batch",
        "replace the discriminator's BatchNorm by spectral, layer or no normalisation",
        "discriminator = build_discriminator(norm=None)",
    ),
    Remedy(
        "clip-gradients",
        "clip the norm of each player's gradient at 1 and lower the learning rate",
        "torch.nn.utils.clip_grad_norm_(generator.parameters(), 1.0)",
        (("scale-rates", {"all": 0.1}),),
    ),
    Remedy(
        "shuffle-data",
        "check that the loader yields the whole data set, shuffled",
        "loader = DataLoader(data, batch_size=64, shuffle=True)",
    ),
    Remedy(
        "one-hot-columns",
        "code each discrete column as one-hot, and end the generator in a Gumbel softmax for it",
        "x_fake = torch.cat([numbers.tanh(), F.gumbel_softmax(logits, tau=0.2)], 1)  # logits: one for each value",
    ),
    Remedy(
        "differentiable-output",
        "return what gradient can pass through: a softmax or straight-through Gumbel softmax in place of argmax or "
        "rounding, and no detach() or no_grad() in the generator",
        "x_fake = F.gumbel_softmax(logits, tau=1.0, hard=True)  # one-hot, with a gradient",
    ),
    Remedy(
        "attach-adversarial-term",
        "add the discriminator's score of the generated batch, not detached, to the generator's loss",
        "loss_g = loss_g + F.softplus(-discriminator(x_fake)).mean()  # x_fake, not x_fake.detach()",
    ),
    Remedy(
        "detach-and-clear",
        "detach generated rows in the discriminator's loss, and clear each player's gradients before its own backward "
        "pass",
        "optimizer_d.zero_grad()\nloss_d = F.softplus(-discriminator(x_real)).mean() "
        "+ F.softplus(discriminator(x_fake.detach())).mean()\nloss_d.backward()\noptimizer_d.step()\n"
        "optimizer_g.zero_grad()\nloss_g = F.softplus(-discriminator(x_fake)).mean()\nloss_g.backward()\n"
        "optimizer_g.step()",
    ),
    Remedy(
        "logits-loss",
        "use the loss that takes logits, or end the discriminator in a sigmoid",
        "loss = F.binary_cross_entropy_with_logits(logits, target)  # not binary_cross_entropy of clamped logits",
    ),
    Remedy(
        "remove-sigmoid",
        "remove the sigmoid from the critic, or use the binary cross entropy with it",
        "loss_d = critic(x_fake.detach()).mean() - critic(x_real).mean()  # the critic ends in a linear layer",
    ),
    Remedy(
        "one-softmax",
        "return logits from the class head: cross_entropy applies the softmax",
        "loss = F.cross_entropy(class_logits, y)  # no softmax before",
    ),
    Remedy(
        "linear-generator-loss",
        "take the negative mean score as the generator's loss",
        "loss_g = -discriminator(generator(z)).mean()",
    ),
    Remedy(
        "copy-buffers",
        "copy the buffers of the generator into its averaged copy at every update",
        "for own, kept in zip(generator.buffers(), average.buffers(), strict=True):\n    kept.copy_(own)",
    ),
    Remedy(
        "draw-conditions",
        "give the generator conditions as the data has them, for example those of the real batch",
        "x_fake = generator(z, y)  # y: the labels of x_real",
    ),
    Remedy(
        "identity-of-target",
        "take the identity term at rows of the target side",
        "loss_identity = (translate(y_real) - y_real).abs().mean()  # y_real: rows that translate() should return",
    ),
    Remedy(
        "no-output-norm",
        "remove the norm before the generator's last operation",
        "last = torch.nn.Sequential(torch.nn.Linear(width, size), torch.nn.Tanh())",
    ),
    Remedy(
        "leaky-units",
        "use leaky rectifiers with biases that start at 0",
        "activation = torch.nn.LeakyReLU(0.2)",
    ),
    Remedy(
        "larger-steps",
        "raise the learning rate, or look for what makes the step so small: a clip, a schedule, a scale",
        "optimizer_g = torch.optim.Adam(generator.parameters(), lr=2e-4, betas=(0.5, 0.999))",
    ),
    Remedy("stop", "stop here: further rounds bring no measurable improvement"),
)
REMEDIES: dict[str, Remedy] = {row.name: row for row in _ROWS}
"""Every remedy by name."""


def remedies(*names: str) -> tuple[Remedy, ...]:
    """The remedies of these names, in this order."""
    return tuple(REMEDIES[name] for name in names)
