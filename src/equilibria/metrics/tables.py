r"""How close samples of a table are to its rows: column by column, pair by pair of columns, and as a whole.

Every number has a floor: that of rows of the data against other rows of the data, as many of each.

| name | of | what |
|---|---|---|
| ``column/NAME/mean`` | a number | difference of the means, in standard deviations of the data |
| ``column/NAME/spread`` | a number | difference of the standard deviations, as a share of the data's |
| ``column/NAME/ks`` | a number | largest difference of the distribution functions (Kolmogorov and Smirnov) |
| ``column/NAME/variation`` | a category | total variation, :math:`\frac12\sum_k \lvert p_k - q_k\rvert` |
| ``worst_mean``, ``worst_spread``, ``worst_ks``, ``worst_variation`` | the table | the worst of them |
| ``association`` | the table | largest difference of the two matrices of :func:`associations` |
| ``auc`` | the table | how well a classifier tells samples from rows (:func:`told_apart`); .5 is chance |
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ..base.errors import ShapeError
from ..data.encoding import Encoding, Series, TableField
from .measured import Measured
from .scoring import Suite, compared

_MISSING = "missing"
Columns = Mapping[str, Series]


def table_scores(fake: Tensor, pool: Tensor, encoding: Encoding, suite: Suite | None = None) -> dict[str, Measured]:
    """The numbers at the head of this module, of encoded samples against encoded rows of the data.

    Args:
        fake: ``(n, width)``.
        pool: ``(m, width)``, best ``2 n`` rows: floors compare its halves.
        encoding: of both.
        suite: sizes, the number of floors, and the seed.

    Raises:
        ShapeError: rows of another width, or fewer than ten.

    Examples:
        >>> import torch
        >>> from equilibria.data import load
        >>> data = load(torch.randn(400, 2, generator=torch.Generator().manual_seed(0)), kind="table")
        >>> rows = data.whole()["x"]
        >>> scores = table_scores(rows[:100], rows[100:], data.spec.encoding)
        >>> sorted(scores)[:4]
        ['association', 'auc', 'column/x0/ks', 'column/x0/mean']
    """
    suite = suite if suite is not None else Suite()
    for rows in (fake, pool):
        if rows.dim() != 2 or rows.shape[1] != encoding.width or len(rows) < 10:
            raise ShapeError(f"rows of shape {tuple(rows.shape)}", f"give at least 10 rows, (n, {encoding.width})")
    names = _names(encoding)

    def scores(a: Tensor, b: Tensor) -> list[float]:
        made, real = (encoding.decode(rows.cpu().numpy()) for rows in (a, b))
        by_name = _by_column(made, real, encoding)
        for kind in KINDS:
            values = [value for name, value in by_name.items() if name.endswith(f"/{kind}")]
            by_name[f"worst_{kind}"] = max(values, default=0.0)
        if "association" in names:
            apart = associations(made, encoding) - associations(real, encoding)
            by_name["association"] = float(np.abs(apart).max())
        return [by_name[name] for name in names]

    measured = compared(names, scores, fake, pool, suite, suite.quadratic)
    found = {name: replace(one, unit=_unit(name)) for name, one in measured.items()}
    return {**found, "auc": _auc(fake, pool, encoding, suite)}


def split_columns(measured: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Numbers of a whole, and those of single columns: by column, then by kind (``mean``, ``spread``, …).

    Examples:
        >>> split_columns({"auc": 1, "column/a/b/mean": 2})
        ({'auc': 1}, {'a/b': {'mean': 2}})
    """
    whole, columns = {}, dict[str, dict[str, Any]]()
    for name, value in measured.items():
        head, _, rest = name.partition("/")
        column, _, kind = rest.rpartition("/")
        if head == "column" and column:
            columns.setdefault(column, {})[kind] = value
        else:
            whole[name] = value
    return whole, columns


_UNITS = {
    "mean": "standard deviations",
    "spread": "share of the data's",
    "ks": "probability",
    "variation": "probability",
}
KINDS = tuple(_UNITS)
"""What is measured of a column, in the order of a table."""


def _unit(name: str) -> str:
    return _UNITS.get(name.rpartition("/")[2].removeprefix("worst_"), "correlation")


def _names(encoding: Encoding) -> list[str]:
    kinds = [("mean", "spread", "ks") if field.kind == "number" else ("variation",) for field in encoding.fields]
    names = [f"column/{field.name}/{kind}" for field, own in zip(encoding.fields, kinds, strict=True) for kind in own]
    worst = [f"worst_{kind}" for kind in KINDS if any(kind in own for own in kinds)]
    return [*worst, *(["association"] if len(encoding.fields) > 1 else []), *names]


def _by_column(made: Columns, real: Columns, encoding: Encoding) -> dict[str, float]:
    found = {}
    for field in encoding.fields:
        place, a, b = f"column/{field.name}", made[field.name], real[field.name]
        if field.kind != "number":
            found[f"{place}/variation"] = variation(_texts(a), _texts(b))
            continue
        x, y = a.known.astype(np.float64), b.known.astype(np.float64)
        if not len(x) or not len(y):
            found |= {f"{place}/mean": 0.0, f"{place}/spread": 0.0, f"{place}/ks": float(len(x) != len(y))}
            continue
        spread = float(y.std()) or 1.0
        found[f"{place}/mean"] = abs(float(x.mean() - y.mean())) / spread
        found[f"{place}/spread"] = abs(float(x.std()) / spread - 1.0) if y.std() else float(x.std() > 0)
        found[f"{place}/ks"] = kolmogorov(x, y)
    return found


def kolmogorov(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    r"""The statistic of Kolmogorov and Smirnov, :math:`\sup_t \lvert F_x(t) - F_y(t)\rvert`.

    Examples:
        >>> kolmogorov(np.array([0.0, 1.0]), np.array([1.0, 2.0]))
        0.5
    """
    at = np.concatenate([x, y])
    below = (np.searchsorted(np.sort(one), at, side="right") / len(one) for one in (x, y))
    first, second = below
    return float(np.abs(first - second).max())


def variation(x: NDArray[np.str_], y: NDArray[np.str_]) -> float:
    r"""The total variation of the shares of values, :math:`\frac12\sum_k \lvert p_k - q_k\rvert`.

    Examples:
        >>> variation(np.array(["a", "b"]), np.array(["b", "b"]))
        0.5
    """
    names = np.unique(np.concatenate([x, y]))
    p, q = (np.bincount(np.searchsorted(names, one), minlength=len(names)) / len(one) for one in (x, y))
    return float(0.5 * np.abs(p - q).sum())


def plain_columns(columns: Columns) -> dict[str, NDArray[Any]]:
    """Columns as arrays of floats, missing values as NaN, or of texts."""
    found: dict[str, NDArray[Any]] = {}
    for name, series in columns.items():
        number = series.values.dtype.kind in "iuf"
        found[name] = np.where(series.missing, np.nan, series.values.astype(float)) if number else _texts(series)
    return found


def _texts(series: Series) -> NDArray[np.str_]:
    texts = np.array([str(value) for value in series.values.tolist()])
    return np.where(series.missing, _MISSING, texts)


def associations(columns: Columns, encoding: Encoding) -> NDArray[np.float64]:
    r"""How much each two columns have to do with one another, ``(d, d)``: 0 for nothing, 1 for everything.

    Of two numbers Spearman's rank correlation, in [-1, 1]; of a number and a category the correlation ratio of the
    ranks, :math:`\eta = \sqrt{\mathrm{Var}(E[r|k]) / \mathrm{Var}(r)}`; of two categories Cramér's V.

    Examples:
        >>> from equilibria.data import load
        >>> data = load(np.array([[1.0, 9.0], [2.0, 7.0], [3.0, 5.0]]), kind="table", held_out=0.0)
        >>> table = data.spec.encoding
        >>> associations(table.decode(data.whole()["x"].numpy()), table).round(6).tolist()
        [[1.0, -1.0], [-1.0, 1.0]]
    """
    parts = [_part(columns[field.name], field) for field in encoding.fields]
    found = np.eye(len(parts))
    for i, a in enumerate(parts):
        for j in range(i):
            found[i, j] = found[j, i] = _association(a, parts[j])
    return found


def _part(series: Series, field: TableField) -> NDArray[np.float64]:
    """A column as ``(n, k)``: ranks of a number, centred and of length 1; indicators of a category, of length 1."""
    if field.kind == "number":
        from scipy.stats import rankdata

        ranks = np.zeros(len(series))
        ranks[~series.missing] = rankdata(series.known.astype(np.float64))
        ranks[~series.missing] -= ranks[~series.missing].mean() if len(series.known) else 0.0
        length = float(np.linalg.norm(ranks))
        return (ranks / length if length else ranks)[:, None]
    _, entry = np.unique(_texts(series), return_inverse=True)
    block = (entry[:, None] == np.arange(entry.max() + 1)).astype(np.float64)
    return np.asarray(block / np.sqrt(block.sum(0)), dtype=np.float64)


def _association(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Cosines of two subspaces: a category's indicators are orthonormal, so that projections are products."""
    table = a.T @ b
    if a.shape[1] == 1 and b.shape[1] == 1 and not (_indicates(a) or _indicates(b)):
        return float(table[0, 0])
    square = float((table**2).sum())
    if _indicates(a) and _indicates(b):  # one of the squared cosines, 1, is that of the constant
        return float(np.sqrt(max(0.0, square - 1.0) / max(1, min(table.shape) - 1)))
    return float(np.sqrt(min(1.0, square)))


def _indicates(part: NDArray[np.float64]) -> bool:
    return bool((part >= 0).all() and part.any())


def told_apart(fake: Tensor, real: Tensor, encoding: Encoding, seed: int = 0) -> float:
    r"""The area under the ROC curve of a classifier that is to tell two tables apart: 1/2 if it cannot, 1 if always.

    A classifier two-sample test (Lopez-Paz & Oquab 2017): gradient-boosted trees (scikit-learn) are grown on one half
    of the rows and score the other, and

    .. math:: \mathrm{AUC} = P(s(x) > s(y)) + \tfrac12 P(s(x) = s(y))

    for a sample x and a row y; the mean of both ways.

    Args:
        fake: ``(n, width)`` encoded samples.
        real: ``(n, width)`` encoded rows.
        encoding: of both.
        seed: of the halves.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedKFold

    x = np.concatenate([_features(encoding, rows) for rows in (fake, real)])
    y = np.repeat([1, 0], [len(fake), len(real)])
    found = []
    for train, test in StratifiedKFold(2, shuffle=True, random_state=seed).split(x, y):
        trees = HistGradientBoostingClassifier(max_iter=60, early_stopping=False, random_state=seed)
        scores = trees.fit(x[train], y[train]).predict_proba(x[test])[:, 1]
        found.append(roc_auc_score(y[test], scores))
    return float(np.mean(found))


def _features(encoding: Encoding, rows: Tensor) -> NDArray[np.float64]:
    """Columns as trees read them: numbers, entries by the frequency of their place, missing as NaN."""
    found = encoding.decode(rows.cpu().numpy())
    columns = []
    for field in encoding.fields:
        series = found[field.name]
        if field.kind == "number":
            values = series.values.astype(np.float64)
        else:  # ordered by how frequent they are, so that one split parts the frequent from the rare
            place = np.argsort(np.argsort(-np.asarray(field.shares), kind="stable"), kind="stable")
            values = place[field.entry(series)].astype(np.float64) if field.block else np.zeros(len(series))
        columns.append(np.where(series.missing, np.nan, values))
    return np.stack(columns, axis=1)


def _auc(fake: Tensor, pool: Tensor, encoding: Encoding, suite: Suite) -> Measured:
    n = min(len(fake), len(pool), suite.quadratic)
    value = told_apart(fake[:n], pool[:n], encoding, suite.seed)
    # of scores that have nothing to do with the side (Mann & Whitney 1947), in one half of the rows: the other half
    # gives nearly the same number, because each half's trees tell what the halves have in common
    half = max(1, n // 2)
    spread = ((2 * half + 1) / (12 * half * half)) ** 0.5
    return Measured(value=value, floor=0.5, spread=spread, unit="probability", n=n)
