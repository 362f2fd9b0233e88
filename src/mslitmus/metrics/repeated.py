"""Does training again change who wins? Models compared over seeds or folds by repeated measures, with Tukey intervals.

`comparisons.compare` asks whether a difference holds for other *molecules*; this asks whether it holds for other
*trainings*: the queries stay, and the unit is one mean per model and block. The protocol (blocked ANOVA, then Tukey's
simultaneous intervals for all pairs) is that of Ash et al., Practically Significant Method Comparison Protocols for
Machine Learning in Small Molecule Drug Discovery, J. Chem. Inf. Model. 2025.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.special import fdtrc

from ..errors import ConfigError
from ..schemas import Schema, conform
from .intervals import AVERAGES, Array
from .tables import average_seeds, metric_columns, molecule, null_for_nan
from .tukey import studentized_range_quantile, studentized_range_sf

BLOCKS = ("seed", "split")
#: One row a (split, metric, pair of models); `split` is null where splits are the blocks.
REPEATED: Schema = {
    "split": pl.String(),
    "metric": pl.String(),
    "average": pl.String(),
    "model_a": pl.String(),
    "model_b": pl.String(),
    "difference": pl.Float64(),  # mean(a) − mean(b) over blocks
    "low": pl.Float64(),  # simultaneous over all pairs of models
    "high": pl.Float64(),
    "p_tukey": pl.Float64(),  # adjusted for all pairs of models
    "n_blocks": pl.Int64(),
    "deviation": pl.Float64(),  # of one model's mean, pooled over the models that vary; one value for all pairs
    "p_anova": pl.Float64(),  # of "the models that vary are alike", one value for all pairs
}


@dataclass(frozen=True)
class Anova:
    """Two-way analysis of k models × n blocks without replicates.

    means (k,) over blocks; varies (k,): the model is measured with error; variances (k,): of one model over blocks,
    ddof 1; error: mean square of the residuals of the models that vary, with `freedom` degrees of freedom; f and p:
    the test that these are alike. NaN where undefined.
    """

    means: Array
    varies: NDArray[np.bool_]
    variances: Array
    blocks: int
    error: float
    freedom: int
    f: float
    p: float


def compare_over_seeds(
    scores: pl.DataFrame,
    metrics: Sequence[str] | None = None,
    fold: str = "test",
    average: str = "molecule",
    blocks: str = "seed",
    level: float = 0.95,
    kinds: Mapping[str, str] | None = None,
) -> pl.DataFrame:
    """All pairs of models over repeated trainings, in schema REPEATED.

    Args:
        scores: as for `summary.summarise`.
        average: what one measurement is: a model's mean over spectra or over molecules in one block.
        blocks: `"seed"`: the seeds are the blocks, each split for itself. `"split"`: the splits (folds of a
            cross-validation, say) are the blocks, after averaging each over its seeds.
        level: simultaneous coverage over all pairs of models of one split and metric.
        kinds: model → kind. A `"trained"` model of a single seed is then known to be short of seeds.

    Blocks are those that all models share. With blocks `"seed"` a model of a single seed (or seed null) is taken as
    deterministic: its value stands in every block but has no part in the error (`anova`), and its pairs are judged by
    the variance of the other model alone (`_tukey`). Between two such models, with a trained model of a single seed,
    and where fewer than two blocks are left, interval and p are null: seeds say nothing there, use `compare`. Raises
    ConfigError for an unknown option.
    """
    if average not in AVERAGES or blocks not in BLOCKS:
        raise ConfigError(f"average {average!r} or blocks {blocks!r} is not known", remedy="see compare_over_seeds")
    metrics = metric_columns(scores, metrics)
    tested = scores.filter(pl.col("fold") == fold)
    if blocks == "split":
        tested = average_seeds(tested, metrics)
    means = _means(tested, metrics, average)
    rows: list[dict[str, object]] = []
    groups = [((None,), means)] if blocks == "split" else means.group_by("split", maintain_order=True)
    for (split,), part in groups:
        models, table, single = _block_table(part, metrics, blocks)
        unknown = [model for model in single if (kinds or {}).get(model) == "trained"]
        for j, metric in enumerate(metrics):
            if len(models) > 1:
                head = {"split": split, "metric": metric, "average": average}
                rows += [head | row for row in _tukey(models, anova(table[:, :, j]), level, unknown)]
    frame = conform(pl.DataFrame(rows, schema=dict(REPEATED)), REPEATED)
    return null_for_nan(frame).sort("split", "metric", "model_a", "model_b")


def anova(table: Array) -> Anova:
    """Model × block analysis of variance (k, n): y_ij = μ + model_i + block_j + e_ij, over the k' models that vary.

    The error is Σ (y_ij − ȳ_i. − ȳ_.j + ȳ..)² / ((k' − 1)(n − 1)), or the plain variance of the one that varies,
    Σ (y_j − ȳ)² / (n − 1). A model that is constant over all blocks (deterministic) has no part in it: it would pull
    the error towards 0, and what its fellows share from block to block it does not share. F compares the means of the
    k' models; undefined for fewer than two, as all is for n < 2. Like every pooled analysis it takes models to vary
    equally from block to block (sphericity).
    """
    k, n = table.shape
    means = table.mean(axis=1) if n else np.full(k, np.nan)
    varies = np.ptp(table, axis=1) > 1e-12 * np.maximum(np.abs(means), 1e-6) if n else np.zeros(k, bool)
    variances = table.var(axis=1, ddof=1) if n > 1 else np.full(k, np.nan)
    nothing = Anova(means, varies, variances, n, np.nan, 0, np.nan, np.nan)
    noisy = table[varies]
    freedom = (n - 1) * max(len(noisy) - 1, 1)
    if n < 2 or not len(noisy):
        return nothing
    residuals = noisy - noisy.mean(axis=1, keepdims=True)
    if len(noisy) > 1:
        residuals = residuals - residuals.mean(axis=0)
    error = float((residuals**2).sum() / freedom)
    if error <= 1e-24 * max(float(np.abs(means).max()) ** 2, 1e-12):  # all vary alike: nothing is left to judge by
        return nothing
    if len(noisy) == 1:
        return Anova(means, varies, variances, n, error, freedom, np.nan, np.nan)
    f = float(n * means[varies].var(ddof=1)) / error
    return Anova(means, varies, variances, n, error, freedom, f, float(fdtrc(len(noisy) - 1, freedom, f)))


def _tukey(models: Sequence[str], found: Anova, level: float, unknown: Collection[str]) -> Iterator[dict[str, object]]:
    """Tukey's honestly significant differences; null for `unknown`.

    |ȳ_a − ȳ_b| against q(k, freedom) √(error / n) where both vary. Where one alone does, s² is its variance over
    blocks, which is that of the paired differences: against q(k, n − 1) √(s² / 2n), as Games & Howell (J. Educ. Stat.
    1976, 1, 113) do for unequal variances. For k = 2 both are the paired t-test.
    """
    k, pairs = len(models), list(combinations(range(len(models)), 2))
    a, b = np.array(pairs).T
    gaps = found.means[a] - found.means[b]
    known = np.array([model not in unknown for model in models])
    known = known[a] & known[b]
    both, one = known & found.varies[a] & found.varies[b], known & (found.varies[a] ^ found.varies[b])
    own = np.where(found.varies[a], found.variances[a], found.variances[b]) / 2  # q wants half a difference's variance
    reach, p = np.full(gaps.shape, np.nan), np.full(gaps.shape, np.nan)
    for judged, error, freedom in (
        (both & np.isfinite(found.error), np.full(gaps.shape, found.error), found.freedom),
        (one & np.isfinite(own), own, found.blocks - 1),
    ):
        if judged.any():
            scale = np.sqrt(error[judged] / found.blocks)
            reach[judged] = studentized_range_quantile(level, k, freedom) * scale
            p[judged] = studentized_range_sf(np.abs(gaps[judged]) / scale, k, freedom)
    for i in range(len(pairs)):
        yield {
            "model_a": models[a[i]],
            "model_b": models[b[i]],
            "difference": gaps[i],
            "low": gaps[i] - reach[i],
            "high": gaps[i] + reach[i],
            "p_tukey": p[i],
            "n_blocks": found.blocks,
            "deviation": float(np.sqrt(found.error)),
            "p_anova": found.p,
        }


def _means(scores: pl.DataFrame, metrics: Sequence[str], average: str) -> pl.DataFrame:
    """One row a (split, model, seed): the mean of each metric."""
    of = ["split", "model", "seed"]
    if average == "molecule":
        scores = scores.group_by(*of, molecule().alias("_molecule"), maintain_order=True).agg(pl.col(*metrics).mean())
    return scores.group_by(of, maintain_order=True).agg(pl.col(*metrics).mean()).sort(of)


def _block_table(means: pl.DataFrame, metrics: Sequence[str], blocks: str) -> tuple[list[str], Array, set[str]]:
    """Models in order of name, their means (models, blocks, metrics) in the blocks that all share, and those that have
    one value for all blocks."""
    models = means.get_column("model").unique().sort().to_list()
    measured = {
        model: dict(zip(part.get_column(blocks), part.select(metrics).to_numpy(), strict=True))
        for (model,), part in means.group_by("model")
    }
    fixed = {model for model in models if blocks == "seed" and len(measured[model]) == 1}
    repeated = [set(measured[model]) for model in models if model not in fixed]
    shared = sorted(set.intersection(*repeated)) if repeated else [None]
    rows = [
        [next(iter(measured[model].values())) if model in fixed else measured[model][block] for block in shared]
        for model in models
    ]
    return models, np.array(rows, np.float64).reshape(len(models), len(shared), len(metrics)), fixed
