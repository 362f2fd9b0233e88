"""library-combined: ranks candidate spectra by what many scores say together, and says how sure it is.

A learner (boosted trees, or logistic regression) reads the features of a query and a candidate (`pair_features`) and is
trained on pools that the training fold makes by itself: each of its spectra asked against the others, in the window of
the task and with what the task leaves out. Validation chooses its size by the reported metric, and there its margin is
calibrated (Platt): the score is the probability that the candidate is of the query's molecule.

With an `embedder` its cosine is a feature. An embedder is right on molecules that it was trained on, and a learner that
saw these cosines would trust them too much. So the embedder is trained on a part of the training molecules, and the
learner on pools whose queries are of the others: there, as in a test by molecule, the embedder has never met the
query's molecule, while it may have met its rivals. What it met is then never the answer, and a learner may come to see
that in a cosine; with `rivals: unmet` its pools hold nothing that could teach it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from ...errors import ConfigError, ModelError
from ...provenance import write_json, write_parquet
from ...schemas import PREDICTED_SCORES, conform
from ...search.pairs import Pairs, pairs_of
from ...search.windows import Window
from ..baselines.library_score import scored, validation_queries
from ..options import Options, parse_options
from ..protocol import FitContext, FitReport, Kind
from .pair_features import READ, Floats, Shelf, names, signs
from .trees import Linear, Trees, limited, platt

_NEEDED = (*READ, "adduct", "charge", "ion_mode")
_HIDDEN = ("smiles", "inchikey14", "formula", "parent_mass", "precursor_formula")
_QUERIES = 2000  # whose pairs are described at a time


class LibraryCombinedOptions(Options):
    """Options of library-combined; lists are chosen from on validation."""

    learner: Literal["trees", "logistic"] = "trees"
    leaves: tuple[int, ...] = Field((4, 8, 16), description="of each tree")
    rounds: tuple[int, ...] = Field((50, 100, 200, 400), description="trees")
    rate: float = Field(0.08, gt=0, le=1)
    l2: float = Field(5.0, ge=0)
    rising: bool = Field(True, description="more similarity never lowers the score of a tree")
    penalty: tuple[float, ...] = Field((1.0, 10.0, 100.0), description="of the logistic coefficients")
    embedder: dict[str, Any] | None = Field(None, description="options of library-embedding")
    held_back: float = Field(0.4, gt=0, lt=1, description="share of training molecules that the embedder never meets")
    rivals: Literal["all", "unmet"] = Field(
        "all", description="in the pools to learn from; unmet: the embedder met none of them either"
    )
    max_queries: int = Field(20_000, ge=10, description="training spectra that are asked")
    precursor_tolerance: str = Field("10ppm", description="as the task's")
    same: tuple[str, ...] = Field(("adduct",), description="as the task's")
    leave_out: Literal["spectrum", "source"] = Field("source", description="as the task's")
    max_similarity: float | None = Field(None, gt=0, le=1, description="as the task's")


@dataclass(frozen=True)
class Examples:
    """Pairs to learn from: features (m, k), whether right, the weight of each; a query weighs 1 in all."""

    x: NDArray[np.float32]
    right: NDArray[np.bool_]
    weight: Floats


class LibraryCombined:
    """See the module."""

    task = "library-search"
    kind: Kind = "trained"
    name = "library-combined"

    def __init__(self, **options: Any) -> None:
        self.options = parse_options(LibraryCombinedOptions, options, where=f"model {self.name!r}")
        chosen = self.options
        self.window = Window(chosen.precursor_tolerance, chosen.same, chosen.leave_out, chosen.max_similarity)
        self._embedder: Any = None if chosen.embedder is None else _embedding()(**chosen.embedder)
        self._learner: Trees | Linear | None = None
        self._platt = (1.0, 0.0)
        self._chosen: dict[str, Any] = {}
        self._spectra: pl.DataFrame | None = None
        self._made: Shelf | None = None
        self._threads: int | None = None
        self._any_unit = False  # energies of different units compared: what was saved before 2026-11 learned from that

    @classmethod
    def inputs(cls, options: Mapping[str, Any]) -> dict[str, str]:
        """Hashes of the files that the embedder starts from."""
        inner = options.get("embedder")
        found = {} if inner is None else _embedding().inputs(inner)
        return {f"embedder.{key}": value for key, value in found.items()}

    def check_task(self, task: Any) -> None:
        """Raises ConfigError where the pools to learn from would be made otherwise than the task makes them."""
        theirs = getattr(task, "window", self.window)
        for key, value in vars(self.window).items():
            if vars(theirs)[key] != value:
                what = f"{key} is {value!r}, the task's {vars(theirs)[key]!r}"
                raise ConfigError(what, where=f"model {self.name!r}", remedy=f"set {key} as in task_options")

    # -- training ----------------------------------------------------------------------------------------------------

    def fit(self, train: pl.DataFrame, val: pl.DataFrame, context: FitContext) -> FitReport:
        """Embedder, pools, learner, calibration. Raises ModelError where no training spectrum has anything to find."""
        started = time.perf_counter()
        self._threads, self._any_unit = context.threads, False
        named = train.filter(pl.col("inchikey14").is_not_null())
        asked = named
        notes: dict[str, Any] = {}
        if self._embedder is not None:
            asked, notes["embedder"] = self._fit_embedder(train, named, val, context)
        self._spectra, self._made = train.select(_NEEDED), None
        context.progress(f"{self.name}: pools of the training fold")
        library = asked if self.options.rivals == "unmet" else named
        examples, pools = self._examples(library, asked, context.seed)
        val_asked = validation_queries(val, self.name)
        x = self._features(val_asked)
        tried: list[dict[str, Any]] = []
        best = -np.inf
        for choice, learner in self._learners(examples, context.seed):
            margin = learner.margin(x)
            value = context.score(self._answers(val_asked, margin), val_asked)
            tried.append({**choice, "validation": value})
            context.progress(f"{self.name}: {choice}: {value:.4f} on validation")
            if value > best:
                best, self._learner, self._chosen = value, learner, choice
        calibrated = self._calibrate(named, val, val_asked, x)
        notes |= {"chosen": self._chosen, "tried": tried, "calibration": list(self._platt), **calibrated, **pools}
        seconds = time.perf_counter() - started
        stopped = f"chosen: {', '.join(f'{k} {v}' for k, v in self._chosen.items())}"
        return FitReport(seconds, self.parameters(), stopped=stopped, best_score=best, notes=notes)

    def _fit_embedder(
        self, train: pl.DataFrame, named: pl.DataFrame, val: pl.DataFrame, context: FitContext
    ) -> tuple[pl.DataFrame, dict[str, Any]]:
        """Train it on a part of the molecules; the named rows of the others, and its report."""
        molecules = named["inchikey14"].unique().sort()
        drawn = np.random.default_rng(context.seed).permutation(molecules.len())
        kept = molecules[np.sort(drawn[: max(1, round(self.options.held_back * molecules.len()))])]
        back = pl.col("inchikey14").is_in(kept.implode()).fill_null(False)
        hidden = [
            pl.when(back).then(None).otherwise(pl.col(name)).alias(name) for name in _HIDDEN if name in train.columns
        ]
        report = self._embedder.fit(
            train.with_columns(hidden), val, replace(context, folder=context.folder / "embedder", fitted=None)
        )
        return named.filter(pl.col("inchikey14").is_in(kept.implode())), report.to_json()

    def _examples(self, library: pl.DataFrame, asked: pl.DataFrame, seed: int) -> tuple[Examples, dict[str, Any]]:
        """Pairs of training spectra; a query with candidates of other molecules teaches, with or without the truth."""
        asked = asked.filter(pl.col("precursor_mz").is_not_null() & (pl.col("mzs").list.len() > 0))
        if asked.height > self.options.max_queries:
            drawn = np.random.default_rng(seed).choice(asked.height, self.options.max_queries, replace=False)
            asked = asked[np.sort(drawn)]
        keep = list(dict.fromkeys((*self.window.columns, "identifier", "inchikey14", "mzs", "intensities")))
        small = Shelf.of(library.select(*READ, *(c for c in keep if c not in READ)))
        pairs = self.window.pairs(small.library, asked, self._threads)
        there, mine = small.library.rows["inchikey14"].to_numpy(), asked["inchikey14"].to_numpy()
        right = there[pairs.row] == mine[pairs.query]
        wrong = np.bincount(pairs.query, ~right, asked.height) > 0
        pairs, right = pairs.keep(wrong[pairs.query]), right[wrong[pairs.query]]
        found = np.bincount(pairs.query, right, asked.height)
        if not (found > 0).any():
            what = "no training spectrum has its molecule and another one among its candidates"
            raise ModelError(what, where=self.name, remedy="take more data, or a wider window in task and model")
        size = np.bincount(pairs.query, minlength=asked.height)
        side = np.where(right, found[pairs.query], (size - found)[pairs.query])
        cosines = self._cosines(asked, small.library.rows["identifier"], pairs)
        x = small.features(asked, pairs, cosines, self._threads)
        told = {"pools": int((size > 0).sum()), "pools_with_the_answer": int((found > 0).sum()), "pairs": len(right)}
        return Examples(x, right, 0.5 / side), told

    def _learners(self, examples: Examples, seed: int) -> Any:
        """(choice, learner) of every choice."""
        o, e = self.options, examples
        if o.learner == "logistic":
            for penalty in o.penalty:
                with limited(self._threads):
                    fitted = Linear.fit(e.x, e.right, e.weight, penalty)
                yield {"learner": "logistic", "penalty": penalty}, fitted
            return
        rising = signs(self._learned) * int(o.rising)
        for leaves in o.leaves:
            with limited(self._threads):
                grown = Trees.fit(e.x, e.right, e.weight, rising, leaves, max(o.rounds), o.rate, o.l2, seed)
            for rounds in sorted(o.rounds):
                yield {"learner": "trees", "leaves": leaves, "rounds": rounds}, grown.first(rounds)

    def _calibrate(
        self, named: pl.DataFrame, val: pl.DataFrame, asked: pl.DataFrame, x: NDArray[np.float32]
    ) -> dict[str, int]:
        """P(the best candidate is of the query's molecule) as a logistic function of its margin, on validation.

        A best candidate of the test fold has no known molecule. Where the folds share no molecule it is a wrong one;
        where they do it may be the answer, and the query says nothing: it is left out of all that is counted.
        """
        assert self._learner is not None
        told = pl.concat([each.select("identifier", "inchikey14") for each in (named, val)])
        apart = not val["inchikey14"].drop_nulls().is_in(named["inchikey14"].unique().implode()).any()
        margin = self._learner.margin(x)
        pairs = pairs_of(self._shelf().library, asked)
        known = told.select(candidate="identifier", molecule="inchikey14").drop_nulls().unique("candidate")
        there = self._shelf().library.rows.select(candidate="identifier")
        molecule = there.join(known, on="candidate", how="left", maintain_order="left")["molecule"]
        right = molecule.gather(pairs.row) == asked["inchikey14"].gather(pairs.query)  # null where it is not known
        order = np.lexsort((-margin, pairs.query))
        first = order[np.diff(pairs.query[order], prepend=-1) != 0]
        judged = first[(right.is_not_null().to_numpy() | apart)[first]]
        self._platt = platt(margin[judged], right.fill_null(False).to_numpy()[judged])
        return {"calibrated_on": len(judged), "of_unknown_molecule": len(first) - len(judged)}

    # -- prediction --------------------------------------------------------------------------------------------------

    def predict(self, queries: pl.DataFrame) -> pl.DataFrame:
        """PREDICTED_SCORES of all candidates, in the order asked: calibrated probabilities."""
        if self._learner is None:
            raise ModelError(f"{self.name} was not fitted", remedy="call fit, or load a saved one")
        starts = range(0, queries.height, _QUERIES)
        blocks = [queries[start : start + _QUERIES] for start in starts]
        parts = [self._answers(block, self._learner.margin(self._features(block))) for block in blocks]
        return pl.concat(parts) if parts else conform(pl.DataFrame(schema=PREDICTED_SCORES), PREDICTED_SCORES)

    def parameters(self) -> int:
        learned = 0 if self._embedder is None else int(self._embedder.parameters())
        if isinstance(self._learner, Trees):
            return learned + 2 * len(self._learner.feature)
        return learned + (0 if self._learner is None else len(self._learner.coefficients) + 1)

    def _features(self, queries: pl.DataFrame) -> NDArray[np.float32]:
        """(m, k) of all pairs of the queries, in the order of `pairs_of`."""
        shelf = self._shelf()
        pairs = pairs_of(shelf.library, queries)
        if not pairs.row.size:
            return np.zeros((0, len(names(self._learned))), np.float32)
        return shelf.features(
            queries, pairs, self._cosines(queries, shelf.library.rows["identifier"], pairs), self._threads
        )

    def _cosines(self, queries: pl.DataFrame, rows: pl.Series, pairs: Pairs) -> list[Floats]:
        if self._embedder is None:
            return []
        found: Floats = self._embedder.similarity(queries, rows, pairs.query, pairs.row)
        return [found]

    def _answers(self, queries: pl.DataFrame, margin: Floats) -> pl.DataFrame:
        library = self._shelf().library
        pairs = pairs_of(library, queries)
        a, b = self._platt
        # A margin so wide that its probability is 1 to the last digit would tie with the next one.
        score = 1 / (1 + np.exp(-np.clip(a * margin + b, -30, 30)))
        return scored(queries, library, pairs, score)

    def _shelf(self) -> Shelf:
        if self._made is None:
            if self._spectra is None:
                raise ModelError(f"{self.name} was not fitted", remedy="call fit, or load a saved one")
            self._made = Shelf.of(self._spectra, self._any_unit)
        return self._made

    @property
    def _learned(self) -> int:
        return int(self._embedder is not None)

    # -- files -------------------------------------------------------------------------------------------------------

    def save(self, folder: Path) -> None:
        """options.json, chosen.json, learner.npz, library.parquet and, with one, embedder/."""
        if self._learner is None or self._spectra is None:
            raise ModelError(f"{self.name} was not fitted", remedy="call fit")
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "options.json", self.options.model_dump(mode="json"))
        write_json(
            folder / "chosen.json", {"chosen": self._chosen, "platt": list(self._platt), "any_unit": self._any_unit}
        )
        arrays: dict[str, Any] = self._learner.arrays()
        np.savez_compressed(folder / "learner.npz", **arrays)
        write_parquet(folder / "library.parquet", self._spectra)
        if self._embedder is not None:
            self._embedder.save(folder / "embedder")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """A saved model. Raises ModelError if a file is missing or does not fit."""
        from .saved import read_combined

        options, told, arrays, spectra = read_combined(folder)
        model = cls(**{**options, "embedder": None})
        model._chosen, model._platt = told["chosen"], (told["platt"][0], told["platt"][1])
        model._learner = Trees.of(arrays) if "trees_roots" in arrays else Linear.of(arrays)
        model._spectra, model._any_unit = spectra, bool(told.get("any_unit", True))
        if options["embedder"] is not None:
            model.options = parse_options(LibraryCombinedOptions, options, where=str(folder))
            model._embedder = _embedding().load(folder / "embedder")
        return model


def _embedding() -> Any:
    """The class of embedders: torch comes in with it, and only where one is asked for."""
    from .. import MODELS

    return MODELS["library-embedding"]
