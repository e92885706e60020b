"""Exploring the codes of a run's generator: paths, truncation, directions and arithmetic, as pages of samples."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..base.arguments import seed_of, whole
from ..base.errors import ConfigError, not_known
from ..core.play import Play
from ..games.spec import Latent
from ..latents import (
    PATHS,
    Directions,
    attribute_direction,
    closed_path,
    lerp,
    principal_directions,
    scaled_codes,
    truncated_normal,
)
from . import asking, samples
from .pages import Codes, Page, Sampled

Labels = Tensor | Sequence[int | str] | None
Way = Callable[[Tensor, Tensor, Tensor], Tensor]

STOPS = 4
"""Codes on a closed path."""
FITTED = 4096
"""Codes from which directions are computed."""
THRESHOLDS = (0.1, 0.3, 0.6, 1.0, 1.5, 2.0, math.inf)
PSIS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0, 1.2)
STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5)


class Explorer:
    """Pages of samples of a run: ``run.explore``.

    Every method has defaults that give a page. Codes are drawn from ``seed``, or are those given as ``latents`` (in any
    form that :meth:`Run.sample` takes). Rows of a run with classes have one class each: those asked for as ``labels``,
    otherwise each class in order.

    Args:
        run: the opened run.

    Raises:
        ConfigError: samples are made from rows, not from codes; labels for a game without classes, or none of them.

    Examples:
        >>> import tempfile, equilibria as eq
        >>> quiet = eq.Settings(progress=False, doctor=False, evaluate=False)
        >>> run = eq.train("gan", "ring8-U", steps=1, out=tempfile.mkdtemp() + "/run", settings=quiet)
        >>> page = run.explore.interpolate(rows=2, steps=5)
        >>> page.samples.shape, page.codes["latent"].shape
        (torch.Size([10, 2]), torch.Size([10, 64]))
        >>> torch.equal(run.sample(latents=page.codes), page.samples)
        True
    """

    def __init__(self, run: Sampled) -> None:
        self.run = run
        self._names = asking.latent_names(run.play)

    def interpolate(
        self,
        rows: int | None = None,
        steps: int = 9,
        method: str | None = None,
        labels: Labels = None,
        seed: int = 0,
        latents: Any = None,
        closed: bool = False,
    ) -> Page:
        """Paths between two codes, one in each row (:func:`~equilibria.latents.slerp` or ``lerp``).

        Args:
            rows: paths; None for one of each class, of the first ten, or for six.
            steps: samples on a path, with both ends; of a closed path, samples from a stop to the next.
            method: ``slerp`` or ``lerp``; None for slerp of normal codes, lerp of others (an arc may leave their law).
            labels: the classes of the rows.
            seed: of the codes.
            latents: the codes between which the paths run: two for each row; of a closed path all are of one row.
            closed: whether a path goes through four codes and back to the first one, for an animation.

        Raises:
            ConfigError: fewer than 2 steps, or another method.
        """
        name = method or ("slerp" if self._normal() else "lerp")
        if name not in PATHS:
            raise not_known("method", name, PATHS)
        steps, path, stops = whole("steps", steps, 2), PATHS[name], STOPS if closed else 2
        if latents is not None:
            given = self._given(latents, labels)
            count = _rows_of(given)
            stops = count if closed else 2
            if count < 2 or count % stops:
                raise ConfigError(f"paths between {count} codes", "give two codes for each path")
            ends, rows = given, count // stops
            classes = given.get(asking.CLASSES)
            if classes is not None and bool((classes != classes[::stops].repeat_interleave(stops)).any()):
                ends.pop(asking.CLASSES)  # the samples between two classes have none
        else:
            rows = self._rows(rows, labels)
            ends = _repeated(self._drawn(rows, labels, seed), stops)
            fresh = self.run.codes(rows * stops, self._each(rows, labels, stops), seed)
            ends |= {name: fresh[name] for name in self._names}
        shares = torch.linspace(0, 1, steps)

        def between(values: Tensor, way: Way) -> Tensor:
            flat = values.reshape(rows, stops, -1)
            made = closed_path(flat, steps, way) if closed else way(flat[:, 0], flat[:, 1], shares)
            return made.reshape(-1, *values.shape[1:])

        places = stops * steps if closed else steps
        codes = {}
        for entry, values in ends.items():
            if entry in self._names:
                codes[entry] = between(values, path)
            elif values.is_floating_point():
                codes[entry] = between(values, lerp)  # a class or a number that the game offers to fix
            else:
                codes[entry] = values[::stops].repeat_interleave(places, 0)
        captions = [""] * places if closed else [f"{share:.2g}" for share in shares.tolist()]
        return self._page(codes, captions, self._sides(codes, rows), closed)

    def truncate(
        self,
        values: Sequence[float] | None = None,
        method: str | None = None,
        rows: int | None = None,
        labels: Labels = None,
        seed: int = 0,
        latents: Any = None,
    ) -> Page:
        """The same codes at several strengths of truncation, from typical samples to those of the whole law.

        Args:
            values: thresholds, or psi; the columns.
            method: ``normal`` for codes of the truncated normal law
                (:func:`~equilibria.latents.truncated_normal`), ``psi`` for codes moved towards their mean
                (:func:`~equilibria.latents.scaled_codes`); None for normal where the codes are so, else psi.
            rows: codes.
            labels: the classes of the rows.
            seed: of the codes.
            latents: the codes of the rows.

        Raises:
            ConfigError: another method, or ``normal`` for codes of another law.
        """
        method = method or ("normal" if self._normal() else "psi")
        if method not in ("normal", "psi"):
            raise not_known("method", method, ("normal", "psi"))
        if method == "normal" and not self._normal():
            raise ConfigError("the codes of this run are not standard normal", settings={"method": "psi"})
        levels = tuple(values if values is not None else THRESHOLDS if method == "normal" else PSIS)
        base = self._base(rows, labels, seed, latents)
        centre = None if method == "normal" or self._normal() else self._packed(self._drawn(FITTED, None, seed)).mean(0)
        packed = self._packed(base)
        made = [truncated_normal(packed, v) if method == "normal" else scaled_codes(packed, v, centre) for v in levels]
        captions = ["all" if math.isinf(v) else f"{v:g}" for v in levels]
        return self._shifted(base, torch.stack(made, 1), captions)

    def principal(self, count: int = 6, label: int | str | None = None, seed: int = 0) -> Directions:
        """Directions of the largest changes in the generator's first layer (GANSpace; 4,096 codes of the seed).

        See :func:`~equilibria.latents.principal_directions`. In a run with classes all codes have one: ``label``, or
        the first.

        Raises:
            ConfigError: the samples are not made by a layer with parameters.
        """
        labels = None
        if self.run.play.game.classes:
            labels = [label if label is not None else 0] * FITTED
        elif label is not None:
            labels = [label] * FITTED  # is refused by what it is given to
        codes = self._drawn(FITTED, labels, seed_of(seed))
        activations = first_activations(self.run.play, codes)
        return principal_directions(self._packed(codes), activations, whole("count", count, 1))

    def directions(
        self,
        rows: int = 6,
        steps: int = 7,
        reach: float = 3.0,
        label: int | str | None = None,
        seed: int = 0,
        latents: Any = None,
    ) -> Page:
        """One code moved along each principal direction: rows are components, columns -3 … 3 standard deviations.

        Args:
            rows: components, the largest first.
            steps: columns.
            reach: standard deviations at the last column.
            label: the class of the samples; None for the first one.
            seed: of the code, and of those from which directions are computed.
            latents: the code, one row.
        """
        found = self.principal(rows, label, seed)
        base = self._one(label, seed, latents)
        shares = torch.linspace(-reach, reach, whole("steps", steps, 2))
        moved = self._packed(base) + shares[None, :, None] * found.steps[:, None, :]
        sides = [f"{i + 1}: {share:.0%}" for i, share in enumerate(found.explained.tolist())]
        repeated = _repeated(base, len(moved))
        return self._shifted(repeated, moved, [f"{s:.2g}" for s in shares.tolist()], sides)

    def plane(
        self,
        steps: int = 7,
        reach: float = 3.0,
        label: int | str | None = None,
        seed: int = 0,
        latents: Any = None,
    ) -> Page:
        """One code moved along the two largest principal directions: the first to the right, the second downwards.

        The arguments are those of :meth:`directions`.

        Raises:
            ConfigError: the first layer varies in one direction only.
        """
        found = self.principal(2, label, seed)
        if len(found.steps) < 2:
            raise ConfigError("the generator's first layer varies in one direction", "use explore.directions(rows=1)")
        shares = torch.linspace(-reach, reach, whole("steps", steps, 2))
        base = self._one(label, seed, latents)
        across, down = (shares[:, None] * found.steps[k] for k in (0, 1))
        moved = self._packed(base) + down[:, None] + across[None, :]
        captions = [f"{s:.2g}" for s in shares.tolist()]
        return self._shifted(_repeated(base, len(shares)), moved, captions, captions)

    def arithmetic(
        self,
        plus: Sequence[int | str],
        minus: Sequence[int | str],
        rows: int | None = None,
        strengths: Sequence[float] = STRENGTHS,
        seed: int = 0,
        latents: Any = None,
    ) -> Page:
        r"""Codes moved along an attribute: :math:`z + s\,(\bar z_{+} - \bar z_{-})`, a column for each strength s.

        In a run with classes ``plus`` and ``minus`` are classes. A sample's class is drawn independently of its code.
        So the expected difference of mean codes is zero in the latent part and a difference of unit vectors in the
        class: rows are codes of class ``minus`` whose class moves to ``plus``.

        In a run without classes they are samples with the attribute and without it, by their numbers: those of
        ``latents``, otherwise of ``run.sample(64, seed=seed)`` (``equilibria sample RUN``), counted row by row from 0.
        The rows begin at the samples without the attribute.

        Args:
            plus: classes or samples with the attribute.
            minus: classes or samples without it.
            rows: rows with classes.
            strengths: s of the columns.
            seed: of the codes.
            latents: the codes that samples are chosen from.

        Raises:
            ConfigError: nothing to choose from, or a number without a sample.
        """
        if not plus or not minus:
            raise ConfigError("no samples with and without the attribute", "plus=[0, 1, 2], minus=[3, 4, 5]")
        shares = torch.tensor(list(strengths), dtype=torch.float32)
        captions = [f"{s:g}" for s in shares.tolist()]
        if self.run.play.game.classes:
            count = len(minus) if rows is None and len(minus) > 1 else self._count(rows, 6)
            base = self._base(count, [minus[i % len(minus)] for i in range(count)], seed, latents)
            target = self._drawn(_rows_of(base), [plus[i % len(plus)] for i in range(_rows_of(base))], seed)
            codes = {n: v.repeat_interleave(len(shares), 0) for n, v in base.items()}
            for name in asking.class_names_in(self.run.play):
                codes[name] = lerp(base[name], target[name], shares).flatten(0, 1)
            codes.pop(asking.CLASSES, None)
            return self._page(codes, captions, self._names_of(base))
        pool = self._given(latents, None) if latents is not None else self._drawn(64, None, seed)
        chosen = [self._chosen(pool, which) for which in (plus, minus)]
        direction = attribute_direction(*(self._packed(one) for one in chosen))
        moved = self._packed(chosen[1])[:, None] + shares[None, :, None] * direction
        return self._shifted(chosen[1], moved, captions)

    def _chosen(self, pool: Codes, which: Sequence[int | str]) -> Codes:
        count = _rows_of(pool)
        numbers = []
        for one in which:
            number = int(one) if str(one).isdecimal() else -1
            if not 0 <= number < count:
                raise ConfigError(f"there is no sample {one!r} among {count}", f"use numbers from 0 to {count - 1}")
            numbers.append(number)
        return {name: rows[numbers] for name, rows in pool.items()}

    def _normal(self) -> bool:
        """Whether each latent number is standard normal."""
        game = self.run.play.game
        spec = getattr(game, "spec", None)
        law = getattr(spec, "latent", None) or getattr(spec, "prior", None)
        return isinstance(law, Latent) and law.law == "normal"

    def _count(self, rows: int | None, usual: int) -> int:
        return usual if rows is None else whole("rows", rows, 1)

    def _rows(self, rows: int | None, labels: Labels) -> int:
        if labels is not None and rows is None:
            return max(1, len(labels))
        classes = self.run.play.game.classes
        return self._count(rows, min(classes, 10) if classes > 1 else 6)

    def _each(self, rows: int, labels: Labels, times: int = 1) -> Any:
        """The class of each row, ``times`` over."""
        classes = self.run.play.game.classes
        if labels is None:
            return torch.arange(rows).remainder(classes).repeat_interleave(times) if classes else None
        listed = labels.tolist() if isinstance(labels, Tensor) else list(labels)
        if not listed:
            raise ConfigError("no labels", "leave labels out")
        return [listed[i % len(listed)] for i in range(rows) for _ in range(times)]

    def _drawn(self, n: int, labels: Labels, seed: int) -> Codes:
        return self.run.codes(n, self._each(n, labels), seed)

    def _given(self, latents: Any, labels: Labels) -> Codes:
        """Codes that were given, with every entry that a sample needs."""
        named = None
        if labels is not None:
            named = self._each(_rows_of(asking.latents_of(latents, self.run.play, labels)), labels)
        return self.run.codes(labels=named, latents=latents)

    def _base(self, rows: int | None, labels: Labels, seed: int, latents: Any) -> Codes:
        if latents is not None:
            return self._given(latents, labels)
        return self._drawn(self._rows(rows, labels), labels, seed)

    def _one(self, label: int | str | None, seed: int, latents: Any) -> Codes:
        base = self._base(1, None if label is None else [label], seed, latents)
        if _rows_of(base) != 1:
            raise ConfigError(
                f"{_rows_of(base)} codes, and one is moved", "give one: page.at(row, column), or --pick 0"
            )
        return base

    def _packed(self, codes: Codes) -> Tensor:
        """All latent numbers of each row, ``(n, d)``."""
        return torch.cat([codes[name].flatten(1) for name in self._names], 1)

    def _shifted(self, base: Codes, packed: Tensor, columns: Sequence[str], rows: Sequence[str] | None = None) -> Page:
        """A page of the latent numbers ``(rows, columns, d)``, the other entries those of the rows."""
        codes = {name: values.repeat_interleave(packed.shape[1], 0) for name, values in base.items()}
        flat, start = packed.flatten(0, 1), 0
        for name in self._names:
            size = base[name][0].numel()
            codes[name] = flat[:, start : start + size].reshape(-1, *base[name].shape[1:])
            start += size
        return self._page(codes, columns, rows or self._names_of(base))

    def _names_of(self, codes: Codes) -> list[str]:
        return self._sides(codes, _rows_of(codes))

    def _sides(self, codes: Codes, rows: int) -> list[str]:
        """The class of each row, if it has one."""
        if asking.CLASSES not in codes:
            return [""] * rows
        names = self.run.class_names
        of_rows = codes[asking.CLASSES].reshape(rows, -1)[:, 0].tolist()
        return [names[k][:16] if k < len(names) else str(k) for k in of_rows]

    def _page(self, codes: Codes, columns: Sequence[str], rows: Sequence[str], closed: bool = False) -> Page:
        like = self.run.play.codes(1).tensors
        cast = {n: v.to(like[n].dtype).cpu() if n in like else v.cpu() for n, v in codes.items()}
        return Page(self.run.sample(latents=cast), cast, tuple(columns), tuple(rows), self.run, closed)


def _rows_of(codes: Codes) -> int:
    return len(next(iter(codes.values())))


def _repeated(codes: Codes, times: int) -> Codes:
    """Each row ``times`` over."""
    return {name: values.repeat_interleave(times, 0) for name, values in codes.items()}


class _FoundError(Exception):
    """The output that was looked for: the rest of the forward pass is left out."""

    def __init__(self, output: Tensor) -> None:
        super().__init__()
        self.output = output


def first_activations(play: Play, codes: Codes) -> Tensor:
    """The output ``(n, …)`` of the first layer with parameters of its own that is called for samples of these codes.

    Raises:
        ConfigError: there is none.
    """
    play.statistics("sample")  # measured, and kept, before the hooks are set

    def keep(module: nn.Module, inputs: Any, output: Any) -> None:
        if isinstance(output, Tensor):
            raise _FoundError(output.detach().cpu())

    layers = [m for m in play.game.modules() if next(m.parameters(recurse=False), None) is not None]
    hooks = [layer.register_forward_hook(keep) for layer in layers if next(layer.children(), None) is None]
    n, entries = _rows_of(codes), dict(codes)
    labels = entries.pop(asking.CLASSES, None)
    try:
        play.sample_of(samples.Asked(labels, latents=entries).draw(play, 0, 0, n))
    except _FoundError as found:
        if len(found.output) == n:
            return found.output
    finally:
        for hook in hooks:
            hook.remove()
    what = "the samples of this run are not made by a layer with parameters"
    raise ConfigError(what, "use equilibria explore RUN interpolate (in Python: run.explore.interpolate())")
