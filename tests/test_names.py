"""A name stands for a record wherever one is expected: after ``--set``, in JSON, and in Python."""

from __future__ import annotations

import dataclasses
import shlex
import typing
from collections.abc import Iterator
from typing import Any

import pytest

import equilibria as eq
from equilibria.base.errors import ConfigError
from equilibria.base.fields import KNOWN, choices, hints_of, is_record, read, spell
from equilibria.base.records import build, decode, encode, record
from equilibria.base.registry import Registry, registries, spelled
from equilibria.base.settings import option, paths_to, replace_at
from equilibria.cli.settings import applied, grouped, refuse_misplaced
from equilibria.core.optimizers import OPTIMIZERS, SGD, Adam, AdamW
from equilibria.core.registry import UPDATES
from equilibria.core.updates import Extragradient, Simultaneous
from equilibria.data import DataOptions
from equilibria.doctor.objective import declared
from equilibria.games.laws import LATENT_LAWS
from equilibria.games.spec import Latent
from equilibria.games.two_player import TwoPlayer
from equilibria.losses import OBJECTIVES, PENALTIES, R1, R2, TERMS, Clip, FGan, Hinge, LeastSquares, Minimax
from equilibria.networks import NETWORKS, Auto, MLPPair
from equilibria.recipes import RECIPES
from equilibria.training import Settings

GAN = RECIPES["gan"]
FIELDS: dict[str, Registry[Any]] = {
    "game.objective": OBJECTIVES,
    "game.penalties": PENALTIES,
    "game.terms": TERMS,
    "game.latent": LATENT_LAWS,
    "update": UPDATES,
    "optimizer": OPTIMIZERS,
    "networks": NETWORKS,
}


def at(value: Any, path: str) -> Any:
    for step in path.split("."):
        value = value[int(step)] if isinstance(value, tuple) else getattr(value, step)
    return value


@pytest.mark.parametrize(("path", "name"), [(path, name) for path, names in FIELDS.items() for name in names])
def test_every_registered_name_may_be_set(path: str, name: str) -> None:
    for spelling in (name, name.upper(), name.replace("-", "_"), f" {name} "):
        found = at(GAN.with_settings({path: spelling}), path)
        assert found == ((FIELDS[path][name],) if path in {"game.penalties", "game.terms"} else FIELDS[path][name])


@pytest.mark.parametrize("registry", {r.noun: r for r in registries().values()}.values(), ids=lambda one: one.noun)
def test_a_registry_has_one_spelling_each_and_aliases_that_lead_to_it(registry: Registry[Any]) -> None:
    assert all(name == spelled(name) for name in registry) and not set(registry) & set(registry.aliases)
    assert all(registry[alias] == registry[name] for alias, name in registry.aliases.items())
    if registry.noun != "data set":  # its rows are not configuration
        assert all(is_record(e) or KNOWN.get(getattr(e, "__name__", "")) is e for e in registry.values())


@pytest.mark.parametrize(
    ("path", "text", "wanted"),
    [
        ("game.objective", "Least_Squares", LeastSquares()),
        ("game.objective", "fgan(divergence=js)", FGan(divergence="js")),
        ("game.objective", "least-squares(a=-1, b=1, c=0)", LeastSquares(a=-1, b=1, c=0)),
        ("game.penalties", "r1,r2", (R1(), R2())),
        ("game.penalties", "r1(gamma=2), r2", (R1(gamma=2), R2())),
        ("game.penalties", "none", ()),
        ("game.clip", "clip(value=0.1)", Clip(value=0.1)),
        ("game.clip", "none", None),
        ("game.latent", "uniform(size=2)", Latent(size=2, law="uniform")),
        ("game", "two-player(objective=hinge)", TwoPlayer(objective=Hinge())),
        ("optimizer", "sgd(lr=0.1,momentum=0.9)", SGD(lr=0.1, momentum=0.9)),
        ("networks", "auto(vector=mlp(width=8))", Auto(vector=MLPPair(width=8))),
        ("update", "extragradient(past=true)", Extragradient(past=True)),
    ],
)
def test_names_take_settings_in_brackets(path: str, text: str, wanted: Any) -> None:
    assert at(GAN.with_settings({path: text}), path) == wanted


def test_settings_are_applied_in_order() -> None:
    """A name brings its own defaults, and what follows changes them."""
    changed = GAN.with_settings([("optimizer.lr", "1"), ("optimizer", "adamw"), ("optimizer.lr", "1e-3")])
    assert changed.optimizer == AdamW(lr=1e-3)
    assert GAN.with_settings([("optimizer.lr", "1"), ("optimizer", "adamw")]).optimizer == AdamW()
    pairs = grouped(["optimizer=adamw", "run.keep=2", "optimizer.lr=1e-3", "optimizer=sgd", "data.size=8"])
    assert pairs["recipe"] == [("optimizer", "adamw"), ("optimizer.lr", "1e-3"), ("optimizer", "sgd")]
    assert GAN.with_settings(pairs["recipe"]).optimizer == SGD()
    assert applied(Settings(), pairs["run"], "run.").keep == 2 and pairs["data"] == [("size", "8")]


def test_names_in_python() -> None:
    made: Any = TwoPlayer
    game = made(objective="hinge", penalties=("r1(gamma=2)", R2()), clip="clip", discriminator_turns=2)
    assert game == TwoPlayer(objective=Hinge(), penalties=(R1(gamma=2), R2()), clip=Clip(), discriminator_turns=2)
    assert made(penalties="r1,r2").penalties == (R1(), R2())
    assert made(discriminator_turns="bursts").discriminator_turns(eq.base.schedules.Clock(0, 0.0)) == 100
    changed: Any = dataclasses.replace(GAN, update="simultaneous", optimizer="adam")  # type: ignore[arg-type]
    assert changed.update == Simultaneous() and changed.optimizer == Adam()
    assert build(TwoPlayer, {"objective": "minimax"}) == TwoPlayer(objective=Minimax())
    assert decode({"type": "TwoPlayer", "penalties": ["r1"]}) == TwoPlayer(penalties=(R1(),))
    for objective in ("minimax", "saturating", "Minimax"):
        assert declared(objective).pair == Minimax()
    with pytest.raises(ConfigError, match=r"no objective 'hing'.*'hinge'"):
        made(objective="hing")
    with pytest.raises(ConfigError, match=r"no objective 'hing'.*'hinge'"):
        declared("hing")


def test_a_word_stays_a_word_where_one_is_expected() -> None:
    @record
    class Named:
        name: str = "hinge"
        words: tuple[str, ...] = ("r1", "r2")

    assert Named().name == "hinge" and replace_at(Named(), "words", "r1,r2").words == ("r1", "r2")


def settings_of(value: Any, before: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Path, declared type and value of each setting of a record and of the records inside it."""
    for name, hint in hints_of(type(value)).items():
        inner = getattr(value, name)
        yield f"{before}{name}", hint, inner
        if is_record(inner):
            yield from settings_of(inner, f"{before}{name}.")
        for i, entry in enumerate(inner if isinstance(inner, tuple) else ()):
            if is_record(entry):
                yield from settings_of(entry, f"{before}{name}.{i}.")


@pytest.mark.parametrize("name", RECIPES)
def test_what_a_setting_is_can_be_typed_again(name: str) -> None:
    """The text of every value in every recipe is read as that value."""
    row = RECIPES[name]
    found = [(path, hint, value) for path, hint, value in settings_of(row) if path.partition(".")[0] not in typing_only]
    assert len(found) > 20
    for path, hint, value in found:
        assert read(spell(value), hint, value, path) == value, path
        assert replace_at(row, path, spell(value)) == row, path
        assert shlex.split(option({path: value})) == ["--set", f"{path}={spell(value)}"]
    assert decode(encode(row)) == row


typing_only = {"name", "year", "cite", "source", "about"}


@pytest.mark.parametrize(
    ("path", "text", "fix"),
    [
        ("game.objective", "hige", "--set game.objective=hinge"),
        ("game.objective", "zzz", "--set game.objective=nonsaturating"),
        ("game.penalties", "r1(gama=2)", "--set 'game.penalties=r1(gamma=2)'"),
        ("game.penalties", "r1(gamma=-2)", "--set 'game.penalties=r1(gamma=1.0)'"),
        ("game.penalties.0.gamma", "3", "--set 'game.penalties=r1(gamma=3)'"),
        ("game.clip.value", "0.2", "--set 'game.clip=clip(value=0.2)'"),
        ("game.latent", "unifrom", "--set game.latent=uniform"),
        ("update", "extragradiant", "--set update=extragradient"),
        ("optimizer", "adamq", "--set optimizer=adam"),
        ("optimizer.lr", "cosine", "--set 'optimizer.lr=cosine(start=1,end=1)'"),
        ("optimizer.lr", "-1", "--set optimizer.lr=0.0002"),
        ("optimizer.lr", "fast", "--set optimizer.lr=0.0002"),
        ("optimizer.betas", "0.5", "--set optimizer.betas=0.5,0.999"),
        ("networks.width", "8", "--set networks.vector.width=8 or --set networks.image.width=8"),
        ("networks.vector.activation", "relux", "--set networks.vector.activation=relu"),
        ("networks.vector.width", "0", "--set networks.vector.width=128"),
        ("lr", "1e-3", "--set optimizer.lr=1e-3"),
        ("batch", "many", "--set batch=64"),
        ("batch.x", "3", "--set batch=64"),
        ("optimizers", "for", "--set 'optimizers=for(player=generator,optimizer=adam)'"),
    ],
)
def test_the_fix_of_a_setting_works_when_it_is_pasted(path: str, text: str, fix: str) -> None:
    with pytest.raises(ConfigError) as error:
        GAN.with_settings({path: text})
    said = error.value.fix.partition(" (known")[0]
    assert said == fix
    for way in said.split(" or "):
        key, pair = shlex.split(way)
        where, _, value = pair.partition("=")
        assert key == "--set" and GAN.with_settings({where: value})


def test_a_setting_of_another_record_is_sent_there() -> None:
    others = {"data": DataOptions(), "run": Settings()}
    with pytest.raises(ConfigError, match=r"--set data\.size=64"):
        refuse_misplaced(GAN, [("size", "64")], others)
    with pytest.raises(ConfigError, match=r"--set run\.keep=2"):
        refuse_misplaced(GAN, [("keep", "2")], others)
    refuse_misplaced(GAN, [("batch", "2"), ("lr", "1")], others)
    with pytest.raises(ConfigError, match=r"--set run\.keep=1"):
        replace_at(Settings(), "keep", "0", "run.")
    assert paths_to(GAN, "size") == ["game.latent.size"]


def test_only_what_fits_is_offered() -> None:
    """An embedded law is no law for a game that takes a plain one."""
    assert "embedded" in choices(hints_of(TwoPlayer)["latent"])
    assert choices(Latent) == ["normal", "uniform"] and choices(typing.Optional[Clip]) == ["clip"]  # noqa: UP045
    with pytest.raises(ConfigError, match="no latent law 'embedded'"):
        RECIPES["d2gan"].with_settings({"game.latent": "embedded"})


def test_no_two_entries_share_a_name() -> None:
    names: Registry[int] = Registry("age", {"iron": 1}, {"old": "iron"})
    for wrong in (lambda: names.add("old", 2), lambda: names.add("Iron", 2), lambda: names.alias("iron", "iron")):
        with pytest.raises(ConfigError):
            wrong()
    assert names.name_of(1) == "iron" and "OLD" in names and 3 not in names and len(names) == 1
