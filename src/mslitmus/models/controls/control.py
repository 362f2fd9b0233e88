"""What the blind controls share: options, saving, and the plain tables that candidates and pools become."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...errors import ModelError
from ...provenance import write_json
from ...schemas import PREDICTED_SCORES, conform
from ..options import Options, parse_options
from ..protocol import FitContext, FitReport, Kind


class Control:
    """A model without trained numbers: a subclass names itself and its options, and predicts."""

    task = "retrieval"
    kind: Kind = "blind"
    name: ClassVar[str]
    Options: ClassVar[type[Options]] = Options

    def __init__(self, **options: Any) -> None:
        self.options: Any = parse_options(self.Options, options, where=f"model {self.name!r}")

    def fit(self, train: pl.DataFrame, val: pl.DataFrame, context: FitContext) -> FitReport:
        return FitReport(seconds=0.0)

    def parameters(self) -> int:
        return 0

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "options.json", self.options.model_dump())

    @classmethod
    def load(cls, folder: Path) -> Self:
        return cls(**json.loads((folder / "options.json").read_text(encoding="utf-8")))

    def not_fitted(self) -> ModelError:
        return ModelError(f"{self.name} was not fitted", remedy="call fit, or load a saved one")


def candidate_rows(queries: pl.DataFrame, *columns: str) -> pl.DataFrame:
    """One row a candidate of a query: identifier, candidate, smiles, and the query's `columns`. No pool, no row."""
    lists = queries.select("identifier", *columns, candidate="candidates", smiles="candidate_smiles")
    return lists.filter(pl.col("candidate").list.len() > 0).explode("candidate", "smiles")


def as_scores(rows: pl.DataFrame) -> pl.DataFrame:
    """PREDICTED_SCORES of rows that have a `score`."""
    return conform(rows.select("identifier", "candidate", "score"), PREDICTED_SCORES)


def pools_with_truth(frame: pl.DataFrame) -> pl.DataFrame:
    """One row a molecule whose pool holds it, by InChIKey-14; the first row of the frame stands for the molecule.

    Columns as in the frame. Raises ModelError where the frame has no pools at all.
    """
    if "candidates" not in frame.columns:
        raise ModelError("the records bring no candidates", remedy="fit on the training view of the task retrieval")
    known = pl.col("candidates").list.contains(pl.col("inchikey14")).fill_null(False)
    return frame.filter(known).unique("inchikey14", keep="first", maintain_order=True).sort("inchikey14")


def drawn(molecules: pl.DataFrame, count: int, seed: int) -> pl.DataFrame:
    """At most `count` rows, by the seed; the rows are sorted by InChIKey-14 already."""
    if molecules.height <= count:
        return molecules
    chosen = np.random.default_rng(seed).choice(molecules.height, count, replace=False)
    return molecules[np.sort(chosen)]


def score_pools(queries: pl.DataFrame, scorer: Callable[[pl.Series], NDArray[np.float64]], block: int) -> pl.DataFrame:
    """PREDICTED_SCORES of a scorer that sees pools only; a pool that many queries share is scored once.

    Args:
        queries: with `identifier`, `candidates`, `candidate_smiles`.
        scorer: List[str] of SMILES, one pool a row → scores of all members end to end.
        block: pools a call.
    """
    asked = queries.filter(pl.col("candidates").list.len() > 0).select("identifier", "candidates", "candidate_smiles")
    asked = asked.with_columns(pool=pl.col("candidate_smiles").list.join("\n"))
    pools = asked.unique("pool", keep="first").sort("pool").select("pool", "candidate_smiles")
    parts = []
    for start in range(0, pools.height, block):
        part = pools.slice(start, block)
        lengths = part["candidate_smiles"].list.len()
        number = np.repeat(np.arange(part.height), lengths.to_numpy())
        lists = pl.DataFrame({"number": number, "score": scorer(part["candidate_smiles"])})
        lists = lists.group_by("number", maintain_order=True).agg("score")
        parts.append(pl.DataFrame({"pool": part["pool"], "score": lists["score"]}))
    if not parts:
        return conform(pl.DataFrame(schema=PREDICTED_SCORES), PREDICTED_SCORES)
    scored = asked.join(pl.concat(parts), on="pool", how="left", maintain_order="left")
    return as_scores(scored.select("identifier", "score", candidate="candidates").explode("candidate", "score"))
