"""Vitals of the players: scores, input gradients, the generator's gradient, and what each could still learn."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...base.errors import ConfigError
from ...losses import Minimax, NonSaturating
from ..chart import Chart, flat_gradients
from ..probe import auc
from ..space import Space
from ..subject import Subject, copies

Values = dict[str, float]
_DRAWS = 4
_BATCH = 64


def scores(subject: Subject, real: Tensor, fake: Tensor, labels: tuple[Tensor | None, Tensor | None]) -> Values:
    """The discriminator's scores of real, unseen and generated rows."""
    with torch.no_grad():
        h_real, h_fake = subject.score(real, labels[0]), subject.score(fake, labels[1])
        values = {
            "scores/auc": auc(h_real, h_fake),
            "scores/real": float(h_real.mean()),
            "scores/fake": float(h_fake.mean()),
            "scores/spread": float(torch.cat([h_real, h_fake]).std()),
            "scores/certainty": float(torch.cat([h_real, h_fake]).abs().median()),
        }
        if subject.holdout is not None and subject.labels is None:
            unseen, _ = subject.batch(len(real), holdout=True)
            h_unseen = subject.score(unseen)
            values["scores/unseen"] = float(h_unseen.mean())
            values["scores/unseen-auc"] = auc(h_unseen, h_fake)
            values["scores/seen-unseen-auc"] = auc(h_real, h_unseen)
        if labels[0] is not None:
            changed = subject.score(real, labels[0].roll(1, 0)) - h_real
            values["label/score-change"] = (
                float(changed.abs().max() / values["scores/spread"]) if values["scores/spread"] else math.nan
            )
        packed = subject.score_form.pack > 1
        if (
            not packed
            and _has_batch_norm(subject.discriminator)
            and _training(subject.discriminator)
            and labels[0] is None
        ):
            n = min(len(real), len(fake))
            mixed = subject.score(torch.stack([real[:n], fake[:n]], 1).flatten(0, 1), None).view(n, 2)
            values["scores/mixed-auc"] = auc(mixed[:, 0], mixed[:, 1])
    return values


def slopes(subject: Subject, real: Tensor, fake: Tensor, labels: tuple[Tensor | None, Tensor | None]) -> Values:
    """Norms of the score's gradient in the input: on real rows, on fakes, between them."""
    if subject.rows.whole:  # no gradient passes through whole numbers
        return {}
    n = min(len(real), len(fake), 64 if subject.wide else 128)
    y = None if labels[0] is None else labels[0][:n]
    mix = torch.rand(n, *[1] * (real.dim() - 1), device=real.device)
    between = mix * real[:n] + (1 - mix) * fake[:n]
    found: Values = {}
    for name, x in (("real", real[:n]), ("fake", fake[:n]), ("between", between)):
        point = x.detach().clone().requires_grad_()
        out = subject.score(point, y)
        slope = torch.zeros_like(point)
        if out.requires_grad:  # else the score does not depend on its input
            (slope,) = torch.autograd.grad(_once(out, subject), point, allow_unused=True, materialize_grads=True)
        norms = slope.flatten(1).norm(dim=1)
        found[f"slopes/{name}"] = float(norms.mean())
        if name == "between":
            found["slopes/largest"] = float(norms.max())
    return found


def generator_gradients(subject: Subject, chart: Chart, real: Tensor, y: Tensor | None) -> Values:
    """The gradient of the generator's loss in its parameters: its norm under three losses, its noise over draws."""
    if subject.codes is None:
        return {}
    params = copies(subject.generator)
    wanted = [p for n, p in params.items() if dict(subject.generator.named_parameters())[n].requires_grad]
    if not wanted:
        return {}
    losses: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
        "saturating": lambda f, r: Minimax().generator(f),
        "nonsaturating": lambda f, r: NonSaturating().generator(f),
    }
    read = subject.raw if chart.objective.own is not None else subject.score
    drawn: list[Tensor] = []
    with torch.no_grad():
        h_real = read(real[:_BATCH], None if y is None else y[:_BATCH])
    values: Values = {}
    for i in range(_DRAWS):
        codes = subject.draw_codes(_BATCH)
        made = subject.make(codes, params)
        if not made.requires_grad:
            raise ConfigError(
                "no gradient passes from the samples to the generator's parameters (argmax, detach, no_grad or whole "
                "numbers in its forward)",
                "return the value before it, or use a straight-through estimator",
            )
        out = read(made, codes[1])
        loss = chart.objective.generator(out, h_real[: len(out)])
        drawn.append(_flat(loss, wanted, keep=i == 0))
        if i == 0:
            logits = out if read == subject.score else subject.score(made, codes[1])
            for name, own in losses.items():
                same = name == chart.objective.trained
                gradient = drawn[0] if same else _flat(own(logits, h_real), wanted, keep=True)
                values[f"gradient/{name}"] = float(gradient.norm())
    each = torch.stack(drawn)
    mean = each.mean(0)
    noise = float((each - mean).square().sum(1).sum() / (_DRAWS - 1))
    signal = max(float(mean.square().sum()) - noise / _DRAWS, 0.0)
    norms = each.norm(dim=1)
    values |= {
        "gradient/declared": float(mean.norm()),
        "gradient/snr": signal / max(noise, 1e-30),
        "gradient/burst": float(norms.max() / norms.median().clamp(min=1e-30)),
    }
    reached = [bool(part.any()) for part in torch.split(mean, [p.numel() for p in wanted])]
    values["gradient/reach"] = sum(reached) / len(reached)
    left = flat_gradients(subject.generator)
    if left is not None and left.shape == mean.shape and float(left.norm()) and float(mean.norm()):
        values["gradient/agreement"] = float(F.cosine_similarity(left, mean, dim=0))
    return values


def gradient_bound(subject: Subject, chart: Chart) -> Values:
    r"""The bound :math:`M\epsilon/(1-\epsilon)` of Arjovsky & Bottou 2017 (Theorem 2.4) at the generated rows.

    :math:`\epsilon` is the largest :math:`D + \|\nabla D\|` there, ``M`` the root mean square norm of the generator's
    parameter Jacobian, estimated by a random projection per sample (Frobenius, so an upper estimate).
    """
    if subject.codes is None or subject.rows.whole or subject.labels is not None or not chart.objective.probabilistic:
        return {}
    with torch.no_grad():
        fake = subject.sample(64)
    point = fake.detach().clone().requires_grad_()
    codes = subject.draw_codes(8)
    d = torch.sigmoid(subject.score(point))
    if not d.requires_grad:  # a score that does not depend on its input
        return {}
    (slope,) = torch.autograd.grad(_once(d, subject), point, allow_unused=True, materialize_grads=True)
    epsilon = float((d + slope.flatten(1).norm(dim=1)).detach().max())
    if not 0 < epsilon < 1:
        return {"gradient/bound": math.inf}
    params = copies(subject.generator)
    if not params:
        return {}
    total = 0.0
    for i in range(8):
        made = subject.make((codes[0][i : i + 1].repeat(2, *[1] * (codes[0].dim() - 1)), None), params)[:1]
        if not made.requires_grad:
            return {}
        pulled = torch.autograd.grad((made * torch.randn_like(made)).sum(), list(params.values()), allow_unused=True)
        total += sum(float(g.square().sum()) for g in pulled if g is not None)
    return {"gradient/bound": math.sqrt(total / 8) * epsilon / (1 - epsilon)}


def trained_discriminator(subject: Subject, chart: Chart, rounds: int = 60) -> Values:
    """AUC of a copy of the discriminator after a short training against the fixed generator."""
    params = copies(subject.discriminator)
    if not params:
        return {}
    optimizer = torch.optim.Adam(params.values(), lr=2e-3, betas=(0.9, 0.99))
    for _ in range(rounds):
        x, y = subject.batch(128)
        with torch.no_grad():
            fake, label = subject.sample_with_labels(len(x))
        h, k = subject.score(x, y, params), subject.score(fake, label, params)
        loss = F.softplus(-h).mean() + F.softplus(k).mean()
        if not bool(torch.isfinite(loss)):
            return {"learn/discriminator": math.nan}
        grads = torch.autograd.grad(loss, list(params.values()), allow_unused=True, materialize_grads=True)
        for p, g in zip(params.values(), grads, strict=True):
            p.grad = g
        optimizer.step()
    with torch.no_grad():
        x, y = subject.batch(256)
        fake, label = subject.sample_with_labels(len(x))
        return {"learn/discriminator": auc(subject.score(x, y, params), subject.score(fake, label, params))}


def fitted_generator(subject: Subject, chart: Chart, rounds: int = 150) -> Values:
    """Distance to the data of a copy of the generator that is fitted alone, to the sliced distance."""
    if subject.codes is None or subject.labels is not None:
        return {}
    space, params = chart.space, copies(subject.generator)
    optimizer = torch.optim.Adam(params.values(), lr=3e-3, betas=(0.9, 0.99))
    best, size = math.inf, 256
    for i in range(rounds):
        x, _ = subject.batch(size)
        a, b = _mapped(space, x), _mapped(space, subject.make(subject.draw_codes(len(x)), params))
        along = torch.randn(a.shape[1], 48)
        along = along / along.norm(dim=0, keepdim=True)
        loss = ((a @ along).sort(0).values - (b @ along).sort(0).values).square().mean()
        if not bool(torch.isfinite(loss)):
            break
        grads = torch.autograd.grad(loss, list(params.values()), allow_unused=True, materialize_grads=True)
        for p, g in zip(params.values(), grads, strict=True):
            p.grad = g
        for group in optimizer.param_groups:
            group["lr"] = 3e-3 * (1 - i / rounds) + 1e-4
        optimizer.step()
    with torch.no_grad():
        x, _ = subject.batch(512)
        fake = subject.make(subject.draw_codes(512), params)
        best = space.sliced(space(x), space(fake))
    return {"learn/generator": best}


def _mapped(space: Space, x: Tensor) -> Tensor:
    """As ``space(x)``, differentiable."""
    z = (x.flatten(1).float().cpu() - space.mean) / space.scale
    return z if space.axes is None else z @ space.axes


def _flat(loss: Tensor, wanted: list[Tensor], keep: bool = False) -> Tensor:
    if not loss.requires_grad:
        return torch.zeros(sum(p.numel() for p in wanted))
    grads = torch.autograd.grad(loss, wanted, retain_graph=keep, allow_unused=True, materialize_grads=True)
    return torch.cat([g.reshape(-1).float().cpu() for g in grads])


def _once(scores: Tensor, subject: Subject) -> Tensor:
    """The sum of the scores, where the score of a pack counts once and not for each of its rows."""
    pack = subject.score_form.pack
    return scores.sum() / pack if pack > 1 else scores.sum()


def _training(net: nn.Module) -> bool:
    """Whether a network is in train mode; modules in a list have modes of their own."""
    held = isinstance(net, (nn.ModuleList, nn.ModuleDict))
    return any(part.training for part in net.children()) if held else net.training


def _has_batch_norm(net: nn.Module) -> bool:
    return any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in net.modules())
