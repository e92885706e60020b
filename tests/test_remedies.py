"""Remedies: every one that changes settings plays with the recipes it suits, and every snippet runs in a plain loop."""

from __future__ import annotations

import ast
import dataclasses
import json
import re
from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from equilibria.base.errors import ConfigError, DataError
from equilibria.base.schedules import Cosine
from equilibria.core.play import Play
from equilibria.data import load
from equilibria.doctor import REMEDIES, Doctor, Remedy
from equilibria.doctor.conditions import rules
from equilibria.games.spec import Latent
from equilibria.games.two_player import TwoPlayer
from equilibria.losses import R1, Clip, GradientPenalty
from equilibria.networks import Auto, ConvPair, MLPPair
from equilibria.recipes import RECIPES, Recipe, recipe
from test_recipes import built, shrunk

CHANGING = [name for name, remedy in REMEDIES.items() if remedy.settings]
LACKS = r"has no setting|pairs real with generated"


def applied(remedy: str, row: Recipe) -> Recipe | None:
    """The changed recipe; None where the game has not what the remedy changes, which the error says."""
    try:
        return REMEDIES[remedy].apply(row)
    except ConfigError as error:
        assert re.search(LACKS, error.what), error
        assert not isinstance(row.game, TwoPlayer), f"{row.name}: {error}"  # the plainest game takes every remedy
        return None


def play_of(row: Recipe) -> Play:
    """A prepared play of a row at a small size."""
    row = dataclasses.replace(row, networks=shrunk(row.networks), game=shrunk(row.game), batch=min(row.batch, 16))
    game, data = built(row)
    names = [p.name for p in game.players]
    assert {o.player for o in row.optimizers} <= set(names), "a rate of a player that is not there"
    specs = {p: row.optimizer_of(p) for p in names}
    play = Play(game, row.update, specs, lambda own, turn: data.batch(row.batch, own, turn), horizon=10)
    play.prepare()
    return play


@pytest.mark.parametrize("name", CHANGING)
def test_a_remedy_applies_or_says_which_setting_is_missing(name: str) -> None:
    for row in RECIPES.values():
        changed = applied(name, row)
        assert changed is None or isinstance(changed, Recipe)
        assert row == recipe(row.name)  # the recipe itself is not touched


@pytest.mark.parametrize("name", CHANGING)
def test_the_changed_recipe_plays_a_round(name: str) -> None:
    for row in RECIPES.values():
        changed = applied(name, row)
        if changed is not None and row.procedure is None:
            losses = play_of(changed).advance()
            assert all(bool(loss.total.isfinite()) for loss in losses.values()), row.name


def test_the_sides_of_a_game_are_its_players() -> None:
    """A rate of a player that is not there would change nothing, without a word."""
    for row in RECIPES.values():
        if row.procedure is None:
            play = play_of(row)
            named = {player for players in row.game.sides().values() for player in players}
            assert named <= {player.name for player in play.game.players}, row.name


def test_labels_that_are_not_there_are_said() -> None:
    row = REMEDIES["use-labels"].apply(recipe("gan"))
    with pytest.raises(DataError, match="needs labels"):
        row.game.build(row.networks, load(torch.randn(64, 2).numpy()).spec)


# What a change does --------------------------------------------------------------------------------------------------


def with_rate(rate: Any, name: str = "gan") -> Recipe:
    row = recipe(name)
    return dataclasses.replace(row, optimizer=dataclasses.replace(row.optimizer, lr=rate))


def test_rates_are_scaled_capped_and_their_schedules_kept() -> None:
    slower = REMEDIES["lower-learning-rates"]
    assert slower.apply(with_rate(2e-3)).optimizer.lr == pytest.approx(2e-3 / 3)
    assert slower.apply(with_rate(0.5)).optimizer.lr == 1e-3
    falling = slower.apply(with_rate(Cosine(start=1e-3, end=1e-5))).optimizer.lr
    assert isinstance(falling, Cosine)
    assert (falling.start, falling.end) == (pytest.approx(1e-3 / 3), pytest.approx(1e-5 / 3))
    row = slower.apply(recipe("aae-swissroll"))
    assert [o.optimizer.lr for o in row.optimizers] == [
        pytest.approx(min(o.optimizer.lr / 3, 1e-3)) for o in recipe("aae-swissroll").optimizers
    ]


@pytest.mark.parametrize(
    ("name", "players"), [("gan", {"discriminator"}), ("d2gan", {"discriminators"}), ("cogan", {"discriminators"})]
)
def test_the_discriminator_is_slowed_under_the_name_it_plays_by(name: str, players: set[str]) -> None:
    row = REMEDIES["slow-discriminator"].apply(recipe(name))
    assert {o.player for o in row.optimizers} == players
    assert all(o.optimizer.lr == pytest.approx(recipe(name).optimizer.lr / 10) for o in row.optimizers)
    assert row.optimizer == recipe(name).optimizer


def test_a_remedy_makes_nothing_smaller() -> None:
    wide = dataclasses.replace(
        recipe("gan"), batch=512, game=dataclasses.replace(recipe("gan").game, latent=Latent(size=256))
    )
    assert REMEDIES["larger-batch"].apply(wide).batch == 512
    assert REMEDIES["larger-latent"].apply(wide) == wide
    assert REMEDIES["balance-turns"].apply(recipe("wgan-gp")).game.discriminator_turns == 5
    assert REMEDIES["balance-turns"].apply(recipe("gan")).game.discriminator_turns == 2
    assert REMEDIES["balance-turns"].apply(recipe("wgan")) == recipe("wgan")  # its turns are a schedule


def test_networks_grow_one_side_at_a_time() -> None:
    row = dataclasses.replace(recipe("gan"), networks=Auto(vector=MLPPair(width=10, depth=2), image=ConvPair(width=8)))
    wider = REMEDIES["larger-generator"].apply(row).networks
    assert wider.vector == MLPPair(width=20, depth=3, discriminator_width=10, discriminator_depth=2)
    assert wider.image == ConvPair(width=16)  # its networks share one width
    judge = REMEDIES["larger-discriminator"].apply(row).networks
    assert judge.vector == MLPPair(width=10, depth=2, discriminator_width=20, discriminator_depth=3)


def test_a_penalty_is_added_beside_others_and_a_stronger_one_of_its_kind_is_kept() -> None:
    def penalised(*penalties: Any) -> Recipe:
        return dataclasses.replace(recipe("gan"), game=dataclasses.replace(recipe("gan").game, penalties=penalties))

    add = REMEDIES["slope-penalty"].apply
    assert add(penalised()).game.penalties == (R1(gamma=0.1),)
    assert add(penalised(GradientPenalty())).game.penalties == (GradientPenalty(), R1(gamma=0.1))
    assert add(penalised(R1(gamma=5.0))).game.penalties == (R1(gamma=5.0),)
    assert add(penalised(R1(gamma=0.01))).game.penalties == (R1(gamma=0.1),)
    kept = Cosine(start=1.0, end=0.1)
    assert add(penalised(R1(gamma=kept))).game.penalties == (R1(gamma=kept),)


def test_clipping_gives_way_to_a_penalty() -> None:
    clipped = recipe("wgan")
    assert isinstance(clipped.game.clip, Clip)
    assert REMEDIES["known-good-base"].apply(clipped).game.clip is None
    loose = REMEDIES["loosen-clipping"].apply(clipped).game
    assert loose.clip is None and loose.penalties == (GradientPenalty(),)


def test_what_changes_code_says_so() -> None:
    with pytest.raises(ValueError, match="'update-generator' changes code, not settings: step the generator"):
        REMEDIES["update-generator"].apply(recipe("gan"))


def test_a_setting_that_is_not_there_is_named_with_those_that_are() -> None:
    planted = Remedy("planted", "", settings=(("game.penaltys", [{"type": "R1"}]),))
    with pytest.raises(ConfigError, match=r"TwoPlayer has no setting 'penaltys'.*penalties"):
        planted.apply(recipe("gan"))


# Code for loops of one's own -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", REMEDIES)
def test_a_remedy_goes_to_json_and_its_snippet_is_python(name: str) -> None:
    remedy = REMEDIES[name]
    assert json.loads(json.dumps(remedy.to_dict()))["name"] == name == remedy.name
    assert remedy.what and "\n" not in remedy.what
    ast.parse(remedy.snippet)


def names_of_a_loop() -> dict[str, Any]:
    """What a loop written by hand has; the values do not matter, the names do."""
    torch.manual_seed(0)
    last_layer = nn.Linear(8, 2)
    generator = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), last_layer)
    discriminator = nn.Sequential(nn.Linear(2, 8), nn.LeakyReLU(0.2), nn.Linear(8, 1))
    x_real, latent = torch.randn(16, 2), 4
    z = torch.randn(16, latent)
    x_fake = generator(z)
    ones, zeros = torch.ones(16, 1), torch.zeros(16, 1)
    logits, bce = discriminator(x_real), F.binary_cross_entropy_with_logits
    loss_d = bce(logits, ones) + bce(discriminator(x_fake.detach()), zeros)
    loss_g = bce(discriminator(x_fake), ones)
    return {
        **{"torch": torch, "F": F, "DataLoader": DataLoader, "bce": bce, "data": TensorDataset(x_real), "x": x_real},
        **{"generator": generator, "discriminator": discriminator, "last_layer": last_layer, "gamma": 0.1},
        **{"x_real": x_real, "x_fake": x_fake, "z": z, "latent": latent, "ones": ones, "zeros": zeros, "target": ones},
        **{"x_min": x_real.min(), "x_max": x_real.max(), "logits": logits, "loss_d": loss_d, "loss_g": loss_g},
        **{
            "Doctor": Doctor,
            "critic": discriminator,
            "class_logits": torch.randn(16, 3),
            "numbers": torch.randn(16, 1),
        },
        **{"average": deepcopy(generator), "translate": nn.Linear(2, 2), "y_real": x_real, "width": 8, "size": 2},
        "optimizer_g": torch.optim.Adam(generator.parameters(), lr=2e-4),
        "optimizer_d": torch.optim.Adam(discriminator.parameters(), lr=2e-4),
        "discriminator_step": lambda: None,
        "generator_step": lambda: None,
        "augment": lambda x: x,
        "build_generator": lambda **sizes: generator,
        "build_discriminator": lambda **sizes: discriminator,
    }


@pytest.mark.parametrize("name", [name for name, remedy in REMEDIES.items() if remedy.snippet])
def test_a_snippet_runs_in_a_loop(name: str) -> None:
    own = names_of_a_loop()
    if name in ("use-labels", "draw-conditions", "one-softmax"):  # a conditional pair
        pair = {"y": torch.zeros(16).long(), "generator": lambda z, y: own["x_fake"], "discriminator": lambda x, y: x}
        own |= pair
    exec(compile(REMEDIES[name].snippet, name, "exec"), own)
    for loss in ("loss_d", "loss_g"):
        assert own[loss].numel() == 1 and bool(own[loss].isfinite())


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: str(rule.condition))
def test_every_first_remedy_can_be_carried_out_by_hand(rule: Any) -> None:
    if callable(rule.remedies):
        return  # chosen by what is seen; its names are among those above
    assert set(rule.remedies) <= set(REMEDIES)
    first = REMEDIES[rule.remedies[0]]
    assert first.snippet or first.name == "stop"
