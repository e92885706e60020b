"""Faults in networks, in the scale of the data, and in what a copy of the generator lacks."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .changes import with_rows
from .fault import After, Before, Fault, Variant, needs
from .kit import Kit, Setting


def _grey(s: Setting) -> Setting:
    return with_rows(s, (s.shape.rows.x + 1) * 127.5)


def _sigmoid_out(s: Setting) -> Setting:
    return replace(s, shape=replace(s.shape, out="sigmoid"))


def _wide_column(s: Setting) -> Setting:
    x = s.shape.rows.x.clone()
    x[:, 0] *= 15
    return with_rows(s, x)


def _moved_column(s: Setting) -> Setting:
    x = s.shape.rows.x.clone()
    x[:, 1] += 6
    return with_rows(s, x)


def _bad_row(s: Setting, value: float) -> Setting:
    x = s.shape.rows.x.clone()
    x[100:103].view(3, -1)[:, 0] = value
    return with_rows(s, x)


def _out(s: Setting, out: str) -> Setting:
    return replace(s, shape=replace(s.shape, out=out))


def _momentum(s: Setting, momentum: float) -> Setting:
    return replace(s, shape=replace(s.shape, momentum=momentum))


def _argmax(k: Kit) -> None:
    widths = list(k.setting.shape.rows.blocks)

    def hard(x: Tensor) -> Tensor:
        return torch.cat([F.one_hot(g.argmax(1), g.shape[1]).float() for g in x.split(widths, 1)], 1)

    k.G = After(k.G, hard)


def _rounded(k: Kit) -> None:
    k.G = After(k.G, torch.round)


def _no_grad(k: Kit) -> None:
    class Silent(nn.Module):
        def __init__(self, net: nn.Module) -> None:
            super().__init__()
            self.net = net

        @torch.no_grad()
        def forward(self, *given: Tensor) -> Tensor:
            return self.net(*given)

    k.G = Silent(k.G)


def _clipped_by_numpy(k: Kit) -> None:
    low, high = float(k.x.min()), float(k.x.max())
    k.G = After(k.G, lambda x: torch.from_numpy(x.detach().numpy().clip(low, high)))


def _evaluation(k: Kit) -> None:
    k.G.eval()


def _evaluation_after_a_picture(k: Kit) -> None:
    left = [20]

    def picture() -> None:
        left[0] -= 1
        if not left[0]:
            k.G.eval()

    k.after.append(picture)


def _buffers(k: Kit, words: tuple[str, ...]) -> None:
    k.buffers_left = frozenset(name for name, _ in k.G.named_buffers() if name.endswith(words))


def _linears(net: nn.Module) -> list[nn.Linear]:
    return [m for m in net.modules() if isinstance(m, nn.Linear)]


def _dead_first(k: Kit) -> None:
    for layer in _linears(k.G)[:-1]:
        nn.init.constant_(layer.bias, -20.0)


def _dead_last(k: Kit) -> None:
    layers = _linears(k.G)
    nn.init.constant_(layers[-1 if len(layers) < 2 else -2].bias, -200.0)
    nn.init.constant_(layers[0].bias, -50.0)


def _blank(k: Kit) -> None:
    k.D = Before(k.D, lambda x: 0.0 * x)


def _tiny_input(k: Kit) -> None:
    k.D = Before(k.D, lambda x: x / 1e6)


def _no_code(k: Kit) -> None:
    k.G = Before(k.G, torch.zeros_like)


def _faint_code(k: Kit) -> None:
    k.G = Before(k.G, lambda z: 1e-5 * z)


def _one_pass(k: Kit) -> None:
    dims = k.x.dim()
    first: nn.Module = (
        nn.BatchNorm2d(k.x.shape[1], affine=False) if dims == 4 else nn.BatchNorm1d(k.x.shape[1], affine=False)
    )
    k.D = Before(k.D, first)

    def both(x: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
        real_scores, fake_scores = k.D(torch.cat([x, fake])).split([len(x), len(fake)])
        return real_scores, fake_scores

    k.both = both  # type: ignore[method-assign]


def _batch_norm_d(s: Setting) -> Setting:
    return replace(s, shape=replace(s.shape, batch_norm_d=1))


FAULTS = (
    Fault(
        "data-range",
        ("data-range-mismatch",),
        "data",
        (
            Variant("grey values of 0 to 255 under a tanh", change=_grey),
            Variant("data in [-1, 1] under a sigmoid", change=_sigmoid_out, split="held-out"),
        ),
        needs(groups="images"),
    ),
    Fault(
        "column-unscaled",
        ("data-range-mismatch",),
        "data",
        (
            Variant("a column is fifteen times as wide as the others, under a tanh", change=_wide_column),
            Variant("a column has another origin", change=_moved_column, split="held-out"),
        ),
        needs(
            laws="client parcel ring moons gauss6 loans valley pinwheel visits zigzag skeletons meters funnel skewed",
            not_network="relu layernorm",
        ),
        steps=900,
    ),
    Fault(
        "rows-not-finite",
        ("not-a-number",),
        "data",
        (
            Variant("three rows hold NaN", change=lambda s: _bad_row(s, float("nan"))),
            Variant("three rows hold infinity", change=lambda s: _bad_row(s, float("inf")), split="held-out"),
        ),
        needs(
            groups="points waves labelled",
            not_network="bounded",
            not_style="scaler",
            objectives="cross-entropy softplus least-squares hinge wasserstein relativistic",
        ),
    ),
    Fault(
        "norm-at-the-end",
        ("norm-before-output",),
        "networks",
        (
            Variant("a batch norm stands before the output", change=lambda s: _out(s, "batchnorm")),
            Variant(
                "a layer or instance norm stands before the output",
                change=lambda s: _out(s, "layernorm"),
                split="held-out",
            ),
        ),
        needs(groups="points images", not_network="bounded"),
    ),
    Fault(
        "statistics-slow",
        ("train-eval-mismatch",),
        "networks",
        (
            Variant("the momentum of the batch norms is 0.001", change=lambda s: _momentum(s, 1e-3)),
            Variant("the momentum of the batch norms is 0", change=lambda s: _momentum(s, 0.0), split="held-out"),
        ),
        needs(network="batchnorm", not_style="sampler"),
        truth="evaluation",
        steps=700,
    ),
    Fault(
        "output-argmax",
        ("no-gradient-path",),
        "networks",
        (
            Variant("the generator returns the one-hots of an argmax", _argmax),
            Variant("the generator rounds its output", _rounded, split="held-out"),
        ),
        needs(laws="answers orders survey letters tickets", not_style="gradients-by-hand one-function toggles"),
    ),
    Fault(
        "graph-cut",
        ("no-gradient-path", "adversarial-term-missing"),
        "networks",
        (
            Variant("the generator runs under no_grad", _no_grad),
            Variant("samples are brought into their bounds by numpy", _clipped_by_numpy, split="held-out"),
        ),
        needs(not_style="gradients-by-hand one-function logits toggles"),
    ),
    Fault(
        "generator-in-eval",
        ("batchnorm-in-eval",),
        "networks",
        (
            Variant("the generator is in eval mode", _evaluation),
            Variant("eval() for a picture at step 20, and no train()", _evaluation_after_a_picture, split="held-out"),
        ),
        needs(network="batchnorm"),
        late=True,
    ),
    Fault(
        "average-lacks-buffers",
        ("average-without-buffers",),
        "networks",
        (
            Variant(
                "the averaged copy never gets the statistics", lambda k: _buffers(k, ("running_mean", "running_var"))
            ),
            Variant("it never gets the variances", lambda k: _buffers(k, ("running_var",)), split="held-out"),
        ),
        needs(network="batchnorm", style="sampler"),
    ),
    Fault(
        "units-dead",
        ("dead-units",),
        "networks",
        (
            Variant("biases of the hidden layers start at -20", _dead_first),
            Variant(
                "biases of the first and the last hidden layer start at -50 and -200", _dead_last, split="held-out"
            ),
        ),
        needs(network="relu dense", not_network="batchnorm layernorm"),
    ),
    Fault(
        "input-lost",
        ("discriminator-blind",),
        "networks",
        (
            Variant("the discriminator's input is multiplied by 0", _blank),
            Variant("the discriminator's input is divided by a million", _tiny_input, split="held-out"),
        ),
        needs(not_network="layernorm", groups="points images waves table pairs", not_style="gradients-by-hand"),
        steps=900,
    ),
    Fault(
        "code-lost",
        ("latent-ignored", "mode-collapse"),
        "networks",
        (
            Variant("codes are multiplied by 0", _no_code),
            Variant("codes are multiplied by 1e-5", _faint_code, split="held-out"),
        ),
        needs(groups="points images labelled", not_network="batchnorm layernorm"),
    ),
    Fault(
        "batches-told-apart",
        ("batchnorm-leakage",),
        "networks",
        (Variant("real rows and samples pass a batch norm of the discriminator together", _one_pass, _batch_norm_d),),
        needs(style="both", not_network="layernorm spectral", groups="points images table pairs"),
        steps=1000,
    ),
)
"""The faults of this file."""
