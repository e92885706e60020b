"""Every public function of theory refuses wrong densities, shapes, shares and players, and says what it expected."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from equilibria.theory import assumptions as asm
from equilibria.theory import divergences as dv
from equilibria.theory import fields, nash, spectra
from equilibria.theory import generalization as gn
from equilibria.theory import identities as idt
from equilibria.theory import landscape as ls
from equilibria.theory import proximal as px
from equilibria.theory import smoothing as sm
from equilibria.theory import supports as sp
from equilibria.theory import transport as tr
from equilibria.theory import value as vl
from equilibria.theory.fields import FlatField
from equilibria.theory.slopes import input_slopes

HALF, TWICE, VOID, ONE = torch.full((2,), 0.5), torch.ones(2), torch.zeros(0), torch.ones(1, 1)
GRID = torch.linspace(-6, 6, 241)
NORMAL, STEP = (-GRID.square() / 2).exp() / math.sqrt(2 * math.pi), torch.full((241,), 0.05)
FIELD = FlatField(lambda p: {"critic": {"x": -p["x"]}}, {"x": torch.ones(2)})
AT: dict[str, Tensor] = {"x": torch.ones(1)}
NOBODY: dict[str, Tensor] = {}
PROXIMAL = px.Proximal(lambda a, b: (a["x"] - b["x"]).square().sum(), weight=1.0, steps=2)
LAW, HALF_LAW = sm.Atoms(ONE), sm.Atoms(ONE, torch.tensor([0.5]))
SIDES = (torch.zeros(4, 2), torch.zeros(4, 2))


def versus(d: dict[str, Tensor], g: dict[str, Tensor]) -> Tensor:
    return (d["x"] * g["x"]).sum()


def linear(own: dict[str, Tensor], x: Tensor) -> Tensor:
    return x @ own["x"].expand(x.shape[1])


def log_normal(mean: Tensor, x: Tensor) -> Tensor:
    return -(x - mean).square() / 2 - math.log(2 * math.pi) / 2


Call = Callable[[], object]
WRONG: list[tuple[Callable, Call, str]] = [
    # densities that do not integrate to one, and shapes of laws
    *((f, lambda f=f: f(TWICE, HALF), "p sums to 2, not 1") for f in (dv.kl, dv.js, dv.chi2, dv.total_variation)),
    *((f, lambda f=f: f(NORMAL, 2 * NORMAL, STEP), "q integrates to 2, not 1") for f in (dv.kl, dv.js, dv.chi2)),
    (dv.f_divergence, lambda: dv.f_divergence("kl", NORMAL, NORMAL, STEP[:1]), r"weights \(1,\)"),
    (dv.f_divergence, lambda: dv.f_divergence("gini", HALF, HALF), "unknown f-divergence"),
    (dv.f_divergence_of_logs, lambda: dv.f_divergence_of_logs("kl", TWICE.log(), HALF.log()), "p sums to 2, not 1"),
    (dv.f_integral, lambda: dv.f_integral("kl", -HALF, HALF), "not >= 0"),
    (dv.optimal_logit, lambda: dv.optimal_logit(HALF, prior=1.0), r"in \(0, 1\)"),
    (dv.wasserstein_1d, lambda: dv.wasserstein_1d(HALF, HALF, VOID), r"want \(k,\)"),
    (dv.energy_value, lambda: dv.energy_value(HALF, HALF, margin=0.0), "margin=0.0"),
    (vl.value, lambda: vl.value(VOID, HALF), "at least one of each"),
    (vl.value_of_laws, lambda: vl.value_of_laws(HALF, TWICE, HALF), "p sums to 2"),
    (vl.value_of_laws, lambda: vl.value_of_laws(GRID, NORMAL, NORMAL, 2 * STEP), "p integrates to 2"),
    (vl.optimal_discriminator, lambda: vl.optimal_discriminator(HALF, ONE), "one shape"),
    (
        vl.optimal_conditional_discriminator,
        lambda: vl.optimal_conditional_discriminator(ONE, ONE, torch.tensor([2.0])),
        "real_shares sums to 2",
    ),
    (vl.pointwise_optimum, lambda: vl.pointwise_optimum(torch.exp, torch.exp, HALF, VOID), "one shape"),
    (vl.virtual_criterion, lambda: vl.virtual_criterion(TWICE, HALF), "sums to 2"),
    (vl.density_descent, lambda: vl.density_descent(TWICE, HALF, steps=1), "sums to 2"),
    (vl.density_descent, lambda: vl.density_descent(HALF, HALF, steps=-1), "steps >= 0"),
    (vl.nagarajan_kolter_value, lambda: vl.nagarajan_kolter_value(torch.exp, VOID, HALF), "at least one"),
    (vl.js_smoothing, lambda: vl.js_smoothing((HALF, ONE), (HALF, ONE)), r"want \(n,\)"),
    (
        idt.generator_gradients,
        lambda: idt.generator_gradients(NORMAL.log() - 1, log_normal, torch.zeros(()), GRID, STEP),
        "real density integrates to 0.367",
    ),
    (idt.cauchy_scale, lambda: idt.cauchy_scale(ONE), r"\(n, d, p\)"),
    (idt.noisy_updates, lambda: idt.noisy_updates(ONE[None], 0, torch.Generator()), "repeats=0"),
    (idt.contribution, lambda: idt.contribution("kl", -HALF, HALF), "not >= 0"),
    (idt.misprinted_js, lambda: idt.misprinted_js(TWICE, HALF), "p sums to 2"),
    (idt.slopes_in_probability, lambda: idt.slopes_in_probability(TWICE), r"in \(0, 1\)"),
    (idt.pairing_value, lambda: idt.pairing_value(HALF, HALF, TWICE), "q sums to 2"),
    (idt.product_js, lambda: idt.product_js(TWICE, HALF / 2), "p sums to 2"),
    (idt.split_joint, lambda: idt.split_joint(TWICE, torch.eye(2), HALF, torch.eye(2)), "data sums to 2"),
    (idt.split_codes, lambda: idt.split_codes(HALF, torch.eye(2), TWICE), "prior sums to 2"),
    (ls.mixture_density, lambda: ls.mixture_density(ONE, torch.zeros(1, 2), torch.ones(())), r"want \(k, d\)"),
    (ls.mixture_density, lambda: ls.mixture_density(ONE, ONE, torch.zeros(())), "std=0.0"),
    (ls.fit_mixture, lambda: ls.fit_mixture("kl", 2 * NORMAL, GRID[:, None], STEP, ONE), "integrates to 2"),
    (ls.landscape_count, lambda: ls.landscape_count(0), "at least one"),
    *((f, lambda f=f: f((0, 5)), r"entries are data 0\.\.1") for f in (ls.separable_value, ls.paired_value)),
    *((f, lambda f=f: f(9, ls.paired_value), "want 1 to 6") for f in (ls.strict_local_minima, ls.trapped)),
    (sm.smoothed_log_density, lambda: sm.smoothed_log_density(ONE, HALF_LAW, 1.0), "sum 0.5"),
    (sm.smoothed_log_density, lambda: sm.smoothed_log_density(ONE, LAW, float("nan")), "must be > 0"),
    (sm.noisy_optimal_logit, lambda: sm.noisy_optimal_logit(ONE, LAW, HALF_LAW, 1.0), "sum 0.5"),
    (sm.pull, lambda: sm.pull(torch.zeros(1, 2), LAW, LAW, 1.0), r"pass \(n, 1\)"),
    (sm.clean_gradient, lambda: sm.clean_gradient(lambda t: LAW, ONE, LAW, 1.0), "do not depend on theta"),
    (sm.noised_gradient, lambda: sm.noised_gradient(lambda t: sm.Atoms(t), ONE, LAW, 1.0, nodes=0), "0 nodes"),
    (sm.smoothed_js, lambda: sm.smoothed_js(LAW, HALF_LAW, 1.0), "sum 0.5"),
    (sm.noise_distance_bound, lambda: sm.noise_distance_bound(-1.0), "negative"),
    (sm.transport_bound, lambda: sm.transport_bound(1.0, 1.0, 1.0), "log 2"),
    (sm.gauss_hermite, lambda: sm.gauss_hermite(ONE, std=-1.0, nodes=3), "> 0"),
    (tr.costs, lambda: tr.costs(ONE, torch.zeros(1, 2)), r"want \(n, d\)"),
    (tr.assignment, lambda: tr.assignment(ONE, torch.zeros(2, 1)), "sets of equal size"),
    (tr.exact_plan, lambda: tr.exact_plan(TWICE, HALF, torch.eye(2)), "p sums to 2"),
    (tr.line_potential, lambda: tr.line_potential(HALF, TWICE, HALF), "q sums to 2"),
    (tr.sliced, lambda: tr.sliced(ONE, ONE, 0 * ONE), "a direction is zero"),
    (tr.sinkhorn, lambda: tr.sinkhorn(HALF, HALF, torch.eye(2), float("nan")), "epsilon nan"),
    (tr.sinkhorn, lambda: tr.sinkhorn(HALF, HALF, torch.eye(2) * float("nan"), 1.0), "marginal nan"),
    # eps, shares and counts
    (sp.vanishing_bound, lambda: sp.vanishing_bound(1.0, 1.0), r"in \(0, 1\)"),
    (
        sp.generator_gradient,
        lambda: sp.generator_gradient(lambda x: x[:, 0] - 5, lambda p, z: z + p["x"], AT, ONE),
        "between 0 and 1",
    ),
    (sp.jacobian_singular_values, lambda: sp.jacobian_singular_values(torch.exp, HALF), r"pass \(n, k\)"),
    (sp.jacobian_rank, lambda: sp.jacobian_rank(torch.exp, ONE, relative=2.0), r"\[0, 1\)"),
    (sp.two_nn_dimension, lambda: sp.two_nn_dimension(ONE), "at least 10"),
    (sp.pca_dimension, lambda: sp.pca_dimension(torch.eye(3), share=0.0), r"\(0, 1\]"),
    *((f, lambda f=f: f(ONE, HALF), "pass") for f in (sp.intersection_dimension, sp.intersect_transversally)),
    (sp.set_distance, lambda: sp.set_distance(ONE, torch.zeros(0, 1)), "none of them empty"),
    (
        sp.smooth_perfect_discriminator,
        lambda: sp.smooth_perfect_discriminator(torch.zeros(1, 2), torch.ones(1, 2))(ONE),
        "in 2 dimensions",
    ),
    (sp.crossing_discriminator, lambda: sp.crossing_discriminator(torch.abs, torch.abs)(ONE), r"want \(n,\)"),
    (sp.smooth_norm, lambda: sp.smooth_norm(lambda x: x.sum(), ONE), r"want \(n,\)"),
    (gn.ascend, lambda: gn.ascend(lambda p: p["x"].sum(), NOBODY, 1, 0.1), "no parameters"),
    (gn.critic_value, lambda: gn.critic_value(VOID, HALF), "at least one of each"),
    (gn.neural_net_distance, lambda: gn.neural_net_distance(linear, AT, (ONE, torch.zeros(1, 2))), "fake"),
    (gn.neural_net_distance, lambda: gn.neural_net_distance(lambda p, x: p["x"], AT, SIDES), "one logit a row"),
    (gn.generalization_gap, lambda: gn.generalization_gap(linear, AT, SIDES, (ONE, SIDES[0])), "rows"),
    (gn.sample_bound, lambda: gn.sample_bound(1, 0.0, 1.0, 1.0, 1.0), "all be > 0"),
    (gn.fresh_distance, lambda: gn.fresh_distance(0, 1, 1, torch.Generator()), ">= 1"),
    *((f, lambda f=f: f(0, 1), ">= 1") for f in (gn.collision_probability, gn.collision_bound, gn.kl_floor)),
    (gn.birthday_batch, lambda: gn.birthday_batch(10, probability=1.0), r"in \(0, 1\)"),
    (gn.support_from_batch, lambda: gn.support_from_batch(0), ">= 1"),
    (asm.relax_density, lambda: asm.relax_density(points=0), "> 0"),
    (asm.relax_equal_priors, lambda: asm.relax_equal_priors(prior=1.0), r"in \(0, 1\)"),
    (asm.relax_discriminator, lambda: asm.relax_discriminator(points=0), "points=0"),
    (asm.relax_generator, lambda: asm.relax_generator(components=8), "1 to 7"),
    (asm.relax_divergence, lambda: asm.relax_divergence("gini"), "unknown divergence"),
    (asm.relax_population, lambda: asm.relax_population(points=1), "at least 2"),
    # a game without the player that is needed, and shapes of points, fields and spectra
    (nash.nikaido_isoda, lambda: nash.nikaido_isoda({"g": lambda o: o["x"].sum()}, {"d": AT}), "d have no loss"),
    (nash.best_response, lambda: nash.best_response(lambda o: torch.ones(2), AT), "one number"),
    (nash.held_out_gap, lambda: nash.held_out_gap({}, {}, {"g": AT}), "give each everywhere"),
    *((f, lambda f=f: f(versus, AT, NOBODY), "'generator'") for f in (nash.duality_gap, nash.minimax_metric)),
    *((f, lambda f=f: f(HALF), r"want \(g, d\)") for f in (nash.pure_values, nash.saddle_points)),
    (px.gaussian_logit, lambda: px.gaussian_logit(HALF, s=1.0), "s > 1"),
    (px.gaussian_generator_value, lambda: px.gaussian_generator_value(HALF, s=2.0, nodes=0), "nodes=0"),
    (px.Proximal, lambda: px.Proximal(PROXIMAL.distance, weight=-1.0), ">= 0"),
    (px.sobolev_distance, lambda: px.sobolev_distance(lambda o, x: x.sum(), ONE)(AT, AT), r"want \(n,\)"),
    *(
        (f, lambda f=f: f(versus, AT, NOBODY, PROXIMAL), "'generator' has no strategy")
        for f in (px.proximal_answer, px.proximal_gradient, px.proximal_gap)
    ),
    (fields.FlatField, lambda: FlatField(lambda p: {}, AT), "players move something"),
    (
        fields.gradient_regularised,
        lambda: fields.gradient_regularised(FIELD, "generator", "critic", 0.1),
        "no player 'generator'; the field has critic",
    ),
    (fields.alternating, lambda: fields.alternating(FIELD, 0.1, {"generator": 2}), "no player 'generator'"),
    (fields.optimistic, lambda: fields.optimistic(lambda x: x, 0.1)(torch.ones(3)), r"\(2n,\)"),
    *((f, lambda f=f: f(lambda x: x[:1], HALF), r"want \(n,\)") for f in (fields.jacobian, fields.linearise)),
    (fields.linearise, lambda: fields.linearise(lambda x: x, HALF).forward(ONE), r"want \(n,\)"),
    (fields.hessian, lambda: fields.hessian(lambda x: x.square().sum(), ONE), r"want \(n,\)"),
    (fields.hessian_product, lambda: fields.hessian_product(lambda x: x.sum(), HALF, VOID), r"want \(n,\)"),
    (fields.split, lambda: fields.split(torch.ones(1, 3)), r"want \(n, n\)"),
    *((f, lambda f=f: f(ONE[:, :0]), r"want \(n, n\)") for f in (spectra.eigenvalues, spectra.regulariser_bound)),
    (spectra.leading_eigenvalues, lambda: spectra.leading_eigenvalues(lambda u: u[:2], NORMAL), r"want \(n,\)"),
    (spectra.largest_step, lambda: spectra.largest_step(VOID), "n >= 1"),
    (spectra.step_radius, lambda: spectra.step_radius(HALF / 0, 0.1), "all finite"),
    *(
        (f, lambda f=f: f(torch.eye(2), ONE, 0.5, -0.25), r"\(d, g\)")
        for f in (spectra.equilibrium_jacobian, spectra.stability_bounds)
    ),
    (
        spectra.regularised_jacobian,
        lambda: spectra.regularised_jacobian(torch.eye(2), torch.ones(2, 1), -1.0),
        "eta=-1",
    ),
    *((f, lambda f=f: f(-1.0), ">= 0") for f in (spectra.penalised_eigenvalues, spectra.consensus_eigenvalues)),
    (spectra.noised_eigenvalues, lambda: spectra.noised_eigenvalues(-1.0), "variance=-1.0"),
    (spectra.alternating_eigenvalues, lambda: spectra.alternating_eigenvalues(0.0), "step=0.0"),
    (input_slopes, lambda: input_slopes(lambda x: x.sum(), ONE), r"want \(n,\)"),
]
# What takes every tensor and number there is, or maps whose faults are torch's to tell.
ANYTHING = {
    "softplus", "expm1", "log_lambert_w_exp", "smooth_step", "slopes_in_logits", "slopes_at_zero", "parallel_lines",
    "drift", "critical_damping", "consensus", "simultaneous", "extragradient", "orbit",
}  # fmt: skip


@pytest.mark.parametrize(("function", "call", "words"), WRONG, ids=[f.__name__ for f, _, _ in WRONG])
def test_a_wrong_call_says_what_was_expected(function: Callable, call: Call, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        call()


def test_every_public_function_has_a_wrong_call() -> None:
    found = set()
    for module in (asm, dv, fields, gn, idt, ls, nash, px, sm, sp, spectra, tr, vl):
        own = (o for n, o in vars(module).items() if inspect.isfunction(o) and not n.startswith("_"))
        found |= {o.__name__ for o in own if o.__module__ == module.__name__}
    assert found - {f.__name__ for f, _, _ in WRONG} == ANYTHING


def test_checks_of_values_let_transforms_pass() -> None:
    """Under vmap nothing can be read, so values are not checked there; under grad they are."""
    laws = torch.rand(5, 4).softmax(1)
    together = torch.func.vmap(dv.js)(laws, laws.flip(0))
    torch.testing.assert_close(together, dv.js(laws, laws.flip(0)))
    torch.func.vmap(torch.func.grad(dv.kl))(laws, laws.flip(0))
    with pytest.raises(ValueError, match="sums to 2"):
        torch.func.grad(dv.kl)(TWICE, HALF)
