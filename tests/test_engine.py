"""The engine: where tensors lie in memory is chosen by rule, kept with the run, and changes nothing but rounding."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from equilibria import resume, train
from equilibria.base.errors import ConfigError
from equilibria.core.game import Game, evaluate, make_draw
from equilibria.core.optimizers import SGD
from equilibria.core.play import Play
from equilibria.core.updates import Simultaneous
from equilibria.data import Dataset, load
from equilibria.recipes import RECIPES
from equilibria.training import Settings, engine

QUIET = Settings(progress=False, evaluate=False, doctor=False)


class Viewing(nn.Module):
    """A wide discriminator that flattens by ``view``, which images stored channels last do not allow."""

    def __init__(self) -> None:
        super().__init__()
        self.body = wide_layers()
        self.out = nn.Linear(64 * 64, 1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.out(self.body(x).view(len(x), -1))
        return out


def wide_layers() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(1, 64, 3, 1, 1), nn.ReLU(), nn.Conv2d(64, 64, 3, 1, 1), nn.ReLU())


def wide() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(wide_layers(), nn.Flatten(), nn.Linear(64 * 64, 1))


def pictures() -> Dataset:
    return load(torch.randint(0, 256, (64, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)))


def chosen(run: Path) -> str:
    return str(json.loads((run / "run.json").read_text())["settings"]["memory_format"])


def trained(out: Path, steps: int = 4, settings: Settings = QUIET, net: nn.Module | None = None) -> dict[str, Tensor]:
    row = dataclasses.replace(RECIPES["gan"], batch=8)
    run = train(row, pictures(), steps=steps, out=out, settings=settings, discriminator=net or wide())
    return run.play.tensors()


def test_wide_convolutions_lie_channels_last_and_the_run_says_so(tmp_path: Path) -> None:
    weight = trained(tmp_path / "run")["game/discriminator.net.0.2.weight"]
    assert weight.is_contiguous(memory_format=torch.channels_last)
    assert chosen(tmp_path / "run") == "channels_last"


def test_narrow_networks_and_those_that_cannot_stay_as_they_are(tmp_path: Path) -> None:
    train(dataclasses.replace(RECIPES["r3gan"], batch=8), pictures(), steps=1, out=tmp_path / "narrow", settings=QUIET)
    trained(tmp_path / "viewing", net=Viewing())
    assert chosen(tmp_path / "narrow") == chosen(tmp_path / "viewing") == "contiguous"


def test_choosing_a_format_disturbs_nobody(tmp_path: Path) -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    norm = nn.BatchNorm2d(64)
    net = nn.Sequential(wide_layers(), norm, nn.Flatten(), nn.Linear(64 * 64, 1))
    game = RECIPES["gan"].game.build(RECIPES["gan"].networks, pictures().spec, {"discriminator": net})
    torch.set_rng_state(before)
    kept = {name: b.clone() for name, b in game.named_buffers()}
    _, settled = engine.settled(game, torch.device("cpu"), Settings(), lambda: pictures().batch(8, 0, 0))
    assert settled.memory_format == "channels_last"
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(buffer, kept[name]) for name, buffer in game.named_buffers())


def test_a_format_changes_rounding_only() -> None:
    """One round's gradients, against the contiguous ones."""
    found = []
    for form in ("contiguous", "channels_last"):
        game = RECIPES["wgan-gp"].game.build(RECIPES["wgan-gp"].networks, pictures().spec, {"discriminator": wide()})
        torch.manual_seed(0)
        for p in game.parameters():
            nn.init.normal_(p, std=0.05)
        game = engine.placed(game, torch.device("cpu"), Settings(memory_format=form))
        torch.manual_seed(2)
        draw = make_draw(game.draw(pictures().batch(8, 0, 0)), 0)
        own = list(game.moved("discriminator").values())
        found.append(torch.autograd.grad(evaluate(game, "discriminator", draw).total, own, materialize_grads=True))
    for plain, last in zip(*found, strict=True):
        torch.testing.assert_close(last, plain, rtol=1e-3, atol=1e-5)


def test_a_run_stopped_and_resumed_in_channels_last_has_the_same_bits(tmp_path: Path) -> None:
    whole = trained(tmp_path / "whole", steps=5)
    settings = dataclasses.replace(QUIET, checkpoint_every=1)
    trained(tmp_path / "part", steps=5, settings=settings)
    for folder in sorted((tmp_path / "part" / "checkpoints").glob("step-*"))[1:]:
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()
    again = resume(tmp_path / "part", pictures(), discriminator=wide()).play.tensors()
    assert whole.keys() == again.keys()
    assert all(torch.equal(value, again[name]) for name, value in whole.items())


def test_a_run_from_before_formats_opens_as_it_was(tmp_path: Path) -> None:
    trained(tmp_path / "run", settings=dataclasses.replace(QUIET, memory_format="contiguous"))
    file = tmp_path / "run" / "run.json"
    info = json.loads(file.read_text())
    del info["settings"]["memory_format"]
    file.write_text(json.dumps(info))
    run = resume(tmp_path / "run", pictures(), steps=5, discriminator=wide())
    weight = run.play.tensors()["game/discriminator.net.0.2.weight"]
    assert run.finished
    assert weight.is_contiguous() and not weight.is_contiguous(memory_format=torch.channels_last)


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(ConfigError, match="memory_format"):
        Settings(memory_format="fast")


@pytest.mark.parametrize("name", ["gan", "r3gan-small", "wgan-gp"])
def test_gradients_of_one_graph_are_those_of_each_loss_alone(name: str) -> None:
    """What a simultaneous round moves along, by plain SGD, against each loss differentiated by itself."""
    row, data = RECIPES[name], load("ring8-U")
    torch.manual_seed(0)
    game: Game = row.game.build(row.networks, data.spec)
    play = Play(
        game,
        Simultaneous(),
        {p.name: SGD(lr=1.0) for p in game.players},
        lambda own, turn: data.batch(32, own, turn),
    )
    play.prepare()
    before = {n: p.detach().clone() for n, p in game.named_parameters()}
    draw = play.deal()
    play.turn = 0
    wanted = {}
    for player in game.players:
        own = game.moved(player.name)
        grads = torch.autograd.grad(game.loss(player.name, draw).total, list(own.values()), materialize_grads=True)
        wanted.update(dict(zip(own, grads, strict=True)))
    play.advance()
    for n, p in game.named_parameters():
        torch.testing.assert_close(before[n] - p.detach(), wanted[n], rtol=1e-4, atol=1e-6)
