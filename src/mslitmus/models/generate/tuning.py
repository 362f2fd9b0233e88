"""tuned-spectrum-to-smiles: the generator, tuned at test time on training spectra that are like the asked ones.

After "Test-Time Tuned Language Models Enable End-to-end De Novo Molecular Structure Generation from MS/MS Spectra"
(arXiv 2510.23746). The fingerprint head predicts fingerprints of all training and asked spectra. Then, as in the paper,
k-means of the asked ones; for each cluster one optimiser step on the training spectra nearest to the point nearest its
centroid; fingerprints predicted anew every few clusters; the one adapted network answers everything. That is
*transductive*: an answer depends on which other spectra are asked. With `per_sample` (the default) each query starts
from the fitted weights, is tuned on its own neighbours, and its answer depends on nothing else.

Where the nearest training spectrum is less similar than a limit (chosen on validation, or given), there is nothing to
learn from: the cluster or query is *dark* and no step is taken.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from pydantic import Field

from ...chem.molecule import morgan, tanimoto
from ...errors import ConfigError
from ...provenance import write_json, write_parquet
from ...schemas import PREDICTED_STRUCTURES, conform
from ...tasks.measured import MEASURED, with_structure
from ..options import Options, parse_options
from ..protocol import FitContext, FitReport
from ..trained import read_json
from .inputs import InputTable
from .near import Approximate, Exact, clusters, limit_of, pool_of, scaled
from .options import SpectrumToSmilesOptions
from .spectrum_to_smiles import SpectrumToSmiles

_POOL, _LIMIT = "pool.parquet", "tuning.json"
_CHUNK = 64  # spectra whose fingerprints are predicted together


class TuningOptions(Options):
    """Options of `tuning`."""

    per_sample: bool = Field(True, description="each query by itself; false: all that are asked, transductive")
    clusters: int = Field(64, ge=1, description="of the asked spectra, where all are tuned on together")
    batch: int = Field(32, ge=1, description="nearest training spectra of a step")
    steps: int = Field(1, ge=1, description="optimiser steps on each batch")
    refresh: int = Field(8, ge=0, description="clusters after which fingerprints are predicted anew; 0: never")
    learning_rate: float = Field(1e-4, gt=0)
    limit: float | None = Field(None, ge=-1, le=1, description="cosine of the nearest, below it dark; else chosen")
    relevant: float = Field(0.4, gt=0, le=1, description="Tanimoto of a neighbour that is worth learning from")
    exact_up_to: int = Field(200_000, ge=0, description="training spectra; larger pools by faiss where installed")
    seed: int = Field(0, ge=0)


class TunedOptions(SpectrumToSmilesOptions):
    """Options of `tuned-spectrum-to-smiles`."""

    tuning: dict[str, Any] = Field(default_factory=dict)
    learn: bool = Field(True, description="false: the network it starts from is taken as it is, and only tuned")


@dataclass
class Tally:
    """What tuning did in the last prediction."""

    asked: int = 0
    dark: int = 0
    steps: int = 0
    tuning_seconds: float = 0.0
    seconds: float = 0.0
    neighbours: str = ""

    def told(self, transductive: bool) -> dict[str, Any]:
        asked = max(self.asked, 1)
        return {
            "transductive": transductive,
            "dark": self.dark / asked,
            "steps": self.steps,
            "neighbours": self.neighbours,
            "tuning_seconds_per_spectrum": self.tuning_seconds / asked,
            "decoding_seconds_per_spectrum": (self.seconds - self.tuning_seconds) / asked,
        }


@dataclass
class _Pool:
    """Training spectra ready for steps, their fingerprints under the weights of the moment."""

    table: InputTable
    near: Exact | Approximate | None = None
    base: Exact | Approximate | None = field(default=None)  # under the fitted weights
    weights: tuple[float, ...] = ()  # sums of the weights that `base` is of


class TunedSpectrumToSmiles(SpectrumToSmiles):
    """Spectrum and formula → structures, the network tuned on the neighbours of what is asked."""

    name = "tuned-spectrum-to-smiles"
    Options: ClassVar[type[SpectrumToSmilesOptions]] = TunedOptions

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.tuning = parse_options(TuningOptions, self.options.tuning, where="tuning")
        if self.options.fingerprint_weight == 0:
            remedy = "fingerprint_weight above 0, or the model spectrum-to-smiles"
            raise ConfigError(
                "neighbours are found by the fingerprint head, which learns nothing", where="tuning", remedy=remedy
            )
        self.limit = self.tuning.limit
        self.tally = Tally()
        self._frame: pl.DataFrame | None = None
        self._pool: _Pool | None = None

    @property
    def transductive(self) -> bool:
        """Whether an answer depends on which other queries are asked with it."""
        return not self.tuning.per_sample

    @property
    def inference_notes(self) -> dict[str, Any]:
        """Of the last prediction: dark share, steps, seconds a spectrum for tuning and for decoding."""
        return self.tally.told(self.transductive)

    def described(self) -> dict[str, Any]:
        """All options, defaults included."""
        return {**super().described(), "tuning": self.tuning.model_dump()}

    # -- fitting -----------------------------------------------------------------------------------------------------

    def fit(self, train: pl.DataFrame, val: pl.DataFrame, context: FitContext) -> FitReport:
        """Train (unless `learn` is false), keep the training spectra, choose the limit on validation."""
        if self.options.learn:
            report = super().fit(train, val, context)
        else:
            if self._start is None and self.options.weights == "random":
                remedy = "start_from a row of spectrum-to-smiles, weights: FOLDER, or learn: true"
                raise ConfigError("there is no network to tune", where=f"model {self.name!r}", remedy=remedy)
            self.prepare(train, context)
            report = FitReport(0.0, self.parameters(), stopped="not trained: the network that it starts from")
            report = self._weighed(report, val, context)
        notes = {**report.notes, "transductive": self.transductive, **self._chosen_limit(val, context)}
        return replace(report, notes=notes)

    def prepare(self, train: pl.DataFrame, context: FitContext) -> None:
        """As the generator does, and keep the spectra themselves."""
        super().prepare(train, context)
        self._keep(train)

    def _keep(self, train: pl.DataFrame) -> None:
        self._frame, self._pool = train.select(*MEASURED, "formula", "smiles", "inchikey14"), None

    def _chosen_limit(self, val: pl.DataFrame, context: FitContext) -> dict[str, Any]:
        """The limit, and how it came about."""
        if self.tuning.limit is not None:
            return {"limit": self.tuning.limit, "limit_from": "given"}
        rows = with_structure(val).sample(fraction=1.0, shuffle=True, seed=context.seed).head(self.training.val_limit)
        if rows.is_empty():
            self.limit = -1.0
            return {"limit": self.limit, "limit_from": "no validation spectra"}
        with self._predicting():
            pool = self._fresh()
            asked = self.formulae.asked(self.queries(rows))
            numbers, cosines = self._base(pool).nearest(self._fingerprints(self._tabulate(asked)), 1)
        nearest = [self._smiles[k] for k in self._molecule[numbers[:, 0]]]
        pairs = zip(morgan(rows["smiles"].to_list()), morgan(nearest), strict=True)
        similar = np.array([tanimoto(a[None], b[None])[0, 0] for a, b in pairs])
        relevant = (similar >= self.tuning.relevant) & (numbers[:, 0] >= 0)  # faiss may find nothing: -1
        self.limit = limit_of(cosines[:, 0], relevant)
        shares = {"relevant": float(relevant.mean()), "queries": rows.height}
        return {"limit": self.limit, "limit_from": "validation", "limit_chosen_on": shares}

    # -- prediction --------------------------------------------------------------------------------------------------

    def predict(self, queries: pl.DataFrame) -> pl.DataFrame:
        """PREDICTED_STRUCTURES in the order asked, whatever that order is; the fitted weights stay as they were."""
        self.refused, self.tally = 0, Tally(asked=queries.height)
        started = time.perf_counter()
        rows: list[tuple[str, str | None, float | None]] = []
        # steps are taken in an order that does not follow the asker's
        ordered = self.formulae.asked(queries.sort("identifier"))
        with self._predicting(), self._restored() as restore:
            self._fresh()
            if self.tuning.per_sample:
                for row in range(ordered.height):
                    rows += self._alone(ordered.slice(row, 1))
                    restore()
            elif ordered.height:
                self._together(ordered)
                for start in range(0, ordered.height, self.options.chunk):
                    rows += self._answers(ordered.slice(start, self.options.chunk))
        self.tally.seconds = time.perf_counter() - started
        found = conform(pl.DataFrame(rows, schema=PREDICTED_STRUCTURES, orient="row"), PREDICTED_STRUCTURES)
        return queries.select("identifier").join(found, on="identifier", how="left", maintain_order="left_right")

    def _alone(self, query: pl.DataFrame) -> list[tuple[str, str | None, float | None]]:
        """The answers of one query, tuned on its own neighbours."""
        with self._clock():
            pool = self._ready()
            near = self._base(pool)
            numbers, cosines = near.nearest(self._fingerprints(self._tabulate(query)), self.tuning.batch)
            if self._dark(cosines[0]):
                self.tally.dark += 1
            else:
                self._step(self._optimiser(), numbers[0], self.tuning.seed)
        return self._answers(query)

    def _together(self, queries: pl.DataFrame) -> None:
        """Clusters of all queries, a step for each."""
        with self._clock():
            pool, table = self._ready(), self._tabulate(queries)
            points, near = self._fingerprints(table), self._base(pool)
            own, middles = clusters(points, self.tuning.clusters, self.tuning.seed)
            optimiser, since = self._optimiser(), 0
            for number, middle in enumerate(middles):
                if self.tuning.refresh and since == self.tuning.refresh:
                    points, since = self._fingerprints(table), 0
                    near = pool_of(self._fingerprints(pool.table), self.tuning.exact_up_to)
                numbers, cosines = near.nearest(points[middle : middle + 1], self.tuning.batch)
                if self._dark(cosines[0]):
                    self.tally.dark += int((own == number).sum())
                    continue
                self._step(optimiser, numbers[0], self.tuning.seed + number)
                since += 1

    def _dark(self, cosines: NDArray[np.float32]) -> bool:
        return bool(cosines[0] < (-1.0 if self.limit is None else self.limit))

    def _optimiser(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(
            self.network.parameters(), lr=self.tuning.learning_rate, weight_decay=self.training.weight_decay
        )

    def _step(self, optimiser: torch.optim.Optimizer, rows: NDArray[np.int64], seed: int) -> None:
        """Optimiser steps on these training spectra, dropout and hidden peaks drawn by the seed."""
        cuda = [self._device] if self._device.type == "cuda" else []
        rows = rows[rows >= 0]  # faiss fills up with -1
        with torch.enable_grad(), torch.random.fork_rng(devices=cuda):
            torch.manual_seed(seed)
            self.network.train()
            for step in range(self.tuning.steps):
                loss = self.loss(self.lesson(rows, seed + step))
                optimiser.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.training.clip)
                optimiser.step()
                self.tally.steps += 1
        self.network.eval()

    @contextmanager
    def _restored(self) -> Iterator[Any]:
        """Hands out a function that puts the fitted weights back; they are back at the end, whatever happens."""
        fitted = {name: value.detach().clone() for name, value in self.network.state_dict().items()}

        def restore() -> None:
            self.network.load_state_dict(fitted)

        try:
            yield restore
        finally:
            restore()

    @contextmanager
    def _clock(self) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.tally.tuning_seconds += time.perf_counter() - started

    # -- fingerprints ------------------------------------------------------------------------------------------------

    def _ready(self) -> _Pool:
        """The training spectra; of a loaded model they are made ready once."""
        if self._pool is None:
            if self._frame is None:
                raise ConfigError("the model keeps no training spectra", where=self.name, remedy="call fit, or load")
            train = self._remember(self._frame)
            self._smiles = list(dict.fromkeys(train["smiles"].to_list()))
            self._table = self._tabulate(train)
            self._pool = _Pool(self._table)
        return self._pool

    def _fresh(self) -> _Pool:
        """The training spectra; what was predicted for them by other weights (an earlier epoch's) is forgotten."""
        pool, now = self._ready(), tuple(float(p.sum()) for p in self.network.parameters())
        if pool.weights != now:
            pool.base, pool.weights = None, now
        return pool

    def _base(self, pool: _Pool) -> Exact | Approximate:
        """Training fingerprints under the fitted weights: ask before the first step."""
        if pool.base is None:
            pool.base = pool_of(self._fingerprints(pool.table), self.tuning.exact_up_to)
        self.tally.neighbours = pool.base.name
        return pool.base

    def _fingerprints(self, table: InputTable) -> NDArray[np.float32]:
        """(n, bits) predicted probabilities, scaled to length 1."""
        parts = []
        for start in range(0, len(table), _CHUNK):
            inputs = self._inputs(table, np.arange(start, min(start + _CHUNK, len(table))))
            parts.append(torch.sigmoid(self.network.encode(inputs)[2]).float().cpu().numpy())
        return scaled(np.concatenate(parts))

    # -- files -------------------------------------------------------------------------------------------------------

    def save(self, folder: Path) -> None:
        """As the generator, and pool.parquet (the training spectra) and tuning.json (the limit)."""
        folder.mkdir(parents=True, exist_ok=True)
        if self._frame is not None:
            write_parquet(folder / _POOL, self._frame)
        write_json(folder / _LIMIT, {"limit": self.limit})
        super().save(folder)

    @classmethod
    def _read_from(cls, folder: Path, options: dict[str, Any]) -> Self:
        model = super()._read_from(folder, options)
        model.limit = read_json(folder / _LIMIT)["limit"]
        model._keep(pl.read_parquet(folder / _POOL))
        return model
