"""The contract over the registry: what every recipe promises, checked on tiny networks and little data.

Of a row with a procedure, what is built here is one component, the row without its procedure; whole procedures are
trained in test_procedures.py.

A registered row needs a golden row in golden_recipes.json. ``python tests/test_recipes.py`` prints the rows that are
missing or differ, in the form in which they are pasted.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import json
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

import battery
from equilibria.base.errors import ConfigError, EquilibriaError
from equilibria.base.randomness import reseed
from equilibria.base.records import decode, encode, is_record
from equilibria.base.schedules import Bursts
from equilibria.core import optimizers
from equilibria.core.cuda_graphs import Replay
from equilibria.core.game import Batches, Game, gradients
from equilibria.core.optimizers import RMSprop
from equilibria.core.play import Play
from equilibria.data import Dataset, DataSpec, load
from equilibria.games.boosting import Boosting
from equilibria.networks import Networks
from equilibria.recipes import DEFAULTS, RECIPES, Recipe, citation, default_for, recipe
from taping import Tape

ROOT = Path(__file__).resolve().parents[1]
GOLDEN = Path(__file__).with_name("golden_recipes.json")
EVERY = pytest.mark.parametrize("name", RECIPES)

SMALL = {"width": 8, "discriminator_width": 8, "hidden": 8, "pieces": 2}
IMAGES = {"r3gan", "gan-maxout"}  # rows for images whose game would take vectors too
SOURCES = ("ring8-M", "digits", "pairs:digits,digits-negative", "aligned:digits,digits-edges")


# Small instances -----------------------------------------------------------------------------------------------------


def shrunk(value: Any, inside: bool = False) -> Any:
    """A record with small widths in its networks, and with few turns where its schedule has bursts of them."""
    if isinstance(value, Bursts):
        return Bursts(usual=2, burst=3, first=1, every=100)
    if not is_record(value):
        return value
    inside = inside or isinstance(value, Networks)
    changed = {}
    for field in dataclasses.fields(value):
        old = getattr(value, field.name)
        small = SMALL.get(field.name) if inside and isinstance(old, int) else None
        changed[field.name] = shrunk(old, inside) if small is None else min(old, small)
    return dataclasses.replace(value, **changed)


source = lru_cache(load)


def built(row: Recipe, seed: int = 0) -> tuple[Game, Dataset]:
    """The row's game on the first source of data that it can be built for."""
    reasons = []
    for name in SOURCES[1:] if row.name in IMAGES else SOURCES:
        data = source(name)
        started = battery.started_from(row, data.spec)
        reseed(seed)
        try:
            return row.game.build(row.networks, data.spec, started), data
        except EquilibriaError as error:
            reasons.append(f"{name}: {error}")
    raise AssertionError(f"{row.name} can be built for no source of data. {'; '.join(reasons)}")


def made(name: str, seed: int = 0) -> tuple[Game, Batches, Recipe]:
    whole = RECIPES[name]
    row = dataclasses.replace(
        whole, networks=shrunk(whole.networks), game=shrunk(whole.game), batch=min(whole.batch, 16)
    )
    game, data = built(row, seed)
    return game, lambda own, turn: data.batch(row.batch, own, turn), row


def playing(name: str, seed: int = 0) -> Play:
    """A prepared play of the recipe: its own rule, optimisers and averages."""
    game, batches, row = made(name, seed)
    names = [p.name for p in game.players]
    averages = tuple(a for a in row.averages if a.player in names)
    specs = {p: row.optimizer_of(p) for p in names}
    play = Play(game, row.update, specs, batches, seed=seed, horizon=10, averages=averages)
    play.prepare()
    return play


# The contract --------------------------------------------------------------------------------------------------------


@EVERY
def test_a_round_moves_every_player_along_finite_gradients(name: str) -> None:
    play = playing(name)
    draw = play.deal()
    for player in play.game.players:
        grads, loss = gradients(play.game, player.name, draw)
        assert battery.finite(grads) and bool(loss.total.isfinite()), player.name
    before = battery.copied(dict(play.game.named_parameters()))
    losses = play.advance()
    assert losses.keys() == {p.name for p in play.game.players}
    for player in play.game.players:
        moved = play.game.moved(player.name)
        assert any(not torch.equal(before[n], p) for n, p in moved.items()), f"'{player.name}' did not move"
    assert battery.finite(play.tensors())
    assert {n for p in play.game.players for n in play.game.moved(p.name)} == set(before), "a parameter nobody moves"


@EVERY
def test_the_same_seed_gives_the_same_bits_and_another_does_not(name: str) -> None:
    states = []
    for noise, seed in ((1, 0), (2, 0), (1, 1)):
        torch.manual_seed(noise)
        play = playing(name, seed)
        play.advance(2)
        states.append(battery.copied(play.tensors()))
    assert battery.same(states[0], states[1])
    assert not battery.same(states[0], states[2])


@EVERY
def test_a_recorded_run_has_the_numbers_of_the_run(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if not any(isinstance(spec, RMSprop) for spec in playing(name).specs.values()):  # torch's takes none on a CPU
        monkeypatch.setattr(optimizers, "_unset", lambda parameters: torch.ones(()))
    tape = Tape()
    played, replayed = playing(name), playing(name)
    replayed.launch = Replay(tape)
    for _ in range(6):
        losses, again = played.advance(), replayed.advance()
        assert all(torch.equal(loss.total, again[who].total) for who, loss in losses.items())
    assert battery.same(played.tensors(), replayed.tensors())
    assert set(replayed.launch.status.values()) == {"recorded"} and tape.recorded == len(replayed.launch.status)


@EVERY
def test_a_saved_run_continues_in_another_play_bit_for_bit(name: str) -> None:
    whole = playing(name)
    whole.advance(2)
    saved, at = battery.copied(whole.tensors()), (whole.round, whole.turn)
    whole.advance(2)
    again = playing(name, seed=977)
    again.seed = 0
    again.load(saved, *at)
    torch.manual_seed(5)
    again.advance(2)
    assert battery.same(whole.tensors(), again.tensors())


@EVERY
def test_a_row_goes_to_json_and_back(name: str) -> None:
    row = RECIPES[name]
    assert decode(json.loads(json.dumps(encode(row)))) == row


@EVERY
@pytest.mark.parametrize(
    "check",
    [battery.same_draw_same_loss, battery.samples_are_a_function_of_the_seed],
    ids=lambda check: check.__name__,
)
def test_its_game_keeps_the_promises_of_games(name: str, check: Callable[[battery.Make], None]) -> None:
    check(lambda seed: made(name, seed)[:2])


@EVERY
def test_a_row_cites_a_paper_of_its_year(name: str) -> None:
    row = RECIPES[name]
    assert f"  year = {{{row.year}}}," in citation(row.cite).splitlines(), f"{row.cite} is not of {row.year}"
    assert name == row.name and row.source and row.about and "\n" not in row.about + row.source


@EVERY
def test_players_named_by_a_row_exist(name: str) -> None:
    game, _, row = made(name)
    players = {p.name for p in game.players}
    assert {o.player for o in row.optimizers} <= players
    # The default average is of "generator"; a game without a player of that name takes none from it.
    assert {a.player for a in row.averages} <= players | {"generator"}


@pytest.mark.parametrize("name", [name for name, row in RECIPES.items() if row.procedure is not None])
def test_a_procedure_has_several_stages_and_each_counts_as_its_row_does(name: str) -> None:
    row = RECIPES[name]
    assert row.procedure is not None
    plan = row.procedure.plan(row, DataSpec(kind="image", shape=(1, 32, 32)))
    assert len(plan) > 1 and set(plan.values()) == {row.steps}


def test_rounds_and_batch_of_boosting_follow_the_recipe() -> None:
    row = RECIPES["adagan"]
    assert isinstance(row.procedure, Boosting)
    assert (row.procedure.rounds, row.procedure.batch) == (row.steps, row.batch)
    for path in ("procedure.rounds", "procedure.batch"):
        with pytest.raises(ConfigError, match=rf"'{path}' follows the recipe's"):
            row.with_settings({path: "5"})


# Golden values -------------------------------------------------------------------------------------------------------


def golden_row(name: str) -> dict[str, list[float]]:
    """Each player's loss after three rounds at seed 0, and how far its parameters have moved."""
    play = playing(name)
    start = battery.copied(dict(play.game.named_parameters()))
    losses = play.advance(3)
    row = {}
    for who, loss in losses.items():
        way = torch.cat([(p.detach() - start[n]).flatten() for n, p in play.game.moved(who).items()])
        row[who] = [float(f"{float(number):.6g}") for number in (loss.total, way.norm())]
    return row


def is_near(found: dict[str, list[float]], wanted: dict[str, list[float]] | None) -> bool:
    """float32 sums differ in their order between machines, and Adam makes full steps of gradients that are rounding.

    Scoring both sides in one pass instead of two, the same mathematics, moved losses by 1e-4 and ways by 1.5e-3.
    """
    if wanted is None or found.keys() != wanted.keys():
        return False
    losses = all(found[who][0] == pytest.approx(wanted[who][0], rel=1e-3, abs=1e-5) for who in wanted)
    return losses and all(found[who][1] == pytest.approx(wanted[who][1], rel=1e-2, abs=1e-6) for who in wanted)


def kept() -> dict[str, dict[str, list[float]]]:
    rows: dict[str, dict[str, list[float]]] = json.loads(GOLDEN.read_text(encoding="utf-8"))
    return rows


def test_every_recipe_has_a_golden_row_and_every_row_a_recipe() -> None:
    lacking = {name: golden_row(name) for name in RECIPES if name not in kept()}
    assert not lacking, f"add to {GOLDEN.name} (see the head of this file):\n{listed(lacking)}"
    assert not kept().keys() - RECIPES.keys(), "rows of recipes that are not registered"


@EVERY
def test_losses_and_moves_are_the_golden_ones(name: str) -> None:
    found, wanted = golden_row(name), kept().get(name)
    assert is_near(found, wanted), f"was {wanted}; if the change is meant:\n{listed({name: found})}"


def test_a_golden_row_tells_rates_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RECIPES._entries, "gan", RECIPES["gan"].with_settings({"optimizer.lr": "2.1e-4"}))
    assert not is_near(golden_row("gan"), kept()["gan"])


def listed(rows: dict[str, dict[str, list[float]]]) -> str:
    return ",\n".join(f" {json.dumps(name)}: {json.dumps(row)}" for name, row in rows.items())


# The table in README.md ----------------------------------------------------------------------------------------------


def renderer() -> ModuleType:
    spec = importlib.util.spec_from_file_location("render_readme", ROOT / "scripts" / "render_readme.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_readme_is_as_rendered() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert renderer().rendered(text) == text, "run python scripts/render_readme.py"


def test_a_table_replaces_what_stands_between_the_markers_and_nothing_else() -> None:
    render = renderer()
    text = f"before\n{render.BEGIN}\nold\n{render.END}\nafter\n"
    once = render.rendered(text)
    assert once.startswith(f"before\n{render.BEGIN}\n| recipe |") and once.endswith(f"|\n{render.END}\nafter\n")
    assert render.rendered(once) == once and "old" not in once
    columns = {line.replace(r"\|", "").count("|") for line in render.table().splitlines()}
    assert columns == {4}, "a cell holds an unescaped bar"
    with pytest.raises(ValueError, match="once each"):
        render.rendered("no markers")


@pytest.mark.parametrize(
    ("tex", "text"),
    [
        (r"Bottou, L{\'e}on", "Bottou, Léon"),
        (r"S{\o}nderby", "Sønderby"),
        (r"Bi{\'n}kowski, Miko{\l}aj", "Bińkowski, Mikołaj"),
        (r"Sch{\"o}lkopf and Poczos, Barnab{\'{a}}s", "Schölkopf and Poczos, Barnabás"),
        (r"{NIPS} 2016", "NIPS 2016"),
    ],
)
def test_names_lose_their_tex(tex: str, text: str) -> None:
    assert renderer().plain(tex) == text


# The registry itself -------------------------------------------------------------------------------------------------


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'wgan-gp'"):
        recipe("wgan-pg")


@pytest.mark.parametrize("kind", DEFAULTS)
def test_each_kind_of_data_has_a_default(kind: str) -> None:
    data = source({"vector": "ring8-M", "image": "digits"}[kind]).spec
    assert default_for(data).name == DEFAULTS[kind]


def test_settings_change_what_a_row_does_and_not_where_it_is_from() -> None:
    changed = recipe("wgan-gp").with_settings({"optimizer.lr": "1e-3", "game.penalties.0.weight": "1"})
    assert (changed.optimizer.lr, changed.game.penalties[0].weight) == (1e-3, 1.0)  # type: ignore[attr-defined]
    assert dataclasses.replace(changed, optimizer=recipe("wgan-gp").optimizer, game=recipe("wgan-gp").game) == recipe(
        "wgan-gp"
    )
    with pytest.raises(ConfigError, match="recipe"):
        recipe("gan").with_settings({"year": "2015"})
    with pytest.raises(ConfigError, match=r"--set optimizer\.lr=1"):
        recipe("gan").with_settings({"optimiser.lr": "1"})


def test_a_missing_golden_row_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RECIPES._entries, "planted", dataclasses.replace(RECIPES["gan"], name="planted"))
    with pytest.raises(AssertionError, match="planted"):
        test_every_recipe_has_a_golden_row_and_every_row_a_recipe()


if __name__ == "__main__":
    torch.set_num_threads(1)
    old = kept() if GOLDEN.exists() else {}
    rows = {name: golden_row(name) for name in RECIPES}
    print(listed({n: r for n, r in rows.items() if not is_near(r, old.get(n))}))
