"""library-sum: the simplest combination, classical score + Σ α · cosine of learned vectors.

The classical score's options and every α are chosen together on validation by the reported metric. α = 0 is always
tried, and of equals the smallest α is taken: where learned vectors add nothing, this is the tuned classical score. An
embedder is trained as `library-embedding` trains it, or taken over as it is from a fitted row (`start_from`).
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from ...errors import ConfigError, ModelError
from ...provenance import write_json
from ..baselines.library_score import LibraryScore, told, validation_queries
from ..options import Options, parse_options
from ..protocol import FitContext, FitReport, Kind
from .library_embedding import LibraryEmbedding

Floats = NDArray[np.float64]
_MOST = 20_000  # sums tried on validation


class LibrarySumOptions(Options):
    """Options of library-sum."""

    classical: dict[str, Any] = Field(default_factory=dict, description="options of library-score; lists are tried")
    embedders: tuple[dict[str, Any], ...] = Field((), description="options of library-embedding, each")
    alpha: tuple[float, ...] = Field(
        (0.0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0, 1.5, 2.0, 4.0), min_length=1, description="tried, beside 0"
    )


class LibrarySum:
    """See the module."""

    task = "library-search"
    kind: Kind = "trained"
    name = "library-sum"
    learns_beside = True  # α and the classical score, though the embedder is another row's

    def __init__(self, **options: Any) -> None:
        self.options = parse_options(LibrarySumOptions, options, where=f"model {self.name!r}")
        self._classical = LibraryScore(**self.options.classical)
        self._embedders = [LibraryEmbedding(**one) for one in self.options.embedders]
        self._taken: list[LibraryEmbedding] = []  # from another row: not trained here
        self._alphas: tuple[float, ...] = ()
        if min(self.options.alpha) < 0:
            raise ConfigError("alpha below 0", where=f"model {self.name!r}", remedy="0 or more: likeness speaks for")
        self._check_count(len(self._embedders))

    @classmethod
    def inputs(cls, options: Mapping[str, Any]) -> dict[str, str]:
        """Hashes of the pretrained weights that its embedders start from."""
        parts = enumerate(options.get("embedders", ()), 1)
        found = [(k, LibraryEmbedding.inputs(one)) for k, one in parts]
        return {f"embedders.{k}.{key}": value for k, one in found for key, value in one.items()}

    def check_start(self, parent: Any, head: str = "keep") -> None:
        """Raises ConfigError where the other row is no library-embedding, or with it there is too much to try."""
        if not isinstance(parent, LibraryEmbedding) or head != "keep":
            what = "it starts from a row of library-embedding, whose embedder it takes as it is"
            raise ConfigError(what, where=f"model {self.name!r}", remedy="name such a row, and leave out head")
        self._check_count(len(self._embedders) + 1)

    def start_from(self, folder: Path, head: str = "keep") -> None:
        """Take the embedder of a fitted library-embedding: first of all embedders, and not trained again."""
        self._taken = [LibraryEmbedding.load(folder)]

    @property
    def _all(self) -> list[LibraryEmbedding]:
        return [*self._taken, *self._embedders]

    def _grid(self, embedders: int) -> list[tuple[float, ...]]:
        """All α, the smallest sum first."""
        values = sorted({0.0, *self.options.alpha})
        return sorted(product(values, repeat=embedders), key=lambda alphas: (sum(alphas), alphas))

    def _check_count(self, embedders: int) -> None:
        """Raises ConfigError where so many embedders make too many sums to try."""
        count = int(len({0.0, *self.options.alpha}) ** embedders * len(self._classical.choices))
        if count > _MOST:
            what, remedy = f"{count:,} sums to try", f"fewer values, {_MOST:,} sums at most"
            raise ConfigError(what, where=f"model {self.name!r}", remedy=remedy)

    # -- training ----------------------------------------------------------------------------------------------------

    def fit(self, train: pl.DataFrame, val: pl.DataFrame, context: FitContext) -> FitReport:
        """Train what is not taken over, then choose. Raises ModelError without an embedder or a validation query."""
        started = time.perf_counter()
        if not self._all:
            remedy = "name options of library-embedding in `embedders`, or a row of it in start_from"
            raise ModelError("no embedder to add to the classical score", where=self.name, remedy=remedy)
        reports = []
        for k, one in enumerate(self._embedders, 1):
            part = replace(context, folder=context.folder / f"training{k}", fitted=None)
            reports.append(one.fit(train, val, part).to_json())
        self._classical.take(train, context)
        asked = validation_queries(val, self.name)
        tried = self._choose(asked, context)
        best = max(tried, key=lambda row: float(row["validation"]))
        notes: dict[str, Any] = {"chosen": best, "tried": tried, "validation_queries": asked.height}
        notes |= {"embedders": reports} if reports else {}
        said = f"alpha {', '.join(f'{a:g}' for a in self._alphas)}, {told(self._classical.chosen)}"
        seconds = time.perf_counter() - started
        return FitReport(
            seconds, self.parameters(), stopped=f"chosen: {said}", best_score=best["validation"], notes=notes
        )

    def _choose(self, asked: pl.DataFrame, context: FitContext) -> list[dict[str, Any]]:
        """Set options and α; the best classical options of each α, in the order tried."""
        choices = self._classical.choices
        classical = [self._classical.answers(asked, choice) for choice in choices]
        scores = [_column(each) for each in classical]
        cosines = [_column(one.pairs(asked)) for one in self._all]
        tried: list[dict[str, Any]] = []
        best = -np.inf
        for alphas in self._grid(len(cosines)):
            learned = _sum(alphas, cosines, len(scores[0]))
            values = [context.score(_with(classical[0], score + learned), asked) for score in scores]
            first = int(np.argmax(values))
            tried.append({"alpha": list(alphas), **choices[first], "validation": values[first]})
            context.progress(f"{self.name}: alpha {list(alphas)}: {values[first]:.4f} on validation")
            if values[first] > best:
                best, self._alphas = values[first], alphas
                self._classical.choose(choices[first])
        return tried

    # -- prediction --------------------------------------------------------------------------------------------------

    def predict(self, queries: pl.DataFrame) -> pl.DataFrame:
        """PREDICTED_SCORES of all candidates, in the order asked."""
        if not self._alphas:
            raise ModelError(f"{self.name} was not fitted", remedy="call fit, or load a saved one")
        found = self._classical.predict(queries)
        used = [(alpha, one) for alpha, one in zip(self._alphas, self._all, strict=True) if alpha]
        if not used or found.is_empty():
            return found
        learned = _sum([alpha for alpha, _ in used], [_column(one.pairs(queries)) for _, one in used], found.height)
        return _with(found, _column(found) + learned)

    def parameters(self) -> int:
        return len(self._alphas) + sum(one.parameters() for one in self._all)

    # -- files -------------------------------------------------------------------------------------------------------

    def save(self, folder: Path) -> None:
        """options.json, sum.json, classical/ and a folder an embedder, taken over or not."""
        if not self._alphas:
            raise ModelError(f"{self.name} was not fitted", remedy="call fit")
        self._classical.save(folder / "classical")
        for k, one in enumerate(self._all, 1):
            one.save(folder / f"embedder{k}")
        write_json(folder / "options.json", self.options.model_dump(mode="json"))
        write_json(folder / "sum.json", {"alpha": list(self._alphas), "taken": len(self._taken)})

    @classmethod
    def load(cls, folder: Path) -> Self:
        """A saved model. Raises ModelError if a file is missing or does not fit."""
        try:
            files = (folder / f"{name}.json" for name in ("options", "sum"))
            options, chosen = (json.loads(path.read_text(encoding="utf-8")) for path in files)
            model = cls(**{**options, "embedders": []})
            model.options = parse_options(LibrarySumOptions, options, where=str(folder))
            model._classical = LibraryScore.load(folder / "classical")
            model._alphas, taken = tuple(chosen["alpha"]), int(chosen["taken"])
        except (OSError, ValueError, KeyError) as error:
            remedy = "train again, or give the folder of a cell"
            raise ModelError(f"not a saved model: {error}", where=str(folder), remedy=remedy) from error
        found = [LibraryEmbedding.load(folder / f"embedder{k}") for k in range(1, len(model._alphas) + 1)]
        model._taken, model._embedders = found[:taken], found[taken:]
        return model


def _column(table: pl.DataFrame) -> Floats:
    return table["score"].to_numpy().astype(np.float64)


def _sum(alphas: Any, cosines: list[Floats], size: int) -> Floats:
    return sum((alpha * cosine for alpha, cosine in zip(alphas, cosines, strict=True)), np.zeros(size))


def _with(table: pl.DataFrame, score: Floats) -> pl.DataFrame:
    return table.with_columns(score=pl.Series(score, dtype=pl.Float64))
