"""`python -m benchmarks`: what is counted, who takes turns, and what a peer's script is asked to do."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch
from benchmarks import BENCHMARKS, Plan, drawn, matching, measured
from benchmarks.__main__ import main
from benchmarks.borrowed import classes, mimicry_dcgan
from benchmarks.floor import Autoencoder, Pair
from benchmarks.ours import like_digits, played
from benchmarks.peers import Peer, Script

from equilibria.base.errors import ConfigError, RunError
from equilibria.data import load
from equilibria.recipes import RECIPES

SCRIPT = """
import argparse, torch, torch.nn as nn
parser = argparse.ArgumentParser()
parser.add_argument("--latent_dim", type=int, default=3)
opt = parser.parse_args()
class Generator(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Linear(opt.latent_dim, 2)
    def forward(self, z):
        return self.net(z)
class Discriminator(Generator):
    pass
generator, discriminator = Generator(), Discriminator()
first = torch.optim.SGD(discriminator.parameters(), lr=0.1)
second = torch.optim.SGD(generator.parameters(), lr=0.1)
for i in range(1000):
    for optimizer in (first, second):
        optimizer.zero_grad()
        discriminator(generator(torch.randn(4, 3)).repeat(1, 2)[:, :3]).sum().backward()
        optimizer.step()
    print("a line that nobody reads")
    open("count.txt", "a").write("x")
"""


def peer(tmp_path: Path, text: str) -> Peer:
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "train.py").write_text(text)
    return Peer(Script("project", "train.py", steps_a_round=5), Plan(peers=tmp_path), tmp_path)


def test_a_script_is_held_after_exactly_the_rounds_asked_for(tmp_path: Path) -> None:
    running = peer(tmp_path, SCRIPT)
    try:
        assert running(1) > 0 and running(3) > 0
        # The script is held inside the step that begins the next loop, before that loop's mark.
        assert (tmp_path / "count.txt").stat().st_size == 20
        assert running.samples(128, tmp_path / "made.npy").shape == (128, 2)
    finally:
        running.close()
    assert running.process.returncode == 0


def test_a_script_that_ends_is_told_with_its_last_words(tmp_path: Path) -> None:
    running = peer(tmp_path, "raise ValueError('no such thing')")
    try:
        with pytest.raises(RunError, match="no such thing"):
            running(1)
    finally:
        running.close()


def test_a_peer_that_is_not_there_is_refused_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--peers"):
        Script("project", "train.py").found(Plan())
    with pytest.raises(ConfigError, match="clone"):
        Script("project", "train.py").found(Plan(peers=tmp_path))


def test_networks_are_read_without_running_the_script(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(SCRIPT)
    made = classes(tmp_path / "train.py", {"latent_dim": 7})
    assert made["Generator"]()(torch.zeros(1, 7)).shape == (1, 2)
    (tmp_path / "other.py").write_text("x = 1")
    with pytest.raises(ConfigError, match="Generator"):
        classes(tmp_path / "other.py", {})


def test_networks_are_imported_without_the_package_around_them(tmp_path: Path) -> None:
    nets = tmp_path / "torch_mimicry" / "nets"
    nets.mkdir(parents=True)
    (nets.parent / "__init__.py").write_text("import tensorflow")
    (nets / "__init__.py").write_text("")
    (nets / "dcgan.py").write_text(
        "from torch import nn\nfrom torch_mimicry.layers import INPUTS\n"
        "class DCGANGenerator32(nn.Linear):\n"
        "    def __init__(self, ngf=256):\n        super().__init__(INPUTS, ngf)\n"
        "class DCGANDiscriminator32(nn.Linear):\n"
        "    def __init__(self, ndf=128):\n        super().__init__(INPUTS, ndf)\n"
    )
    (nets.parent / "layers.py").write_text("INPUTS = 3")
    with pytest.raises(ConfigError, match="no networks of mimicry"):
        mimicry_dcgan(tmp_path / "elsewhere")
    made = mimicry_dcgan(tmp_path)
    assert {name: network(torch.zeros(2, 3)).shape[1] for name, network in made.items()} == {
        "generator": 64,
        "discriminator": 32,
    }
    assert not [name for name in sys.modules if name.split(".")[0] in ("torch_mimicry", "tensorflow")]


def test_sides_take_turns_and_ratios_are_of_rates() -> None:
    asked: list[str] = []

    def side(name: str, seconds: float) -> object:
        def play(rounds: int) -> float:
            asked.append(name)
            return seconds * rounds

        return play

    fast, slow = side("fast", 0.01), side("slow", 0.03)
    [found] = measured({"float32": fast}, slow, Plan(seconds=3.0, pairs=4), {"float32": 2.0})  # type: ignore[dict-item, arg-type]
    assert found.ratio == pytest.approx(3.0) and found.to_dict()["met"] is True
    assert asked[-8:] == ["slow", "fast", "fast", "slow"] * 2


@pytest.mark.parametrize("name", ["r3gan-small", "gan", "wgan-gp"])
def test_the_loop_by_hand_moves_as_ours_does(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the same weights on the same draws the loop by hand and the core end at the same weights.

    By plain SGD on both sides: Adam makes a step of what is rounding where the true gradient is zero.
    """
    row, data = RECIPES[name], load("ring8-U")
    mine, hand = played(row, data), Pair(row, data)
    with torch.no_grad():
        for own, other in (("generator", hand.G), ("discriminator", hand.D)):
            for p, q in zip(mine.game.moved(own).values(), other.parameters(), strict=True):
                q.copy_(p)
            mine.optimizers[own] = torch.optim.SGD(mine.game.moved(own).values(), lr=1.0)
    hand.opt_d, hand.opt_g = (torch.optim.SGD(net.parameters(), lr=1.0) for net in (hand.D, hand.G))  # type: ignore[assignment]

    drawn_already: list[torch.Tensor] = []
    rand = torch.rand

    def dealt() -> tuple[torch.Tensor, torch.Tensor]:
        drawn_already.clear()
        draw = mine.deal()
        drawn_already.extend(draw.tensors[name] for name in draw.tensors if name == "gradient_penalty_mix")
        return draw["real"].clone(), draw["latent"]

    monkeypatch.setattr(hand, "_dealt", dealt)
    monkeypatch.setattr(torch, "rand", lambda *shape, **how: (drawn_already or [rand(*shape, **how)])[0])
    hand.advance(2)
    monkeypatch.undo()
    mine.turn = 0
    mine.advance(2)
    for own, other in (("generator", hand.G), ("discriminator", hand.D)):
        for p, q in zip(mine.game.moved(own).values(), other.parameters(), strict=True):
            torch.testing.assert_close(q, p, rtol=1e-4, atol=1e-6)


def test_the_autoencoder_by_hand_has_our_networks_and_learns() -> None:
    data = like_digits()
    row = RECIPES["aae"].with_settings({"networks.width": "16", "batch": "16"})
    mine, hand = played(row, data), Autoencoder(row, data)
    ours = sorted(tuple(p.shape) for p in mine.game.parameters())
    nets = (hand.encoder, hand.decoder, hand.D)
    assert ours == sorted(tuple(p.shape) for net in nets for p in net.parameters())
    before = [p.detach().clone() for net in nets for p in net.parameters()]
    hand.advance(2)
    after = [p for net in nets for p in net.parameters()]
    assert sum(not torch.equal(p, q) for p, q in zip(before, after, strict=True)) >= len(before) - 1


def test_the_command_measures_prints_and_draws(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    threads = torch.get_num_threads()
    try:
        code = main(["floor-ring8", "--seconds", "0.02", "--pairs", "2", "--json", "--out", str(tmp_path)])
    finally:
        torch.set_num_threads(threads)
    told = json.loads(capsys.readouterr().out)
    assert code == 0 and told == json.loads((tmp_path / "bench.json").read_text())
    [row] = told["rows"]
    assert row["least"] <= row["ratio"] <= row["most"] and row["target"] == 0.97
    assert told["machine"]["threads"] == 1 and told["machine"]["versions"]["torch"] == torch.__version__
    assert (tmp_path / "bench.png").read_bytes().startswith(b"\x89PNG")
    assert len(drawn(told["rows"]).axes) == 1


def test_what_can_be_measured_depends_on_what_is_there(tmp_path: Path) -> None:
    floors = {name for name in BENCHMARKS if name.startswith("floor-")}
    assert {row.name for row in matching([], Plan())} == floors
    assert {row.name for row in matching([], Plan(peers=tmp_path))} == set(BENCHMARKS)
    with pytest.raises(ConfigError, match="floor-ring8"):
        matching(["floor-ring"], Plan())
    with pytest.raises(ConfigError, match="pairs"):
        Plan(pairs=0)
