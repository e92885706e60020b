"""The doctor attached to loops written by hand: it moves nothing, holds nothing, costs nothing when it is not due."""

from __future__ import annotations

import gc
import itertools
import random
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, spectral_norm
from torch.utils.data import DataLoader, TensorDataset

from equilibria.doctor import Doctor
from equilibria.doctor.randomness import generators_of
from equilibria.doctor.schedule import Schedule

REAL = torch.randn(200, 2, generator=torch.Generator().manual_seed(1)) + torch.tensor([2.0, 0.0])
LABELS = (REAL[:, 1] > 0).long()
LATENT = 4


class Conditional(nn.Module):
    """A network that sees a label beside its input."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.table = nn.Embedding(2, 3)
        self.body = nn.Sequential(nn.Linear(inputs + 3, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, outputs))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.body(torch.cat([x, self.table(y)], 1))


class Counting(nn.Module):
    """Normalises by a running scale that its forward pass puts in place of the last one."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("scale", torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        self.scale = 0.9 * self.scale + 0.1 * x.detach().abs().mean()
        return x / self.scale


def generator() -> nn.Module:
    return nn.Sequential(nn.Linear(LATENT, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))


def discriminator(*first: nn.Module) -> nn.Module:
    return nn.Sequential(*first, nn.Linear(2, 8), nn.LeakyReLU(0.2), nn.Linear(8, 1))


def networks(kind: str) -> tuple[nn.Module, nn.Module]:
    """The pair of a case."""
    if kind == "labels":
        return Conditional(LATENT, 2), Conditional(2, 1)
    if kind == "batch-norm":
        return generator(), nn.Sequential(nn.Linear(2, 8), nn.BatchNorm1d(8), nn.LeakyReLU(0.2), nn.Linear(8, 1))
    if kind == "dropout":
        return generator(), nn.Sequential(nn.Dropout(0.2), nn.Linear(2, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 1))
    if kind == "spectral-norm":
        old, new = spectral_norm(nn.Linear(2, 8)), parametrizations.spectral_norm(nn.Linear(8, 1))
        return generator(), nn.Sequential(old, nn.ReLU(), new)
    if kind == "new-buffers":
        return generator(), discriminator(Counting())
    return generator(), discriminator()


def noisy_d(real: Tensor, fake: Tensor) -> Tensor:
    """Targets with noise, as is often done."""
    ones = 1 - 0.1 * torch.rand_like(real)
    bce = F.binary_cross_entropy_with_logits
    return bce(real, ones) + bce(fake, 0.1 * torch.rand_like(fake))


def told_in(kind: str, loop: Loop) -> dict[str, Any]:
    """What the doctor is told in a case."""
    told: dict[str, Any] = {"real": REAL, "latent": LATENT, "objective": "nonsaturating"}
    if kind == "labels":
        told["labels"] = LABELS
    if kind == "own-sampler":
        told["sampler"] = lambda n: loop.G(torch.randn(n, LATENT)) + random.random() * np.random.rand()
    if kind == "loader":
        told["real"] = loop.loader
    if kind == "own-generator":
        told["latent"] = loop.codes
    if kind == "noisy-targets":
        told["objective"] = (noisy_d, lambda fake: F.softplus(-fake).mean())
    if kind in {"optimizers", "sgd"}:
        told["optimizers"] = {"generator": loop.opt_g, "discriminator": loop.opt_d}
    return told


class Loop:
    """A plain loop; ``watch`` is called after each step."""

    def __init__(self, kind: str) -> None:
        torch.manual_seed(7)
        random.seed(7)
        np.random.seed(7)
        self.kind, self.own = kind, torch.Generator().manual_seed(3)
        self.G, self.D = networks(kind)
        optimizer = torch.optim.SGD if kind == "sgd" else torch.optim.Adam
        extra = {"momentum": 0.9} if kind == "sgd" else {"betas": (0.5, 0.99)}
        self.opt_g = optimizer(self.G.parameters(), lr=1e-2, **extra)  # type: ignore[arg-type]
        self.opt_d = optimizer(self.D.parameters(), lr=1e-2, **extra)  # type: ignore[arg-type]
        self.loader = DataLoader(TensorDataset(REAL, LABELS), batch_size=25, shuffle=True)

    def codes(self, n: int) -> Tensor:
        return torch.randn(n, LATENT, generator=self.own if self.kind == "own-generator" else None)

    def batches(self) -> Any:
        while True:
            yield from self.loader

    def run(self, steps: int, watch: Callable[[int], Any] | None = None) -> None:
        batches = self.batches()
        for step in range(1, steps + 1):
            x, y = next(batches)
            label = (y,) if self.kind == "labels" else ()
            loss = noisy_d(self.D(x, *label), self.D(self.G(self.codes(len(x)), *label).detach(), *label))
            self.opt_d.zero_grad()
            loss.backward()
            self.opt_d.step()
            self.opt_g.zero_grad()
            (F.softplus(-self.D(self.G(self.codes(len(x)), *label), *label)).mean() * (1 + random.random())).backward()
            self.opt_g.step()
            if watch is not None:
                watch(step)

    def state(self) -> dict[str, Any]:
        """Every number that training has touched, and every generator of random ones."""
        found: dict[str, Any] = {}
        for who, net, optimizer in (("G", self.G, self.opt_g), ("D", self.D, self.opt_d)):
            found |= {f"{who}.{name}": t.detach().clone() for name, t in net.state_dict().items()}
            found |= {f"{who}.{n}.grad": None if p.grad is None else p.grad.clone() for n, p in net.named_parameters()}
            for i, kept in optimizer.state_dict()["state"].items():
                found |= {f"{who}.{i}.{k}": torch.as_tensor(v).clone() for k, v in kept.items()}
            found[f"{who}.flags"] = [m.training for m in net.modules()]
            found[f"{who}.trainable"] = [p.requires_grad for p in net.parameters()]
            found[f"{who}.hooks"] = [
                len(m._forward_hooks) + len(m._forward_pre_hooks) + len(m._backward_hooks) for m in net.modules()
            ]
        numbers = np.random.get_state(legacy=False)
        generators = [torch.get_rng_state(), self.own.get_state(), torch.as_tensor(numbers["state"]["pos"])]
        found |= {f"generator {i}": g.clone() for i, g in enumerate(generators)}
        return found | {"numpy": numbers["state"]["key"].tolist(), "python": random.getstate()}


def same(a: dict[str, Any], b: dict[str, Any]) -> list[str]:
    """Names of what differs."""
    assert a.keys() == b.keys()
    return [
        name for name in a if not (torch.equal(a[name], b[name]) if isinstance(a[name], Tensor) else a[name] == b[name])
    ]


KINDS = (
    "plain",
    "batch-norm",
    "dropout",
    "labels",
    "spectral-norm",
    "new-buffers",
    "own-sampler",
    "own-generator",
    "loader",
    "noisy-targets",
    "optimizers",
    "sgd",
)


@pytest.mark.parametrize("kind", KINDS)
def test_a_loop_with_the_doctor_is_bitwise_the_loop_without(kind: str) -> None:
    states = []
    for attended in (False, True):
        loop = Loop(kind)
        if attended:
            doctor = Doctor(loop.G, loop.D, **told_in(kind, loop))
            loop.run(31, doctor.check)
            assert [c.step for c in doctor.chart.checkups] == [10, 20, 30]
            assert all(c["probe/auc"] >= 0 and c["gradient/declared"] >= 0 for c in doctor.chart.checkups)
            doctor.diagnose()
        else:
            loop.run(31)
        states.append(loop.state())
    assert same(*states) == []


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_left_behind_by_a_look(kind: str) -> None:
    loop = Loop(kind)
    loop.G.requires_grad_(True)
    before = loop.state()
    doctor = Doctor(loop.G, loop.D, **told_in(kind, loop))
    assert same(before, loop.state()) == []
    doctor.look(1)
    doctor.diagnose()
    assert same(before, loop.state()) == []
    assert all(p.grad is None for net in (loop.G, loop.D) for p in net.parameters())


def test_flags_and_frozen_parts_stay_as_they_are() -> None:
    loop = Loop("batch-norm")
    loop.run(3)
    loop.G.eval()
    loop.G[1].train()  # one layer apart from the rest
    loop.D[0].requires_grad_(False)
    loop.D[3].bias.grad = None
    before = loop.state()
    doctor = Doctor(loop.G, loop.D, **told_in("batch-norm", loop))
    doctor.look(4)
    doctor.diagnose()
    assert same(before, loop.state()) == []


def test_hooks_of_the_user_are_kept_and_no_other_is_added() -> None:
    loop, seen = Loop("plain"), []
    handle = loop.D[0].register_forward_hook(lambda *_: seen.append(1))
    before = dict(loop.D[0]._forward_hooks)
    doctor = Doctor(loop.G, loop.D, **told_in("plain", loop))
    doctor.look(1)
    assert dict(loop.D[0]._forward_hooks) == before and seen
    handle.remove()


AROUND = {
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
}


@pytest.mark.parametrize("around", AROUND.values(), ids=AROUND)
def test_what_is_around_the_call_changes_nothing(around: Callable[[], Any]) -> None:
    vitals = []
    for context in (torch.enable_grad, around):
        loop = Loop("plain")
        loop.run(9)
        doctor = Doctor(loop.G, loop.D, **told_in("plain", loop))
        with context():
            vitals.append(doctor.look(10).vitals)
    assert vitals[0] == vitals[1]


def test_the_networks_die_with_the_doctor() -> None:
    loop = Loop("batch-norm")
    doctor = Doctor(loop.G, loop.D, **told_in("batch-norm", loop))
    loop.run(21, doctor.check)
    doctor.diagnose()
    gone = [weakref.ref(x) for x in (loop.G, loop.D, doctor, loop.G[0].weight)]
    del loop, doctor
    gc.collect()
    assert [ref() for ref in gone] == [None] * 4


def test_findings_repeat() -> None:
    def diagnosis(noise: int, seed: int = 0) -> tuple[dict[str, Any], list[dict[str, float]]]:
        loop = Loop("batch-norm")
        loop.opt_g.param_groups[0]["lr"] = 0.0  # so that there is something to find
        doctor = Doctor(loop.G, loop.D, seed=seed, **told_in("batch-norm", loop))
        loop.run(40, doctor.check)
        torch.manual_seed(noise)
        random.seed(noise)
        told = doctor.diagnose().to_dict()
        return told | {"seconds": 0.0}, [c.vitals for c in doctor.chart.checkups]

    first, again, other = diagnosis(1), diagnosis(2), diagnosis(1, seed=5)
    assert first == again and first[0]["findings"]
    assert first[1] != other[1]


# When it is due ------------------------------------------------------------------------------------------------------


def calls(module: nn.Module) -> list[int]:
    """Grows with every forward pass of a module."""
    seen: list[int] = []
    module.register_forward_hook(lambda *_: seen.append(1))
    return seen


def test_a_check_that_is_not_due_passes_nothing_through_the_networks() -> None:
    loop = Loop("plain")
    doctor = Doctor(loop.G, loop.D, **told_in("plain", loop))
    seen = calls(loop.G), calls(loop.D)
    assert [doctor.check(step) for step in range(1, 10)] == [None] * 9
    assert seen == ([], [])
    assert doctor.check(10) is not None and min(map(len, seen)) > 0
    for each in seen:
        each.clear()
    assert [doctor.check(step) for step in range(11, 20)] == [None] * 9 and seen == ([], [])


def test_the_schedule_is_by_step_dense_at_first_and_sparser_later() -> None:
    def due(steps: range) -> list[int]:
        schedule, found = Schedule(), []
        for step in steps:
            if schedule.due(step):
                schedule.record(step)
                found.append(step)
        return found

    every = due(range(1, 2001))
    gaps = [b - a for a, b in itertools.pairwise(every)]
    assert every[:7] == [10, 20, 30, 40, 50, 60, 72] and gaps == sorted(gaps) and len(every) == 25
    assert 35 <= len(due(range(1, 30_001))) <= 45
    assert due(range(7, 100, 7)) == [14, 28, 42, 56, 70, 84]  # steps that skip: at the next one given
    assert due(range(5000, 5020)) == [5000]  # a loop that goes on from a checkpoint


def test_steps_may_skip_and_repeat() -> None:
    loop = Loop("optimizers")
    doctor = Doctor(loop.G, loop.D, **told_in("optimizers", loop))
    taken = [step for step in (3, 9, 12, 12, 13, 19, 25, 25, 400, 401, 500) if doctor.check(step) is not None]
    assert taken == [12, 25, 400, 500]
    assert [c.step for c in doctor.chart.checkups] == taken
    assert all("wiring/leftover-likeness" not in c.vitals for c in doctor.chart.checkups)  # no two steps in a row


def test_a_diagnosis_before_the_first_check_up() -> None:
    loop = Loop("plain")
    told = Doctor(loop.G, loop.D, **told_in("plain", loop)).diagnose()
    assert told.state.value == "on the way" and told.findings == () and "Too early" in str(told)


# Generators of one's own ---------------------------------------------------------------------------------------------

SHARED = torch.Generator()


def from_shared(n: int) -> Tensor:
    return torch.randn(n, LATENT, generator=SHARED)


def test_generators_are_found_where_functions_keep_them() -> None:
    own, numbers, plain = torch.Generator(), np.random.default_rng(0), random.Random(0)

    def by_default(n: int, source: Any = numbers) -> Any:
        return source.normal(size=n)

    class Dealer:
        def __init__(self) -> None:
            self.source = plain

        def deal(self, n: int) -> list[float]:
            return [self.source.random() for _ in range(n)]

    assert generators_of([lambda n: from_shared(n)]) == [SHARED]
    assert generators_of([lambda n: torch.randn(n, generator=own)]) == [own]
    assert generators_of([by_default]) == [numbers]
    assert generators_of([Dealer().deal]) == [plain]
    assert generators_of([DataLoader(TensorDataset(REAL), generator=own)]) == [own]
    assert generators_of([None, 3, torch.randn, REAL]) == []


@pytest.mark.parametrize("shuffled", [True, False])
def test_a_loader_with_a_generator_of_its_own_deals_the_same_rows_after(shuffled: bool) -> None:
    rows = []
    for attended in (False, True):
        torch.manual_seed(0)
        loader = DataLoader(
            TensorDataset(REAL), batch_size=50, shuffle=shuffled, generator=torch.Generator().manual_seed(4)
        )
        if attended:
            Doctor(generator(), discriminator(), real=loader, latent=LATENT)
            torch.manual_seed(0)
        rows.append(torch.cat([x for (x,) in loader]))
    assert torch.equal(*rows)
