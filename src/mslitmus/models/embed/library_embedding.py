"""library-embedding: ranks the candidate spectra of a library by the cosine of learned vectors.

Trained by contrast on the spectra of the training fold alone (`contrastive`), the epoch chosen by the reported metric
on validation. The library's vectors are made once, after training; a ranking then costs one product a pair.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from ...errors import ConfigError, DataError, ModelError
from ...provenance import file_hash, table_hash, write_parquet
from ...schemas import PREDICTED_SCORES, conform
from ...tasks.measured import MEASURED, with_structure
from ..options import TrainingOptions, parse_options
from ..predict.batching import tensor
from ..predict.conditioning import ConditionVocabulary
from ..protocol import FitContext
from ..trained import TrainedModel, read_json, reading, weights_file_hash
from .contrastive import ContrastOptions, Labels, contrast, epoch, teaches
from .embedder import (
    Design,
    DesignOptions,
    SpectrumEmbedder,
    Vectors,
    batch_of,
    embed_table,
    read_design,
    same_design,
)

_DESIGN = tuple(DesignOptions.model_fields)
_TRAINING = {"epochs": 20, "batch_size": 256, "learning_rate": 1e-3, "weight_decay": 0.01, "val_limit": 3000}
_PAIRS = 50_000  # scored at a time: 100 MB of vectors


class LibraryEmbeddingOptions(DesignOptions):
    """Options of library-embedding."""

    contrast: dict[str, Any] = Field(default_factory=dict)
    pretrained: str | None = Field(None, description="folder of a pretraining: its network, its weights to start from")
    training: dict[str, Any] = Field(default_factory=dict)


@dataclass(frozen=True)
class ContrastBatch:
    """Spectra as the network takes them, and what they are: (n,) each."""

    inputs: Any
    molecule: Tensor
    window: Tensor
    source: Tensor


class ContrastBatches:
    """A sized iterable of the batches of one epoch."""

    def __init__(self, table: Any, labels: Labels, rows: Sequence[NDArray[np.int64]], device: torch.device) -> None:
        self.table, self.labels, self.rows, self.device = table, labels, rows, device

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[ContrastBatch]:
        for rows in self.rows:
            told = (self.labels.molecule[rows], self.labels.window[rows], self.labels.source[rows])
            yield ContrastBatch(batch_of(self.table, rows, self.device), *(tensor(t, self.device) for t in told))


class LibraryEmbedding(TrainedModel):
    """A trained embedder with the vectors of its library. The constructor refuses unknown options."""

    task = "library-search"
    name = "library-embedding"

    def __init__(self, **options: Any) -> None:
        self.options = parse_options(LibraryEmbeddingOptions, options, where=f"model {self.name!r}")
        self._asked = {key: options[key] for key in _DESIGN if key in options}
        folder = self.options.pretrained  # it may be there only when this is trained: a pretraining reads the study too
        known = None if folder is None or not Path(folder).exists() else Path(folder)
        self.design = Design.of(self.options) if known is None else same_design(self._asked, known)
        self.contrast = parse_options(ContrastOptions, self.options.contrast, where="contrast")
        self.training = parse_options(TrainingOptions, {**_TRAINING, **self.options.training}, where="training")
        self.network: Any
        self.vocabulary: ConditionVocabulary
        self._library: pl.DataFrame | None = None  # identifier, by row of the table and of the vectors
        self._table: Any = None
        self._vectors: Vectors | None = None
        self._own = np.zeros(0, np.int64)

    def described(self) -> dict[str, Any]:
        """All options, defaults included."""
        parts = {"contrast": self.contrast.model_dump(), "training": self.training.model_dump()}
        return {**self.design.described(), **parts, "pretrained": self.options.pretrained}

    @classmethod
    def inputs(cls, options: Mapping[str, Any]) -> dict[str, str]:
        """Hash of the pretrained weights, which decide the vectors as options do: part of a cell's identity."""
        folder = options.get("pretrained")
        if folder is None:
            return {}
        remedy = "run `mslitmus pretrain peaks` first, or leave out pretrained"
        return {"pretrained": weights_file_hash(str(folder), remedy)}

    def check_start(self, parent: Any, head: str = "keep") -> None:
        """Raises ConfigError: an embedder starts from a folder."""
        remedy = "name the folder in `pretrained`: of a pretraining, or `model` of a fitted cell"
        raise ConfigError("library-embedding starts from no row", where=f"model {self.name!r}", remedy=remedy)

    # -- training ----------------------------------------------------------------------------------------------------

    def prepare(self, train: pl.DataFrame, context: FitContext) -> None:
        """Fix the vocabulary, build the network, hold the library as flat arrays.

        train: the named rows are learned from; those without a molecule are the rest of the library. Raises ModelError
        where there is nothing to contrast.
        """
        named = train.with_row_index("_row").filter(pl.col("inchikey14").is_not_null())
        named = with_structure(named)
        self._own = named["_row"].to_numpy().astype(np.int64)
        self._labels = Labels.of(named, self.contrast.ppm)
        drawn = epoch(self._labels, self.contrast, self.training.batch_size, 0)
        if not drawn or not teaches(self._labels, np.concatenate(drawn), self.contrast):
            what = "no training molecule has two spectra and another one to be told from"
            raise ModelError(what, where=self.name, remedy="a contrast needs them: take another split or more data")
        start = None if self.options.pretrained is None else Path(self.options.pretrained)
        self.design = self.design if start is None else same_design(self._asked, start)
        self.vocabulary = ConditionVocabulary.of(named) if start is None else read_design(start)[1]
        self.network = self.design.build(self.vocabulary)
        if start is not None:
            self.network.load_state_dict(SpectrumEmbedder.load(start).network.state_dict())
        self._library, self._vectors = train.select("identifier"), None
        self._table = self.design.table(train, self.vocabulary)
        self._data_hash = table_hash(named, ["identifier", "inchikey14", "precursor_mz", "mzs", "intensities"])
        self._data_hash += "" if start is None else file_hash(start / "weights.pt")

    def train_batches(self, order_seed: int) -> ContrastBatches:
        """One epoch, drawn and shuffled by this seed."""
        parts = epoch(self._labels, self.contrast, self.training.batch_size, order_seed)
        labels = Labels(*(_spread(v, self._own, len(self._table)) for v in vars(self._labels).values()))
        return ContrastBatches(self._table, labels, [self._own[rows] for rows in parts], self._device)

    def loss(self, batch: ContrastBatch) -> Tensor:
        """Scalar loss of one batch."""
        return contrast(self.network(batch.inputs), batch.molecule, batch.window, batch.source, self.contrast)

    def queries(self, val: pl.DataFrame) -> pl.DataFrame:
        """The validation queries with their candidates; what is asked in a test looks the same."""
        asked = val.filter(pl.col("candidates").list.len() > 0) if "candidates" in val.columns else val.head(0)
        return asked.select(*(c for c in MEASURED if c in asked.columns), "candidates")

    # -- prediction --------------------------------------------------------------------------------------------------

    def embedder(self) -> SpectrumEmbedder:
        """What was trained, for any spectra."""
        if not hasattr(self, "network"):
            raise ModelError("the model was not trained", where=self.name, remedy="call fit, or load a saved one")
        return SpectrumEmbedder(self.design, self.vocabulary, self.network, str(self._device))

    def predict(self, queries: pl.DataFrame) -> pl.DataFrame:
        """PREDICTED_SCORES of all candidates, in the order asked: cosines, −1 to 1."""
        return conform(self.pairs(queries), PREDICTED_SCORES)

    def pairs(self, queries: pl.DataFrame) -> pl.DataFrame:
        """identifier, candidate, score of every query and candidate. Raises DataError for a candidate it never saw."""
        asked = queries.with_row_index("_query").filter(pl.col("candidates").list.len() > 0)
        long = asked.select("_query", "identifier", candidate="candidates").explode("candidate")
        query = long["_query"].to_numpy().astype(np.int64)
        score = self.similarity(queries, long["candidate"], query, np.arange(len(query)))
        return long.select("identifier", "candidate").with_columns(score=pl.Series(score, dtype=pl.Float64))

    def similarity(
        self, queries: pl.DataFrame, candidates: pl.Series, query: NDArray[np.int64], candidate: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """(m,) cosines of row query[i] of `queries` and the library spectrum candidates[candidate[i]]."""
        if not (hasattr(self, "network") and self.network.training):
            self._finish()  # between two epochs only what is asked about is embedded
        with self._predicting():
            rows = self._named().select(candidate="identifier").with_row_index("_row")
            found = (
                candidates.alias("candidate").to_frame().join(rows, on="candidate", how="left", maintain_order="left")
            )
            if found["_row"].null_count():
                name = found.filter(pl.col("_row").is_null())["candidate"][0]
                raise DataError(
                    f"candidate {name!r} is not in the library", remedy="fit on the library that is searched"
                )
            row = found["_row"].to_numpy().astype(np.int64)[candidate]
            place, at = np.unique(row, return_inverse=True)
            mine = embed_table(self.network, self.design.table(queries, self.vocabulary), self._device)
            return cosines(mine, self._of_library(place), query, at)

    def _named(self) -> pl.DataFrame:
        if self._library is None:
            raise ModelError("the model has no library", where=self.name, remedy="call fit, or load a saved one")
        return self._library

    def _finish(self) -> None:
        """Embed the whole library, once; the peaks are not needed any more."""
        if self._vectors is None and self._table is not None:
            self._vectors = embed_table(self.network, self._table, self._device)
            self._table = None

    def _of_library(self, rows: NDArray[np.int64]) -> Vectors:
        if self._vectors is not None:
            return self._vectors[rows]
        return embed_table(self.network, self._table.take(rows), self._device)

    # -- files -------------------------------------------------------------------------------------------------------

    def save(self, folder: Path) -> None:
        """options.json, the embedder's files, and the library's identifiers and vectors."""
        library = self._named()
        self._finish()
        self._write(folder, {"adducts": list(self.vocabulary.adducts)})
        self.embedder().save(folder)
        write_parquet(folder / "library.parquet", library)
        assert self._vectors is not None  # made by _finish
        np.save(folder / "vectors.npy", self._vectors)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """A saved model. Raises ModelError if a file is missing or does not fit."""
        with reading(folder):
            model = cls(**{**read_json(folder / "options.json"), "pretrained": None})
            model.vocabulary = ConditionVocabulary(tuple(read_json(folder / "vocabulary.json")["adducts"]))
            model.network = model.design.build(model.vocabulary)
            model._read_weights(folder)
            model._library = pl.read_parquet(folder / "library.parquet")
            model._vectors = np.load(folder / "vectors.npy")
        return model


def cosines(
    queries: Vectors, library: Vectors, query: NDArray[np.int64], row: NDArray[np.int64]
) -> NDArray[np.float64]:
    """(m,) products of query[i] and row[i], a block at a time."""
    out = np.empty(len(query))
    for start in range(0, len(query), _PAIRS):
        part = slice(start, start + _PAIRS)
        out[part] = np.einsum("ij,ij->i", queries[query[part]], library[row[part]], dtype=np.float64)
    return out


def _spread(values: NDArray[np.int64], at: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """`values` at these places of an array of −1."""
    out = np.full(size, -1, np.int64)
    out[at] = values
    return out
