"""Which orderings of models hold: over resamples of molecules, over trainings, and on the other splits.

A leaderboard of k models claims k(k − 1)/2 orderings. Each is looked at here for itself, on one metric per molecule.
"""

from __future__ import annotations

from collections.abc import Collection
from itertools import combinations, permutations

import numpy as np
import polars as pl

from ..schemas import AGREEMENT, ORDERINGS, conform
from .intervals import Array, cluster_sums, molecule_means, resampled_sums
from .standing import kendall, kept
from .tables import average_seeds, by_queries, direction, molecule, null_for_nan

#: split → model → mean per molecule, turned so that more is better.
Merits = dict[str, dict[str, float]]


def orderings(
    scores: pl.DataFrame,
    metric: str,
    without: Collection[str] = (),
    resamples: int = 2000,
    seed: int = 0,
    clusters: pl.DataFrame | None = None,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Every pair of models, the better one first, and how well other rankings agree with the reported one.

    Args:
        scores: as for `summary.summarise`.
        metric: one that has a best value; else both tables are empty.
        without: models that take no part (an oracle).
        clusters: columns inchikey14 and cluster; molecules of one cluster are resampled together.

    Returns:
        ORDERINGS (with `p_holm` and `settled` null: other tables know them) and AGREEMENT against seeds, resamples and
        splits. A resample or training in which the two are equal counts half. `trainings_kept` is over all pairs of a
        training of a and one of b, null where both were trained once. The tau of `resamples` is the mean over them;
        that of `seed` compares the ranking of one seed with that of all (models trained once keep their value).
    """
    way = direction(metric)
    tested = scores.filter((pl.col("fold") == "test") & ~pl.col("model").is_in(list(without)))
    if way == 0 or tested.is_empty():
        return pl.DataFrame(schema=dict(ORDERINGS)), pl.DataFrame(schema=dict(AGREEMENT))
    merged = average_seeds(tested, [metric])
    trained = _trainings(tested, metric, way)
    pairs: list[dict[str, object]] = []
    agreement: list[dict[str, object]] = []
    merits: Merits = {}
    for (split,), part in merged.group_by("split", maintain_order=True):
        name = str(split)
        models, replicates, means = _resampled(part, metric, way, resamples, seed, clusters)
        merits[name] = dict(zip(models, means.tolist(), strict=True))
        pairs += _pairs(models, replicates, means, trained.get(name, {}), {"split": name, "metric": metric})
        if len(models) > 1:
            agreement.append(_over_resamples(pairs, name))
        agreement += _over_seeds(models, means, trained.get(name, {}), name)
    agreement += _over_splits(merits)
    table = pl.DataFrame([row | _elsewhere(row, merits) for row in pairs], schema=dict(ORDERINGS))
    return (
        null_for_nan(conform(table, ORDERINGS)).sort("split", "place", "apart"),
        null_for_nan(conform(pl.DataFrame(agreement, schema=dict(AGREEMENT)), AGREEMENT)),
    )


def _resampled(
    part: pl.DataFrame, metric: str, way: int, resamples: int, seed: int, clusters: pl.DataFrame | None
) -> tuple[list[str], Array, Array]:
    """Models, best first; their merits in each resample of the molecules (B, k), and on all of them (k,)."""
    queries = next(iter(by_queries(part, [metric], clusters)))
    per_molecule, of = molecule_means(way * queries.values[:, :, 0], queries.molecules, queries.clusters)
    sums, sizes = cluster_sums(per_molecule, of)
    means = sums.sum(axis=0) / sizes.sum()
    names = [model for model, _ in queries.labels]
    order = sorted(range(len(names)), key=lambda k: (-means[k], names[k]))
    drawn = resampled_sums(np.column_stack([sums, sizes]), resamples, seed)
    return [names[k] for k in order], (drawn[:, :-1] / drawn[:, -1:])[:, order], means[order]


def _trainings(tested: pl.DataFrame, metric: str, way: int) -> dict[str, dict[str, dict[int, float]]]:
    """split → model → seed → merit (mean per molecule)."""
    keys = ["split", "model", "seed"]
    means = tested.group_by([*keys, molecule().alias("_molecule")]).agg(pl.col(metric).mean())
    found: dict[str, dict[str, dict[int, float]]] = {}
    for split, model, seed, mean in means.group_by(keys).agg(pl.col(metric).mean()).sort(keys).iter_rows():
        found.setdefault(split, {}).setdefault(model, {})[seed if seed is not None else 0] = way * mean
    return found


def _pairs(
    models: list[str], replicates: Array, means: Array, trained: dict[str, dict[int, float]], key: dict[str, object]
) -> list[dict[str, object]]:
    rows = []
    for i, j in combinations(range(len(models)), 2):
        between = replicates[:, i] - replicates[:, j]
        a, b = (np.array(list(trained.get(models[k], {}).values())) for k in (i, j))
        several = a.size * b.size > 1
        rows.append(
            {
                **key,
                "model_a": models[i],
                "model_b": models[j],
                "place": i + 1,
                "apart": j - i,
                "difference": float(means[i] - means[j]),
                "resamples_kept": _share(between),
                "p_holm": None,
                "trainings_kept": _share(np.subtract.outer(a, b)) if several else None,
                "n_trainings": a.size * b.size,
                "settled": None,
            }
        )
    return rows


def _share(differences: Array) -> float:
    """Share above 0, equals counted half."""
    return float((differences > 0).mean() + 0.5 * (differences == 0).mean())


def _over_resamples(pairs: list[dict[str, object]], split: str) -> dict[str, object]:
    """Mean tau over resamples: each pair adds 2 kept − 1, for tau is a mean over pairs."""
    shares = [float(str(row["resamples_kept"])) for row in pairs if row["split"] == split]
    tau = float(np.mean([2 * share - 1 for share in shares]))
    return {"split": split, "against": "resamples", "setting": "all", "tau": tau, "n_pairs": len(shares)}


def _over_seeds(
    models: list[str], means: Array, trained: dict[str, dict[int, float]], split: str
) -> list[dict[str, object]]:
    """One row a seed that every model trained more than once has."""
    several = [set(own) for own in trained.values() if len(own) > 1]
    if len(models) < 2 or not several:
        return []
    rows = []
    for seed in sorted(set.intersection(*several)):
        once = np.array([trained[m][seed] if len(trained[m]) > 1 else next(iter(trained[m].values())) for m in models])
        rows.append(_agreement(split, "seed", f"seed {seed}", means, once))
    return rows


def _over_splits(merits: Merits) -> list[dict[str, object]]:
    rows = []
    for first, second in permutations(merits, 2):
        shared = [model for model in merits[first] if model in merits[second]]
        if len(shared) > 1:
            x, y = (np.array([merits[split][model] for model in shared]) for split in (first, second))
            rows.append(_agreement(first, "split", second, x, y))
    return rows


def _agreement(split: str, against: str, setting: str, reported: Array, other: Array) -> dict[str, object]:
    same, pairs = kept(reported, other)
    head = {"split": split, "against": against, "setting": setting}
    return {**head, "tau": kendall(reported, other), "n_kept": same, "n_pairs": pairs}


def _elsewhere(row: dict[str, object], merits: Merits) -> dict[str, object]:
    """On how many other splits that have both models they stand in this order."""
    a, b = str(row["model_a"]), str(row["model_b"])
    others = [own[a] - own[b] for split, own in merits.items() if split != row["split"] and a in own and b in own]
    return {"splits_kept": sum(gap > 0 for gap in others), "n_splits": len(others)}
