"""Task `retrieval`: measured spectrum + candidate molecules → ranking of the candidates.

The pool of a query is that of its molecule (`data.candidates`): the truth exactly once, de-duplicated by InChIKey-14,
in hash order and in one spelling, so that neither position nor notation tells anything. `kind: mass` pools hold what
lies within ±10 ppm of the molecule's mass and hide the formula; `kind: formula` pools hold isomers, and the formula is
given.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from typing import Any, Literal, Self

import polars as pl
from pydantic import BaseModel, ConfigDict, Field

from ..data import store
from ..data.candidates import CandidateSet, candidate_set, dataset_list, molecule_list
from ..data.candidates.build import PoolSettings, build
from ..data.candidates.describe import describe
from ..errors import ConfigError, DataError
from ..metrics.ranking import score
from ..schemas import PREDICTED_SCORES
from .best_candidates import best_candidates
from .measured import FormulaKnown, visible, with_structure
from .options import parse_options
from .protocol import Folds, Plain, conformed, refuse

SHOWN: tuple[str, ...] = ("candidates", "candidate_smiles")


class RetrievalOptions(BaseModel):
    """Options of the task, `task_options` of a study file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["mass", "formula"] = "mass"
    size: int = Field(default=64, ge=2, le=100_000)
    lists: tuple[str, ...] = Field(default=(), description="stored molecule lists; none: only the dataset's own")
    fill: bool = Field(default=True, description="fill up with formula-preserving edited decoys")
    candidates: str | None = Field(default=None, description="a stored set or its folder, instead of building")
    formula: FormulaKnown | None = Field(default=None, description="default: given where all candidates share it")
    min_candidates: int = Field(default=8, ge=1, description="queries with fewer are left out, and counted")
    train_pools: int = Field(default=500, ge=0, description="training molecules that get a pool to learn controls from")


class Retrieval(Plain):
    """Rank candidate molecules for a measured spectrum."""

    name = "retrieval"
    Options = RetrievalOptions
    predictions = PREDICTED_SCORES
    metric_family = "ranking"
    headline = "mrr"
    controls: tuple[str, ...] = (
        "random-ranking",
        "constant-ranking",
        "first-candidate",
        "candidate-popularity",
        "candidate-recurrence",
        "smiles-style",
        "formula-only",
        "structure-only",
        "nearest-spectrum",
    )
    default_metrics: tuple[str, ...] = ("hit@1", "hit@5", "hit@20", "mrr", "normalised-rank", "top-1%", "tanimoto@1")

    def __init__(self, **options: Any) -> None:
        self.options = parse_options(RetrievalOptions, options, self.name)
        self.formula: FormulaKnown = self.options.formula or ("given" if self.options.kind == "formula" else "hidden")
        self.visible = (*visible(self.formula), *SHOWN)
        self._set: CandidateSet | None = None
        self._tests: dict[str, pl.DataFrame] = {}

    @property
    def pools(self) -> CandidateSet:
        """The candidate set; there once the task is `prepared`."""
        if self._set is None:
            raise DataError("retrieval has no candidates yet", remedy="call prepared(folds), or with_pools(set)")
        return self._set

    def with_pools(self, pools: CandidateSet) -> Self:
        """This task over a given candidate set."""
        task = type(self)(**self.options.model_dump())
        task._set = pools
        return task

    def eligible(self, frame: pl.DataFrame) -> pl.DataFrame:
        return with_structure(frame)

    def prepared(self, folds: Mapping[str, Folds], molecules: pl.DataFrame, progress: Callable[[str], None]) -> Self:
        """With pools for every held-out molecule, and for a sample of the training molecules of each split."""
        task = self.with_pools(self._pools(folds, molecules, progress))
        task._tests = {split: parts["test"].select("inchikey14") for split, parts in folds.items()}
        return task

    def _pools(
        self, folds: Mapping[str, Folds], molecules: pl.DataFrame, progress: Callable[[str], None]
    ) -> CandidateSet:
        if self.options.candidates is not None:
            found = candidate_set(self.options.candidates)
            if found.kind != self.options.kind:
                remedy = f"say kind: {found.kind}, or name another set"
                raise ConfigError(f"a set of {found.kind} candidates", where=self.options.candidates, remedy=remedy)
            return found
        wanted: set[str] = set()
        for parts in folds.values():
            wanted.update(parts["val"]["inchikey14"], parts["test"]["inchikey14"])
            wanted.update(_drawn(parts["train"]["inchikey14"].unique().to_list(), self.options.train_pools))
        lists = [dataset_list(molecules), *(molecule_list(name) for name in self.options.lists)]
        asked = molecules.filter(pl.col("inchikey14").is_in(sorted(wanted)))
        settings = PoolSettings(kind=self.options.kind, size=self.options.size, fill=self.options.fill)
        progress(f"candidate pools of {len(wanted):,} molecules")
        return build(asked, lists, settings, _Paced(progress))

    def record(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "formula": self.formula,
            "candidates": self.pools.hash,
            "min_candidates": self.options.min_candidates,
        }

    def artifacts(self) -> dict[str, Any]:
        """The pools in numbers, all of them and by split those of the test queries that are asked."""
        by_split = {split: self._described(test) for split, test in self._tests.items()}
        return {"candidates": describe(self.pools) | {"asked": by_split}}

    def _described(self, test: pl.DataFrame) -> dict[str, Any]:
        """The pools of a test fold's molecules that are asked, and how much `min_candidates` leaves out."""
        asked = self.asked(test)
        kept = asked["inchikey14"].unique()
        left_out = {"spectra": test.height - asked.height, "molecules": test["inchikey14"].n_unique() - kept.len()}
        found = describe(self.pools.select(kept.to_list()))
        numbers = {key: value for key, value in found.items() if key not in ("name", "kind", "hash", "settings")}
        return {**numbers, "min_candidates": self.options.min_candidates, "left_out": left_out}

    def asked(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Rows whose pool has at least `min_candidates` members."""
        sizes = self.pools.sizes().filter(pl.col("candidates") >= self.options.min_candidates)
        return frame.join(sizes.select(pl.col("molecule").alias("inchikey14")), on="inchikey14", how="semi")

    def _with_pools(self, frame: pl.DataFrame) -> pl.DataFrame:
        if "candidates" in frame.columns:
            return frame
        pools = self.pools.of(frame["inchikey14"].unique().to_list()).rename({"molecule": "inchikey14"})
        return frame.join(pools, on="inchikey14", how="left", maintain_order="left")

    def queries(self, frame: pl.DataFrame) -> pl.DataFrame:
        return self._with_pools(frame).select(self.visible)

    def truth(self, frame: pl.DataFrame) -> pl.DataFrame:
        return self._with_pools(frame).select("identifier", "inchikey14", "smiles", *SHOWN)

    def training_view(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The records, and the pools of those molecules that have one."""
        return self._with_pools(frame)

    def check(self, predictions: pl.DataFrame, queries: pl.DataFrame) -> pl.DataFrame:
        """Finite scores of candidates in the query's pool, once each. Raises PredictionError naming rows."""
        table = conformed(predictions, self.predictions, queries)
        repeated = table.select("identifier", "candidate").is_duplicated()
        refuse(table.filter(repeated), "score a candidate twice", "one score a candidate of a query")
        finite = pl.col("score").is_finite().fill_null(False)
        refuse(table.filter(~finite), "with a score that is NaN or infinite", "leave out what cannot be scored")
        shown = queries.select("identifier", pl.col("candidates").alias("candidate")).explode("candidate")
        refuse(
            table.join(shown, on=["identifier", "candidate"], how="anti"),
            "of candidates that are not in the query's pool",
            "score the candidates that the query lists, by their InChIKey-14",
        )
        return table

    def score(
        self, predictions: pl.DataFrame, truth: pl.DataFrame, metrics: Sequence[str], missing: str = "raise"
    ) -> pl.DataFrame:
        return score(predictions, truth, metrics, missing, cache=store.home() / "mces" / "pairs.sqlite")

    def shown(self, predictions: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
        """The best candidates of each query with their scores, and the truth's place."""
        truth = self.truth(rows)
        ranks = self.score(predictions, truth, ["rank"], missing="fail")
        return best_candidates(predictions, truth, ranks)


def _drawn(molecules: Sequence[str], count: int) -> list[str]:
    """`count` molecules in the order of a hash: the same ones however the list is ordered."""
    return sorted(molecules, key=lambda key: blake2b(key.encode(), digest_size=8, person=b"train-pools").digest())[
        :count
    ]


class _Paced:
    """Passes on every hundredth step of a count, so that a log stays readable."""

    def __init__(self, progress: Callable[[str], None]) -> None:
        self.progress, self.shown = progress, -1

    def __call__(self, done: int, total: int) -> None:
        step = 100 * done // max(total, 1)
        if step // 10 > self.shown:
            self.shown = step // 10
            self.progress(f"candidate pools: {done:,} of {total:,} molecules")
