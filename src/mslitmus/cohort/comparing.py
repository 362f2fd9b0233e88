"""Is a representation better than the baseline? The same predictions, the same resamples of groups."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from .learners import Floats
from .measures import ERRORS, OF_CLASSES, OF_NUMBERS, by_group, interval, of_classes, of_numbers, resamples
from .prediction import CLASSIFICATION
from .settings import BASELINE, CohortSettings

ALPHA = 0.05


def compare(predictions: pl.DataFrame, groups: dict[str, dict[str, int]], how: CohortSettings) -> list[dict[str, Any]]:
    """Rows of the table `comparisons`.

    Args:
        predictions: schema PREDICTIONS.
        groups: acquisition → sample → number of its group.
    """
    out: list[dict[str, Any]] = []
    keys = ["question", "target", "acquisition"]
    for (question, target, acquisition), part in predictions.group_by(keys, maintain_order=True):
        names = part["representation"].unique(maintain_order=True).to_list()
        if BASELINE not in names or len(names) < 2:
            continue
        of = groups[str(acquisition)]
        counts = {
            name: _counts(part.filter(pl.col("representation") == name), question == CLASSIFICATION, of)
            for name in names
        }
        draws = resamples(max(of.values()) + 1, how.bootstraps, how.seed)
        draws = np.concatenate([np.ones((1, draws.shape[1])), draws])
        found = {name: _resampled(each, question == CLASSIFICATION, draws) for name, each in counts.items()}
        for name in names:
            if name == BASELINE:
                continue
            for metric in OF_CLASSES if question == CLASSIFICATION else OF_NUMBERS:
                gain = found[name][metric] - found[BASELINE][metric]
                gain = -gain if metric in ERRORS else gain
                low, high = interval(gain[1:])
                out.append({
                    "question": question, "target": target, "acquisition": acquisition, "representation": name,
                    "against": BASELINE, "metric": metric, "difference": float(gain[0]), "low": low, "high": high,
                })  # fmt: skip
    return out


def chance(p: float | None) -> bool:
    """Whether a representation's own result may be chance: then being less wrong than another is no merit."""
    return p is not None and p > ALPHA


def _counts(part: pl.DataFrame, classes: bool, of: dict[str, int]) -> list[Floats]:
    """Counts per group of each seed."""
    names = pl.concat([part["truth"], part["predicted"]]).unique().sort().to_list() if classes else []
    out = []
    for _, seed in part.sort("seed").group_by("seed", maintain_order=True):
        mine = np.array([of[s] for s in seed["sample"]])
        if classes:
            truth, called = (
                seed[c].replace_strict(names, range(len(names)), return_dtype=pl.Int64).to_numpy()
                for c in ("truth", "predicted")
            )
        else:
            truth, called = (seed[f"{c}_value"].to_numpy()[:, None] for c in ("truth", "predicted"))
        out.append(by_group(truth, called, mine, max(of.values()) + 1, len(names)))
    return out


def _resampled(counts: list[Floats], classes: bool, draws: Floats) -> dict[str, Floats]:
    """(1 + B,) of each metric, the mean over seeds; the first without resampling."""
    each = [np.tensordot(draws, one, axes=1) for one in counts]
    found = [of_classes(one) if classes else {m: v[..., 0] for m, v in of_numbers(one).items()} for one in each]
    return {m: np.mean([one[m] for one in found], axis=0) for m in found[0]}
