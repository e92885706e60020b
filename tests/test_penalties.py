"""Penalties against closed forms, autograd's own gradients, and finite differences."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from equilibria.base.errors import ConfigError, ShapeError
from equilibria.base.records import decode, encode
from equilibria.base.schedules import Clock, Linear
from equilibria.losses.penalties import (
    R1,
    R2,
    Clip,
    Dragan,
    DriftPenalty,
    GradientPenalty,
    InstanceNoise,
    JSRegulariser,
    Penalty,
    Side,
)
from equilibria.theory.slopes import input_slopes


@dataclass
class Duel:
    """The smallest contest."""

    score: Callable[[Tensor], Tensor]
    real: tuple[Tensor, ...]
    fake: tuple[Tensor, ...]

    def scores(self, side: Side) -> Tensor:
        return self.score(self._points(side))

    def slopes(self, side: Side) -> Tensor:
        return self.slopes_at(self._points(side), side)

    def slopes_at(self, x: Tensor, side: Side) -> Tensor:
        return input_slopes(self.score, x)[1]

    def _points(self, side: Side) -> Tensor:
        return (self.real if side == "real" else self.fake)[0]


@dataclass
class Dealt:
    """The smallest draw."""

    tensors: dict[str, Tensor] = field(default_factory=dict)
    step: int = 0
    time: float = 0.0

    def __getitem__(self, name: str) -> Tensor:
        return self.tensors[name]


EVERY: dict[str, Penalty] = {
    "r1": R1(gamma=0.7),
    "r2": R2(gamma=0.7),
    "wgan-gp": GradientPenalty(weight=3.0),
    "one-sided": GradientPenalty(weight=3.0, one_sided=True, center=0.1),
    "at-real": GradientPenalty(weight=3.0, at="real"),
    "at-fake": GradientPenalty(weight=3.0, at="fake", center=0.0),
    "dragan": Dragan(weight=2.0),
    "roth": JSRegulariser(gamma=0.4),
    "drift": DriftPenalty(weight=0.5),
}


def points(n: int = 6, d: int = 3, seed: int = 0, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    made = torch.randn(2, n, d, generator=torch.Generator().manual_seed(seed), dtype=dtype)
    return made[0], made[1] + 0.5


def dealt(penalty: Penalty, real: Tensor, time: float = 0.0, seed: int = 0) -> Dealt:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Dealt(penalty.noise(real), time=time)


def value(penalty: Penalty, score: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor) -> Tensor:
    return penalty(Duel(score, (real,), (fake,)), dealt(penalty, real))


W = torch.tensor([3.0, 0.0, -4.0], dtype=torch.float64)
LINEAR = {
    "r1": 0.35 * 25,
    "r2": 0.35 * 25,
    "wgan-gp": 3 * (5 - 1) ** 2,
    "one-sided": 3 * (5 - 0.1) ** 2,
    "at-real": 3 * (5 - 1) ** 2,
    "at-fake": 3 * 25,
    "dragan": 2 * (5 - 1) ** 2,
}


@pytest.mark.parametrize("name", LINEAR)
def test_linear_score(name: str) -> None:
    assert value(EVERY[name], lambda x: x @ W, *points()).item() == pytest.approx(LINEAR[name], rel=1e-12)


def test_linear_score_roth_and_drift() -> None:
    real, fake = points()
    sides = [x.numpy() @ W.numpy() for x in (real, fake)]
    d_real, d_fake = (1 / (1 + np.exp(-h)) for h in sides)
    roth = 0.2 * 25 * (((1 - d_real) ** 2).mean() + (d_fake**2).mean())
    assert value(EVERY["roth"], lambda x: x @ W, real, fake).item() == pytest.approx(roth, rel=1e-12)
    drift = 0.5 * (sides[0] ** 2).mean()
    assert value(EVERY["drift"], lambda x: x @ W, real, fake).item() == pytest.approx(drift, rel=1e-12)


@pytest.mark.parametrize("name", ["r1", "r2", "wgan-gp", "one-sided", "at-real", "dragan"])
def test_quadratic_score(name: str) -> None:
    """h(x) = |x|^2/2 has slope x, so a penalty is a function of the points' own norms."""
    real, fake = points()
    penalty = EVERY[name]
    draw = dealt(penalty, real)
    where = {"r1": real, "at-real": real, "r2": fake}.get(name)
    if name == "dragan":
        where = real + draw["dragan_shift"]
    elif where is None:
        mix = draw["gradient_penalty_mix"]
        where = mix * real + (1 - mix) * fake
    norms = np.linalg.norm(where.numpy(), axis=1)
    expected = {
        "r1": 0.35 * (norms**2).mean(),
        "r2": 0.35 * (norms**2).mean(),
        "one-sided": 3 * (np.maximum(norms - 0.1, 0) ** 2).mean(),
        "dragan": 2 * ((norms - 1) ** 2).mean(),
    }.get(name, 3 * ((norms - 1) ** 2).mean())
    found = penalty(Duel(lambda x: x.square().sum(1) / 2, (real,), (fake,)), draw)
    assert found.item() == pytest.approx(expected, rel=1e-12)


def test_one_sided_forgives_small_slopes() -> None:
    low = GradientPenalty(one_sided=True, center=6.0)
    assert value(low, lambda x: x @ W, *points()).item() == 0


def test_centered_at_zero_on_real_points_is_r1() -> None:
    net, (real, fake) = small_net(), points()
    as_penalty = value(GradientPenalty(weight=0.35, center=0.0, at="real"), lambda x: net(x)[:, 0], real, fake)
    torch.testing.assert_close(as_penalty, value(EVERY["r1"], lambda x: net(x)[:, 0], real, fake))


def small_net(seed: int = 0) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 1)).double()


def by_autograd(name: str, net: nn.Module, real: Tensor, fake: Tensor, draw: Dealt) -> Tensor:
    """The penalties written again on torch.autograd.grad."""

    def slopes(x: Tensor) -> Tensor:
        x = x.clone().requires_grad_()
        return torch.autograd.grad(net(x).sum(), x, create_graph=True)[0]

    def norm(x: Tensor) -> Tensor:
        return slopes(x).norm(dim=1)

    if name in ("r1", "r2"):
        return 0.35 * norm(real if name == "r1" else fake).pow(2).mean()
    if name in ("wgan-gp", "one-sided"):
        mix = draw["gradient_penalty_mix"]
        away = norm(mix * real + (1 - mix) * fake) - (1 if name == "wgan-gp" else 0.1)
        return 3 * (away if name == "wgan-gp" else away.clamp(min=0)).pow(2).mean()
    if name == "at-real":
        return 3 * (norm(real) - 1).pow(2).mean()
    if name == "at-fake":
        return 3 * norm(fake).pow(2).mean()
    if name == "dragan":
        return 2 * (norm(real + draw["dragan_shift"]) - 1).pow(2).mean()
    if name == "drift":
        return 0.5 * net(real).pow(2).mean()
    on_real = ((1 - net(real)[:, 0].sigmoid()) * norm(real)).pow(2).mean()
    return 0.2 * (on_real + (net(fake)[:, 0].sigmoid() * norm(fake)).pow(2).mean())


@pytest.mark.parametrize("name", EVERY)
def test_value_and_parameter_gradient_match_autograd(name: str) -> None:
    net, (real, fake) = small_net(), points()
    draw = dealt(EVERY[name], real)
    ours = EVERY[name](Duel(lambda x: net(x)[:, 0], (real,), (fake,)), draw)
    theirs = by_autograd(name, net, real, fake, draw)
    torch.testing.assert_close(ours, theirs)
    parameters = tuple(net.parameters())
    for a, b in zip(
        torch.autograd.grad(ours, parameters, allow_unused=True, materialize_grads=True),
        torch.autograd.grad(theirs, parameters, allow_unused=True, materialize_grads=True),
        strict=True,
    ):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("name", EVERY)
def test_first_and_second_parameter_derivatives_by_finite_differences(name: str) -> None:
    net, (real, fake) = small_net(), points(n=3)
    draw = dealt(EVERY[name], real)
    names = [n for n, _ in net.named_parameters() if n != "2.bias" or name in ("roth", "drift")]
    inputs = tuple(dict(net.named_parameters())[n].detach().requires_grad_() for n in names)

    def of_parameters(*tensors: Tensor) -> Tensor:
        given = dict(zip(names, tensors, strict=True))
        score = lambda x: torch.func.functional_call(net, given, (x,))[:, 0]  # noqa: E731
        return EVERY[name](Duel(score, (real,), (fake,)), draw)

    assert torch.autograd.gradcheck(of_parameters, inputs)
    assert torch.autograd.gradgradcheck(of_parameters, inputs, atol=1e-5)


@pytest.mark.parametrize("name", EVERY)
def test_derivatives_are_finite_where_the_slope_is_zero(name: str) -> None:
    real, fake = points()
    w = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    total = value(EVERY[name], lambda x: x @ w, real, fake)
    (first,) = torch.autograd.grad(total, w, create_graph=True)
    (second,) = torch.autograd.grad((first * torch.ones_like(first)).sum(), w)
    assert math.isfinite(total.item())
    assert bool(first.isfinite().all())
    assert bool(second.isfinite().all())


@pytest.mark.parametrize("name", EVERY)
def test_vmap_and_func_grad_give_what_a_loop_gives(name: str) -> None:
    nets = [small_net(seed) for seed in range(3)]
    stacked, _ = torch.func.stack_module_state(nets)
    real, fake = points()
    draw = dealt(EVERY[name], real)

    def of_parameters(given: dict[str, Tensor]) -> Tensor:
        score = lambda x: torch.func.functional_call(nets[0], given, (x,))[:, 0]  # noqa: E731
        return EVERY[name](Duel(score, (real,), (fake,)), draw)

    slope = torch.func.grad(of_parameters)
    batched = torch.func.vmap(slope)(stacked)
    for i, net in enumerate(nets):
        alone = slope({k: v.detach() for k, v in net.named_parameters()})
        for key, expected in alone.items():
            torch.testing.assert_close(batched[key][i], expected)


@pytest.mark.parametrize("name", EVERY)
def test_penalties_leave_autocast(name: str) -> None:
    net, (real, fake) = small_net().float(), points(dtype=torch.float32)
    duel, draw = Duel(lambda x: net(x)[:, 0], (real,), (fake,)), dealt(EVERY[name], real)
    outside = EVERY[name](duel, draw)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = EVERY[name](duel, draw)
    assert inside.dtype == torch.float32
    if name in ("drift", "roth"):  # these also read scores, whose precision the contest decides
        torch.testing.assert_close(inside, outside, rtol=0.05, atol=0)
    else:
        assert torch.equal(inside, outside)


@pytest.mark.parametrize("name", EVERY)
def test_low_precision_points_are_widened(name: str) -> None:
    net, (real, fake) = small_net().float(), points()
    real, fake = real.bfloat16(), fake.bfloat16()
    draw = dealt(EVERY[name], real)
    score = lambda x: net(x.float())[:, 0]  # noqa: E731
    found = EVERY[name](Duel(score, (real,), (fake,)), draw)
    expected = EVERY[name](Duel(score, (real.float(),), (fake.float(),)), draw)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, rtol=2e-2 if draw.tensors else 0, atol=0)


def test_images_take_the_norm_over_all_axes() -> None:
    real, fake = torch.randn(2, 4, 2, 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    weight = torch.linspace(-1, 1, 18, dtype=torch.float64).reshape(2, 3, 3)
    norm = weight.norm().item()
    score = lambda x: (x * weight).sum((1, 2, 3))  # noqa: E731
    assert value(EVERY["wgan-gp"], score, real, fake).item() == pytest.approx(3 * (norm - 1) ** 2, rel=1e-12)
    assert value(EVERY["r1"], score, real, fake).item() == pytest.approx(0.35 * norm**2, rel=1e-12)


def test_noise_names_are_unique_per_class() -> None:
    real = torch.zeros(4, 2, 3, 3)
    makers = [R1(), R2(), GradientPenalty(), Dragan(), JSRegulariser(), DriftPenalty(), InstanceNoise()]
    keys = [key for maker in makers for key in maker.noise(real)]
    assert len(keys) == len(set(keys)) == 4


def test_noise_follows_the_seed_and_the_shape() -> None:
    real = torch.randn(5, 2, 3, 3, generator=torch.Generator().manual_seed(0))
    for maker in (GradientPenalty(), Dragan()):
        first, again, other = (dealt(maker, real, seed=s).tensors for s in (1, 1, 2))
        for key, noise in first.items():
            assert noise.shape[0] == 5
            assert torch.equal(noise, again[key])
            assert not torch.equal(noise, other[key])


def test_mix_runs_from_fake_to_real() -> None:
    real, fake = points()
    seen: list[Tensor] = []
    for mix in (0.0, 1.0):
        duel = Duel(lambda x: seen.append(x) or x.sum(1), (real,), (fake,))
        GradientPenalty()(duel, Dealt({"gradient_penalty_mix": torch.full((6, 1), mix, dtype=torch.float64)}))
    torch.testing.assert_close(seen[0], fake)
    torch.testing.assert_close(seen[1], real)


def test_dragan_shift_has_the_moments_of_the_product_of_uniforms() -> None:
    real = 3 * torch.randn(2000, 8, generator=torch.Generator().manual_seed(0))
    shift = dealt(Dragan(spread=0.5), real).tensors["dragan_shift"] / (0.5 * real.std(correction=0))
    assert 0 <= shift.min().item() <= shift.max().item() <= 1
    assert shift.mean().item() == pytest.approx(1 / 4, abs=0.02)
    assert shift.square().mean().item() == pytest.approx(1 / 9, abs=0.02)


@pytest.mark.parametrize("penalty", [R1, R2, JSRegulariser])
def test_scheduled_gamma(penalty: type[R1]) -> None:
    net, (real, fake) = small_net(), points()
    duel = Duel(lambda x: net(x)[:, 0], (real,), (fake,))
    scheduled = penalty(gamma=Linear(start=2.0, end=1.0))(duel, Dealt(time=0.25))
    torch.testing.assert_close(scheduled, penalty(gamma=1.75)(duel, Dealt()))


def test_instance_noise_and_clip() -> None:
    noise = InstanceNoise(std=Linear(start=0.4, end=0.0))
    made = noise.noise(torch.zeros(3, 2))
    assert set(made) == {"noise_real", "noise_fake"}
    found = noise(torch.ones(3, 2), made["noise_real"], Clock(0, 0.5))
    torch.testing.assert_close(found, 1 + 0.2 * made["noise_real"])
    assert Clip(value=0.5)("w", torch.tensor([-2.0, 0.1, 2.0])).tolist() == pytest.approx([-0.5, 0.1, 0.5])


@pytest.mark.parametrize("part", [*EVERY.values(), R1(gamma=Linear(start=1.0, end=0.1)), Clip(), InstanceNoise()])
def test_records_survive_json(part: object) -> None:
    assert decode(encode(part)) == part


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda: R1(gamma=-1.0), ConfigError, "gamma=-1.0"),
        (lambda: R2(gamma=math.nan), ConfigError, "gamma=nan"),
        (lambda: GradientPenalty(at="midpoints"), ConfigError, "'midpoints'.*fake, interpolates, real"),  # type: ignore[arg-type]
        (lambda: Clip(value=0.0), ConfigError, "value=0.0"),
        (lambda: InstanceNoise(std=-0.1), ConfigError, "std=-0.1"),
        (lambda: value(GradientPenalty(), lambda x: x.sum(1), torch.ones(3, 2), torch.ones(4, 2)), ShapeError, "fake"),
    ],
)
def test_mistakes_are_named(call: Callable[[], object], error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        call()
