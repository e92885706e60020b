"""`equilibria sample`, `apply`, `evaluate`, `diagnose`, `report`, `cite`, `runs`, `recipes`: use and list runs."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..base.errors import ConfigError, EquilibriaError
from ..base.records import written
from .console import DataArg, JsonFlag, RunArg, WithFiles, app, print_table, quoted, say
from .exploring import PickArg, picked

if TYPE_CHECKING:
    from ..doctor import DiagnosisText
    from ..runs import Run
    from ..runs.folder import RunFolder


def print_metrics(measured: dict[str, dict[str, Any]]) -> None:
    """Print a table of metrics with the scores of a perfect sampler."""
    from ..metrics.tables import split_columns

    measured, columns = split_columns(measured)
    levels = {"perfect sampler": "floor"}
    if any(row.get("chance") is not None for row in measured.values()):
        levels["chance"] = "chance"
    rows = [
        {
            "metric": name.replace("_", " "),
            "value": "not finite" if row["value"] is None else f"{row['value']:.4g}",
            **{level: "–" if row.get(key) is None else f"{row[key]:.4g}" for level, key in levels.items()},
            "unit": row.get("unit", ""),
        }
        for name, row in measured.items()
    ]
    print_table(rows, right=("value", *levels))
    if columns:
        _print_columns(columns)


def _print_columns(columns: dict[str, dict[str, dict[str, Any]]]) -> None:
    """Print the numbers of the columns of a table, each with what a perfect sampler scores in brackets."""
    from ..metrics.tables import KINDS

    kinds = tuple(kind for kind in KINDS if any(kind in own for own in columns.values()))

    def cell(own: dict[str, Any] | None) -> str:
        if own is None or own["value"] is None:
            return ""
        return f"{own['value']:.3g}" + ("" if own.get("floor") is None else f" ({own['floor']:.2g})")

    print_table([{"column": n, **{k: cell(own.get(k)) for k in kinds}} for n, own in columns.items()], right=kinds)


def print_diagnosis(run: Path, stages: Mapping[str, Path]) -> None:
    """Print a summary of ``diagnosis.json``: the state, and each active finding with its first remedy.

    Args:
        run: the run's folder.
        stages: the folders of its stages, each with its own diagnosis; empty for a run without stages.
    """
    found = False
    for name, folder in (stages or {"": run}).items():
        diagnosis = stored_diagnosis(folder)
        lines = diagnosis.brief()
        if name and lines:
            say(f"Stage {name}")
        for line in lines:
            say(line)
        found = found or bool(diagnosis.findings)
    if found:
        say(f"More:    equilibria diagnose {quoted(run)}")


def stored_diagnosis(run: Path) -> DiagnosisText:
    """The ``diagnosis.json`` of a run as text; empty if there is none or it is damaged."""
    from ..doctor import DiagnosisText
    from ..runs.folder import RunFolder

    return DiagnosisText(RunFolder.open(run, strict=False).diagnosis)


_Given = Annotated[
    str | None,
    typer.Option(
        help="Input rows: a data set by name, a folder of images, a .npz or .npy file, read with the options "
        "of the run's data; if not given, held-out rows of the run's data."
    ),
]


_Label = Annotated[
    str | None,
    typer.Option(
        help="The class to sample, by name or number, for a conditional run (list them: equilibria classes RUN); "
        "if not given, the classes of the data in its shares."
    ),
]
_Latents = Annotated[
    Path | None,
    typer.Option(help="The codes of the samples: a .npy file (n, d), or the .npz of --save-latents or of explore."),
]
_Count = Annotated[
    int | None, typer.Option("-n", help="Number of samples; 64 if not given, with --latents one for each code.")
]
_SaveLatents = Annotated[
    Path | None, typer.Option(help="Write the codes of the samples to this .npz file, for --latents.")
]


@app.command()
def sample(
    run: RunArg,
    n: _Count = None,
    to: Annotated[
        Path,
        typer.Option(
            "--out", help="A .png picture, a .npy or .npz file of numbers, or of a table a .csv or .parquet file."
        ),
    ] = Path("samples.png"),
    label: _Label = None,
    seed: Annotated[int, typer.Option(help="Seed of the samples.")] = 0,
    best: Annotated[
        bool, typer.Option("--best", help="Use the round whose samples were the best in training, not the newest one.")
    ] = False,
    nearest: Annotated[
        bool, typer.Option("--nearest", help="Show each sample beside the training image nearest to it (a .png).")
    ] = False,
    given: _Given = None,
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", help="code.NAME=VALUE: fix a code that the run's game offers. Repeatable."),
    ] = None,
    latents: _Latents = None,
    pick: PickArg = None,
    save_latents: _SaveLatents = None,
    own: WithFiles = None,
) -> None:
    """Sample from a run's generator into a picture or an array.

    For a translation each input is shown beside its result. A .npz has each view under its name (and the classes as y),
    a .npy the results.

    [dim]equilibria sample runs/digits -n 100 --out digits.png

    equilibria sample runs/digits -n 10000 --seed 1 --out digits.npz

    equilibria sample runs/adult -n 10000 --out adult.csv

    equilibria sample runs/animals --label cat --out cats.png

    equilibria sample runs/horses --given photos/ --out zebras.png

    equilibria sample runs/infogan --set code.c1=3 --out threes.png

    equilibria sample runs/digits --nearest --out pairs.png

    equilibria sample runs/digits -n 64 --save-latents codes.npz

    equilibria sample runs/digits --latents codes.npz --pick 12 --out twelve.png[/dim]
    """
    from .. import runs
    from ..runs import asking, samples, tables
    from ..training.pictures import painter

    samples.check_name(to, table=True)
    opened = runs.open_run(run, best_round=best)
    _check_target(opened, to, nearest)
    how: dict[str, Any] = {"seed": seed, "given": given, "choices": _codes(setting or [])}
    n, how["labels"], how["latents"] = _asked(opened, n, label, latents, pick)
    if save_latents is not None:
        _save_codes(opened, save_latents, n, how)
    if nearest:
        return _nearest(opened, n, how, to)
    if opened.encoding is not None and to.suffix.lower() != ".png":
        tables.write_table(opened.columns(n, **how), to, opened.encoding)
        say(f"{n} rows in {to}")
        return
    views = {"samples": opened.sample(n, **how)} if to.suffix.lower() == ".npy" else opened.views(n, **how)
    blended = how["labels"] is None and not asking.class_names_in(opened.play).isdisjoint(how["latents"] or {})
    classes = None if blended else opened.labels(n, how["labels"], seed)
    samples.write(views, to, painter(opened.spec, lambda: opened.data, judged=opened.play.game.judged), classes)
    law = ", with the classes of the data in its shares" if classes is not None and how["labels"] is None else ""
    say(f"{n} samples{f' of round {opened.play.round:,}' if best else ''} in {to}{law}")


def _check_target(opened: Run, to: Path, nearest: bool) -> None:
    """Refuse a file that these samples cannot be written into."""
    from ..runs import samples

    samples.check_name(to, table=opened.encoding is not None)
    if nearest and to.suffix.lower() != ".png":
        raise ConfigError(f"samples beside training images in {to.name}", f"use --out {to.stem}.png")
    if nearest and (opened.spec.kind != "image" or opened.play.game.seeds):
        what = f"--nearest shows images, and samples of {opened.path} are none, or of several seeds"
        raise ConfigError(what, f"equilibria sample {quoted(opened.path)} --out {quoted(to)}")


def _nearest(opened: Run, n: int, how: dict[str, Any], to: Path) -> None:
    """Write a picture of samples, each with its nearest training image to its right and the distance below that."""
    import io

    import torch

    from ..figures import image_grid
    from ..runs.protocols import nearest_training
    from ..training import disk

    view, column = next(iter(opened.play.game.judged.items()))
    made = opened.views(n, **how)[view]
    real, distances = nearest_training(made, opened.data, column)
    pairs = [image for pair in zip(made, real, strict=True) for image in pair]
    captions = [text for far in distances.tolist() for text in ("sample", f"{far:.3f}")]
    drawn = io.BytesIO()
    image_grid(torch.stack(pairs), columns=8, labels=captions).save(drawn, "PNG")
    disk.write_atomically(to, drawn.getvalue())
    say(f"{n} samples, each beside its nearest training image, in {to}")
    say(
        f"root mean square of the difference (pixels in [-1, 1]): smallest {distances.min():.3f}, "
        f"median {distances.median():.3f}"
    )


def _asked(run: Run, n: int | None, label: str | None, latents: Path | None, pick: str | None) -> tuple[int, Any, Any]:
    """How many samples, their classes, and their codes if these were given."""
    from ..runs import asking

    if latents is None:
        if pick is not None:
            raise ConfigError("--pick without --latents", f"--latents codes.npz --pick {pick}")
        n = 64 if n is None else n
        return n, None if label is None else [label] * n, None
    entries = asking.latents_of(picked(latents, pick), run.play, None if label is None else [])
    count = len(next(iter(entries.values())))
    if n not in (None, count):
        raise ConfigError(f"-n {n} samples of {count} codes", "leave -n out")
    return count, entries.pop(asking.CLASSES, None) if label is None else [label] * count, entries


def _save_codes(run: Run, path: Path, n: int, how: dict[str, Any]) -> None:
    """Write the codes of the samples that are asked for."""
    from ..runs.pages import write_codes

    if path.suffix.lower() != ".npz":
        raise ConfigError(f"codes cannot be written as '{path.name}'", f"--save-latents {path.stem or 'codes'}.npz")
    write_codes(run.codes(n, how["labels"], how["seed"], how["choices"], how["latents"]), path)
    say(f"Codes:   {path}; again: equilibria sample {quoted(run.path)} --latents {quoted(path)} --out again.png")


@app.command()
def classes(
    source: Annotated[str, typer.Argument(help="The folder of a run, or data as in --data.", show_default=False)],
    own: WithFiles = None,
    as_json: JsonFlag = False,
) -> None:
    """List the classes of a run's data, or of data, in their order: number, name, share of the rows.

    [dim]equilibria classes runs/digits

    equilibria classes photos/ --json[/dim]
    """
    from ..data import load
    from ..runs.folder import RunFolder

    if (Path(source) / "run.json").is_file():
        folder = RunFolder.open(Path(source))
        names, shares = folder.class_names, folder.spec.class_shares
    else:
        data = load(source)
        names, shares = data.class_names, data.spec.class_shares
    shares = shares or (1 / max(1, len(names)),) * len(names)
    if as_json:
        print(written([{"class": k, "name": names[k], "share": shares[k]} for k in range(len(names))]))
    elif names:
        rows = [{"class": str(k), "name": names[k], "share": f"{shares[k]:.4f}"} for k in range(len(names))]
        print_table(rows, right=("class", "share"))
    else:
        say(f"{source} has no classes: its rows have no labels")


def _codes(pairs: list[str]) -> dict[str, float]:
    """The codes of ``--set code.NAME=VALUE``."""
    found = {}
    for pair in pairs:
        path, equals, text = pair.partition("=")
        head, _, name = path.partition(".")
        try:
            value = float(text)
        except ValueError:
            equals = ""
        if not equals or head != "code" or not name:
            raise ConfigError(f"--set {pair}", "write code.NAME=NUMBER, for example --set code.c1=3")
        found[name] = value
    return found


@app.command()
def apply(
    run: RunArg,
    name: Annotated[
        str | None, typer.Argument(metavar="MAP", help="A map of the run; lists the maps if not given.")
    ] = None,
    given: _Given = None,
    to: Annotated[
        Path | None, typer.Option("--out", help="A .npz or .npy file of numbers, or a .png picture of images.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the map's random numbers.")] = 0,
    own: WithFiles = None,
) -> None:
    """Apply what a run has learned besides sampling (encode, translate, classify, invert) to rows.

    [dim]equilibria apply runs/horses

    equilibria apply runs/horses translate --given photos/ --out zebras.png

    equilibria apply runs/aae encode --given digits --out codes.npz[/dim]
    """
    from .. import runs
    from ..core.sampling import check_map
    from ..runs import samples, tables

    if to is not None:
        samples.check_name(to, table=True)
    opened = runs.open_run(run)
    if to is not None:
        samples.check_name(to, table=opened.encoding is not None)
    if name is None:
        _list_maps(run, opened)
        return
    check_map(opened.play.game, name)
    if to is None:
        raise ConfigError("no --out was given", f"add --out {name}.npz")
    made, gives = opened.apply(name, given, seed), opened.play.game.maps[name].gives
    if gives == "x" and opened.encoding is not None and to.suffix.lower() != ".png":
        tables.write_table(tables.columns_of(made, opened.encoding), to, opened.encoding)
    else:
        samples.write({"samples": made}, to, samples.painter_of(gives, opened.spec, lambda: opened.data))
    say(f"{name} of {len(made)} rows in {to}")


def _list_maps(path: Path, opened: Any) -> None:
    maps = opened.play.game.maps
    if not maps:
        say(f"this run has no maps; sample it: equilibria sample {quoted(path)}")
        return
    rows = [{"map": n, "takes": ", ".join(m.takes), "gives": m.gives, "what": m.about} for n, m in maps.items()]
    print_table(rows, wraps=("what",))
    first = next(iter(maps))
    say(f"Apply one: equilibria apply {quoted(path)} {first} --given SOURCE --out {first}.npz")


@app.command()
def evaluate(
    run: RunArg,
    n: Annotated[int | None, typer.Option("-n", "--samples", help="Number of samples; a default if not given.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the samples and of the metrics.")] = 0,
    protocol: Annotated[
        str | None,
        typer.Option(help="fid or fid-clean: the numbers that papers report, in the features of the 2015 Inception."),
    ] = None,
    reference: Annotated[str, typer.Option(help="Real rows of a protocol: train or held-out.")] = "train",
    real: Annotated[int | None, typer.Option(help="Number of real rows of a protocol; all if not given.")] = None,
    best: Annotated[
        bool, typer.Option("--best", help="Of the round whose samples were the best in training, not of the newest.")
    ] = False,
    data: DataArg = None,
    own: WithFiles = None,
    as_json: JsonFlag = False,
) -> None:
    """Evaluate a run's samples: each metric with the score of a perfect sampler of the same size.

    [dim]equilibria evaluate runs/digits

    equilibria evaluate runs/digits -n 5000 --json

    equilibria evaluate runs/digits --best

    equilibria evaluate runs/cifar --protocol fid --samples 50000 --reference train[/dim]

    A protocol needs its network once: python -m equilibria.metrics.fetch inception-2015

    Exit code 1 if the run has diverged.
    """
    from .. import runs
    from ..runs.folder import RunFolder

    opened = runs.open_run(run, data, best_round=best)
    if protocol is not None:
        made = _by_protocol(opened, (protocol, n, seed, reference, real), as_json)
    else:
        made = {name: value.to_dict() for name, value in opened.evaluate(n, seed).items()}
    found: dict[str, Any] = made.get("metrics", made)
    if as_json:
        print(written(made))
    else:
        say(f"Round {opened.play.round:,}:")
        print_metrics(found)
        if opened.play.game.classes:
            say("The samples have the classes of the data, in its shares.")
    none = found and all(row["value"] is None for row in found.values())
    if none or RunFolder.open(run, strict=False).diverged is not None:
        raise typer.Exit(1)


def _by_protocol(opened: Any, asked: tuple[str, int | None, int, Any, int | None], quiet: bool) -> dict[str, Any]:
    """The numbers of a protocol and their conditions, as they are kept; the conditions are printed first."""
    from ..runs import protocols

    name, n, seed, reference, real = asked
    asking = protocols.Asking(name, protocols.SAMPLES if n is None else n, seed, reference, real)
    if not quiet:
        say(f"{asking.n:,} samples and the real rows pass the network, on a CPU 0.05 to 0.3 s each; real rows once")
    found = protocols.evaluate_and_keep(opened.path, opened.play, opened.data, asking).to_dict()
    told = found["conditions"]
    if not quiet:
        rules, floor = told["protocol"], told["floor"]
        say(
            f"{told['n']['samples']:,} samples of round {told['round']:,} ({told['weights']} weights) against "
            f"{told['n']['real']:,} {reference} rows; floor: {floor['n']:,} {floor['split']} rows"
        )
        say(f"{told['extractor']['id']}, {told['extractor']['dtype']}, {rules['resize']}, k {rules['k']}, seed {seed}")
    return found


@app.command()
def diagnose(run: RunArg, data: DataArg = None, own: WithFiles = None, as_json: JsonFlag = False) -> None:
    """Report whether a run is healthy, and if not, why, since when, on what evidence and what to change.

    The doctor uses its check-ups during training and one more of the newest checkpoint.

    [dim]equilibria diagnose runs/digits

    equilibria diagnose runs/digits --json[/dim]
    """
    from .. import runs

    found = runs.open_run(run, data).diagnose()
    if as_json:
        print(written(found.to_dict()))
    else:
        say(str(found))


@app.command()
def recipes(own: WithFiles = None, as_json: JsonFlag = False) -> None:
    """List the recipes: name, year, paper, and what each is.

    [dim]equilibria recipes

    equilibria recipes --json[/dim]
    """
    from ..base.records import encode
    from ..recipes import RECIPES

    if as_json:
        print(written([encode(row) for row in RECIPES.values()]))
        return
    rows = [{"recipe": r.name, "year": str(r.year), "paper": r.cite, "what": r.about} for r in RECIPES.values()]
    print_table(rows, wraps=("what",))


@app.command()
def report(run: RunArg, own: WithFiles = None) -> None:
    """Write a run's report.html again and print its path.

    [dim]equilibria report runs/digits[/dim]
    """
    from .. import runs

    say(str(runs.write_report(run).resolve()))


@app.command()
def cite(run: RunArg, own: WithFiles = None) -> None:
    """Print the BibTeX of the papers that a run uses.

    [dim]equilibria cite runs/digits >> references.bib[/dim]
    """
    from .. import runs

    found = runs.cite(run)
    if not found:
        raise ConfigError(f"{run} trains your own game", "cite your own paper")
    say(found)


def _progress_of(run: RunFolder) -> str:
    """Whether a run is finished, unfinished or diverged."""
    if (diverged := run.diverged) is not None:
        return f"diverged at {diverged[0]}"
    return "finished" if run.played >= run.info["steps"] else "unfinished"


@app.command()
def runs(
    folder: Annotated[Path, typer.Argument(help="Where the runs are.")] = Path("runs"),
    as_json: JsonFlag = False,
) -> None:
    """List the runs in a folder, newest first.

    [dim]equilibria runs

    equilibria runs experiments/ --json[/dim]
    """
    from ..runs.folder import RunFolder, runs_in

    rows: list[dict[str, Any]] = []
    for path in runs_in(folder):
        try:
            found = RunFolder.open(path)
        except EquilibriaError as error:
            warnings.warn(error.what, stacklevel=2)  # the other runs are still listed
            continue
        row = {"run": str(path), "recipe": found.info["recipe"].get("name", ""), "data": found.info["data"]["name"]}
        row |= {"seed": found.info["seed"], "step": found.played, "steps": found.info["steps"]}
        rows.append({**row, "state": _progress_of(found)})
    if as_json:
        print(written(rows))
    elif rows:
        print_table([{key: str(value) for key, value in row.items()} for row in rows], right=("seed", "step", "steps"))
    else:
        say(f"no runs in {folder}; make one with: equilibria train --data digits")
