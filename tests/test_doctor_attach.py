"""Loops as people write them: the doctor attaches, or says in one line what it needs, and never ends the loop."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from equilibria.base.errors import ConfigError, DataError, EquilibriaError, ShapeError
from equilibria.doctor import Doctor
from equilibria.doctor.codes import form_of_codes
from equilibria.doctor.vitals.players import slopes

DRAW = torch.Generator().manual_seed(0)
POINTS = torch.randn(32, 4, generator=DRAW)
IMAGES = torch.rand(32, 1, 4, 4, generator=DRAW) * 2 - 1
WALKS = torch.randn(32, 5, 3, generator=DRAW).cumsum(1)
WORDS = torch.randint(7, (32, 5), generator=DRAW)
CLASSES = torch.arange(32) % 3


def linear(a: int, b: int, *after: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Linear(a, b), *after)


class Calls(nn.Module):
    """A linear layer, and what a loop does with it."""

    def __init__(self, a: int, b: int, forward: Callable[..., Any]) -> None:
        super().__init__()
        self.layer, self.body = nn.Linear(a, b), forward

    def forward(self, *given: Any, **named: Any) -> Any:
        return self.body(self.layer, *given, **named)


def one_line(error: pytest.ExceptionInfo[EquilibriaError], *parts: str) -> str:
    said = str(error.value)
    assert "\n" not in said and "Fix: " in said and len(said) < 420, said
    for part in parts:
        assert part in said, said
    return error.value.fix


def pasted(fix: str, **names: Any) -> Any:
    """What the argument call= of a fix is, evaluated as a user would paste it."""
    return eval(fix.rpartition("call=")[2], {"torch": torch, "nn": nn, **names})


def reasons(doctor: Doctor) -> dict[str, str]:
    return {one.what: one.text for one in doctor.diagnose(deep=False).not_assessed}


# Codes ---------------------------------------------------------------------------------------------------------------


DEALT: dict[str, Callable[[int], Any]] = {
    "a tuple": lambda n: (torch.randn(n, 2), torch.randint(9, (n,)), torch.randn(n, 1, 3).double()),
    "a list": lambda n: [torch.randn(n, 2), torch.randn(3, n, 2)],
    "a dict": lambda n: {"noise": torch.randn(n, 2), "code": torch.randint(9, (n, 2)), "scale": 0.5},
    "time first": lambda n: torch.randn(6, n, 2),
    "an array": lambda n: torch.randn(n, 3).numpy(),
}


@pytest.mark.parametrize("kind", DEALT)
def test_codes_go_into_one_tensor_and_back(kind: str) -> None:
    form = form_of_codes(DEALT[kind])
    assert form is not None
    dealt = DEALT[kind](10)
    packed = form.pack(dealt)
    assert len(packed) == 10
    back, given = form.unpack(packed), dealt
    if not isinstance(dealt, (tuple, list, dict)):
        back, given = [back], [dealt]
    pairs = [(back[name], given[name]) for name in given] if isinstance(given, dict) else zip(back, given, strict=True)
    for a, b in pairs:
        b = torch.as_tensor(b)
        a = torch.as_tensor(a)
        assert a.shape == b.shape and a.dtype == b.dtype and torch.equal(a, b)
    assert torch.equal(form.pack(form.unpack(packed[3:5])), packed[3:5]), "a part of the codes"


def test_tuples_are_unpacked_and_dicts_are_keywords() -> None:
    body = lambda layer, z, c: layer(z - 3 * c)  # noqa: E731
    for latent in (
        lambda n: (torch.randn(n, 2), torch.rand(n, 2)),
        lambda n: {"c": torch.rand(n, 2), "z": torch.randn(n, 2)},
    ):
        G = Calls(2, 4, body)
        doctor = Doctor(G, linear(4, 1), real=POINTS, latent=latent)
        codes = doctor.subject.draw_codes(6)
        assert codes[0].shape == (6, 4) and doctor.chart.facts["latent/size"] == 4
        parts = doctor.subject.code_form.unpack(codes[0])  # type: ignore[union-attr]
        expected = G(**parts) if isinstance(parts, dict) else G(*parts)
        assert torch.equal(doctor.subject.make(codes), expected)
        found = doctor.look(1)
        assert found["gradient/declared"] > 0 and found["latent/dependence"] > 0
    seen: list[Any] = []
    call = {"generator": lambda z, y: seen.append(z) or G(*z)}
    Doctor(G, linear(4, 1), real=POINTS, latent=lambda n: (torch.ones(n, 2), torch.ones(n, 2)), call=call)
    assert all(isinstance(z, tuple) for z in seen), "call= gets what latent= deals"


def test_codes_that_are_none_are_refused() -> None:
    for latent, shown in ((lambda n: "a", "str"), (lambda n: torch.zeros(3, 2), "(3, 2) for 64 codes")):
        with pytest.raises(ConfigError) as error:
            Doctor(linear(2, 4), linear(4, 1), real=POINTS, latent=latent)
        one_line(error, shown, "latent=fn(n)")
    G = Calls(2, 4, lambda layer, z, y: layer(z))
    told: dict[str, Any] = {"real": POINTS, "labels": CLASSES, "latent": lambda n: {"z": torch.randn(n, 2)}}
    judge = Calls(4, 1, lambda layer, x, y: layer(x))
    with pytest.raises(ConfigError) as error:
        Doctor(G, judge, **told)
    fix = one_line(error, "a dict", "labels=")
    assert Doctor(G, judge, **told, call=pasted(fix, generator=G)).look(1)["scores/spread"] > 0


# Scores --------------------------------------------------------------------------------------------------------------


Form = Callable[[Tensor], Any]
SCORES: dict[str, tuple[Form, Form]] = {
    "two discriminators": (lambda s: [s, 3 * s], lambda s: 2 * s),
    "maps of two scales": (lambda s: (s[:, :, None, None], s[:, :, None, None].expand(-1, 1, 2, 2)), lambda s: s),
    "lists with features": (lambda s: [[s.expand(-1, 6), s], [s.expand(-1, 6), 3 * s]], lambda s: 2 * s),
    "pairs (score, features)": (lambda s: [(s, [s.expand(-1, 6)]), (5 * s, [s])], lambda s: 3 * s),
    "features, then a score": (lambda s: (s.expand(-1, 6), s), lambda s: s),
    "a score and a code": (lambda s: (s, 7 * s), lambda s: s),
    "a dict, features first": (lambda s: {"features": s.expand(-1, 6), "out": s}, lambda s: s),
    "a dict with a score": (lambda s: {"aux": 7 * s, "score": s}, lambda s: s),
    "a map flattened over the batch": (lambda s: torch.cat([s, 3 * s], 1).view(-1), lambda s: 2 * s),
}


@pytest.mark.parametrize("kind", SCORES)
def test_one_score_for_each_row_is_read(kind: str) -> None:
    form, expected = SCORES[kind]
    D = Calls(4, 1, lambda layer, x: form(layer(x)))
    doctor = Doctor(linear(2, 4), D, real=POINTS, latent=2)
    for n in (7, 32):
        torch.testing.assert_close(doctor.subject.score(POINTS[:n]), expected(D.layer(POINTS[:n]))[:, 0])
    ambiguous = kind in {"two discriminators", "maps of two scales", "a score and a code"} or " with f" in kind
    ambiguous |= kind in {"pairs (score, features)", "a map flattened over the batch", "a dict with a score"}
    assert (reasons(doctor).get("another reading of the discriminator's output") is not None) is ambiguous


@pytest.mark.parametrize("soft", [False, True])
def test_classes_and_a_fake_class(soft: bool) -> None:
    D = Calls(4, 4, lambda layer, x: layer(x).softmax(1) if soft else layer(x))
    G = linear(2, 4)
    call = {"generator": lambda z, y: G(z), "discriminator": lambda x, y: D(x)}
    doctor = Doctor(G, D, real=POINTS, latent=2, labels=CLASSES, call=call)
    p = D.layer(POINTS).softmax(1)
    torch.testing.assert_close(doctor.subject.score(POINTS, CLASSES), torch.logit(1 - p[:, -1]), rtol=1e-4, atol=1e-5)
    assert "3 classes" in reasons(doctor)["another reading of the discriminator's output"]
    loader = [(x, y) for x, y in zip(POINTS.split(20), CLASSES.split(20), strict=True)]
    assert Doctor(G, D, real=loader, latent=2).subject.score_form.classes == 3, "a loader deals the labels"
    with pytest.raises(ShapeError) as error:  # without labels it may as well be features
        Doctor(G, D, real=POINTS, latent=2)
    fix = one_line(error, "4 features")
    call = pasted(fix, discriminator=D)
    if not soft:
        found = Doctor(G, D, real=POINTS, latent=2, call=call).subject.score(POINTS)
        torch.testing.assert_close(found, torch.logit(1 - p[:, -1]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("pack", [2, 3, 10])
def test_packs_share_a_score(pack: int) -> None:
    def body(layer: nn.Module, x: Tensor) -> Tensor:
        assert not len(x) % pack
        return layer(x.flatten(1).view(-1, 4 * pack)).square()

    D = Calls(4 * pack, 1, body)
    doctor = Doctor(linear(2, 4), D, real=POINTS, latent=2)
    assert doctor.subject.score_form.pack == pack
    x = POINTS[: 3 * pack].clone().requires_grad_()
    scores = D(x)[:, 0]
    assert torch.equal(doctor.subject.score(x), scores.repeat_interleave(pack))
    assert len(doctor.subject.score(POINTS[: 2 * pack + 1])) == 2 * pack + 1
    found = doctor.look(1)
    assert found["gradient/declared"] > 0
    (slope,) = torch.autograd.grad(scores.sum(), x)
    measured = slopes(doctor.subject, x.detach(), x.detach(), (None, None))["slopes/real"]
    assert measured == pytest.approx(float(slope.norm(dim=1).mean()), rel=1e-5)
    assert f"one score for {pack} rows" in reasons(doctor)["another reading of the discriminator's output"]


def test_a_mean_over_the_batch_is_no_score() -> None:
    D = Calls(4, 1, lambda layer, x: layer(x).mean(0))
    with pytest.raises(ShapeError) as error:
        Doctor(linear(2, 4), D, real=POINTS, latent=2)
    fix = one_line(error, "(1,) for 32 rows")
    doctor = Doctor(linear(2, 4), D, real=POINTS, latent=2, call=pasted(fix, discriminator=D))
    torch.testing.assert_close(doctor.subject.score(POINTS[:5]), D.layer(POINTS[:5])[:, 0])


# Modules -------------------------------------------------------------------------------------------------------------


def test_lists_of_modules_need_a_call() -> None:
    discriminators = [linear(4, 1), linear(4, 1)]
    generators = {"mapping": linear(2, 3), "synthesis": linear(3, 4)}
    with pytest.raises(ConfigError) as error:
        Doctor(linear(2, 4), discriminators, real=POINTS, latent=2)
    call = pasted(one_line(error, "list of 2 modules"), discriminators=discriminators)
    with pytest.raises(ConfigError) as error:
        Doctor(generators, linear(4, 1), real=POINTS, latent=2)
    one_line(error, "dict of 2 modules", "call={'generator'")
    call["generator"] = lambda z, y: generators["synthesis"](generators["mapping"](z))
    own = [torch.optim.Adam(one.parameters()) for one in discriminators]
    both = torch.optim.Adam([p for one in generators.values() for p in one.parameters()])
    optimizers: Any = {"generator": both, "discriminator": own}
    doctor = Doctor(generators, discriminators, real=POINTS, latent=2, call=call, optimizers=optimizers)
    torch.testing.assert_close(doctor.subject.score(POINTS), sum(d(POINTS)[:, 0] for d in discriminators) / 2)
    doctor.look(1)
    discriminators[1][0].weight.data.add_(1)  # type: ignore[operator, union-attr]
    found = doctor.look(2)
    assert found["wiring/left-out-discriminator"] == 0 == found["wiring/held-by-generator"]
    assert found["wiring/still-discriminator"] == 0 and found["wiring/still-generator"] == 1
    optimizers["discriminator"] = own[:1]
    short = Doctor(generators, discriminators, real=POINTS, latent=2, call=call, optimizers=optimizers)
    assert short.look(1)["wiring/left-out-discriminator"] == 0.5
    with pytest.raises(ConfigError) as error:
        Doctor(generators, discriminators, real=POINTS, latent=2, call=call, optimizers={"generator": 3})  # type: ignore[dict-item]
    one_line(error, "of type int")


def test_functions_are_told_which_modules_to_pass() -> None:
    trunk, head = linear(4, 3), linear(3, 1)

    def critic(x: Tensor) -> Tensor:
        return head(trunk(x))

    with pytest.raises(ConfigError) as error:
        Doctor(linear(2, 4), critic, real=POINTS, latent=2)  # type: ignore[arg-type]
    fix = one_line(error, "the discriminator is a function", "nn.ModuleList([")
    assert set(re.findall(r"\[(.*?)\]", fix)[0].split(", ")) == {"trunk", "head"}
    doctor = Doctor(linear(2, 4), nn.ModuleList([trunk, head]), real=POINTS, latent=2, call=pasted(fix, critic=critic))
    assert torch.equal(doctor.subject.score(POINTS), critic(POINTS)[:, 0])
    with pytest.raises(ConfigError) as error:
        Doctor(linear(2, 4), head.forward, real=POINTS, latent=2)  # type: ignore[arg-type]
    one_line(error, "a method of an nn.Module", "discriminator.forward(x)")
    with pytest.raises(ConfigError) as error:
        Doctor(nn.Linear, head, real=POINTS, latent=2)  # type: ignore[arg-type]
    one_line(error, "the class Linear")
    with pytest.raises(ConfigError) as error:
        Doctor(linear(2, 4), nn.LazyLinear(1), real=POINTS, latent=2)
    one_line(error, "parameters without a shape", "discriminator(rows)")


def test_a_compiled_network_is_called_eagerly_and_keeps_no_hook() -> None:
    compiled: list[int] = []

    def backend(graph: Any, given: Any) -> Any:
        compiled.append(1)
        return graph.forward

    D = linear(4, 1)
    fast = torch.compile(D, backend=backend)
    before, count = fast(POINTS), len(compiled)
    doctor = Doctor(linear(2, 4), D, real=POINTS, latent=2, call={"discriminator": lambda x, y: fast(x)})
    assert doctor.look(1)["slopes/real"] > 0 and torch.equal(fast(POINTS), before)
    assert len(compiled) == count and torch.compiler.is_compiling() is False
    both = [Doctor(linear(2, 4), net, real=POINTS, latent=2) for net in (D, torch.compile(D, backend="eager"))]
    assert torch.equal(*(one.subject.score(POINTS) for one in both))


def test_distributed_wrappers(tmp_path: Any) -> None:
    dist = torch.distributed
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/meeting", world_size=1, rank=0)
    try:
        G, D = (nn.parallel.DistributedDataParallel(net) for net in (linear(2, 4), linear(4, 1)))
        found = Doctor(G, D, real=POINTS, latent=2).look(1)
        assert found["gradient/declared"] > 0 and found["slopes/real"] > 0
    finally:
        dist.destroy_process_group()


@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpointed_networks(reentrant: bool) -> None:
    D = Calls(4, 1, lambda layer, x: checkpoint(layer, x, use_reentrant=reentrant))
    G = linear(2, 4)
    doctor = Doctor(G, D, real=POINTS, latent=2)
    found = doctor.look(1)
    assert all(p.grad is None for p in D.parameters())
    if reentrant:  # torch refuses torch.autograd.grad there
        assert "slopes/real" not in found.vitals and "reentrant" in reasons(doctor)["slopes of the score"]
    else:
        plain = Doctor(G, nn.Sequential(D.layer), real=POINTS, latent=2).look(1)
        assert found["slopes/real"] == plain["slopes/real"] and found["gradient/snr"] == plain["gradient/snr"]
    assert found["scores/spread"] > 0


# Rows ----------------------------------------------------------------------------------------------------------------


class Walk(nn.Module):
    """A recurrent network with time first."""

    def __init__(self, a: int, b: int, last: bool) -> None:
        super().__init__()
        self.body, self.out, self.last = nn.GRU(a, 6), nn.Linear(6, b), last

    def forward(self, x: Tensor) -> Tensor:
        states = self.body(x)[0]
        return self.out(states[-1] if self.last else states)  # type: ignore[no-any-return]


@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize("given", ["time first", "rows first"])
def test_time_first(last: bool, given: str) -> None:
    G, D = Walk(2, 3, False), Walk(3, 1, last)
    turned = WALKS.transpose(0, 1)
    real = turned if given == "time first" else WALKS
    doctor = Doctor(G, D, real=real, latent=lambda n: torch.randn(5, n, 2), holdout=real)
    subject = doctor.subject
    assert torch.equal(subject.real, WALKS) and subject.holdout is not None and torch.equal(subject.holdout, WALKS)
    z, _ = subject.draw_codes(9)
    assert z.shape == (9, 5, 2)
    torch.testing.assert_close(subject.make((z, None)), G(z.transpose(0, 1)).transpose(0, 1))
    expected = D(turned)[..., 0]
    torch.testing.assert_close(subject.score(WALKS), expected if last else expected.mean(0))
    found = doctor.look(1, real=turned)
    assert found["slopes/real"] > 0 and found["gradient/declared"] > 0 and found["samples/distance"] > 0


def test_words_are_compared_one_hot_with_weights() -> None:
    G = Calls(2, 35, lambda layer, z: layer(z).view(-1, 5, 7).softmax(-1))
    D = Calls(35, 1, lambda layer, x: layer(x.flatten(1)))
    doctor = Doctor(G, D, real=WORDS, latent=2, holdout=WORDS)
    assert torch.equal(doctor.subject.real, F.one_hot(WORDS, 7).float())
    found = doctor.look(1, real=WORDS)
    assert found["slopes/real"] > 0 and found["gradient/declared"] > 0 and "7 words" in str(reasons(doctor))
    with pytest.raises(DataError) as error:
        Doctor(G, D, real=WORDS + 3, latent=2)
    one_line(error, "3 to 9", "7 words", "give the generator 10")


def test_words_on_both_sides_have_no_gradient() -> None:
    G = Calls(2, 35, lambda layer, z: layer(z).view(-1, 5, 7).argmax(-1))
    D = nn.Sequential(nn.Embedding(7, 3), nn.Flatten(), nn.Linear(15, 1))
    doctor = Doctor(G, D, real=WORDS, latent=2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for step in (10, 20, 30, 40):
            found = doctor.check(step)
            assert found is not None and found["scores/spread"] > 0 and found["samples/distance"] > 0
            assert not {"slopes/real", "gradient/declared"} & found.vitals.keys()
    said = reasons(doctor)
    assert "whole numbers" in said["the score's gradient in its input"]
    doctor.diagnose()


@pytest.mark.parametrize("flat", [True, False])
def test_rows_that_are_single_numbers(flat: bool) -> None:
    G = linear(2, 1, *([nn.Flatten(0)] if flat else []))
    D = Calls(1, 1, lambda layer, x: layer(x[:, None] if flat else x))
    doctor = Doctor(G, D, real=POINTS[:, 0], latent=2, holdout=POINTS[:, 1])
    assert doctor.subject.real.shape == (32, 1)
    torch.testing.assert_close(doctor.subject.score(POINTS[:, :1]), D.layer(POINTS[:, :1])[:, 0])
    found = doctor.look(1, real=POINTS[:40, 0])
    assert found["slopes/real"] == pytest.approx(abs(D.layer.weight.item())) and found["gradient/declared"] > 0


def test_lengths_and_other_numbers_are_conditions() -> None:
    G = Calls(2, 4, lambda layer, z, y: layer(z))
    D = Calls(4, 1, lambda layer, x, y: layer(x) * y.view(-1, 1))
    for labels in (torch.randint(1, 6, (32, 1)), torch.rand(32)):
        doctor = Doctor(G, D, real=POINTS, latent=2, labels=labels)
        assert doctor.subject.classes is None and "label/agreement" not in doctor.look(1).vitals


def test_half_precision() -> None:
    G, D = linear(2, 4).half(), linear(4, 1).half()
    found = Doctor(G, D, real=POINTS.half(), latent=2).look(1)
    assert found["slopes/real"] > 0 and found["gradient/declared"] > 0 and found["numbers/outputs"] == 0


# Conditions that are images, and pairs -------------------------------------------------------------------------------


def test_images_as_conditions_take_the_place_of_codes() -> None:
    translate, judge = nn.Conv2d(1, 1, 3, 1, 1), nn.Conv2d(2, 1, 3, 1, 1)
    sketches = IMAGES.flip(2)
    with pytest.raises(ShapeError) as error:
        Doctor(
            translate, judge, real=torch.cat([sketches, IMAGES], 1), latent=lambda n: sketches[torch.randint(32, (n,))]
        )
    fix = one_line(error, "(1, 4, 4)", "(2, 4, 4)", "labels=conditions")
    call = pasted(fix, discriminator=judge)
    doctor = Doctor(translate, judge, real=IMAGES, labels=sketches, call=call)
    subject = doctor.subject
    torch.testing.assert_close(subject.score(IMAGES, sketches), judge(torch.cat([sketches, IMAGES], 1)).mean((1, 2, 3)))
    codes = subject.draw_codes(6)
    assert torch.equal(subject.make(codes), translate(codes[1]))
    found = doctor.look(1)
    assert found["gradient/declared"] > 0 and "latent/dependence" not in found.vitals
    doctor.diagnose()
    assert {"whether samples match their conditions", "the latent space: its use, its rank and its size"} <= reasons(
        doctor
    ).keys()
    with pytest.raises(ShapeError) as error:
        Doctor(translate, judge, real=IMAGES, labels=sketches)
    fix = one_line(error, "the discriminator cannot be called", "torch.cat([y, x], 1)")
    Doctor(translate, judge, real=IMAGES, labels=sketches, call=pasted(fix, discriminator=judge))
    with pytest.raises(ShapeError) as error:
        Doctor(translate, judge, real=IMAGES, latent=lambda n: sketches[torch.randint(32, (n,))])
    fix = one_line(error, "the discriminator cannot be called", "labels=conditions")
    Doctor(translate, judge, real=IMAGES, labels=sketches, call=pasted(fix, discriminator=judge))


def test_pairs_of_rows_and_codes() -> None:
    G, E, D = linear(2, 4), linear(4, 2), nn.Bilinear(4, 2, 1)
    with pytest.raises(ShapeError) as error:
        Doctor(G, D, real=POINTS, latent=2)
    fix = one_line(error, "the discriminator cannot be called", "torch.cat([x, E(x)], 1)")
    call, joint = pasted(fix, G=G, D=D, d=4), lambda x: torch.cat([x, E(x)], 1)
    doctor = Doctor([G, E], D, real=joint(POINTS), latent=2, call=call)
    torch.testing.assert_close(doctor.subject.score(joint(POINTS)), D(POINTS, E(POINTS))[:, 0])
    found = doctor.look(1, real=joint(POINTS))
    assert found["gradient/declared"] > 0 and found["slopes/real"] > 0


# The table of the page -----------------------------------------------------------------------------------------------


PAGE = (Path(__file__).resolve().parents[1] / "docs" / "doctor.md").read_text(encoding="utf-8")
ROWS = dict(re.findall(r"^\| (.*?) \| (`Doctor\(.*`) \|$", PAGE, flags=re.MULTILINE))
PIXELS = IMAGES.flatten(1).repeat(1, 4)  # (n, 64)
MAKER, CRITIC, SCALE = linear(128, 64), linear(64, 1), (IMAGES, IMAGES.flip(2))
PARTS = linear(64, 5), linear(5, 1)


def table() -> dict[str, dict[str, Any]]:
    """The names of each row of the table: networks that are called as its first column says."""
    plain = {"generator": MAKER, "discriminator": CRITIC, "x": PIXELS}
    conv = lambda a: nn.Conv2d(a, 1, 3, 1, 1)  # noqa: E731
    two = [linear(64, 1), linear(64, 1)]
    opts = [torch.optim.Adam(net.parameters()) for net in (MAKER, *two)]
    weights = Calls(128, 35, lambda layer, z: layer(z).view(-1, 5, 7).softmax(-1))
    long = torch.randn(12, 32, 3)
    return {
        "one generator": plain,
        "classes": plain
        | {"generator": Calls(129, 64, lambda layer, z, y: layer(torch.cat([z, y[:, None]], 1))), "y": CLASSES}
        | {"discriminator": Calls(65, 1, lambda layer, x, y: layer(torch.cat([x, y[:, None]], 1)))},
        "pix2pix": {"generator": conv(1), "discriminator": conv(2), "photos": SCALE[0], "sketches": SCALE[1]},
        "the generator takes several": plain | {"generator": Calls(64, 64, lambda f, z, c: f(torch.cat([z, c], 1)))},
        "CycleGAN": {"a": SCALE[0], "b": SCALE[1]}
        | {name: conv(1) for name in ("a_to_b", "b_to_a", "discriminator_a", "discriminator_b")},
        "BiGAN": {"generator": linear(8, 64), "encoder": linear(64, 8), "discriminator": nn.Bilinear(64, 8, 1)}
        | {"x": PIXELS},
        "PacGAN": plain | {"discriminator": Calls(640, 1, lambda layer, x: layer(x.view(-1, 640)))},
        "semi-supervised": plain | {"discriminator": linear(64, 4), "y": CLASSES},
        "several scales": plain | {"discriminator": Calls(64, 1, lambda f, x: [[x, f(x)], [x, f(2 * x)]])},
        "several discriminators": plain | {"discriminators": two, "opt_g": opts[0], "opt_1": opts[1], "opt_2": opts[2]},
        "a function": plain | {"trunk": PARTS[0], "head": PARTS[1], "critic": lambda x: PARTS[1](PARTS[0](x))},
        "a mapping": plain | {"mapping": linear(128, 3), "synthesis": linear(3, 64)},
        "sequences with time first": {"generator": Walk(4, 3, False), "discriminator": Walk(3, 1, True), "walks": long},
        "sequences with lengths": {"generator": Calls(128, 15, lambda f, z: f(z).view(-1, 5, 3)), "walks": WALKS}
        | {"discriminator": Calls(15, 1, lambda f, x, n: f(x.flatten(1)) * n[:, None]), "lengths": CLASSES + 1},
        "text": {"generator": weights, "words": WORDS, "discriminator": nn.Sequential(nn.Flatten(), nn.Linear(35, 1))},
        "DDP": plain | {"generator": nn.DataParallel(MAKER), "discriminator": torch.compile(CRITIC, backend="eager")},
    }


@pytest.mark.parametrize("row", ROWS)
def test_the_calls_of_the_page_attach(row: str) -> None:
    (names,) = [names for start, names in table().items() if row.startswith(start)]
    for call in re.findall(r"`(Doctor\(.*?\))`", ROWS[row]):
        doctor = eval(call, {"Doctor": Doctor, "torch": torch, "nn": nn, **names})
        found = doctor.look(1)
        assert found["gradient/declared"] > 0 and found["slopes/real"] > 0 and not doctor.chart.groups.failed


def test_each_kind_of_loop_is_on_the_page() -> None:
    assert len(ROWS) == len(table()) == 16


# The loop itself ------------------------------------------------------------------------------------------------------


def test_a_training_with_the_doctor_is_the_training_without_it() -> None:
    def trained(watched: bool) -> list[Tensor]:
        torch.manual_seed(1)
        G = Calls(4, 4, lambda layer, z, c: F.dropout(layer(torch.cat([z, c], 1)), 0.1))
        D = nn.ModuleList([linear(8, 1, nn.Dropout(0.1)), linear(8, 1)])
        latent = lambda n: (torch.randn(n, 2), torch.rand(n, 2))  # noqa: E731
        score = lambda x, y: [d(x.view(-1, 8)) for d in D]  # noqa: E731
        opts = [torch.optim.Adam(net.parameters(), 1e-2) for net in (G, D)]
        doctor = Doctor(G, D, real=POINTS, latent=latent, call={"discriminator": score}) if watched else None
        for step in range(1, 13):
            x, fake = POINTS[torch.randint(32, (16,))], G(*latent(16))
            loss_d = sum(
                F.softplus(-a).mean() + F.softplus(b).mean()
                for a, b in zip(score(x, 0), score(fake.detach(), 0), strict=True)
            )
            loss_g = sum(F.softplus(-a).mean() for a in score(fake, 0))
            for optimizer, loss in zip(opts, (loss_g, loss_d), strict=True):
                optimizer.zero_grad()
                loss.backward(retain_graph=True)  # type: ignore[union-attr]
            for optimizer in opts:
                optimizer.step()
            if doctor is not None:
                doctor.check(step)
        assert doctor is None or (len(doctor.chart.checkups) == 1 and doctor.subject.score_form.pack == 2)
        return [*G.parameters(), *D.parameters(), torch.rand(3)]

    assert all(torch.equal(a, b) for a, b in zip(trained(True), trained(False), strict=True))
