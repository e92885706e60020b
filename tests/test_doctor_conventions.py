"""Networks and data as people have them: the doctor works with them, or says in one line what it needs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from equilibria.base.errors import ConfigError, DataError, EquilibriaError, ShapeError
from equilibria.doctor import Diagnosis, Doctor

LATENT = 4
POINTS = torch.randn(300, 2, generator=torch.Generator().manual_seed(0))
IMAGES = torch.rand(120, 1, 8, 8, generator=torch.Generator().manual_seed(1)) * 2 - 1
LABELS = (POINTS[:, 0] > 0).long()


def generator(outputs: int = 2) -> nn.Module:
    return nn.Sequential(nn.Linear(LATENT, 16), nn.LeakyReLU(0.2), nn.Linear(16, outputs))


def discriminator(inputs: int = 2, outputs: int = 1) -> nn.Module:
    return nn.Sequential(nn.Linear(inputs, 16), nn.LeakyReLU(0.2), nn.Linear(16, outputs))


class Painter(nn.Module):
    """Codes to images of 8 x 8."""

    def __init__(self) -> None:
        super().__init__()
        self.body = generator(64)

    def forward(self, z: Tensor) -> Tensor:
        return torch.tanh(self.body(z)).view(-1, 1, 8, 8)


class Returning(nn.Module):
    """A discriminator whose output has a form of its own."""

    def __init__(self, form: Callable[[Tensor, Tensor], Any], inputs: int = 2) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Flatten(), nn.Linear(inputs, 16), nn.LeakyReLU(0.2))
        self.head, self.form = nn.Linear(16, 1), form

    def forward(self, x: Tensor) -> Any:
        features = self.trunk(x)
        return self.form(self.head(features), features)


def one_line(error: pytest.ExceptionInfo[EquilibriaError], *parts: str) -> None:
    """The message is one line that holds these parts and what to do."""
    said = str(error.value)
    assert "\n" not in said and "Fix: " in said and len(said) < 400, said
    for part in parts:
        assert part in said, said


def attended(G: nn.Module, D: nn.Module, **told: Any) -> Diagnosis:
    """What is said after a few steps of a plain loop that moves every parameter that may move."""
    told = {"real": POINTS, "latent": LATENT, "objective": "nonsaturating"} | told
    doctor = Doctor(G, D, **told)
    moving = [p for net in (G, D) for p in net.parameters() if p.requires_grad]
    for step in range(1, 61):
        with torch.no_grad():
            for p in moving:
                p += 1e-4 * torch.randn(p.shape).to(p.dtype)
        doctor.check(step)
    assert len(doctor.chart.checkups) == 6 and doctor.chart.last["numbers/outputs"] == 0
    return doctor.diagnose()


# Discriminators ------------------------------------------------------------------------------------------------------


FORMS: dict[str, Callable[[Tensor, Tensor], Any]] = {
    "(n, 1)": lambda score, features: score,
    "(n,)": lambda score, features: score.squeeze(1),
    "(score, features)": lambda score, features: (score, features),
    "[score, features]": lambda score, features: [score, features],
    "a dict": lambda score, features: {"score": score, "features": features},
    "a patch map (n, 1, 4, 4)": lambda score, features: score[:, :, None, None] + features.view(-1, 1, 4, 4) * 0.0,
    "a patch map (n, 4, 4)": lambda score, features: score[:, :, None] + features.view(-1, 4, 4) * 0.0,
}


@pytest.mark.parametrize("form", FORMS)
def test_scores_in_any_form_are_read(form: str) -> None:
    torch.manual_seed(3)
    plain = Returning(FORMS["(n,)"])
    torch.manual_seed(3)
    other = Returning(FORMS[form])
    doctors = [Doctor(generator(), D, real=POINTS, latent=LATENT) for D in (plain, other)]
    x = POINTS[:50]
    assert torch.allclose(doctors[0].subject.score(x), doctors[1].subject.score(x), atol=1e-6)
    found = doctors[1].look(1)
    assert found["scores/spread"] > 0 and found["slopes/real"] > 0 and found["gradient/declared"] > 0


def test_patches_are_averaged() -> None:
    conv = nn.Sequential(nn.Conv2d(1, 4, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(4, 1, 3, 1, 1))
    doctor = Doctor(Painter(), conv, real=IMAGES, latent=LATENT, objective="least-squares")
    assert torch.allclose(doctor.subject.score(IMAGES[:9]), conv(IMAGES[:9]).mean((1, 2, 3)))
    assert doctor.look(1)["slopes/between"] > 0


def test_features_in_place_of_a_score_are_refused_in_one_line() -> None:
    with pytest.raises(ShapeError) as error:
        Doctor(generator(), discriminator(outputs=16), real=POINTS, latent=LATENT)
    one_line(error, "16 features", "call={'discriminator': lambda x, y: score of shape (n,)}")
    with pytest.raises(ShapeError) as error:
        Doctor(generator(), Returning(lambda score, features: features.mean()), real=POINTS, latent=LATENT)
    one_line(error, "the discriminator returns () for 64 rows")
    with pytest.raises(ShapeError) as error:
        Doctor(generator(), Returning(lambda score, features: "no tensor"), real=POINTS, latent=LATENT)
    one_line(error, "the discriminator returns a str", "call={'discriminator': fn}")


def test_the_call_that_the_message_asks_for_works() -> None:
    D, own = discriminator(outputs=16), torch.ones(16) / 16
    doctor = Doctor(
        generator(), D, real=POINTS, latent=LATENT, objective="hinge", call={"discriminator": lambda x, y: D(x) @ own}
    )
    found = doctor.look(1)
    assert found["scores/spread"] > 0 and found["gradient/declared"] > 0
    D[0].weight.data.zero_()  # type: ignore[operator, union-attr]
    assert doctor.look(2)["slopes/real"] == 0  # what is called is what is trained


def test_wrappers_are_looked_through() -> None:
    G, D = generator(), discriminator()
    doctors = [Doctor(*pair, real=POINTS, latent=LATENT) for pair in ((G, D), (nn.DataParallel(G), torch.compile(D)))]
    assert doctors[1].subject.generator is G and doctors[1].subject.discriminator is D
    assert doctors[0].look(1).vitals == doctors[1].look(1).vitals


# Labels --------------------------------------------------------------------------------------------------------------


class Labelled(nn.Module):
    """A network that needs a label, as a number or one-hot."""

    def __init__(self, inputs: int, outputs: int, hot: bool) -> None:
        super().__init__()
        self.hot = hot
        self.table = nn.Linear(2, 3, bias=False)
        self.body = nn.Sequential(nn.Linear(inputs + 3, 16), nn.LeakyReLU(0.2), nn.Linear(16, outputs))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        assert y.dtype == (torch.float32 if self.hot else torch.int64)
        return self.body(torch.cat([x, self.table(y if self.hot else F.one_hot(y, 2).float())], 1))


@pytest.mark.parametrize("hot", [False, True])
def test_pairs_that_need_labels(hot: bool) -> None:
    G, D = Labelled(LATENT, 2, hot), Labelled(2, 1, hot)
    labels = F.one_hot(LABELS, 2).float() if hot else LABELS
    doctor = Doctor(G, D, real=POINTS, latent=LATENT, labels=labels, objective="nonsaturating", holdout=POINTS + 0.1)
    found = doctor.look(1)
    assert 0 <= found["label/agreement"] <= 1 and found["gradient/declared"] > 0
    assert "labels" not in {one.argument for one in doctor.diagnose().not_assessed}
    with pytest.raises(ShapeError) as error:
        Doctor(G, D, real=POINTS, latent=LATENT)
    one_line(error, "the generator cannot be called", "labels= if it needs them")
    with pytest.raises(ShapeError) as error:
        Doctor(generator(), D, real=POINTS, latent=LATENT)
    one_line(error, "the discriminator cannot be called", "labels= if it needs them")


def test_a_generator_that_alone_needs_labels_is_called_as_told() -> None:
    G, D = Labelled(LATENT, 2, False), discriminator()
    told: dict[str, Any] = {"real": POINTS, "latent": LATENT, "labels": LABELS}
    doctor = Doctor(G, D, call={"discriminator": lambda x, y: D(x)}, **told)
    assert doctor.look(1)["label/chance"] == pytest.approx(0.5, abs=0.05)
    with pytest.raises(ShapeError) as error:
        Doctor(G, D, **told)
    one_line(error, "the discriminator cannot be called")


def test_a_batch_for_a_conditional_pair_comes_with_its_labels() -> None:
    doctor = Doctor(Labelled(LATENT, 2, False), Labelled(2, 1, False), real=POINTS, latent=LATENT, labels=LABELS)
    with pytest.raises(ConfigError) as error:
        doctor.look(1, real=POINTS[:32])
    one_line(error, "without labels", "real=(x, y)")
    assert doctor.look(1, real=(POINTS[:32], LABELS[:32]))["scores/spread"] > 0


# Data ----------------------------------------------------------------------------------------------------------------


DATA: dict[str, Callable[[], Any]] = {
    "an array": lambda: POINTS.numpy(),
    "an array of doubles": lambda: POINTS.double().numpy(),
    "doubles": lambda: POINTS.double(),
    "a loader": lambda: DataLoader(POINTS, batch_size=32, shuffle=True),
    "a loader of pairs": lambda: DataLoader(TensorDataset(POINTS, LABELS), batch_size=32, shuffle=True),
    "a list of batches": lambda: list(POINTS.split(50)),
    "batches by name": lambda: [{"x": x} for x in POINTS.split(50)],
    "arrays in batches": lambda: [(x.numpy(), None) for x in POINTS.split(50)],
}


@pytest.mark.parametrize("kind", DATA)
def test_data_of_every_kind(kind: str) -> None:
    doctor = Doctor(generator(), discriminator(), real=DATA[kind](), latent=LATENT)
    assert doctor.subject.real.shape == (300, 2)
    assert doctor.look(1)["slopes/real"] > 0


def test_only_as_much_of_a_loader_is_read_as_is_needed() -> None:
    dealt = []

    class Endless:
        def __iter__(self) -> Any:
            while True:
                dealt.append(1)
                yield torch.randn(64, 2)

    doctor = Doctor(generator(), discriminator(), real=Endless(), latent=LATENT)
    assert len(doctor.subject.real) == 4096 == 64 * len(dealt)


def test_labels_are_those_that_a_shuffled_loader_deals() -> None:
    loader = DataLoader(TensorDataset(POINTS, LABELS), batch_size=32, shuffle=True)
    doctor = Doctor(Labelled(LATENT, 2, False), Labelled(2, 1, False), real=loader, latent=LATENT, labels=LABELS)
    assert doctor.subject.labels is not None
    assert torch.equal(doctor.subject.labels, (doctor.subject.real[:, 0] > 0).long())
    assert not torch.equal(doctor.subject.labels, LABELS)


def test_what_cannot_be_read_is_refused_in_one_line() -> None:
    def refused(real: Any, **told: Any) -> pytest.ExceptionInfo[EquilibriaError]:
        with pytest.raises(DataError) as error:
            Doctor(generator(), discriminator(), **({"real": real, "latent": LATENT} | told))
        return error

    one_line(refused(POINTS[:5]), "real rows of shape (5, 2)", "at least 16 rows")
    one_line(refused(POINTS[:, 0]), "real rows of shape (300,)", "(n, d) or (n, c, h, w)")
    one_line(refused(iter(DataLoader(POINTS))), "DataLoaderIter", "the loader itself")
    one_line(refused(["a", "b"]), "a batch of type str")
    one_line(refused(3), "real= of type int")
    one_line(refused([]), "real rows of shape (0,)")
    one_line(refused(torch.full((50, 2), torch.nan)), "0 of 50 real rows are finite")
    one_line(refused(POINTS, holdout=POINTS[:3]), "holdout rows of shape (3, 2)")
    one_line(refused(POINTS, holdout=torch.randn(50, 3)), "holdout rows of shape (3,), real rows of (2,)")
    one_line(refused(POINTS, holdout=iter([POINTS])), "holdout=", "the loader itself")
    for count in (299, 301):
        labels = torch.zeros(count).long()
        one_line(refused(POINTS, labels=labels), f"{count} labels for 300 real rows", "one label for each row")


def test_bytes_are_sent_back_to_the_scale_of_the_discriminator() -> None:
    pixels = (255 * torch.rand(40, 1, 8, 8)).to(torch.uint8)
    D = nn.Sequential(nn.Flatten(), nn.Linear(64, 1))
    for real in (pixels, pixels.numpy(), DataLoader(pixels, batch_size=8)):
        with pytest.raises(DataError) as error:
            Doctor(Painter(), D, real=real, latent=LATENT)
        one_line(error, "uint8", "images.float() / 127.5 - 1")
    assert Doctor(Painter(), D, real=pixels.float() / 127.5 - 1, latent=LATENT).look(1)["slopes/real"] > 0


def test_held_out_rows_may_come_with_labels() -> None:
    for pair in ((POINTS + 1, LABELS), [POINTS + 1, LABELS], ((POINTS + 1).numpy(), LABELS.numpy())):
        doctor = Doctor(generator(), discriminator(), real=POINTS, latent=LATENT, holdout=pair)
        assert doctor.subject.holdout is not None and torch.equal(doctor.subject.holdout, POINTS + 1)


# Precision -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
def test_autocast_around_the_users_step(kind: torch.dtype) -> None:
    torch.manual_seed(0)
    G, D = generator(), discriminator()
    opts = [torch.optim.Adam(net.parameters(), lr=1e-3) for net in (G, D)]
    doctor = Doctor(G, D, real=POINTS, latent=LATENT, objective="nonsaturating")
    for step in range(1, 21):
        with torch.autocast("cpu", dtype=kind):
            x, z = POINTS[torch.randint(300, (32,))], torch.randn(32, LATENT)
            loss_d = F.softplus(-D(x)).mean() + F.softplus(D(G(z).detach())).mean()
            loss_g = F.softplus(-D(G(z))).mean()
            for optimizer, loss in zip(opts, (loss_g, loss_d), strict=True):
                optimizer.zero_grad()
                loss.backward(retain_graph=True)
            for optimizer in opts:
                optimizer.step()
            found = doctor.check(step)  # inside, as it stands in many loops
    assert found is not None and found["numbers/outputs"] == 0 and found["gradient/declared"] > 0


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float64])
@pytest.mark.parametrize("who", ["both", "generator", "discriminator"])
def test_parameters_of_another_precision(kind: torch.dtype, who: str) -> None:
    G, D = generator(), discriminator()
    for name, net in (("generator", G), ("discriminator", D)):
        if who in {"both", name}:
            net.to(kind)
    doctor = Doctor(G, D, real=POINTS, latent=LATENT, objective="nonsaturating", holdout=POINTS + 0.1)
    doctor.check(9)
    with torch.no_grad():
        for p in [*G.parameters(), *D.parameters()]:
            p += 0.01
    found = doctor.check(10)
    assert found is not None and found["numbers/outputs"] == 0
    assert found["slopes/real"] > 0 and found["gradient/declared"] > 0
    doctor.diagnose()
    assert {p.dtype for p in G.parameters()} == {kind if who != "discriminator" else torch.float32}


# Frozen parts --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("with_optimizers", [True, False])
def test_frozen_parts_raise_no_alarm(with_optimizers: bool) -> None:
    G = nn.Sequential(nn.Linear(LATENT, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.LeakyReLU(0.2), nn.Linear(64, 2))
    D = nn.Sequential(nn.Linear(2, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.LeakyReLU(0.2), nn.Linear(64, 1))
    for net in (G, D):
        net[2].requires_grad_(False)  # most of its parameters, as when a trunk was pre-trained
    told: dict[str, Any] = {}
    if with_optimizers:
        live = [[p for p in net.parameters() if p.requires_grad] for net in (G, D)]
        told["optimizers"] = {"generator": torch.optim.Adam(live[0]), "discriminator": torch.optim.Adam(live[1])}
    said = {f.condition for f in attended(G, D, **told).active}
    assert not said & {"parameters-not-optimised", "generator-never-updated", "discriminator-never-updated"}


# What is said of wrong arguments -------------------------------------------------------------------------------------


def wrong(error: type[EquilibriaError] = ConfigError, **told: Any) -> pytest.ExceptionInfo[EquilibriaError]:
    given = {"real": POINTS, "latent": LATENT} | told
    pair = given.pop("pair", (generator(), discriminator()))
    with pytest.raises(error) as raised:
        Doctor(*pair, **{name: value for name, value in given.items() if value is not None})
    return raised


def test_a_wrong_argument_is_named_with_the_rule_and_the_fix() -> None:
    one_line(wrong(objectiv="hinge"), "the doctor takes no 'objectiv'", "did you mean 'objective'?")
    one_line(wrong(objective="hing"), "no objective 'hing'", "did you mean 'hinge'?")
    one_line(wrong(objective=3), "objective of type int")
    one_line(wrong(objective=(lambda a, b: a + b, lambda a: a.mean())), "does not return one number")
    bce = F.binary_cross_entropy_with_logits
    column = (lambda real, fake: bce(real, torch.ones(len(real), 1)), lambda fake: fake.mean())
    one_line(wrong(objective=column), "scores of shape (n,)", "for scores of any shape")
    one_line(
        wrong(latent=None, pair=(nn.Linear(4, 3), discriminator())),
        "neither latent nor sampler",
        "pass latent=128, or sampler=",
    )
    one_line(wrong(latent=0), "latent=0", "at least 1")
    one_line(wrong(latent="four"), "latent='four'")
    one_line(wrong(optimizers=3), "optimizers of another form")
    optimizer = torch.optim.Adam(discriminator().parameters())
    one_line(wrong(optimizers={"discriminator": optimizer, "genrator": optimizer}), "'genrator'", "'generator'")
    one_line(wrong(call={"discrminator": print}), "call= with 'discrminator'", "'discriminator': fn(x, y)")
    one_line(wrong(call={"generator": 3}), "call= with 'generator'")
    one_line(wrong(pair=(lambda z: z, discriminator())), "the generator is a function", "nn.Module")


def test_shapes_that_do_not_fit_are_named() -> None:
    one_line(wrong(ShapeError, latent=LATENT + 1), "the generator cannot be called", "latent=")
    one_line(wrong(ShapeError, real=torch.randn(50, 3)), "makes (2,) and real rows are (3,)", "real=")
    one_line(wrong(ShapeError, pair=(generator(), discriminator(5))), "the discriminator cannot be called")


def test_what_is_not_told_is_listed_with_the_argument_that_would_tell_it() -> None:
    said = Doctor(generator(), discriminator(), real=POINTS, sampler=lambda n: torch.randn(n, 2)).diagnose()
    assert [one.argument for one in said.not_assessed] == ["holdout", "optimizers", "objective", "latent"]
    sigmoid = nn.Sequential(discriminator(), nn.Sigmoid())
    told = Doctor(generator(), sigmoid, real=POINTS, latent=LATENT, objective="nonsaturating").diagnose()
    assert "objective" in {one.argument for one in told.not_assessed} and "(loss_d(real, fake), loss_g(fake))" in str(
        told
    )


def test_a_size_from_numpy_is_a_size() -> None:
    assert Doctor(generator(), discriminator(), real=POINTS, latent=np.int64(LATENT)).subject.latent == LATENT
