"""Vitals of the training loop: optimiser parameters, movement, gradients in .grad, and non-finite values."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ..chart import Chart, Memory, flat_gradients, flat_parameters
from ..probe import auc
from ..subject import Subject, copies

Values = dict[str, float]
Fed = tuple[Tensor, Tensor | None]
Optimizers = Mapping[str, torch.optim.Optimizer]
PLAYERS = ("generator", "discriminator")


def numbers(subject: Subject, fake: Tensor, scores: Tensor) -> tuple[Values, dict[str, str]]:
    """Shares of non-finite values, the first tensor that has one, and the largest finite magnitude."""
    non_finite, total, first, largest = 0, 0, "", 0.0
    for player, net in subject.networks.items():
        for name, tensor in [*net.named_parameters(), *net.named_buffers()]:
            if not tensor.is_floating_point() or not tensor.numel():
                continue
            finite = torch.isfinite(tensor.detach())
            total += tensor.numel()
            count = tensor.numel() - int(finite.sum())
            non_finite += count
            if count and not first:
                first = f"{player}.{name}"
            largest = max(largest, float(tensor.detach()[finite].abs().max()) if finite.any() else 0.0)
    outputs = torch.cat([fake.detach().flatten().float(), scores.detach().flatten().float()])
    held = torch.isfinite(outputs)
    if not bool(held.all()) and not first:
        first = "the generator's samples" if not bool(torch.isfinite(fake).all()) else "the discriminator's scores"
    values = {
        "numbers/parameters": non_finite / max(total, 1),
        "numbers/outputs": 1 - float(held.float().mean()),
        "numbers/largest": max(largest, float(outputs[held].abs().max()) if held.any() else 0.0),
    }
    return values, {"first not finite": first} if first else {}


def motion(subject: Subject, memory: Memory, chart: Chart, step: int) -> Values:
    """How far and in which direction each player moved since the last check-up, and the norm of its parameters."""
    since = step - (chart.last.step if chart.checkups else 0)
    values: Values = {}
    for player, net in subject.networks.items():
        now = flat_parameters(net)
        start, last = memory.start[player], memory.last.get(player, memory.start[player])
        step_taken = now - last
        size = float(last.norm()) or 1.0
        values[f"motion/{player}"] = float(step_taken.norm()) / size / max(since, 1)
        values[f"size/{player}"] = float(now.norm()) / (float(start.norm()) or 1.0)
        values[f"wiring/still-{player}"] = float(torch.equal(now, start))
        trained = _trained(net)
        values[f"wiring/unmoved-{player}"] = (
            float((now == start)[trained].float().mean()) if bool(trained.any()) else 0.0
        )
        gone = last - start
        if float(gone.norm()) and float(step_taken.norm()):
            values[f"motion/path-{player}"] = cosine(gone, step_taken)
        before = memory.moved.get(player)
        if before is not None and float(before.norm()) and float(step_taken.norm()):
            values[f"motion/turn-{player}"] = cosine(before, step_taken)
        memory.moved[player], memory.last[player] = step_taken, now
    return values


def _trained(net: nn.Module) -> Tensor:
    """Which entries of :func:`flat_parameters` require gradients, ``(n,)``."""
    parts = [torch.full((p.numel(),), p.requires_grad) for p in net.parameters() if p.is_floating_point()]
    return torch.cat(parts) if parts else torch.empty(0, dtype=torch.bool)


def optimizer_parameters(subject: Subject, optimizers: Optimizers) -> tuple[Values, dict[str, str]]:
    """Which player's parameters each optimiser holds."""
    if not optimizers:
        return {}, {}
    held = {who: {id(p) for g in o.param_groups for p in g["params"]} for who, o in optimizers.items()}
    values: Values = {}
    notes: dict[str, str] = {}
    for player, net in subject.networks.items():
        own = [(n, p) for n, p in net.named_parameters() if p.requires_grad]
        count = sum(p.numel() for _, p in own)
        everyone = set().union(*held.values())
        out = [(n, p) for n, p in own if id(p) not in everyone]
        values[f"wiring/left-out-{player}"] = sum(p.numel() for _, p in out) / max(count, 1)
        if out:
            notes[f"left out of {player}"] = ", ".join(n for n, _ in out[:4])
        other = next(p for p in PLAYERS if p != player)
        if other in held:
            foreign = sum(p.numel() for _, p in own if id(p) in held[other])
            values[f"wiring/held-by-{other}"] = foreign / max(count, 1)
    return values, notes


def left_gradients(subject: Subject, memory: Memory, recomputed: float, step: int) -> Values:
    """The generator's gradient in ``.grad``: its norm over a recomputed one, its cosine with the last one."""
    left = flat_gradients(subject.generator)
    if left is None or not bool(torch.isfinite(left).all()):
        return {}
    values = {"wiring/leftover-ratio": float(left.norm()) / max(recomputed, 1e-12)}
    before = memory.gradients.get("generator")
    if before is not None and memory.before_step == step - 1 and float(left.norm()) and float(before.norm()):
        values["wiring/leftover-likeness"] = cosine(left, before)
    return values


def descent(
    subject: Subject, chart: Chart, memory: Memory, optimizers: Optimizers, data: tuple[Tensor, Tensor]
) -> Values:
    """Cosine between the direction of the discriminator's optimiser and the gradient of a correct discriminator loss.

    If the optimiser is not known, the last step stands for its direction.
    """
    followed = _followed(subject, optimizers)
    if followed is None and "discriminator" in memory.before:
        followed = memory.before["discriminator"] - flat_parameters(subject.discriminator)
    if followed is None or subject.labels is not None:
        return {}
    params = copies(subject.discriminator)
    real, fake = data
    read: Callable[..., Tensor] = subject.raw if chart.objective.own is not None else subject.score
    out = chart.objective.discriminator(read(real, None, params), read(fake, None, params))
    if not out.requires_grad:
        return {}
    grads = torch.autograd.grad(out, list(params.values()), allow_unused=True, materialize_grads=True)
    proper = torch.cat([g.reshape(-1).float().cpu() for g in grads])
    if not float(proper.norm()) or not float(followed.norm()):
        return {}
    return {"wiring/descent": cosine(followed, proper)}


def auc_gain(subject: Subject, memory: Memory, real: Fed, fake: Fed) -> Values:
    """The change of the AUC that the discriminator's own movement since the last check-up caused.

    The mean over the generator's present rows and, if the generator can be called with other parameters, its rows at
    the last check-up: otherwise a generator that moves away from what the discriminator has just learnt would make
    the gain look negative. The AUC does not depend on the objective, nor on any penalty in the loop.
    """
    then = {
        player: _unflat(net, memory.last.get(player, memory.start[player])) for player, net in subject.networks.items()
    }
    with torch.no_grad():
        rows_of = [fake]
        if subject.codes is not None and subject.sampler is None:
            codes = subject.draw_codes(max(len(fake[0]) // 2, 1))
            rows_of.append((subject.make(codes, then["generator"]), codes[1]))
        new, old = subject.score(*real), subject.score(*real, then["discriminator"])
        differences = [
            auc(new, subject.score(*rows)) - auc(old, subject.score(*rows, then["discriminator"])) for rows in rows_of
        ]
    return {"wiring/gain": sum(differences) / len(differences)}


def _unflat(net: nn.Module, flat: Tensor) -> dict[str, Tensor]:
    """Parameters by name from one vector, as :func:`flat_parameters` lays them out."""
    found: dict[str, Tensor] = {}
    at = 0
    for name, p in net.named_parameters():
        if p.is_floating_point():
            found[name] = flat[at : at + p.numel()].view_as(p).to(p)
            at += p.numel()
    return found


def step_noise(subject: Subject, optimizers: Optimizers, gradient: float) -> Values:
    r"""Signal over noise of the generator's own steps: :math:`\|\bar g\|^2 / (\sum v - \|\bar g\|^2)`.

    ``v`` is Adam's running mean of squared gradients, which holds the noise of the loop's own batches; the mean
    gradient is the doctor's.
    """
    optimizer = optimizers.get("generator")
    if optimizer is None or not math.isfinite(gradient):
        return {}
    total, found = 0.0, False
    for group in optimizer.param_groups:
        second = group.get("betas", (0.0, 0.99))[1] if "betas" in group else group.get("alpha", 0.99)
        for p in group["params"]:
            state = optimizer.state.get(p, {})
            kept = state.get("exp_avg_sq", state.get("square_avg"))
            if kept is not None:
                age = float(state.get("step", 1e9))
                total += float(kept.sum()) / max(1 - second**age, 1e-6)
                found = True
    if not found:
        return {}
    signal = gradient**2
    return {"gradient/step-snr": signal / max(total - signal, 1e-3 * signal, 1e-30)}


def _followed(subject: Subject, optimizers: Optimizers) -> Tensor | None:
    """The running mean of gradients in the state of an optimiser with momentum."""
    optimizer = optimizers.get("discriminator")
    if optimizer is None:
        return None
    parts = []
    for p in subject.discriminator.parameters():
        if not p.is_floating_point():
            continue
        state = optimizer.state.get(p, {})
        kept = state.get("exp_avg", state.get("momentum_buffer"))
        parts.append(torch.zeros(p.numel()) if kept is None else kept.detach().reshape(-1).float().cpu())
    found = torch.cat(parts) if parts else torch.empty(0)
    return found if len(found) and float(found.norm()) else None


def cosine(a: Tensor, b: Tensor) -> float:
    """Cosine of the angle between two vectors; NaN if one is zero."""
    scale = float(a.norm()) * float(b.norm())
    return float(a @ b) / scale if scale > 0 and math.isfinite(scale) else math.nan


@contextmanager
def watched_units(subject: Subject) -> Iterator[Values]:
    """Observe the layers by forward hooks, which are removed on exit; the dictionary holds the vitals.

    ``units/dead-*`` is the largest share, over ReLU layers, of units that are zero for every row; ``units/activity-*``
    the largest root mean square of the output of a layer with parameters.
    """
    found: Values = {}
    handles = []

    def keep(name: str, value: float) -> None:
        found[name] = max(value, found.get(name, 0.0))

    def dead(player: str) -> Callable[[nn.Module, object, object], None]:
        def look(module: nn.Module, given: object, out: object) -> None:
            if isinstance(out, Tensor) and out.dim() > 1 and len(out) >= 32 and out.numel():
                fires = out.detach() > 0
                active = fires.flatten(2).any(2).any(0) if out.dim() > 2 else fires.any(0)
                keep(f"units/dead-{player}", 1 - float(active.float().mean()))

        return look

    def active(player: str) -> Callable[[nn.Module, object, object], None]:
        def look(module: nn.Module, given: object, out: object) -> None:
            if isinstance(out, Tensor) and out.is_floating_point() and out.numel():
                keep(f"units/activity-{player}", float(out.detach().float().square().mean().sqrt()))

        return look

    for player, net in subject.networks.items():
        for module in net.modules():
            if isinstance(module, torch.jit.ScriptModule):  # takes no hooks
                continue
            if isinstance(module, nn.ReLU):
                handles.append(module.register_forward_hook(dead(player)))
            elif module._parameters and not module._modules:
                handles.append(module.register_forward_hook(active(player)))
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()
