"""What an audit reads in loops of every style: the fault where there is one, and nothing where there is none."""

from __future__ import annotations

import copy
import gc
import io
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules import module as modules
from torch.optim import optimizer as optimizers

from audited_loops import (
    LABELS,
    REAL,
    STYLES,
    Conditional,
    Critic,
    GradientPenalty,
    Pair,
    audited,
    holds,
    mlp,
    ruled_out,
)
from audited_missed import FAULTS
from equilibria.doctor import Doctor
from equilibria.doctor.audit import Audit
from equilibria.doctor.audit.backward import _listeners
from equilibria.doctor.audit.hashing import row_hashes
from equilibria.doctor.audit.readings import ORDER
from equilibria.doctor.audit.recorder import Recorder
from equilibria.doctor.audit.trace import Held, OptimizerStep
from equilibria.doctor.audit.updates import _used_twice
from equilibria.losses import OBJECTIVES


@pytest.mark.parametrize("name", FAULTS)
def test_the_fault_is_read(name: str) -> None:
    torch.manual_seed(0)
    condition, made = FAULTS[name]
    step = made()
    found = audited(step, real=step.real, labels=LABELS if isinstance(step, Conditional) else None)
    assert condition in holds(found), (found.readings, found.unread)
    first = min(holds(found), key=ORDER.index)
    assert first == condition, "another reading comes before it"


@pytest.mark.parametrize("known", [True, False], ids=["real rows known", "not known"])
@pytest.mark.parametrize("name", STYLES)
def test_a_sound_loop_has_no_reading_that_holds(name: str, known: bool) -> None:
    torch.manual_seed(0)
    step = STYLES[name]()
    found = audited(step, windows=3, real=step.real if known else None)
    assert not holds(found), [one for one in found.readings if one.holds]


@pytest.mark.parametrize("name", STYLES)
def test_nor_in_a_long_window(name: str) -> None:
    torch.manual_seed(0)
    step = STYLES[name]()
    found = audited(step, steps=16, real=step.real)
    assert not holds(found), [one for one in found.readings if one.holds]


READ_IN_FULL = (
    "Pair",
    "GeneratorFirst",
    "Frozen",
    "Accumulating",
    "SeparatePasses",
    "Inverted",
    "GradientPenalty",
    "Relativistic",
)


@pytest.mark.parametrize("name", READ_IN_FULL)
def test_what_is_ruled_out_in_a_loop_that_is_seen_in_full(name: str) -> None:
    torch.manual_seed(0)
    found = audited(STYLES[name](), windows=3)
    assert not found.unread
    assert ruled_out(found) >= {
        "no-gradient-path", "generator-never-updated", "discriminator-never-updated", "wrong-player-trained",
        "parameters-not-optimised", "gradients-accumulate", "other-players-gradient", "adversarial-term-missing",
        "same-target-for-both", "same-batch-twice", "swapped-labels",
    }  # fmt: skip
    assert found.losses.inverted is (name == "Inverted")


def test_the_critic_with_a_bounded_score_and_the_uneven_steps_are_seen_in_a_longer_window() -> None:
    torch.manual_seed(0)

    class Rarely(GradientPenalty):
        turn = 0

        def __call__(self) -> None:
            self.turn += 1
            x, fake = self.x(), self.generator(self.z())
            self.d.zero_grad()
            on = self.loss_d(self.discriminator(x), self.discriminator(fake.detach())) + self.penalty(x, fake.detach())
            on.backward()
            self.d.step()
            if self.turn % 5 == 0:
                self.g.zero_grad()
                self.loss_g(self.discriminator(self.generator(self.z()))).backward()
                self.g.step()

    step = Rarely()
    audit = Audit({"generator": [step.generator], "discriminator": [step.discriminator]}, REAL)
    found = None
    for _ in range(6):
        for _ in range(3):
            step()
        audit.arm()
        for _ in range(audit.span(1)):
            step()
        found = audit.read()
        assert found is not None and not holds(found)
    assert audit.span(1) > 5 and found is not None and "gradients-accumulate" in ruled_out(found)


@pytest.mark.parametrize("works", [True, False])
def test_a_penalty_at_each_sixteenth_step_is_in_a_long_window(works: bool) -> None:
    class Lazily(Pair):
        turn = 0

        def penalty(self, x: Tensor, fake: Tensor) -> Tensor | float:
            self.turn += 1
            if self.turn % 16:
                return 0.0
            x = x.clone().requires_grad_()
            slopes = torch.autograd.grad(self.discriminator(x).sum(), x, create_graph=works)[0]
            return slopes.square().sum(1).mean()

    torch.manual_seed(0)
    step = Lazily()
    doctor = Doctor(step.generator, step.discriminator, real=REAL, latent=3)
    for turn in range(1, 127):
        step()
        doctor.check(turn)
    found = [one.condition for one in doctor.diagnose().active]
    assert found == [] if works else found[0] == "penalty-without-effect"


def test_passes_alone_are_no_gradient_that_was_used_twice() -> None:
    """Numbers of passes and of steps are counted apart, and one of each may be equal."""
    steps = [OptimizerStep(number, 1, [], 0, (1e-3,), False) for number in (2, 9)]

    def held(*chain: tuple[str, int]) -> Held:
        return Held("generator", "weight", torch.tensor(1.0), chain, True, False)

    assert _used_twice(held(("pass", 7), ("step", 2), ("pass", 8)), steps[1], steps)
    assert not _used_twice(held(("pass", 7), ("pass", 2), ("pass", 8)), steps[1], steps)


@pytest.mark.parametrize(("weight", "read"), [(0.0, False), (1.0, True)])
def test_a_term_of_weight_0_leaves_nothing_in_the_other_player(weight: float, read: bool) -> None:
    class Together(Pair):
        """Both players step after both passes; the discriminator's loss reaches the generator by one term."""

        def __call__(self) -> None:
            x, fake = self.x(), self.generator(self.z())
            self.g.zero_grad()
            self.loss_g(self.discriminator(fake)).backward(retain_graph=True)
            self.d.zero_grad()
            loss = self.loss_d(self.discriminator(x), self.discriminator(fake.detach()))
            (loss + weight * self.discriminator(fake).mean()).backward()
            self.g.step()
            self.d.step()

    torch.manual_seed(0)
    found = audited(Together())
    assert ("other-players-gradient" in holds(found)) is read, found.readings


def test_discrete_rows_that_are_alike_by_chance_are_not_one_batch() -> None:
    class Bits(Pair):
        def __post_init__(self) -> None:
            self.real = (torch.rand(300, 3) > 0.5).float()
            self.discriminator = mlp(3, 8, 1)
            self.generator = nn.Sequential(mlp(3, 8, 3), nn.Sigmoid())
            super().__post_init__()

        def __call__(self) -> None:
            x, soft = self.x(), self.generator(self.z())
            fake = soft + ((soft > 0.5).float() - soft).detach()  # straight through
            self.d.zero_grad()
            self.loss_d(self.discriminator(x), self.discriminator(fake.detach())).backward()
            self.d.step()
            self.g.zero_grad()
            self.loss_g(self.discriminator(fake)).backward()
            self.g.step()

    torch.manual_seed(0)
    step = Bits()
    step.n = 64
    found = audited(step, windows=3, real=step.real)
    assert not {"same-batch-twice", "few-rows-used"} & holds(found)


class BatchFetchedOnce(Pair):
    def __post_init__(self) -> None:
        super().__post_init__()
        self.only = super().x()

    def x(self) -> Tensor:
        return self.only


class SubsetOfATrial(Pair):
    def x(self) -> Tensor:
        return self.real[torch.randint(40, (self.n,))]


class BatchUsedFiveTimes(Pair):
    turn, held = 0, REAL[:16]

    def x(self) -> Tensor:
        self.turn += 1
        if self.turn % 5 == 1:
            self.held = super().x()
        return self.held


@pytest.mark.parametrize("made", [BatchFetchedOnce, SubsetOfATrial, BatchUsedFiveTimes, Pair])
def test_how_many_rows_are_used_is_read(made: type[Pair]) -> None:
    torch.manual_seed(0)
    step = made()
    found = audited(step, windows=8 if made is SubsetOfATrial else 4, steps=5)
    assert holds(found) == ({"few-rows-used"} if made in (BatchFetchedOnce, SubsetOfATrial) else set())
    assert "few-rows-used" in holds(found) | ruled_out(found)


class OnePartOfTheData(Pair):
    """A condition keeps the first eighth of the rows."""

    def x(self) -> Tensor:
        return self.real[torch.randint(len(self.real) // 8, (self.n,))]


class FewOfOnePart(Pair):
    def x(self) -> Tensor:
        return self.real[torch.randint(8, (self.n,))]


@pytest.mark.parametrize(
    ("made", "expected"), [(OnePartOfTheData, "mode-dropping"), (FewOfOnePart, "few-rows-used"), (Pair, "")]
)
def test_rows_of_a_part_of_the_data_are_not_few_rows(made: type[Pair], expected: str) -> None:
    torch.manual_seed(0)
    hashes = row_hashes(REAL).tolist()
    parts = {key: 8 * i // len(hashes) for i, key in enumerate(hashes)}
    found = audited(made(), windows=12, steps=4, parts=parts)
    first = min(holds(found), key=ORDER.index, default="")
    assert first == expected, found.readings


def test_with_closures_and_a_fixed_noise_the_noise_is_named() -> None:
    class FixedNoise(STYLES["WithClosures"]):  # type: ignore[misc]
        def z(self) -> Tensor:
            return torch.randn(self.n, 3, generator=torch.Generator().manual_seed(5))

    torch.manual_seed(0)
    assert holds(audited(FixedNoise(), windows=3)) == {"noise-reused"}


class Named(Pair):
    """A loop on an objective of the library."""

    objective: Any = None

    def __call__(self) -> None:
        x, fake = self.x(), self.generator(self.z())
        self.d.zero_grad()
        self.objective.discriminator(
            self.discriminator(x).flatten(), self.discriminator(fake.detach()).flatten()
        ).backward()
        self.d.step()
        self.g.zero_grad()
        on_real = self.discriminator(x).flatten() if self.objective.pairs else None
        self.objective.generator(self.discriminator(fake).flatten(), on_real).backward()
        self.g.step()


@pytest.mark.parametrize("name", list(OBJECTIVES))
def test_the_losses_of_the_library_are_sound_and_read(name: str) -> None:
    torch.manual_seed(0)
    step = Named()
    made: Any = OBJECTIVES[name]
    step.objective = made() if isinstance(made, type) else made
    found = audited(step, windows=2)
    assert not holds(found) - {"lipschitz-violated"}, [one for one in found.readings if one.holds]
    families = {
        "wasserstein": "linear", "least-squares": "least-squares", "nonsaturating": "logits", "minimax": "logits",
    }  # fmt: skip
    if name in families:
        assert found.losses.families == {families[name]}, [(e.laws, e.formula) for e in found.losses.entries]


def weights(step: Pair) -> list[Tensor]:
    state: list[Any] = [*step.generator.state_dict().values(), *step.discriminator.state_dict().values()]
    for optimizer in (step.g, step.d):
        for own in optimizer.state_dict()["state"].values():
            state += [v for v in own.values() if isinstance(v, Tensor)]
    return [t.detach().clone() for t in state] + [torch.get_rng_state()]


@pytest.mark.parametrize("name", [*STYLES, *FAULTS])
def test_a_loop_with_windows_is_the_loop_without_bit_for_bit(name: str) -> None:
    made = STYLES[name] if name in STYLES else FAULTS[name][1]
    ends = []
    for watching in (False, True):
        torch.manual_seed(3)
        step = made()
        audit = Audit({"generator": [step.generator], "discriminator": [step.discriminator]}, step.real)
        for turn in range(8):
            if watching and turn % 4 == 0:
                audit.arm()
            step()
            if watching and turn % 4 == 1:
                assert audit.read() is not None
        ends.append(weights(step))
    assert all(torch.equal(a, b) or (a != a).any() for a, b in zip(*ends, strict=True))


def hooks() -> tuple[int, int, int, int]:
    return (
        len(modules._global_forward_hooks),
        len(optimizers._global_optimizer_pre_hooks),
        len(optimizers._global_optimizer_post_hooks),
        len(_listeners),
    )


def on_parameters(step: Pair) -> int:
    parameters = [*step.generator.parameters(), *step.discriminator.parameters()]
    return sum(len(p._backward_hooks or ()) + len(p._post_accumulate_grad_hooks or ()) for p in parameters)


def watched(step: Pair) -> Audit:
    audit = Audit({"generator": [step.generator], "discriminator": [step.discriminator]}, REAL)
    audit.arm()
    return audit


def test_nothing_is_left_behind() -> None:
    before, original = hooks(), torch.autograd.backward
    step = Pair()
    audit = watched(step)
    assert hooks() != before
    step()
    assert on_parameters(step) > 0 and torch.autograd.backward is not original
    audit.read()
    assert hooks() == before and on_parameters(step) == 0 and torch.autograd.backward is original
    audit = watched(step)
    step()
    del audit  # as after an error in the loop that nobody caught
    gc.collect()
    assert hooks() == before and on_parameters(step) == 0 and torch.autograd.backward is original


def test_two_windows_at_once_end_in_any_order() -> None:
    original = torch.autograd.backward
    one, two = Pair(), Pair()
    first, second = watched(one), watched(two)
    one()
    two()
    first.read()
    one()
    assert torch.autograd.backward is not original
    second.read()
    assert torch.autograd.backward is original


def test_an_error_in_a_hook_ends_the_reading_and_not_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    from equilibria.doctor.audit import recorder

    def broken(*_: Any) -> Tensor:
        raise RuntimeError("a fault of ours")

    step = Pair()
    monkeypatch.setattr(recorder, "row_hashes", broken)
    audit = Audit({"generator": [step.generator], "discriminator": [step.discriminator]})
    audit.arm()
    step()
    found = audit.read()
    assert found is not None and not found.readings and "a fault of ours" in found.unread["the training step"]


def test_networks_are_saved_and_copied_inside_a_window() -> None:
    step = Pair()
    audit = watched(step)
    step()
    file = io.BytesIO()
    torch.save(step.generator, file)
    twin = copy.deepcopy(step.generator)
    state: Mapping[str, Tensor] = step.generator.state_dict()
    calls = len(audit._recorder.trace.calls)
    twin(torch.randn(2, 3))
    assert len(audit._recorder.trace.calls) == calls and set(state) == set(twin.state_dict())
    assert not any(p._backward_hooks for p in twin.parameters())
    audit.read()


def test_calls_that_are_not_seen_are_not_taken_for_absent() -> None:
    """A compiled twin, another method, ``forward`` itself, parts: nothing is said to be missing."""

    class Hidden(Pair):
        def __call__(self) -> None:
            x, fake = self.x(), self.generator(self.z())
            self.d.zero_grad()
            self.loss_d(self.discriminator.forward(x), self.discriminator.forward(fake.detach())).backward()
            self.d.step()
            self.g.zero_grad()
            (self.loss_g(self.discriminator.forward(fake)) + fake.square().mean()).backward()
            self.g.step()

    found = audited(Hidden(), windows=3)
    assert not holds(found) and "adversarial-term-missing" not in ruled_out(found)
    assert "was not seen" in " ".join(found.unread.values())


def test_weights_that_were_cut_to_a_bound_are_told_by_how_many_are_there() -> None:
    torch.manual_seed(0)
    small, large = nn.Linear(2, 1), nn.Linear(40, 2)
    recorder = Recorder({"generator": [], "discriminator": [small, large]})

    def cut(net: nn.Module) -> bool:
        return recorder._cut(net)[0]

    assert not cut(small) and not cut(large)
    with torch.no_grad():
        small.weight.copy_(torch.tensor([[0.4, -0.4]]))
        small.bias.fill_(0.1)
        large.weight[0, :2] = 0.9
    assert cut(small), "two of three"
    assert not cut(large), "two of 82 may be alike by chance"
    with torch.no_grad():
        large.weight[1, :2] = -0.9
        small.weight.zero_()
        small.bias.zero_()
    assert cut(large) and not cut(small)


@pytest.mark.parametrize("clamped", [True, False])
def test_one_weight_that_is_cut_after_each_step_is_a_bound(clamped: bool) -> None:
    torch.manual_seed(0)

    class LinearCritic(Critic):
        weight = 0.0

        def __post_init__(self) -> None:
            self.discriminator = nn.Linear(6, 1)
            super().__post_init__()
            with torch.no_grad():
                self.discriminator.weight[0, 0] = 20.0  # so that scores are beyond a hinge's margin

        def penalty(self, x: Tensor, fake: Tensor) -> float:
            return 0.0

        def __call__(self) -> None:
            super().__call__()
            if clamped:
                for p in self.discriminator.parameters():
                    p.data.clamp_(-5, 5)

    assert ("lipschitz-violated" in holds(audited(LinearCritic(), windows=3))) is not clamped
