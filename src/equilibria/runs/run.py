"""A run on disk as an object: open it, sample it, evaluate it, report on it."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from ..base import notebooks
from ..base.arguments import place, seed_of, whole
from ..base.errors import ConfigError, DataError, EquilibriaError, RunError
from ..base.records import written
from ..base.visible import visible
from ..core.game import Game
from ..core.play import Play
from ..core.sampling import check_map
from ..data import DataOptions, Dataset, DataSpec, load
from ..data.encoding import Encoding, Series
from ..data.sources import reopened
from ..doctor import Diagnosis, DiagnosisText
from ..metrics import Measured
from ..recipes import Recipe, citation
from ..training import Settings, checkpoint, checkups, disk, engine
from ..training.marginals import finished
from ..training.pictures import held_out_rows, rows_for
from . import asking, own_files, procedures, protocols, restoring, samples, snapshots, sources, tables
from .calls import call_again, continue_again
from .extras import Extras
from .extras import measured as own_metrics
from .folder import RunFolder, class_names_of, part, spec_of
from .generator import plain_generator
from .measuring import keep_evaluation, measured
from .rows import rows_of

if TYPE_CHECKING:
    from .exploring import Explorer

APPLIED = 64
"""Rows that a map is applied to where none are given."""


@dataclass(repr=False)
class Run:
    """A run: its folder, what run.json says, the recipe, and the live state.

    The data is opened when it is first asked for. Made by :func:`train`, :func:`resume` and :func:`open_run`.
    """

    path: Path
    info: dict[str, Any]
    recipe: Recipe
    play: Play
    given: Dataset | None = None
    seconds: float = 0.0
    extras: Extras = field(default_factory=Extras)

    def __repr__(self) -> str:
        """Three lines: where the run is, how far it has been trained on what, and what the doctor says."""
        lines = (
            f"Run {self.path}",
            f"{self.recipe.name} on {self.info['data']['name']}, seed {self.info['seed']}: "
            f"round {self.play.round:,} of {int(self.info['steps']):,}, {self.seconds:,.0f} s",
            f"doctor: {_doctors_word(self.path)}",
        )
        return "\n".join(visible(line, lines=False) for line in lines)

    def _repr_html_(self) -> str:
        newest = snapshots.listed(self.path / "samples")[-1:]
        drawn = [one.image for one in newest if one.image is not None and one.picture() is not None]
        return notebooks.shown(repr(self), drawn[0].read_bytes() if drawn else None)

    @property
    def finished(self) -> bool:
        """Whether all rounds asked for have been played."""
        return self.play.round >= int(self.info["steps"])

    @property
    def spec(self) -> DataSpec:
        """What rows of the data are."""
        return spec_of(self.path, self.info["data"])

    @property
    def data(self) -> Dataset:
        """The data that the run was trained on.

        Raises:
            RunError: it was given in Python, or is not what it was.
            DataError: its source is gone.
        """
        if self.given is None:
            with own_files.explained(self.path, self.info):
                self.given = data_again(self.path, self.info, None).to(self.play.device)
        return self.given

    def sample(
        self,
        n: int | None = None,
        labels: Tensor | Sequence[int | str] | None = None,
        seed: int = 0,
        given: Any = None,
        choices: Mapping[str, float] | None = None,
        latents: Any = None,
    ) -> Tensor:
        """``n`` samples of the averaged generator, ``(n, …)``, of an ensemble ``(members, n, …)``; fixed by the seed.

        Of a table they are float64 ``(n, columns)`` in the table's units: categories by their number, missing values as
        NaN; :meth:`frame` has them by name.

        Args:
            n: how many.
            labels: ``n`` classes by number or name, for a conditional game; None for those of the data, each by its
                share (:meth:`labels`).
            seed: of all that is random in them.
            given: rows that a translating game starts from: a source by name or path, a ``Dataset``, tensors by column
                (:func:`~equilibria.runs.rows.rows_of`); they come again where there are fewer than ``n``. What is not
                given comes from rows that are held out of the run's data.
            choices: values of codes that the game offers to fix, for example ``{"c1": 3}``.
            latents: the codes of the samples, in place of ``n`` and of those of the seed: what :meth:`codes` returns,
                a tensor or an array ``(n, d)``, or a ``.npy`` or ``.npz`` file of either.

        Raises:
            ConfigError: ``n`` is below 1; labels, rows or codes for a game without them, or outside their range.
            DataError: the rows lack a column or are none of the data's.
            ShapeError: rows of another shape.
        """
        made, encoding = self._drawn(n, labels, seed, given, choices, latents), self.encoding
        return made if encoding is None else tables.values_of(made, encoding)

    def _drawn(self, *how: Any) -> Tensor:
        """Samples as encoded rows."""
        made, encoding = samples.drawn(self.play, *self._asked(*how)), self.encoding
        return made if encoding is None else finished(made, self.play, encoding)

    def columns(
        self,
        n: int | None = None,
        labels: Tensor | Sequence[int | str] | None = None,
        seed: int = 0,
        given: Any = None,
        choices: Mapping[str, float] | None = None,
        latents: Any = None,
    ) -> dict[str, Series]:
        """The samples that :meth:`sample` draws with the same arguments, by the columns of the table.

        Of a conditional run, the column of the label is among them.

        Raises:
            ConfigError: the run's data is no table, or the run holds several members.
        """
        encoding = self.encoding
        if encoding is None:
            raise ConfigError(f"the data of {self.path} is no table", "use sample(n)")
        made = self._drawn(n, labels, seed, given, choices, latents)
        if made.dim() != 2:
            raise ConfigError(f"{len(made)} tables, one of each member", "open the run of one seed")
        asked = self._asked(n, labels, seed, given, choices, latents)[2].labels
        return tables.columns_of(made, encoding, asked, self.class_names)

    def frame(
        self,
        n: int | None = None,
        labels: Tensor | Sequence[int | str] | None = None,
        seed: int = 0,
        given: Any = None,
        choices: Mapping[str, float] | None = None,
        latents: Any = None,
    ) -> Any:
        """The samples that :meth:`sample` draws with the same arguments, as a pandas data frame.

        Raises:
            ConfigError: the run's data is no table.
            DataError: pandas is not installed.
        """
        return tables.frame_of(self.columns(n, labels, seed, given, choices, latents))

    @property
    def encoding(self) -> Encoding | None:
        """How the rows of a table are encoded; None for other data."""
        return self.spec.encoding

    def views(
        self,
        n: int | None = None,
        labels: Tensor | Sequence[int | str] | None = None,
        seed: int = 0,
        given: Any = None,
        choices: Mapping[str, float] | None = None,
        latents: Any = None,
    ) -> dict[str, Tensor]:
        """What the game shows of the samples that :meth:`sample` draws with the same arguments, by name, in order.

        A plain game shows its samples; a translating one its input, its output and the way back. Rows of a table are
        encoded (:attr:`encoding`).
        """
        shown = samples.shown(self.play, *self._asked(n, labels, seed, given, choices, latents))
        return samples.finished_views(shown, self.play, self.encoding)

    def codes(
        self,
        n: int | None = None,
        labels: Tensor | Sequence[int | str] | None = None,
        seed: int = 0,
        choices: Mapping[str, float] | None = None,
        latents: Any = None,
    ) -> dict[str, Tensor]:
        """The codes of the samples that :meth:`sample` draws with the same arguments, and their classes as ``y``.

        ``run.sample(latents=run.codes(64))`` is ``run.sample(64)``, bit for bit; of some of the rows it is so up to
        rounding, because the sums of a matrix product depend on its size.

        Raises:
            ConfigError: samples are made from rows, not from codes.
        """
        asking.latent_names(self.play)
        n, seed, asked = self._asked(n, labels, seed, None, choices, latents)
        found = samples.codes(self.play, n, seed, asked)
        return asking.with_classes(found, asked.labels, self.play)

    @property
    def explore(self) -> Explorer:
        """Paths, truncation, directions and arithmetic of the codes (:class:`~equilibria.runs.exploring.Explorer`)."""
        from .exploring import Explorer

        return Explorer(self)

    @property
    def generator(self) -> nn.Module:
        """The averaged, calibrated generator as a plain module: from codes ``(n, d)`` (and one-hot labels) to samples.

        A copy in evaluation mode, of the newest checkpoint: it can be saved, exported and called without this library's
        runs. Of a game whose samples are not made by one network, it is a module that makes them; ``takes`` names its
        arguments in order.

        Raises:
            ConfigError: samples of this game are made from rows, not from codes alone.

        Examples:
            >>> import tempfile, equilibria as eq
            >>> quiet = eq.Settings(progress=False, doctor=False, evaluate=False)
            >>> run = eq.train("gan", "ring8-U", steps=1, out=tempfile.mkdtemp() + "/run", settings=quiet)
            >>> run.generator(torch.randn(3, run.recipe.game.latent.size)).shape
            torch.Size([3, 2])
        """
        return plain_generator(self.play)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the data's classes in order, empty without labels."""
        return class_names_of(self.path, self.info["data"])

    def labels(self, n: int, labels: Tensor | Sequence[int | str] | None = None, seed: int = 0) -> Tensor | None:
        """The classes ``(n,)`` of the samples that :meth:`sample` draws with the same arguments; None without classes.

        Where none are asked, each class comes as often as its share in the data says, give or take one.

        Raises:
            ConfigError: labels for a game without them, or none of its classes.
        """
        classes = self.play.game.classes
        if labels is None:
            return self.play.classes(n, seed) if classes and n > 0 else None
        return asking.labels_asked(self.play, self.class_names, n, labels)

    def apply(self, name: str, rows: Any, seed: int = 0) -> Tensor:
        """What a trained map of the run's game (encode, translate, classify, …) makes of rows, ``(n, …)`` on the CPU.

        Args:
            name: one of ``run.play.game.maps``.
            rows: tensors or arrays by column, one array for a map of one column, a ``Dataset``, or a source by name or
                path (:func:`~equilibria.runs.rows.rows_of`); None for 64 rows that are held out of the run's data.
            seed: of what is random in the map.

        Raises:
            ConfigError: the game has no such map.
            DataError: the rows lack a column or are none of the data's.
            ShapeError: rows of another shape.
        """
        game = self.play.game
        check_map(game, name)
        takes = game.maps[name].takes
        found = held_out_rows(takes, lambda: self.data, APPLIED) if rows is None else self._rows(rows, takes)
        return self.play.apply(name, found, seed).cpu()

    def _rows(self, given: Any, needed: tuple[str, ...], besides: tuple[str, ...] | None = None) -> dict[str, Tensor]:
        options = part(self.path / "run.json", self.info["data"]["options"], DataOptions)
        return rows_of(given, needed, self.spec, options, besides, self.play.game.sizes)

    def _given(self, game: Game, given: Any, n: int, seed: int) -> dict[str, Tensor]:
        """``n`` rows of what was given, and held-out rows of what the game needs besides."""
        found = self._rows(given, game.needs, game.shows)
        rows = {name: values[torch.arange(n) % len(values)] for name, values in found.items()}
        missing = tuple(name for name in game.needs if name not in rows)
        return {**rows, **(held_out_rows(missing, lambda: self.data, n, seed) if missing else {})}

    def _asked(
        self, n: int | None, labels: Any, seed: int, given: Any, choices: Any, latents: Any = None
    ) -> tuple[int, int, samples.Asked]:
        """How many samples, of which seed, and what they are asked to be."""
        seed, game, rows = seed_of(seed), self.play.game, None
        entries = {} if latents is None else asking.latents_of(latents, self.play, labels)
        labels = entries.pop(asking.CLASSES, None) if labels is None else labels
        count = len(next(iter(entries.values()))) if entries else whole("n", n, None)
        if n is not None and n != count:
            raise ConfigError(f"n={n} samples of {count} codes", "leave n out")
        n = count
        asked = self.labels(n, labels, seed)
        if given is not None and not game.needs:
            raise ConfigError("rows were given and this run's game samples from codes alone", "leave them out")
        if game.needs and n > 0:
            rows = rows_for(game, lambda: self.data, n, seed) if given is None else self._given(game, given, n, seed)
        return n, seed, samples.Asked(asked, rows, dict(choices or {}), entries)

    def evaluate(
        self,
        n: int | None = None,
        seed: int = 0,
        classify: bool = True,
        protocol: str | None = None,
        reference: Literal["train", "held-out"] = "train",
        real: int | None = None,
    ) -> dict[str, Measured]:
        """Metrics of fresh samples, each beside what a perfect sampler of that size scores; kept in evaluation.json.

        The measures that the game's record lists, of its maps and codes, are added to them.

        With ``classify``, samples of labelled images are also evaluated by a classifier of the data, which is trained
        the first time (a minute for MNIST) and kept in the cache.

        With ``protocol="fid"`` or ``"fid-clean"`` they are the numbers of that protocol alone, against the rows of
        ``reference`` (``real`` of them, if given), kept with their conditions in ``evaluation-fid.json``.

        A run that diverged is evaluated at its last whole checkpoint, with a warning. Of another round than the newest,
        as the best one, they are kept in evaluation-ROUND.json.

        Raises:
            ConfigError: too few samples; an unknown protocol, or one whose features these samples do not have.
            DataError: the feature network of the protocol is not in the cache.
        """
        n, seed = None if n is None else whole("n", n, None), seed_of(seed)
        if (diverged := RunFolder.open(self.path, strict=False).diverged) is not None:
            what = f"{self.path} diverged at round {diverged[0]} ({diverged[1]})"
            warnings.warn(f"{what}; this evaluates its last whole checkpoint, of round {self.play.round}", stacklevel=2)
        if protocol is not None:
            asking = protocols.Asking(protocol, n or protocols.SAMPLES, seed, reference, real)
            return protocols.evaluate_and_keep(self.path, self.play, self.data, asking).metrics
        found = samples.evaluate(self.play, self.data, n, seed, classify)
        found |= own_metrics(self.play, self.data, self.extras.metrics)
        scores = dict(found)
        measures = (self.recipe.procedure or self.recipe.game).measures()
        found |= measured(self.play, self.data, measures, seed, classify)
        keep_evaluation(self.path, self.play.round, found, scores)
        return found

    def begin(self, play: Play) -> None:
        """Prepare a play of the run's recipe at round 0: what depends on the data, and the weights to start from."""
        play.prepare()
        sources.begin(play, self.recipe, self.path / "sources")

    @property
    def stages(self) -> dict[str, Path]:
        """The folders of the stages that have begun, by name, in order; empty for a run without a procedure."""
        return procedures.stages_of(self.path, self.recipe, self.spec)

    def diagnose(self) -> Diagnosis | procedures.StageDiagnoses:
        """The doctor's diagnosis of the run, from its check-ups so far and one more now.

        Of a run of a procedure it is a diagnosis of each stage.

        Raises:
            RunError: the run cannot be examined, or its data is not available.
        """
        if self.recipe.procedure is not None:
            seed, device = int(self.info["seed"]), self.play.device
            return procedures.diagnosed(procedures.Site(self.path, self.recipe, self.data, seed, device), open_run)
        folder = RunFolder.open(self.path, strict=False)
        at_round = next((p for p in folder.checkpoints if checkpoint.round_of(p) == self.play.round), None)
        found = checkups.diagnose_run(self.path, self.play, self.data, at_round, folder.checkups)
        return found.beside(checkups.evaluated_differences(folder.diagnosis, self.play.round))

    def report(self) -> Path:
        """Write report.html, one file that needs no network, and return its path."""
        return write_report(self.path, self.given)

    def rows(self) -> list[dict[str, Any]]:
        """What was logged, one dictionary per logged line.

        Raises:
            RunError: a line of ``metrics.jsonl`` is damaged.
        """
        return list(RunFolder.open(self.path).rows)

    def cite(self) -> str:
        """BibTeX of the paper behind the recipe; empty for a game of your own."""
        return cite(self.path)


def _doctors_word(path: Path) -> str:
    """The state in a run's diagnosis and the conditions that are active."""
    try:
        text = DiagnosisText(RunFolder.open(path, strict=False).diagnosis)
    except RunError:
        return "the folder cannot be read"
    return ", ".join([text.state or "no diagnosis", *(finding.condition for finding in text.active)])


def open_run(path: str | Path, data: Any = None, *, best_round: bool = False, **modules: Any) -> Run:
    """Open a run to sample, evaluate or report on it, at its newest complete checkpoint.

    The data is opened when it is first asked for: samples need none.

    Args:
        path: the run's folder.
        data: the data again, for a run whose data was given in Python or has moved.
        best_round: open the round whose samples were the best in training (``Settings.best``) in place of the newest.
        modules: your own networks again.

    Raises:
        RunError: no run is there, it has no checkpoint or no best one, or it needs its networks again (see
            :func:`resume`).
    """
    folder = place("path", path)
    run, _ = opened(folder, data, modules, reading=True)
    if best_round:
        restoring.restore_best(run.path, run.play)
        return run
    if restored(run) is None and not run.play.round:
        raise RunError(f"{folder} has no whole checkpoint", f"train it: {continue_again(folder, run.info)}")
    return run


def write_report(path: Path, data: Dataset | None = None) -> Path:
    """Write a run's report.html from what is in its folder, over real points if the data is available.

    Raises:
        RunError: no run is there, or the file cannot be written.
    """
    from ..reports import render

    folder = RunFolder.open(path, strict=False)
    real, bibtex, notes = None, "", []
    try:
        bibtex = _citation(folder)
    except ConfigError as error:
        notes.append(f"{error.what}.")
    if folder.whole and folder.part("data")["spec"].get("kind") == "vector" and folder.spec.encoding is None:
        with suppress(EquilibriaError):  # a report without real points is a report
            real = (data or data_again(path, folder.info, None)).take(2000)["x"].cpu()
    try:
        return render(folder, bibtex=bibtex, real=real, notes=notes)
    except OSError as error:
        raise disk.disk_error(error, path / "report.html") from error


def cite(path: Path) -> str:
    """BibTeX of the paper behind a run's recipe; empty for a game of your own.

    Raises:
        RunError: no run is there, or its run.json is damaged.
        ConfigError: the bibliography has no such paper.
    """
    return _citation(RunFolder.open(path))


def _citation(folder: RunFolder) -> str:
    key = folder.part("recipe").get("cite")
    with own_files.explained(folder.path, folder.info):
        return citation(key) if key and isinstance(key, str) else ""


def opened(
    path: Path, data: Any, modules: dict[str, Any], device: str | None = None, reading: bool = False
) -> tuple[Run, Settings]:
    """The run as run.json describes it, at round 0; for reading on any device, and without its data."""
    folder = RunFolder.open(path)
    own_files.warn_of_changes(folder.info)
    with own_files.explained(path, folder.info):
        return _opened(folder, data, modules, device, reading)


def _opened(
    folder: RunFolder, data: Any, modules: dict[str, Any], device: str | None, reading: bool
) -> tuple[Run, Settings]:
    path, info, row, settings, spec = folder.path, folder.info, folder.recipe, folder.settings, folder.spec
    where = replace(settings, device="auto" if reading else device or settings.device).where()
    call = "open_run" if reading else "resume"
    given = None if reading and data is None else data_again(path, info, data, call).to(where)
    if given is not None:
        remember_place(path, info, given)
    horizon, seed = int(info["horizon"]), int(info["seed"])
    if row.procedure is not None:
        _own_modules(path, info, modules, call)
        play = procedures.reopened(path, row, spec, seed, where, open_run)
        return Run(path, info, row, play, given), settings
    frozen = sources.modules(row, path / "sources", open_run)
    _own_modules(path, info, modules, call)
    game = engine.placed(_game_again(path, info, row, spec, modules, frozen), where, settings)
    play = row.play(
        game, lambda own, turn: run.data.batch(row.batch, own, turn), seed=seed, horizon=horizon, settings=settings
    )
    play.schedules_from = int(info.get("schedules_from", 0))
    run = Run(path, info, row, play, given)
    return run, settings


def _own_modules(path: Path, info: dict[str, Any], modules: dict[str, Any], call: str) -> None:
    """Refuse modules of the user's that are missing, or that the run was not trained with."""
    own, again = info["own"], call_again(path, info, call)
    if missing := [name for name in own if name not in modules]:
        raise RunError(f"{path} was trained with your own {', '.join(missing)}", f"build them as before: {again}")
    if unknown := [name for name in modules if name not in own]:
        raise RunError(f"{path} was trained without a {unknown[0]} of yours", "leave it out")


def _game_again(
    path: Path, info: dict[str, Any], row: Recipe, spec: DataSpec, modules: dict[str, Any], frozen: dict[str, nn.Module]
) -> Game:
    if "game" not in info["own"]:
        return row.build(spec, int(info["seed"]), {**modules, **frozen})
    game, kind = modules["game"], getattr(row.game, "kind", "Game")
    if not isinstance(game, Game) or type(game).__name__ != kind:
        raise RunError(f"{path} plays a {kind}, not a {type(game).__name__}", "build it as before")
    return asking.with_classes_of(game, spec)


def restored(run: Run) -> checkpoint.Saved | None:
    """Bring the play to the newest whole checkpoint, if there is one."""
    saved = checkpoint.newest(run.path / "checkpoints")
    if saved is not None:
        run.play.load(saved.tensors, saved.round, saved.turn)
        run.seconds = saved.seconds
    return saved


def data_again(path: Path, info: dict[str, Any], given: Any, call: str = "open_run") -> Dataset:
    """The data that a folder's ``info`` describes, or the same data given again; refused where it is not the same.

    Args:
        path: the folder.
        info: its ``run.json``, or the ``seeds.json`` of several seeds.
        given: the data given again, or None.
        call: the function that is named to give it to.

    Raises:
        RunError: the data is not kept with the run, or is not the same.
        DataError: its source cannot be read.
    """
    was = info["data"]
    if given is None and was["source"] is None:
        given = _rows_of_stage(path)
    if given is None and was["source"] is None:
        what = f"the data of {path} was given in Python and is not kept with the run"
        raise RunError(what, f"pass it again: {call_again(path, info, call)}")
    options = part(path / "run.json", was["options"], DataOptions)
    source = was["source"]
    try:
        if given is None:
            data = reopened(source, options)
        else:
            data = given if isinstance(given, Dataset) else load(given, options=options)
    except DataError as error:
        if given is not None:
            raise
        fix = f"{error.fix}; if it has been moved, add --data PLACE (in Python: {call}({str(path)!r}, data=PLACE))"
        raise DataError(f"the data of {path}: {error.what}", fix) from error
    if data.spec.encoding is not None and "encoding" not in was["spec"] and options.kind == "auto":
        data = load(source, options=replace(options, kind="vector"))  # arrays were not read as tables at first
    if data.fingerprint() != was["fingerprint"]:
        raise RunError(f"the data is not what {path} was trained on (its fingerprint differs)", "give the same data")
    return data


def remember_place(path: Path, info: dict[str, Any], data: Dataset) -> None:
    """Write to run.json where the run's data is now, if it was found elsewhere and the folder can be written."""
    if data.source is None or data.source == info["data"]["source"]:
        return
    info["data"]["source"] = data.source
    with suppress(RunError):
        disk.write_atomically(path / "run.json", written(info, indent=1))


def _rows_of_stage(path: Path) -> Dataset | None:
    """The rows of a stage, derived again from the data of the run that it is a stage of; None for any other run."""
    whole = path.resolve().parent.parent
    if path.resolve().parent.name != "stages" or not (whole / "run.json").is_file():
        return None
    run, _ = opened(whole, None, {}, reading=True)
    site = procedures.Site(whole, run.recipe, run.data, int(run.info["seed"]), run.play.device)
    return procedures.rows_of_stage(site, path.resolve().name, open_run)
