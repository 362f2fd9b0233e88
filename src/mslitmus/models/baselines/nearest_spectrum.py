"""nearest-spectrum: the fingerprint of the molecule whose training spectrum is most similar. The neighbour ladder.

The rule, exact and deterministic. For each query:

1. the *tiers* (see `tiers`) are tried in the order of the option; the first that holds any training spectrum is taken,
   and in it the *pool* is the spectra of the query's ion mode, or all of the tier where it has none of these;
2. the *neighbour* is the spectrum of the pool with the highest score (`spectra.library`), ties to the lowest
   identifier; if none shares a peak with the query, the one of nearest precursor m/z, ties to the lowest identifier;
3. the prediction is the Morgan fingerprint (radius 2, 2,048 bits) of the neighbour's molecule, as zeros and ones.

`choose="random"` (the model `random-neighbour`) takes in step 2 a random molecule of the pool, each with the same
chance, by a hash of the seed and the query's identifier: what is left of a result when no peak is read.
The defaults (modified cosine, intensities to the power 1/4, all of train) were the best on the validation folds of
MassBank's molecule and scaffold splits; see docs/search.md.
`skip=True` looks into the first tier only and predicts nothing for a query that has no neighbour there: the way
this baseline was first coded in the literature, kept to show what it does to a mean.
"""

from __future__ import annotations

import json
import time
from hashlib import blake2b
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from ...chem import molecule
from ...errors import ConfigError, ModelError, unknown_name
from ...provenance import write_json, write_parquet
from ...schemas import SPECTRA, conform
from ...spectra.library import Library, Scoring, Subsets
from ...spectra.tolerance import Tolerance
from ..controls.control import Control
from ..controls.mean_fingerprint import as_fingerprints
from ..options import Options
from ..protocol import FitContext, FitReport, Kind
from .tiers import OF_FORMULA, TIERS, Tiers

BITS = 2048
_KEPT = ("identifier", "smiles", "inchikey14", "formula", "adduct", "ion_mode", "precursor_mz", "mzs", "intensities")


class NearestSpectrumOptions(Options):
    """Options of nearest-spectrum."""

    score: Literal["cosine", "modified-cosine", "entropy"] = "modified-cosine"
    tolerance: str = Field("0.01Da", description="of fragment m/z: 0.01Da, 10ppm")
    intensity_power: float = Field(0.25, ge=0, le=4, description="of the cosines; entropy has its own weights")
    mz_power: float = Field(0.0, ge=0, le=4, description="of the cosines")
    tiers: tuple[str, ...] = Field(("all",), min_length=1, description="formula, subformula, mass, all: in this order")
    precursor_tolerance: str = Field("10ppm", description="of the tier mass")
    choose: Literal["best", "random"] = "best"
    skip: bool = Field(False, description="no prediction where the first tier has no neighbour")


class RandomNeighbourOptions(NearestSpectrumOptions):
    """Options of random-neighbour: those of nearest-spectrum."""

    choose: Literal["best", "random"] = "random"


class NearestSpectrum(Control):
    """Copies a neighbour's molecule; see the module for the rule."""

    task = "fingerprint"
    kind: Kind = "neighbour"
    name: ClassVar[str] = "nearest-spectrum"
    Options: ClassVar[type[Options]] = NearestSpectrumOptions
    _spectra: pl.DataFrame | None = None

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        where = f"model {self.name!r}"
        for tier in self.options.tiers:
            if tier not in TIERS:
                error = unknown_name("tier", tier, TIERS)
                raise ConfigError(error.message, where=where, remedy=error.remedy)
        if self.options.tiers[-1] != "all" and not self.options.skip:
            remedy = "end the tiers with 'all', or say skip: true"
            raise ConfigError("the tiers leave queries without a neighbour", where=where, remedy=remedy)
        Tolerance.of(self.options.precursor_tolerance)
        powers = () if self.options.score == "entropy" else (self.options.intensity_power, self.options.mz_power)
        self._scoring = Scoring(self.options.score, self.options.tolerance, *powers)

    def check_task(self, task: Any) -> None:
        """Raises ConfigError for a tier of formulae where the task's queries do not name theirs."""
        hidden = [tier for tier in self.options.tiers if tier in OF_FORMULA]
        if hidden and "formula" not in task.visible:
            raise ConfigError(
                f"tier {hidden[0]!r} needs the formula of the queries, which the task {task.name!r} hides",
                where=f"model {self.name!r}",
                remedy="tiers: [mass, all], or task_options: {formula: given}",
            )

    def fit(self, train: pl.DataFrame, val: pl.DataFrame, context: FitContext) -> FitReport:
        started = time.perf_counter()
        spectra = conform(train, SPECTRA).select(_KEPT).filter(pl.col("smiles").is_not_null())
        if spectra.is_empty():
            raise ModelError("no training spectrum has a structure", remedy="check the split and the dataset's SMILES")
        self._set_spectra(spectra, context.seed)
        return FitReport(time.perf_counter() - started, stopped="the training set is the model")

    def _set_spectra(self, spectra: pl.DataFrame, seed: int) -> None:
        self._spectra, self._seed = spectra, seed
        self._library = Library.build(spectra)
        self._tiers = Tiers(self._library.rows, self.options.precursor_tolerance)
        names = self._library.rows.select(pl.coalesce("inchikey14", "smiles")).to_series()
        self._molecule = names.rank("dense").to_numpy().astype(np.int64)  # in the order of their keys

    def predict(self, queries: pl.DataFrame) -> pl.DataFrame:
        """PREDICTED_FINGERPRINTS of every query that has a neighbour: of every query, unless `skip`."""
        found = self.neighbours(queries)
        distinct = found.select("smiles").unique(maintain_order=True).with_row_index("number")
        bits = molecule.morgan(distinct["smiles"].to_list(), bits=BITS).astype(np.float32)
        number = found.select("smiles").join(distinct, on="smiles", how="left", maintain_order="left")["number"]
        return as_fingerprints(found["identifier"], bits[number.to_numpy()])

    def neighbours(self, queries: pl.DataFrame) -> pl.DataFrame:
        """identifier, neighbour (identifier of a training spectrum), its smiles and inchikey14, similarity, tier.

        Rows in the order asked; without those that `skip` leaves out. `similarity` is the score of the two spectra.
        """
        if self._spectra is None:
            raise self.not_fitted()
        row, similarity = np.full(queries.height, -1), np.zeros(queries.height)
        tier_of = np.full(queries.height, "", dtype=object)
        for tier in self.options.tiers[:1] if self.options.skip else self.options.tiers:
            open_ = np.flatnonzero(row < 0)
            asked = queries[open_]
            rows, scores = self._chosen(asked, self._tiers.pools(tier, asked))
            row[open_], similarity[open_] = rows, scores
            tier_of[open_[rows >= 0]] = tier
        kept = row >= 0
        known = self._library.rows[row[kept]]
        return pl.DataFrame(
            {
                "identifier": queries["identifier"].filter(pl.Series(kept)),
                "neighbour": known["identifier"],
                "smiles": known["smiles"],
                "inchikey14": known["inchikey14"],
                "similarity": similarity[kept],
                "tier": pl.Series(tier_of[kept].tolist(), dtype=pl.String),
            }
        )

    def _chosen(self, queries: pl.DataFrame, pools: Subsets) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Step 2 of the rule: (library row or −1 where the pool is empty, score), (n,) each."""
        if self.options.choose == "random":
            rows = self._random(queries["identifier"].to_list(), pools)
            has = np.flatnonzero(rows >= 0)
            alone = Subsets.from_lists(np.arange(has.size), list(rows[has, None]))
            scores = np.zeros(rows.size)
            scores[has] = self._library.rank(queries[has], self._scoring, alone).scores[:, 0]
            return rows, scores
        hits = self._library.rank(queries, self._scoring, pools)
        rows = hits.rows[:, 0].copy()
        precursor = queries["precursor_mz"].fill_null(float("nan")).to_numpy()
        for query in np.flatnonzero(rows < 0).tolist():
            pool = pools.rows_of(query)
            if pool.size:
                apart = np.nan_to_num(np.abs(self._library.precursor_mz[pool] - precursor[query]), nan=np.inf)
                rows[query] = pool[int(np.argmin(apart))]
        return rows, hits.scores[:, 0]

    def _random(self, identifiers: list[str], pools: Subsets) -> NDArray[np.int64]:
        """A random molecule of each pool, and its first spectrum there."""
        rows = np.full(len(identifiers), -1)
        firsts: dict[int, NDArray[np.int64]] = {}
        for query, identifier in enumerate(identifiers):
            number = int(pools.of[query])
            if number not in firsts:
                pool = pools.rows_of(query)
                firsts[number] = pool[np.unique(self._molecule[pool], return_index=True)[1]]
            first = firsts[number]
            if first.size:
                digest = blake2b(f"{self._seed}\n{identifier}".encode(), digest_size=8).digest()
                rows[query] = first[int.from_bytes(digest, "big") % first.size]
        return rows

    def save(self, folder: Path) -> None:
        if self._spectra is None:
            raise self.not_fitted()
        super().save(folder)
        write_json(folder / "seed.json", self._seed)
        write_parquet(folder / "library.parquet", self._spectra)

    @classmethod
    def load(cls, folder: Path) -> Self:
        model = super().load(folder)
        seed = json.loads((folder / "seed.json").read_text(encoding="utf-8"))
        model._set_spectra(pl.read_parquet(folder / "library.parquet"), seed)
        return model


class RandomNeighbour(NearestSpectrum):
    """A random molecule of the same pool."""

    name = "random-neighbour"
    Options = RandomNeighbourOptions
