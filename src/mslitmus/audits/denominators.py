"""Denominators: does every model answer every query? A published headline reversed because a baseline skipped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from .audit import Audit
from .by_molecule import averaged
from .evidence import Evidence
from .finding import Finding, RunTables


def denominators(evidence: Evidence) -> list[Finding]:
    """A warning per split and model whose coverage on the test fold is below 1 (skips count as failures).

    Where the scores are at hand it says how far the headline would move, had the skipped queries been left out.
    """
    tables = evidence.tables
    rows = tables.summary.filter(
        (pl.col("fold") == "test") & (pl.col("metric") == tables.primary) & pl.col("seed").is_null()
    )
    asked = rows.filter(pl.col("average") == "spectrum")
    skipping = asked.filter(pl.col("coverage") < 1)
    board = rows.filter(pl.col("average") == "molecule")
    shrunk = _shrunk(tables, skipping["model"].to_list())
    findings = [
        _finding(row, board, shrunk.get((row["split"], row["model"])), tables.rising)
        for row in skipping.iter_rows(named=True)
    ]
    findings += side_by_side(tables, skipping)
    if rows.height and not findings:
        claim = "every model answers every query"
        shown = f"coverage 100 % for {asked['model'].n_unique()} models on {asked['split'].n_unique()} splits"
        findings.append(Finding("denominators", "pass", claim, 0, shown, "nothing to do"))
    return findings


def answered_only(scores: pl.DataFrame, metrics: Sequence[str]) -> pl.DataFrame:
    """The mean that a shrinking denominator gives: (split, model, metric, average, mean, n_queries, n_molecules).

    Args:
        scores: columns split, model, seed, inchikey14, predicted and the metrics, of one fold.

    Over the answered queries of each seed, per spectrum and per molecule, then over seeds. It is no score: two models
    that skip differently are not measured on the same queries.
    """
    keys = ["split", "model", "seed"]
    kept = scores.filter(pl.col("predicted"))
    counts = [pl.len().alias("n_queries"), pl.col("inchikey14").n_unique().alias("n_molecules")]
    parts = []
    for average in ("spectrum", "molecule"):
        values = kept if average == "spectrum" else averaged(kept, metrics, *keys)
        means = values.group_by(keys, maintain_order=True).agg(pl.col(*metrics).mean())
        parts.append(means.join(kept.group_by(keys).agg(counts), on=keys).with_columns(average=pl.lit(average)))
    index = ["split", "model", "average"]
    table = (
        pl.concat(parts).group_by(index, maintain_order=True).agg(pl.col(*metrics, "n_queries", "n_molecules").mean())
    )
    index += ["n_queries", "n_molecules"]
    return table.unpivot(metrics, index=index, variable_name="metric", value_name="mean").select(
        "split", "model", "metric", "average", "mean", "n_queries", "n_molecules"
    )


def side_by_side(tables: RunTables, skipping: pl.DataFrame) -> list[Finding]:
    """Three denominators beside each other, per split where a model skips and there is another to compare it with.

    Skips as failures (the headline), each model's own answered queries (as papers report it), and the queries that all
    models answer. A warning where the first model is another one by another denominator.
    """
    if tables.scores is None or not skipping.height:
        return []
    findings = []
    for split in skipping["split"].unique(maintain_order=True):
        here = tables.scores.filter((pl.col("split") == split) & (pl.col("fold") == "test"))
        every = here.group_by("identifier").agg(pl.col("predicted").all())
        shared = here.join(every.filter("predicted"), on="identifier", how="semi")
        columns = {
            "skips as failures": _means(here, tables.primary),
            "own answers": _means(here.filter(pl.col("predicted")), tables.primary),
            "answered by all": _means(shared, tables.primary),
        }
        models = sorted(columns["skips as failures"], key=columns["skips as failures"].__getitem__)
        if len(models) < 2:
            continue
        models = models[::-1] if tables.rising else models
        told = "; ".join(
            f"{model} {' / '.join(_number(values.get(model)) for values in columns.values())}" for model in models
        )
        n = shared["identifier"].n_unique()
        evidence = f"{' / '.join(columns)} (mean per molecule): {told}; all answer {n:,} of {every.height:,} queries"
        learned = {name: _first(values, tables) for name, values in columns.items()}
        changed = len({best for best in learned.values() if best is not None}) > 1
        claim = f"three denominators give {'different winners' if changed else 'one winner'} on split {split}"
        remedy = "compare models on all queries, skips as failures, and never each on its own"
        severity = "warning" if changed else "note"
        findings.append(Finding("denominators", severity, claim, every.height - n, evidence, remedy))
    return findings


def _means(scores: pl.DataFrame, metric: str) -> dict[str, float]:
    """Model → mean per molecule, over seeds."""
    found = averaged(scores, [metric], "model", "seed").group_by("model").agg(pl.col(metric).mean()).sort("model")
    return dict(found.rows())


def _first(values: Mapping[str, float], tables: RunTables) -> str | None:
    """The best model but for oracles, which are shown the truth."""
    fair = {model: value for model, value in values.items() if tables.kinds.get(model) != "oracle"}
    way = 1 if tables.rising else -1
    return max(sorted(fair), key=lambda model: way * fair[model]) if fair else None


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _shrunk(tables: RunTables, models: Sequence[str]) -> Mapping[tuple[str, str], float]:
    """(split, model) → mean per molecule over the answered test queries, in the primary metric."""
    if tables.scores is None or not models:
        return {}
    of_test = (pl.col("fold") == "test") & pl.col("model").is_in(list(models))
    found = answered_only(tables.scores.filter(of_test), [tables.primary]).filter(pl.col("average") == "molecule")
    return {(row["split"], row["model"]): row["mean"] for row in found.iter_rows(named=True)}


def _finding(row: Mapping[str, Any], board: pl.DataFrame, shrunk: float | None, rising: bool) -> Finding:
    skipped = round((1 - row["coverage"]) * row["n_queries"])
    evidence = f"{skipped:,} of {row['n_queries']:,} test spectra lack a prediction; each counts as failed"
    here = board.filter(pl.col("split") == row["split"])
    own = here.filter(pl.col("model") == row["model"])["mean"].to_list()
    if shrunk is not None and own and own[0] is not None:
        others = here.filter((pl.col("model") != row["model"]) & pl.col("mean").is_not_null())["mean"].to_list()
        places = [1 + sum((other > mean) == rising and other != mean for other in others) for mean in (own[0], shrunk)]
        evidence += (
            f". Mean per molecule over all queries {own[0]:.3f}, place {places[0]} of {len(others) + 1}; over the "
            f"answered alone {shrunk:.3f} ({shrunk - own[0]:+.3f}), which would be place {places[1]}"
        )
    return Finding(
        audit="denominators",
        severity="warning",
        claim=f"{row['model']} skips {1 - row['coverage']:.1%} of the queries of split {row['split']}",
        affected=skipped,
        evidence=evidence,
        remedy="predict every query, or report coverage beside every number",
    )


DENOMINATORS = Audit("does every model answer every query?", "quick", denominators)
