"""What the doctor is given of games whose contests are conditional, translate rows, or draw whole numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import equilibria as eq
from equilibria.base.errors import ConfigError
from equilibria.core.game import Batch, Contest, Draw, Game, Loss, Player
from equilibria.data import Dataset, load
from equilibria.doctor import Doctor
from equilibria.networks import one_hot
from equilibria.training.doctor_adapter import DoctorAdapter, adapter_of


class Duel(Game):
    """A generator against a discriminator, in one contest of a kind that the test gives."""

    def __init__(self, inputs: int, points: int, contest: Callable[[Any, Draw], tuple[Any, Any]], **more: Any) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.make = nn.Sequential(nn.Linear(inputs, 16), nn.Tanh(), nn.Linear(16, 2))
        self.judge = nn.Sequential(nn.Linear(points, 16), nn.LeakyReLU(0.2), nn.Linear(16, 1))
        self.players = (Player("discriminator", ("judge",)), Player("generator", ("make",)))
        self.pair, self.needs, self.entries = contest, more.get("needs", ()), more.get("entries")

    def codes(self, n: int, labels: Tensor | None = None) -> Batch:
        return {"latent": torch.randn(n, 3), "slot": torch.randint(5, (n,)), "which": torch.randint(2, (n,))}

    def given(self, rows: Batch) -> Batch:
        return {"real": rows["x"], "other": rows["x"]}

    def draw(self, batch: Batch) -> Batch:
        own = {"label": one_hot(batch["y"], 3)} if "y" in batch else {}
        other = {"other": batch["other"]} if "other" in batch else {}
        return {"real": batch["x"], **own, **other, **self.codes(len(batch["x"]))}

    def contests(self, draw: Draw) -> dict[str, Contest]:
        real, fake = self.pair(self, draw)
        return {"data": Contest(real, fake, lambda *point: self.judge(torch.cat(point, 1))[:, 0])}

    def loss(self, player: str, draw: Draw) -> Loss:
        contest = self.contests(draw)["data"]
        gap = contest.scores("fake").mean() - contest.scores("real").mean()
        return Loss(gap if player == "discriminator" else -gap)

    def sample(self, draw: Draw) -> Tensor:
        fake: Tensor = self.contests(draw)["data"].fake[0]
        return fake


def plain(game: Any, draw: Draw) -> tuple[Any, Any]:
    return (draw["real"],), (game.make(draw["latent"]),)


def chosen(game: Any, draw: Draw) -> tuple[Any, Any]:
    moved = game.make(draw["latent"]) + 3 * draw["which"][:, None]
    return (draw["real"],), (moved,)


def conditional(game: Any, draw: Draw) -> tuple[Any, Any]:
    label = draw["label"]
    return (draw["real"], label), (game.make(torch.cat([draw["latent"], label], 1)), label)


def translated(game: Any, draw: Draw) -> tuple[Any, Any]:
    return (draw["other"], draw["real"]), (game.make(draw["real"]), draw["real"].clone())


def unpaired(game: Any, draw: Draw) -> tuple[Any, Any]:
    return (draw["other"],), (game.make(draw["real"]) + 0.1 * draw["latent"][:, :2],)


def joint(game: Any, draw: Draw) -> tuple[Any, Any]:
    return (draw["real"], draw["real"] + 1), (game.make(draw["latent"]), draw["latent"][:, :2])


def derived(game: Any, draw: Draw) -> tuple[Any, Any]:
    label = 2 * draw["label"]
    return (draw["real"], label), (game.make(torch.cat([draw["latent"], label], 1)), label)


def both(game: Any, draw: Draw) -> tuple[Any, Any]:
    shared = (draw["label"], draw["other"])
    return (draw["real"], *shared), (game.make(torch.cat([draw["latent"], draw["label"]], 1)), *shared)


def rows(columns: tuple[str, ...] = ()) -> Dataset:
    rng = np.random.default_rng(0)
    y = np.arange(400) % 3
    x = (rng.normal(size=(400, 2)) * 0.3 + 4 * y[:, None]).astype(np.float32)
    given = {"x": x, "y": y, "other": -x}
    return load({name: given[name] for name in ("x", *columns)})


def adapted(game: Game, data: Dataset) -> DoctorAdapter:
    specs = {p.name: eq.recipe("gan").optimizer for p in game.players}
    return adapter_of(eq.Play(game, eq.recipe("gan").update, specs, data.batches(16)), data)


def reasons(doctor: Doctor) -> dict[str, str]:
    return {one.what: one.reason for one in doctor.chart.not_assessed}


def test_whole_numbers_are_codes_only_where_the_samples_change_with_them() -> None:
    for contest, width in ((plain, 3), (chosen, 4)):
        doctor = adapted(Duel(3, 2, contest), rows()).doctor()
        z, y = doctor.subject.draw_codes(50)
        assert z.shape == (50, width) and y is None and doctor.chart.facts["latent/size"] == width
        made = doctor.subject.make((z, None))
        game: Any = adapted(Duel(3, 2, contest), rows()).play.game
        expected = game.make(z[:, :3]) + (3 * z[:, 3:] if contest is chosen else 0)
        torch.testing.assert_close(made, expected)
        assert doctor.look(0).vitals["latent/dependence"] > 0.01
        assert not any("latent space" in what for what in reasons(doctor))


def test_what_both_sides_share_becomes_the_label() -> None:
    game = Duel(6, 5, conditional)
    doctor = adapted(game, rows(("y",))).doctor()
    subject = doctor.subject
    assert subject.labels is not None and subject.labels.shape == (360, 3) and subject.classes is subject.labels
    assert subject.draw_codes(7)[0].shape == (7, 3), "the label is no part of the codes"
    label = one_hot(torch.tensor([0, 1, 2]), 3)
    z, x = torch.randn(3, 3), torch.randn(3, 2)
    torch.testing.assert_close(subject.make((z, label)), game.make(torch.cat([z, label], 1)))
    torch.testing.assert_close(subject.score(x, label), game.judge(torch.cat([x, label], 1))[:, 0])
    nearest = (subject.real / 4).mean(1).round().long().clamp(0, 2)
    assert torch.equal(nearest, subject.labels.argmax(1)), "row i has the label of row i"
    vitals = doctor.look(0).vitals
    assert 0 <= vitals["label/agreement"] <= 1 and vitals["label/chance"] == pytest.approx(1 / 3, abs=0.02)
    assert vitals["latent/dependence"] > 0.01


def test_rows_that_are_translated_are_conditions_and_no_codes() -> None:
    game = Duel(2, 4, translated, needs=("x",))
    doctor = adapted(game, rows(("other",))).doctor()
    subject = doctor.subject
    assert subject.labels is not None and subject.classes is None
    torch.testing.assert_close(subject.real, -subject.labels), "what is judged belongs to its condition"
    z, y = subject.draw_codes(9)
    assert z.shape == (9, 0) and y is not None
    torch.testing.assert_close(subject.make((z, y)), game.make(y))
    said = reasons(doctor)
    assert "(x)" in next(why for what, why in said.items() if "latent space" in what)
    assert any("conditions" in what for what in said)
    for step in range(3):
        vitals = doctor.look(step).vitals
        assert not {"latent/dependence", "label/agreement"} & vitals.keys() and "samples/distance" in vitals
    found = doctor.diagnose()
    assert "latent-ignored" not in {finding.condition for finding in found.findings}


def test_rows_of_another_domain_serve_as_codes() -> None:
    game = Duel(2, 2, unpaired, needs=("x",))
    data = rows(("other",))
    doctor = adapted(game, data).doctor()
    z, _ = doctor.subject.draw_codes(200)
    assert z.shape == (200, 5) and doctor.chart.facts["latent/size"] == 0
    dealt, known = z[:, :2], data.whole()["x"]
    apart = (dealt[:, None] - known).abs().sum(2).min(1).values
    assert float(apart.max()) == 0.0, "codes are rows of the data"
    assert "real" in next(why for what, why in reasons(doctor).items() if "latent space" in what)
    torch.testing.assert_close(doctor.subject.make((z, None)), game.make(dealt) + 0.1 * z[:, 2:4])
    assert doctor.look(0).vitals.keys() >= {"samples/distance", "gradient/declared"}
    assert "latent/stretch" not in doctor.look(1).vitals and "latent/dependence" not in doctor.look(2).vitals


def test_several_conditions_stand_side_by_side() -> None:
    game = Duel(6, 7, both)
    doctor = adapted(game, rows(("y", "other"))).doctor()
    subject = doctor.subject
    assert subject.labels is not None and subject.labels.shape == (360, 5) and subject.classes is None
    x, y = subject.batch(6)
    assert y is not None
    torch.testing.assert_close(subject.score(x, y), game.judge(torch.cat([x, y], 1))[:, 0])
    doctor.look(0)


@pytest.mark.parametrize(
    ("contest", "inputs", "points", "said"),
    [(joint, 3, 4, "'data'"), (derived, 6, 5, "'data'")],
)
def test_what_is_no_condition_is_refused(contest: Any, inputs: int, points: int, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        adapted(Duel(inputs, points, contest), rows(("y",)))


def test_conditions_of_a_users_loop_need_not_be_classes() -> None:
    torch.manual_seed(0)
    x = torch.randn(200, 2)
    make, judge = nn.Linear(4, 2), nn.Linear(4, 1)
    call = {
        "generator": lambda z, y: make(torch.cat([z, y.flatten(1)], 1)),
        "discriminator": lambda x, y: judge(torch.cat([x, y.flatten(1)], 1)),
    }
    doctor = Doctor(make, judge, real=x, latent=2, labels=x.view(200, 1, 2) * 2, call=call)
    assert "label/agreement" not in doctor.look(0).vitals and any("conditions" in what for what in reasons(doctor))


def test_a_run_that_translates_is_examined_while_it_trains(tmp_path: Any) -> None:
    settings = eq.Settings(progress=False, evaluate=False, device="cpu", sample_every=1000)
    given = rows(("other",)).whole()
    np.savez(tmp_path / "rows.npz", **{name: column.numpy() for name, column in given.items()})
    game = Duel(2, 4, translated, needs=("x",))
    run = eq.train(game, tmp_path / "rows.npz", steps=12, out=tmp_path / "run", settings=settings)
    found = run.diagnose()
    assert found.checkups > 0 and any("latent space" in one.what for one in found.not_assessed)
