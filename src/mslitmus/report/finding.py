"""The sentence at the top: what the comparison shows, made from the tables and from nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from .board import Entry, chosen
from .folder import RunFiles
from .numbers import count, interval, metric_label, p_value, score, usable

ALPHA = 0.05


@dataclass(frozen=True)
class Headline:
    """`lead` about the hardest split, `others` one shorter sentence for each of the rest."""

    lead: str
    others: tuple[str, ...]


def headline(files: RunFiles) -> Headline | None:
    """The finding, or None where no model has a score. The hardest split (lowest best score) leads."""
    metric = files.primary
    pairs = []
    for split in files.split_names:
        model = chosen(files, split, metric, "molecule", control=False)
        trivial = chosen(files, split, metric, "molecule", control=True)
        if best := model or trivial:
            pairs.append((best.mean if best.mean is not None else 9.0, split, model, trivial))
    if not pairs:
        return None
    pairs.sort(key=lambda pair: pair[0])
    sentences = [
        _sentence(files, split, model, trivial, full=i == 0) for i, (_, split, model, trivial) in enumerate(pairs)
    ]
    return Headline(sentences[0], tuple(sentences[1:]))


def _sentence(files: RunFiles, split: str, model: Entry | None, trivial: Entry | None, *, full: bool) -> str:
    label = metric_label(files.primary)
    measure = label[0].lower() + label[1:] if not label.startswith("Jensen") else label
    if model is None or trivial is None:
        only = model or trivial
        assert only is not None
        other = "trivial model" if model else "trained model"
        return (
            f"On the {split} split {only.model} reaches {score(only.mean)} {interval(only.low, only.high)} "
            f"({measure}); no {other} was run beside it, so nothing can be said about what was learnt."
        )
    if full:
        start = (
            f"On the {split} split {model.model} reaches {score(model.mean)} {interval(model.low, model.high)} "
            f"({measure}, mean over {count(model.n_molecules)} molecules), the best trivial model, {trivial.model}, "
            f"{score(trivial.mean)}"
        )
    else:
        start = (
            f"On the {split} split: {model.model} {score(model.mean)} {interval(model.low, model.high)}, "
            f"{trivial.model} {score(trivial.mean)}"
        )
    return f"{start}{_verdict(files, split, model.model, trivial.model)}"


def _verdict(files: RunFiles, split: str, model: str, trivial: str) -> str:
    pair = paired(files, split, files.primary, model, trivial)
    if pair is None:
        return "; the two were not compared."
    p = pair["p_holm"]
    if not usable(p) or p >= ALPHA:
        verdict = "which does not tell the two apart"
    else:
        verdict = "a gain over the trivial model" if pair["difference"] > 0 else "a loss against the trivial model"
    difference = f"{score(pair['difference'], sign=True)} {interval(pair['low'], pair['high'])}"
    return f": difference {difference} (Holm {p_value(p)}, d = {score(pair['effect_size'], 2, sign=True)}), {verdict}."


def paired(files: RunFiles, split: str, metric: str, a: str, b: str) -> Mapping[str, Any] | None:
    """The comparison a − b, whichever way round the table holds it; None if it holds neither."""
    if files.comparisons is None:
        return None
    here = files.comparisons.filter((pl.col("split") == split) & (pl.col("metric") == metric))
    for first, second, sign in ((a, b, 1), (b, a, -1)):
        rows = here.filter((pl.col("model_a") == first) & (pl.col("model_b") == second))
        if rows.height:
            row = rows.row(0, named=True)
            return row if sign == 1 else _reversed(row)
    return None


def _reversed(row: Mapping[str, Any]) -> Mapping[str, Any]:
    def negative(value: Any) -> float | None:
        return -value if usable(value) else None

    return {
        **row,
        "model_a": row["model_b"],
        "model_b": row["model_a"],
        "difference": negative(row["difference"]),
        "low": negative(row["high"]),
        "high": negative(row["low"]),
        "effect_size": negative(row["effect_size"]),
    }
