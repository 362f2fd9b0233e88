"""Which queries a live model is asked: one spectrum of each of some hundred test molecules, the same for every model.

One spectrum a molecule makes queries independent, so that intervals over queries are intervals over molecules, and its
mean estimates the headline per molecule without bias. Models of kind `blind` are not asked: not to read is what they
are for. Nor is an `oracle`, which is shown the truth.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import Any

import numpy as np
import polars as pl

from ...errors import MslitmusError
from ...metrics.intervals import Array
from ...metrics.names import parse_metric
from ...tasks.protocol import Task
from ..evidence import Absent, Ask, CellKey, Evidence
from ..finding import Finding, best_of

#: Molecules asked about: 300 show a change of 0.03 in a score of spread 0.3, and take seconds a question.
MOLECULES = 300
SEED = 0
#: What can be asked: blind models ignore their queries by design.
KINDS = ("trained", "neighbour")


@dataclass(frozen=True)
class Sample:
    """Queries of a test fold with their truth. `rows` hold all columns of SPECTRA; `pool`: all rows of val and test.

    `rows`, `queries` and `truth` stand in one order.
    """

    task: Task
    split: str
    metric: str
    rows: pl.DataFrame
    pool: pl.DataFrame
    queries: pl.DataFrame
    truth: pl.DataFrame

    @property
    def way(self) -> float:
        return 1.0 if parse_metric(self.metric).higher_is_better else -1.0

    def goodness(self, predictions: pl.DataFrame) -> Array:
        """The metric of each row, more is better (a distance changes its sign); a missing answer fails. Shape (n,)."""
        scored = self.task.score(predictions, self.truth, [self.metric], missing="fail")
        aligned = self.rows.select("identifier").join(scored, on="identifier", how="left", maintain_order="left")
        return aligned[self.metric].cast(pl.Float64).to_numpy() * self.way

    def part(self, keep: pl.Series) -> Sample:
        """Only the queries with these identifiers, the true ones or those that the task shows."""
        wanted = keep.implode()
        mask = self.rows["identifier"].is_in(wanted) | self.queries["identifier"].is_in(wanted)
        return replace(
            self, rows=self.rows.filter(mask), queries=self.queries.filter(mask), truth=self.truth.filter(mask)
        )

    def head(self, molecules: int) -> Sample:
        return self.part(self.rows["identifier"].head(molecules))


@dataclass(frozen=True)
class Asked:
    """A model that can be asked, with its answers to the sample as it is.

    control: goodness of the best blind model on the same queries, (n,), or the metric's worst value without one;
    `control_name` says which. `_answers` keeps them for the next audit.
    """

    key: CellKey
    kind: str
    ask: Ask
    sample: Sample
    base: pl.DataFrame
    goodness: Array
    control: Array
    control_name: str
    _kept: dict[Any, Any] = field(default_factory=dict, repr=False)

    @property
    def severe(self) -> str:
        """A control that looks things up is no claim: what would be fatal of a trained model is a warning of it."""
        return "fatal" if self.kind == "trained" else "warning"

    def answers(self, queries: pl.DataFrame) -> pl.DataFrame:
        """Predictions, checked and in the schema of the task. Raises what the model raises."""
        return self.sample.task.check(self.ask(queries), queries)

    def of(self, sample: Sample) -> Array:
        """Its goodness on part of the sample, (m,)."""
        found: Array = self.goodness[self._places(sample)]
        return found

    def control_of(self, sample: Sample) -> Array:
        found: Array = self.control[self._places(sample)]
        return found

    def _places(self, sample: Sample) -> Any:
        numbers = self.sample.rows.select("identifier").with_row_index("number")
        return (
            sample.rows.select("identifier").join(numbers, on="identifier", maintain_order="left")["number"].to_numpy()
        )


def sample_of(evidence: Evidence, split: str, molecules: int = MOLECULES) -> Sample:
    """The sample of a split's test fold. Raises Absent without a dataset."""
    task = evidence.require_task()

    def make() -> Sample:
        folds = evidence.folds(split)
        rows = folds["test"].with_columns(_hash=_hashes(folds["test"]["identifier"])).sort("_hash")
        rows = rows.unique("inchikey14", keep="first", maintain_order=True).head(molecules).drop("_hash")
        pool = pl.concat([folds["val"], folds["test"]]).unique("identifier", keep="first", maintain_order=True)
        metric = evidence.tables.primary
        return Sample(task, split, metric, rows, pool, task.queries(rows), task.truth(rows))

    sample: Sample = evidence.kept(("live", "sample", split, molecules), make)
    return sample


def each_model(
    evidence: Evidence, name: str, judge: Callable[[Asked], list[Finding]], molecules: int = MOLECULES
) -> list[Finding]:
    """The findings of `judge` about every model that can be asked, and a note that names those that cannot.

    Raises Absent where none can be asked.
    """
    refused: dict[str, str] = {}
    findings: list[Finding] = []
    keys = evidence.first_seeds(*KINDS)
    if not keys:
        raise Absent("needs a model of kind trained or neighbour: blind ones ignore their queries by design")
    asked = 0
    for model in _opened(evidence, keys, molecules, refused):
        asked += 1
        evidence.progress(f"  {name}: {model.key}")
        findings += judge(model)
    if not asked:
        raise Absent("; ".join(dict.fromkeys(refused.values())))
    if refused:
        claim = f"{len(refused)} of {len(keys)} models cannot be asked"
        shown = "; ".join(f"{key}: {why}" for key, why in refused.items())
        remedy = "connect them (docs/audits/live.md), or say beside their numbers that nobody looked inside"
        findings.append(Finding(name, "note", claim, len(refused), shown, remedy))
    return findings


def tests(evidence: Evidence) -> int:
    """How many models an audit judges: its intervals are made wider by as much (Bonferroni)."""
    return max(1, len(evidence.first_seeds(*KINDS)))


def _opened(evidence: Evidence, keys: list[CellKey], molecules: int, refused: dict[str, str]) -> Iterator[Asked]:
    for key in keys:
        sample = sample_of(evidence, key.split, molecules)
        try:
            ask = evidence.open_model(key)
            known = ("live", "base", key, molecules, evidence.open_model)  # another model has answers of its own
            checked = evidence.kept(known, lambda: _answered(ask, sample))  # noqa: B023
        except (Absent, MslitmusError) as reason:
            refused[str(key)] = str(reason)
            continue
        name, control = _control(evidence, sample)
        kind = str(evidence.tables.kinds.get(key.model, "trained"))
        yield Asked(key, kind, ask, sample, checked, sample.goodness(checked), control, name)


def _answered(ask: Ask, sample: Sample) -> pl.DataFrame:
    return sample.task.check(ask(sample.queries), sample.queries)


def recorded(evidence: Evidence, sample: Sample, model: str) -> Array | None:
    """Goodness of a model of the run on the sample, seeds averaged, as it was scored; None where it was not."""
    scores = evidence.tables.scores
    if scores is None or sample.metric not in scores.columns:
        return None
    here = scores.filter((pl.col("split") == sample.split) & (pl.col("fold") == "test") & (pl.col("model") == model))
    means = here.group_by("identifier").agg(pl.col(sample.metric).cast(pl.Float64).mean())
    aligned = sample.rows.select("identifier").join(means, on="identifier", how="left", maintain_order="left")
    values = aligned[sample.metric]
    return None if values.null_count() else values.to_numpy() * sample.way


def _control(evidence: Evidence, sample: Sample) -> tuple[str, Array]:
    """The best blind model by validation, on the sample; without one the metric's worst value."""
    name = best_of(evidence.tables, sample.split, "blind")
    found = None if name is None else recorded(evidence, sample, name)
    if name is not None and found is not None:
        return name, found
    worst = parse_metric(sample.metric).worst
    return "nothing (no blind control in the run)", np.full(sample.rows.height, sample.way * (worst or 0.0))


def _hashes(identifiers: pl.Series) -> pl.Series:
    """Numbers that draw the same rows on every machine, whatever else the fold holds."""
    digests = (blake2b(f"{SEED}\n{text}".encode(), digest_size=8).digest() for text in identifiers.to_list())
    return pl.Series([int.from_bytes(digest, "big") for digest in digests], dtype=pl.UInt64)
