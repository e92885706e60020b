"""D2GAN and MGAN against brute force on discrete laws: values, optima, and what each promises of its parts."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from equilibria.base.errors import ConfigError, ShapeError
from equilibria.base.records import decode, encode
from equilibria.core.game import Game, evaluate, gradients, make_draw
from equilibria.data import DataSpec
from equilibria.games.mixture import MGAN, MixtureGenerator
from equilibria.games.spec import Latent
from equilibria.games.two_discriminators import D2GAN, log_softplus
from equilibria.losses import Minimax, RelativisticPairing
from equilibria.networks import MLPPair

SYMBOLS = 4
SPEC = DataSpec(kind="vector", shape=(SYMBOLS,))
P, Q = torch.tensor([1, 2, 3, 4]).double() / 10, torch.tensor([4, 4, 1, 1]).double() / 10


def rows(counts: list[int]) -> Tensor:
    """One-hot points, each symbol as often as it says: the mean over rows is the expectation under a discrete law."""
    return torch.eye(SYMBOLS).repeat_interleave(torch.tensor(counts), dim=0).double()


def table() -> nn.Module:
    return nn.Linear(SYMBOLS, 1, bias=False)


def optimise(game: Game, player: str, loss: Callable[[], Tensor]) -> float:
    own = list(game.moved(player).values())
    optimizer = torch.optim.LBFGS(
        own, max_iter=60, tolerance_grad=1e-10, tolerance_change=0, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = loss()
        value.backward()
        return value

    for _ in range(2):
        optimizer.step(closure)
    return float(loss().detach())


def kl(p: Tensor, q: Tensor) -> float:
    p, q = p.double(), q.double()
    return float((p * (p / q).log()).sum())


# D2GAN ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("joint", [True, False])
@pytest.mark.parametrize(("alpha", "beta"), [(1.0, 1.0), (0.3, 0.8)])
def test_d2gan_value_and_optimum_on_a_discrete_law(alpha: float, beta: float, joint: bool) -> None:
    spec = D2GAN(alpha=alpha, beta=beta, joint=joint, latent=Latent(size=SYMBOLS))
    modules = {"generator": nn.Identity(), "first": table(), "second": table()}
    game = spec.assemble(modules, SPEC).double()
    draw = make_draw({"real": rows([1, 2, 3, 4]), "latent": rows([4, 4, 1, 1])}, seed=0)
    names = [p.name for p in game.players if p.name != "generator"]
    value = -sum(optimise(game, name, lambda who=name: evaluate(game, who, draw).total) for name in names)
    constants = sum(w * (math.log(w) - 1) for w in (alpha, beta))
    assert value == pytest.approx(constants + alpha * kl(P, Q) + beta * kl(Q, P), abs=1e-9)
    first, second = game.get_submodule("first"), game.get_submodule("second")
    symbols = torch.eye(SYMBOLS).double()
    torch.testing.assert_close(nn.functional.softplus(first(symbols)).detach(), alpha * P / Q, rtol=1e-4, atol=0)
    torch.testing.assert_close(nn.functional.softplus(second(symbols)).detach(), beta * Q / P, rtol=1e-4, atol=0)
    for contest in game.contests(draw).values():
        torch.testing.assert_close(contest.score(symbols).detach(), (P / Q).log(), rtol=0, atol=1e-4)


def test_d2gan_generator_is_paid_by_the_terms_it_enters() -> None:
    """L_G is V without E_p log D1 and E_p D2; with the joint player's loss it adds up to V."""
    game = D2GAN(alpha=0.4, beta=0.9, latent=Latent(size=SYMBOLS)).build(MLPPair(width=8, depth=1), SPEC).double()
    draw = make_draw({"real": torch.randn(6, 4).double(), "latent": torch.randn(5, 4).double()}, seed=0)
    fake = game.sample(draw)
    d1, d2 = (nn.functional.softplus(game.get_submodule(n)(fake)) for n in ("first", "second"))
    r1, r2 = (nn.functional.softplus(game.get_submodule(n)(draw["real"])) for n in ("first", "second"))
    wanted = -d1.mean() + 0.9 * d2.log().mean()
    torch.testing.assert_close(evaluate(game, "generator", draw).total, wanted)
    torch.testing.assert_close(
        evaluate(game, "discriminators", draw).total, -(0.4 * r1.log().mean() - r2.mean() + wanted)
    )


@pytest.mark.parametrize("h", [-1e4, -100.0, -20.0, -15.0, -14.99, -1.0, 0.0, 30.0, 1e4])
def test_log_softplus_and_its_slope_are_exact(h: float) -> None:
    x = torch.tensor(h, dtype=torch.float64, requires_grad=True)
    value = log_softplus(x)
    (slope,) = torch.autograd.grad(value, x, create_graph=True)
    (curve,) = torch.autograd.grad(slope, x)
    u = math.exp(-abs(h))
    plus = u - u * u / 2 if h < -20 else math.log1p(math.exp(h)) if h < 30 else h + u
    exact = h - u / 2 if h < -20 else math.log(plus)
    assert float(value.detach()) == pytest.approx(exact, rel=1e-12, abs=1e-12)
    ratio = 1 - u / 2 if h < -20 else 1 / (1 + math.exp(-h)) / plus
    assert float(slope.detach()) == pytest.approx(ratio, rel=1e-6) and bool(curve.isfinite())


@pytest.mark.parametrize("scale", [-1e4, 1e4])
def test_d2gan_losses_are_finite_where_they_are(scale: float) -> None:
    identity = nn.Linear(SYMBOLS, SYMBOLS, bias=False)
    nn.init.eye_(identity.weight)
    game = D2GAN(latent=Latent(size=SYMBOLS)).assemble(
        {"generator": identity, "first": table(), "second": table()}, SPEC
    )
    for name in ("first", "second"):
        for weight in game.get_submodule(name).parameters():
            nn.init.constant_(weight, scale)
    draw = make_draw({"real": rows([1, 1, 1, 1]).float(), "latent": rows([2, 1, 1, 0]).float()}, seed=0)
    for player in game.players:
        grads, loss = gradients(game, player.name, draw)
        assert bool(loss.total.isfinite()) and all(bool(g.isfinite().all()) for g in grads.values())


def test_d2gan_refuses_weights_that_are_not_positive() -> None:
    with pytest.raises(ConfigError, match="beta=0"):
        D2GAN(beta=0.0)


# MGAN ----------------------------------------------------------------------------------------------------------------


class Fixed(nn.Module):
    """Two generators of fixed laws: for code r, generator k gives the symbol of ``plan[r][k]``."""

    def __init__(self, plan: list[tuple[int, int]]) -> None:
        super().__init__()
        self.plan = torch.tensor(plan)
        self.unused = nn.Parameter(torch.zeros(()))

    def forward(self, z: Tensor, index: Tensor | None = None) -> Tensor:
        return torch.eye(SYMBOLS, dtype=z.dtype)[self.plan[: len(z)].flatten()]


def trunk() -> nn.Module:
    made = nn.Identity()
    made.features = SYMBOLS  # type: ignore[assignment]
    return made


def test_mgan_value_on_a_discrete_law() -> None:
    """min over C and max over D of the value is -log 4 + 2 JSD(p, p_m) - β JSD(G_1, G_2) + β log 2."""
    from equilibria.games.mixture import ClassifyingDiscriminator

    plan = [(0, 1), (0, 3), (1, 2), (0, 3), (2, 3)]
    beta = 0.7
    spec = MGAN(generators=2, beta=beta, objective=Minimax(), latent=Latent(size=3))
    game = spec.assemble(
        {"generator": Fixed(plan), "discriminator": ClassifyingDiscriminator(trunk(), 2)}, SPEC
    ).double()
    draw = make_draw({"real": rows([1, 2, 3, 4]), "latent": torch.zeros(5, 3).double()}, seed=0)
    optimise(game, "discriminator", lambda: evaluate(game, "discriminator", draw).total)
    real = -nn.functional.softplus(-game.get_submodule("discriminator")(draw["real"])).mean()
    value = float((real + evaluate(game, "generator", draw).total).detach())
    laws = [torch.tensor([row[k] for row in plan]).bincount(minlength=SYMBOLS) / 5 for k in range(2)]
    mixed = sum(laws) / 2
    safe = [law.clamp(min=1e-300) for law in (x.double() for x in laws)]
    between = sum(kl(law, mixed) for law in safe) / 2
    half = (P + mixed) / 2
    jsd = (kl(P, half) + kl(mixed, half)) / 2
    assert value == pytest.approx(-math.log(4) + 2 * jsd - beta * between + beta * math.log(2), abs=1e-6)


def test_mgan_generators_differ_in_their_first_layer_only() -> None:
    net = MixtureGenerator(nn.Linear(5, 2), generators=3, latent=4, hidden=5)
    z = torch.randn(6, 4)
    every = net(z).unflatten(0, (6, 3))
    for k in range(3):
        alone = net.shared(torch.relu(z @ net.weight[k].T + net.bias[k]))
        torch.testing.assert_close(every[:, k], alone)
        torch.testing.assert_close(net(z, torch.full((6,), k)), alone)


def test_mgan_samples_are_the_mixture_and_say_who_made_them() -> None:
    game = MGAN(generators=3, hidden=4, latent=Latent(size=2)).build(MLPPair(width=4, depth=1), SPEC)
    codes = game.codes(3000)
    share = codes["index"].bincount(minlength=3) / 3000
    assert share.sub(1 / 3).abs().max() < 0.05
    made = game.sample(make_draw(codes, 0))
    first = game.sample(make_draw({"latent": codes["latent"], "index": torch.zeros_like(codes["index"])}, 0))
    mine = codes["index"] == 0
    torch.testing.assert_close(made[mine], first[mine])
    assert not torch.allclose(made[~mine], first[~mine])


def test_mgan_without_beta_pays_generators_nothing_for_being_told_apart() -> None:
    spec = MGAN(generators=4, beta=0.0, hidden=4, latent=Latent(size=2))
    game = spec.build(MLPPair(width=4, depth=1), SPEC)
    draw = make_draw(game.draw({"x": torch.randn(8, SYMBOLS)}), 0)
    assert len(draw["latent"]) == 2 and len(game.sample(draw)) == 8
    grads, _ = gradients(game, "generator", draw)
    with torch.no_grad():
        game.get_submodule("discriminator.classifier").weight.mul_(-3)
    again, _ = gradients(game, "generator", draw)
    assert all(torch.equal(grads[n], again[n]) for n in grads)


@pytest.mark.parametrize(
    "wrong", [{"generators": 1}, {"beta": -1.0}, {"hidden": 0}, {"objective": RelativisticPairing()}]
)
def test_mgan_refuses(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        MGAN(**wrong)


def test_mgan_names_a_batch_that_is_too_small_and_modules_that_do_not_fit() -> None:
    spec = MGAN(generators=8, hidden=4, latent=Latent(size=2))
    game = spec.build(MLPPair(width=4, depth=1), SPEC)
    with pytest.raises(ConfigError, match=r"7 .*8 generators"):
        game.draw({"x": torch.zeros(7, SYMBOLS)})
    made = spec.make(MLPPair(width=4), DataSpec(kind="vector", shape=(3,)))
    with pytest.raises(ShapeError, match="mixture of generators"):
        spec.assemble(made, SPEC)


@pytest.mark.parametrize("spec", [D2GAN(alpha=0.2), MGAN(generators=3, objective=Minimax())])
def test_specs_go_to_json_and_back(spec: object) -> None:
    assert decode(encode(spec)) == spec
