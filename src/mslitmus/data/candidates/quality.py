"""How well a candidate set hides its truths from a judge that sees structures and no spectrum."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import sparse

from .likeness import BITS, CENTRALITY, Pools, features, fit_choice, scaling, truth_auc
from .sets import CandidateSet, is_decoy, subsample

_PENALTIES = (0.01, 0.1, 1.0)
_RESAMPLES = 1000


def structure_auc(
    candidates: CandidateSet,
    train_molecules: Iterable[str],
    test_molecules: Iterable[str],
    *,
    size: int = 128,
    progress: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Train a judge of structures on some pools, and ask it for the truth of others.

    The judge is a conditional logit on Morgan counts, descriptors, rank of the descriptors within the pool, and
    centrality (mean and greatest similarity to the pool's others). AUC is the share of other candidates that it puts
    below the truth, ties half, averaged over test pools: 0.5 means that nothing can be told. The penalty is fixed on a
    quarter of the training pools.

    Args:
        size: pools are cut to this size by hash, the truth kept, to bound the time (0.4 ms a candidate).

    Returns auc (against all) with its interval low, high (95 %, bootstrap over molecules); auc_decoys and auc_real
    (null where there are none); the judge's hit_1 beside chance; centrality_mean and centrality_max, the AUC of the
    mean and the greatest similarity alone; n_train, n_test.
    """
    chosen = [sorted(set(each)) for each in (train_molecules, test_molecules)]
    small = subsample(candidates.select(chosen[0] + chosen[1]), size)
    sides = [small.select(keys).pools for keys in chosen]
    sides = [_several(side) for side in sides]
    train, test = (_rows(side, progress) for side in sides)
    weights = _train(*train)
    rows, offsets, truth = test
    scores = rows @ weights
    values = _each(scores, offsets, truth)
    keep = {"decoys": sides[1].select(is_decoy()).to_series().to_numpy()}
    keep["real"] = ~keep["decoys"]
    random = np.random.default_rng(0)
    drawn = values[random.integers(0, len(values), (_RESAMPLES, len(values)))].mean(axis=1)
    central = rows[:, BITS:].toarray()[:, -2 * len(CENTRALITY) :]
    return {
        "auc": float(values.mean()),
        "low": float(np.quantile(drawn, 0.025)),
        "high": float(np.quantile(drawn, 0.975)),
        **{f"auc_{name}": _against(scores, offsets, truth, mask) for name, mask in keep.items()},
        "hit_1": _hit(scores, offsets, truth),
        "chance": float((1 / np.diff(offsets)).mean()),
        **{f"centrality_{n[:-9]}": truth_auc(central[:, k], offsets, truth) for k, n in enumerate(CENTRALITY)},
        "n_train": len(train[2]),
        "n_test": len(truth),
    }


def _several(pools: pl.DataFrame) -> pl.DataFrame:
    """Pools with a truth and something else."""
    truth = (pl.col("candidate") == pl.col("molecule")).any().over("molecule")
    return pools.filter(truth & (pl.len().over("molecule") > 1))


def _rows(pools: pl.DataFrame, progress: Callable[[str], None] | None) -> tuple[Any, Any, Any]:
    lists = pools.group_by("molecule", maintain_order=True).agg("smiles").get_column("smiles")
    ends = Pools.of(lists)
    plain = features(ends, progress)
    dense = plain[:, BITS:].toarray()
    ranks = np.concatenate([_ranks(dense[a:b]) for a, b in zip(ends.offsets[:-1], ends.offsets[1:], strict=True)])
    n = len(CENTRALITY)
    rows = sparse.hstack([plain[:, :BITS], sparse.csr_matrix(np.hstack([ranks[:, :-n], dense, ranks[:, -n:]]))])
    truth = np.flatnonzero((pools.get_column("candidate") == pools.get_column("molecule")).to_numpy())
    return rows.tocsr(), ends.offsets, truth


def _ranks(columns: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rank of each value within its column, ties at their mean, from −½ to ½."""
    below = (columns[:, None, :] > columns[None, :, :]).sum(1)
    above = (columns[:, None, :] < columns[None, :, :]).sum(1)
    values: NDArray[np.float64] = (below - above) / (2 * max(len(columns) - 1, 1))
    return values


def _train(rows: Any, offsets: NDArray[np.int64], truth: NDArray[np.int64]) -> NDArray[np.float64]:
    """Weights, scaling included; the penalty by the AUC on the last quarter of the pools, then fitted on all."""
    scale = sparse.diags(scaling(rows))
    scaled = (rows @ scale).tocsr()
    cut = max(1, len(truth) * 3 // 4)
    best, best_auc = _PENALTIES[-1], -1.0
    if cut < len(truth):
        ends = offsets[cut:] - offsets[cut]
        for penalty in _PENALTIES:
            weights = fit_choice(scaled[: offsets[cut]], offsets[: cut + 1], truth[:cut], penalty)
            auc = truth_auc(scaled[offsets[cut] :] @ weights, ends, truth[cut:] - offsets[cut])
            if auc > best_auc:
                best, best_auc = penalty, auc
    weights = fit_choice(scaled, offsets, truth, best)
    out: NDArray[np.float64] = scale @ weights
    return out


def _each(scores: NDArray[np.float64], offsets: NDArray[np.int64], truth: NDArray[np.int64]) -> NDArray[np.float64]:
    """AUC of every pool: (pools,)."""
    return np.array(
        [
            ((scores[a:b] < scores[t]).sum() + 0.5 * ((scores[a:b] == scores[t]).sum() - 1)) / (b - a - 1)
            for a, b, t in zip(offsets[:-1], offsets[1:], truth, strict=True)
        ]
    )


def _against(
    scores: NDArray[np.float64], offsets: NDArray[np.int64], truth: NDArray[np.int64], mask: NDArray[np.bool_]
) -> float | None:
    """AUC against the members of `mask` alone; null where no pool has one beside its truth."""
    shares = []
    for a, b, t in zip(offsets[:-1], offsets[1:], truth, strict=True):
        others = np.flatnonzero(mask[a:b]) + a
        others = others[others != t]
        if len(others):
            shares.append(np.mean((scores[others] < scores[t]) + 0.5 * (scores[others] == scores[t])))
    return float(np.mean(shares)) if shares else None


def _hit(scores: NDArray[np.float64], offsets: NDArray[np.int64], truth: NDArray[np.int64]) -> float:
    """hit@1 of the judge, ties shared."""
    hits = []
    for a, b, t in zip(offsets[:-1], offsets[1:], truth, strict=True):
        top = scores[a:b] == scores[a:b].max()
        hits.append((scores[t] == scores[a:b].max()) / top.sum())
    return float(np.mean(hits))
