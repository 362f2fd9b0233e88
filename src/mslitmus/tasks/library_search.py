"""Task `library-search`: measured spectrum + candidate spectra of a library → ranking of these spectra.

The library is everything that takes part in the study, whatever its fold. The candidates of a query are the library
spectra within its precursor window and of its adduct, without its own spectrum and, if asked, without those of its
contributor (`search.windows.Window`). A model is shown the library's peaks and not which molecules they are of, unless
they are in its training fold: it ranks spectra, the scorer knows their molecules, and a molecule stands where its best
spectrum stands. Spectra that a model leaves out tie behind all others.

Accession numbers say more than peaks: laboratories number alike spectra in series. So models see opaque names,
hashes of library and identifier, and everything in the order of these; `check` gives the true identifiers back. Of
spectra that are not of the fold it learns from, a model is shown what a query shows, and nothing else.

A query whose molecule is not among its candidates is asked all the same and fails. So the best possible hit rate is
the share of queries that the library can answer, which is the bound of the task.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from typing import Any, Literal, Self

import numpy as np
import polars as pl
from pydantic import BaseModel, ConfigDict, Field

from ..data import store
from ..errors import DataError
from ..metrics.names import parse_as
from ..metrics.ranking import score
from ..metrics.ranking_names import BY_PLACE, LOWER_IS_BETTER, RankingMetric
from ..provenance import table_hash
from ..schemas import PREDICTED_SCORES
from ..search.windows import Window
from ..spectra.library import Library
from .best_candidates import best_candidates
from .measured import MEASURED, with_structure
from .options import parse_options
from .protocol import Bounds, Folds, Plain, conformed, refuse

#: Can the library answer a query, and is there anything to choose between?
ANSWERS = ("absent", "the only candidate", "among others")
#: How many of the wrong candidate molecules of a query are in the training fold?
RIVALS = ("none", "none trained on", "some trained on", "all trained on")


class LibrarySearchOptions(BaseModel):
    """Options of the task, `task_options` of a study file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    precursor_tolerance: str = "10ppm"
    same: tuple[str, ...] = Field(default=("adduct",), description="columns that query and candidate must share")
    leave_out: Literal["spectrum", "source"] = Field(
        default="source", description="all spectra of the query's contributor; spectrum: the query's own alone"
    )
    max_similarity: float | None = Field(
        default=None, gt=0, le=1, description="leave out candidates of at least this entropy similarity to the query"
    )
    ask: Literal["searchable", "answerable", "non-trivial"] = Field(
        default="searchable",
        description="searchable: any candidate; answerable: the truth among them; non-trivial: and another molecule",
    )


class LibrarySearch(Plain):
    """Rank the candidate spectra of a library for a measured spectrum."""

    name = "library-search"
    Options = LibrarySearchOptions
    visible = (*MEASURED, "candidates")
    predictions = PREDICTED_SCORES
    metric_family = "ranking"
    headline = "hit@1"
    controls: tuple[str, ...] = (
        "library-chance", "library-accession", "library-precursor", "library-score",
    )  # fmt: skip
    default_metrics: tuple[str, ...] = ("hit@1", "hit@5", "mrr", "mces@1")

    def __init__(self, **options: Any) -> None:
        self.options = parse_options(LibrarySearchOptions, options, self.name)
        self.window = Window(**self.options.model_dump(exclude={"ask"}))
        self._records: pl.DataFrame | None = None
        self._pools: pl.DataFrame | None = None
        self._names = pl.DataFrame(schema={"shown": pl.String, "true": pl.String})
        self._hash = ""

    def eligible(self, frame: pl.DataFrame) -> pl.DataFrame:
        return with_structure(frame)

    def prepared(self, folds: Mapping[str, Folds], molecules: pl.DataFrame, progress: Callable[[str], None]) -> Self:
        """With the library, all rows of all folds, and the candidates of every held-out spectrum."""
        parts = [rows for split in folds.values() for rows in split.values()]
        held_out = [split[fold]["identifier"] for split in folds.values() for fold in ("val", "test")]
        return self.over(pl.concat(parts), pl.concat(held_out), progress)

    def over(self, records: pl.DataFrame, asked: pl.Series, progress: Callable[[str], None] = print) -> Self:
        """This task over a library of `records` (schema SPECTRA), with the candidates of the identifiers `asked`."""
        task = type(self)(**self.options.model_dump())
        task._records = records.unique("identifier", keep="first").sort("identifier")
        task._hash = table_hash(task._records.select("identifier", "inchikey14", "mzs", "intensities", "precursor_mz"))
        task._names = _names(task._records["identifier"], task._hash)
        queries = task._records.filter(pl.col("identifier").is_in(asked.unique().to_list()))
        progress(f"library of {task._records.height:,} spectra: candidates of {queries.height:,} queries")
        if told := task.window.told(queries):
            progress(told)
        library = Library.build(task._records.with_columns(shown=task._names["shown"]))
        task._pools = _pools(library, queries, task.window)
        return task

    @property
    def records(self) -> pl.DataFrame:
        """The library; there once the task is `prepared`."""
        if self._records is None:
            raise DataError("library-search has no library yet", remedy="call prepared(folds), or over(records)")
        return self._records

    @property
    def pools(self) -> pl.DataFrame:
        """identifier, candidates (names as shown), molecules, molecule_smiles (distinct), library_answer."""
        if self._pools is None:
            raise DataError("library-search has no library yet", remedy="call prepared(folds), or over(records)")
        return self._pools

    def record(self) -> dict[str, Any]:
        return {"name": self.name, **self.options.model_dump(mode="json"), "library": self._hash, "names": "hashed"}

    def artifacts(self) -> dict[str, Any]:
        """The pools of the held-out spectra in numbers."""
        sizes = self.pools.select(
            spectra=pl.col("candidates").list.len(), molecules=pl.col("molecules").list.len(), answer="library_answer"
        )
        has = sizes.filter(pl.col("spectra") > 0)
        return {
            "library_pools": {
                "library": {"spectra": self.records.height, "molecules": self.records["inchikey14"].n_unique()},
                "queries": sizes.height,
                "without_candidates": sizes.height - has.height,
                "answers": {name: has.filter(pl.col("answer") == name).height for name in ANSWERS},
                "median_candidate_spectra": has["spectra"].median(),
                "median_candidate_molecules": has["molecules"].median(),
                **self.options.model_dump(mode="json"),
            }
        }

    def asked(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Rows with candidates that answer to `ask`, with what the library knows as `library_answer`, in the order of
        the names that are shown of them."""
        wanted = {"searchable": ANSWERS, "answerable": ANSWERS[1:], "non-trivial": ANSWERS[2:]}[self.options.ask]
        fit = (pl.col("candidates").list.len() > 0) & pl.col("library_answer").is_in(wanted)
        kept = self.pools.filter(fit).select("identifier", "library_answer")
        bare = frame.drop("library_answer", strict=False)
        found = bare.join(kept, on="identifier", how="inner", maintain_order="left")
        return found[self._shown(found)["identifier"].arg_sort()]

    def queries(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The visible columns, rows in the order of `frame`, spectra by their opaque names."""
        return self._shown(self._with(frame, "candidates")).select(self.visible)

    def truth(self, frame: pl.DataFrame) -> pl.DataFrame:
        """True identifier, inchikey14, smiles, and the molecules of the pool as `candidates`, `candidate_smiles`."""
        found = self._with(frame, "molecules", "molecule_smiles")
        return found.select(
            "identifier", "inchikey14", "smiles", candidates="molecules", candidate_smiles="molecule_smiles"
        )

    def training_view(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The records with their candidates (null where none were made), then the rest of the library.

        Of that rest only what a query shows is not null. Names are opaque, and each part is in their order.
        """
        own = self._with(frame, "candidates").select(*self.records.columns, "candidates")
        rest = self.records.join(self._true(frame).select("identifier"), on="identifier", how="anti")
        hidden = [pl.lit(None, dtype=rest.schema[name]).alias(name) for name in rest.columns if name not in MEASURED]
        blank = pl.lit(None, dtype=own.schema["candidates"]).alias("candidates")
        parts = (own, rest.with_columns(*hidden, blank))
        return pl.concat([self._shown(part).sort("identifier") for part in parts])

    def _with(self, frame: pl.DataFrame, *columns: str) -> pl.DataFrame:
        """With columns of the pools, rows in their order; identifiers are the true ones."""
        found = self.pools.select("identifier", *columns)
        bare = self._true(frame.drop(*columns, strict=False))
        return bare.join(found, on="identifier", how="left", maintain_order="left")

    def _true(self, table: pl.DataFrame, *columns: str) -> pl.DataFrame:
        """Shown names → true identifiers, of `identifier` and `columns`; what is no shown name stays."""
        return _renamed(table, self._names.rename({"shown": "from", "true": "to"}), ("identifier", *columns))

    def _shown(self, table: pl.DataFrame) -> pl.DataFrame:
        """True identifiers → shown names."""
        return _renamed(table, self._names.rename({"true": "from", "shown": "to"}), ("identifier",))

    def check(self, predictions: pl.DataFrame, queries: pl.DataFrame) -> pl.DataFrame:
        """Finite scores of the query's candidates, once each, with the true identifiers of both.

        Raises PredictionError naming rows.
        """
        table = conformed(predictions, self.predictions, queries)
        repeated = table.select("identifier", "candidate").is_duplicated()
        refuse(table.filter(repeated), "score a library spectrum twice", "one score a candidate of a query")
        finite = pl.col("score").is_finite().fill_null(False)
        refuse(table.filter(~finite), "with a score that is NaN or infinite", "leave out what cannot be scored")
        shown = queries.select("identifier", candidate="candidates").explode("candidate")
        refuse(
            table.join(shown, on=["identifier", "candidate"], how="anti"),
            "of library spectra that are not among the query's candidates",
            "score the candidates that the query lists, by the names in the query file",
        )
        return self._true(table, "candidate")

    def score(
        self, predictions: pl.DataFrame, truth: pl.DataFrame, metrics: Sequence[str], missing: str = "raise"
    ) -> pl.DataFrame:
        """Metrics of the ranking of molecules. A query whose molecule is not in its pool fails those of its place."""
        ranked = self.molecules(predictions, truth)
        cache = store.home() / "mces" / "pairs.sqlite"
        return score(ranked, truth, metrics, missing, absent="fail", cache=cache)

    def molecules(self, predictions: pl.DataFrame, truth: pl.DataFrame) -> pl.DataFrame:
        """PREDICTED_SCORES of molecules: the best spectrum of each; those without any tie behind all others."""
        named = self._true(predictions, "candidate").join(
            self.records.select(candidate="identifier", molecule="inchikey14"), on="candidate", how="inner"
        )
        best = named.group_by("identifier", candidate="molecule").agg(pl.col("score").max())
        floor = best.group_by("identifier").agg(floor=pl.col("score").min() - 1.0)
        pools = truth.select("identifier", candidate="candidates").filter(pl.col("candidate").list.len() > 0)
        whole = pools.explode("candidate").join(floor, on="identifier", how="inner", maintain_order="left")
        whole = whole.join(best, on=["identifier", "candidate"], how="left", maintain_order="left")
        return whole.select("identifier", "candidate", score=pl.coalesce("score", "floor"))

    def shown(self, predictions: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
        """The best molecules of each query with their scores, and the truth's place."""
        truth = self.truth(rows)
        ranks = self.score(predictions, truth, ["rank"], missing="fail")
        return best_candidates(self.molecules(predictions, truth), truth, ranks)

    def rivals(self, folds: Mapping[str, Folds]) -> pl.DataFrame:
        """split, identifier, library_rivals (`RIVALS`) of the test queries.

        In a split by molecule what a model was trained on is never the answer. A model that knows these molecules'
        spectra from others gains by that, but not among rivals of which it was trained on none.
        """
        found = []
        for split, parts in folds.items():
            trained = parts["train"]["inchikey14"].drop_nulls().unique()
            asked = self._with(parts["test"].select("identifier", "inchikey14"), "molecules")
            long = asked.explode("molecules").filter(pl.col("molecules") != pl.col("inchikey14"))
            known = pl.col("molecules").is_in(trained.implode())
            shares = long.group_by("identifier").agg(share=known.mean())
            share = pl.col("share")
            level = pl.when(share.is_null()).then(pl.lit(RIVALS[0])).when(share == 0).then(pl.lit(RIVALS[1]))
            level = level.when(share == 1).then(pl.lit(RIVALS[3])).otherwise(pl.lit(RIVALS[2]))  # type: ignore[assignment]
            rows = asked.select("identifier").unique().join(shares, on="identifier", how="left")
            found.append(rows.select(pl.lit(split).alias("split"), "identifier", library_rivals=level))
        return pl.concat(found)

    def bounds(self, folds: Folds, metrics: Sequence[str]) -> Bounds:
        """The share of test queries that the library can answer: the ceiling of every metric of the truth's place."""
        rows = self._with(folds["test"], "library_answer").select("inchikey14", "library_answer")
        rows = rows.with_columns(there=(pl.col("library_answer") != ANSWERS[0]).fill_null(False).cast(pl.Float64))
        means = rows.group_by("inchikey14").agg(pl.col("there").mean())["there"]
        share = {"spectrum": _number(rows["there"].mean()), "molecule": _number(means.mean())}
        parsed = {name: parse_as(RankingMetric, name) for name in metrics}
        return {
            name: dict(share)
            for name, metric in parsed.items()
            if metric.measure in BY_PLACE and metric.measure not in LOWER_IS_BETTER
        }


def _pools(library: Library, queries: pl.DataFrame, window: Window) -> pl.DataFrame:
    """One row a query: its candidates, their molecules, and whether its own is among them."""
    pairs = window.pairs(library, queries)
    keys = {"candidate": "shown", "molecule": "inchikey14", "spelling": "smiles"}
    rows = library.rows.select(**keys)[pairs.row].with_columns(query=pl.Series(pairs.query, dtype=pl.UInt32))
    lists = rows.group_by("query").agg(candidates=pl.col("candidate").sort())
    distinct = rows.group_by("query", "molecule").agg(pl.col("spelling").min()).sort("query", "molecule")
    molecules = distinct.group_by("query").agg(molecules="molecule", molecule_smiles="spelling")
    found = queries.select("identifier", "inchikey14").with_row_index("query")
    for table in (lists, molecules):
        found = found.join(table, on="query", how="left", maintain_order="left")
    lists_of = ("candidates", "molecules", "molecule_smiles")
    found = found.with_columns(pl.col(name).fill_null(pl.lit([], dtype=pl.List(pl.String))) for name in lists_of)
    there = pl.col("molecules").list.contains(pl.col("inchikey14"))
    alone = pl.col("molecules").list.len() == 1
    answer = pl.when(~there).then(pl.lit(ANSWERS[0])).when(alone).then(pl.lit(ANSWERS[1])).otherwise(pl.lit(ANSWERS[2]))
    return found.select("identifier", *lists_of, library_answer=answer)


def _names(identifiers: pl.Series, salt: str) -> pl.DataFrame:
    """shown, true: the name that models see of each spectrum, 64 bits of a hash of library and identifier."""
    digests = (blake2b(f"{salt}\n{name}".encode(), digest_size=8).hexdigest() for name in identifiers.to_list())
    return pl.DataFrame({"shown": [f"s{digest}" for digest in digests], "true": identifiers})


def _renamed(table: pl.DataFrame, names: pl.DataFrame, columns: Sequence[str]) -> pl.DataFrame:
    """`table` with what `names` (from, to) knows renamed in `columns`, rows in their order."""
    for column in columns:
        found = table.select(pl.col(column).alias("from")).join(names, on="from", how="left", maintain_order="left")
        table = table.with_columns(found.select(pl.coalesce("to", "from").alias(column)).to_series())
    return table


def _number(value: Any) -> float:
    return float(value) if value is not None else float(np.nan)
