"""nearest-molecule: copy the measured spectrum of the most similar training molecule.

The rule, exact and deterministic. For each query:

1. the *pool* is the training spectra with the query's adduct; if there are none (or the adduct is unknown), those of
   its ion mode; if there are none, all;
2. the *neighbour* is the molecule of the pool with the highest Tanimoto similarity (Morgan) to the query's molecule,
   ties to the lowest InChIKey-14, then the lowest SMILES;
3. of the neighbour's spectra in the pool, the one that comes first by: nearest collision energy, same instrument type,
   same fragmentation, lowest identifier. Energies compare within one unit (eV, which covers converted NCE, ramps and
   steps; resonant %; unitless); an unknown energy matches unknown, then any number; another unit comes last.

`prefer="instrument"` puts the instrument type before the energy. `precursor="replace"` moves the intensity that the
copied spectrum has at its own precursor to the query's precursor m/z; the default is the plain copy.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from ...chem import molecule
from ...errors import ModelError
from ...provenance import write_json, write_parquet
from ...schemas import PREDICTED_SPECTRA, SPECTRA, conform
from ..options import Options, parse_options
from ..protocol import FitContext, FitReport, Kind

_KEPT = (
    "identifier", "smiles", "inchikey14", "adduct", "ion_mode", "instrument_type", "fragmentation", "collision_energy",
    "collision_energy_kind", "precursor_mz", "mzs", "intensities",
)  # fmt: skip
_BLOCK = 512  # query molecules a block: 512 × 15,000 similarities are 31 MB
_FAR = 1e9  # "distance" between energies of different units
_ONE_UNKNOWN = 1e6  # ... and between a number and an unknown


class NearestMoleculeOptions(Options):
    """Options of nearest-molecule."""

    radius: int = Field(2, ge=0, le=6, description="of the Morgan fingerprint")
    bits: int = Field(2048, ge=64, le=16384, description="of the Morgan fingerprint")
    prefer: Literal["energy", "instrument"] = "energy"
    precursor: Literal["copy", "replace"] = "copy"
    tolerance: float = Field(0.02, gt=0, description="Da around the neighbour's precursor that `replace` moves")


class NearestMolecule:
    """Copies a neighbour's spectrum; see the module for the rule."""

    task = "spectrum-prediction"
    kind: Kind = "neighbour"

    def __init__(self, **options: Any) -> None:
        self.options = parse_options(NearestMoleculeOptions, options, where="model 'nearest-molecule'")
        self._library: pl.DataFrame | None = None

    def fit(self, train: pl.DataFrame, val: pl.DataFrame, context: FitContext) -> FitReport:
        started = time.perf_counter()
        library = conform(train, SPECTRA).select(_KEPT).filter(pl.col("smiles").is_not_null())
        if library.is_empty():
            raise ModelError("no training spectrum has a structure", remedy="check the split and the dataset's SMILES")
        self._set_library(library)
        return FitReport(seconds=time.perf_counter() - started, stopped="the training set is the model")

    def _set_library(self, library: pl.DataFrame) -> None:
        """Orders molecules by (InChIKey-14, SMILES), so that the first of equals is the documented one."""
        molecules = library.select("inchikey14", "smiles").unique().sort("inchikey14", "smiles", nulls_last=True)
        molecules = molecules.unique("smiles", keep="first", maintain_order=True).with_row_index("molecule")
        self._molecules = molecules["smiles"].to_list()
        self._fingerprints = molecule.morgan(self._molecules, self.options.radius, self.options.bits)
        self._library = library.with_columns(_energy_unit()).join(
            molecules.select("smiles", "molecule"), on="smiles", how="left"
        )

    def predict(self, queries: pl.DataFrame) -> pl.DataFrame:
        """PREDICTED_SPECTRA, one row a query, in the order asked."""
        chosen = self.neighbours(queries)
        library = self._fitted().select(
            pl.col("identifier").alias("neighbour"), "mzs", "intensities", pl.col("precursor_mz").alias("neighbour_mz")
        )
        rows = queries.select("identifier", "precursor_mz").join(chosen, on="identifier", how="left")
        rows = rows.join(library, on="neighbour", how="left", maintain_order="left")
        if self.options.precursor == "replace":
            rows = _replace_precursor(rows, self.options.tolerance)
        return conform(rows.select("identifier", "mzs", "intensities"), PREDICTED_SPECTRA)

    def neighbours(self, queries: pl.DataFrame) -> pl.DataFrame:
        """(identifier, neighbour: identifier of the training spectrum, similarity: Tanimoto of the molecules)."""
        library = self._fitted()
        asked = queries.select(
            "identifier", "smiles", "adduct", "ion_mode", "instrument_type", "fragmentation",
            pl.col("collision_energy").cast(pl.Float64), _energy_unit(),
        )  # fmt: skip
        asked = _with_pool(asked, library)
        nearest = self._nearest(asked.select("smiles", "pool", "key").unique(), library)
        asked = asked.join(nearest, on=["smiles", "pool", "key"], how="left", nulls_equal=True)
        return pl.concat([self._spectra_of(asked, library, pool) for pool in ("adduct", "ion_mode", "all")])

    def _nearest(self, pairs: pl.DataFrame, library: pl.DataFrame) -> pl.DataFrame:
        """Best training molecule of every distinct (query SMILES, pool): adds `molecule` and `similarity`."""
        members = {
            (pool, key): _members(library, pool, key, len(self._molecules))
            for pool, key in pairs.select("pool", "key").unique().iter_rows()
        }
        pairs = pairs.sort("smiles", "pool", "key")
        grouped = pairs.group_by("smiles", maintain_order=True).agg("pool", "key")
        queries = grouped["smiles"].to_list()
        pools = list(zip(grouped["pool"].to_list(), grouped["key"].to_list(), strict=True))
        best: list[int] = []
        similarity: list[float] = []
        for start in range(0, len(queries), _BLOCK):
            block = molecule.morgan(queries[start : start + _BLOCK], self.options.radius, self.options.bits)
            values = molecule.tanimoto(block, self._fingerprints)
            for row, (names, keys) in zip(values, pools[start : start + _BLOCK], strict=True):
                for pool in zip(names, keys, strict=True):
                    where = members[pool]
                    within = row[where]
                    first = int(within.argmax())  # the first of equals: molecules are in documented order
                    best.append(int(where[first]))
                    similarity.append(float(within[first]))
        return pairs.with_columns(
            pl.Series("molecule", best, dtype=pl.UInt32), pl.Series("similarity", similarity, dtype=pl.Float64)
        )

    def _spectra_of(self, asked: pl.DataFrame, library: pl.DataFrame, pool: str) -> pl.DataFrame:
        """Step 3 of the rule for the queries of one kind of pool."""
        asked = asked.filter(pl.col("pool") == pool)
        candidates = library.select(
            "molecule", pl.col("identifier").alias("neighbour"), pl.col("instrument_type").alias("n_instrument"),
            pl.col("fragmentation").alias("n_fragmentation"), pl.col("collision_energy").alias("n_energy"),
            pl.col("unit").alias("n_unit"), _key(pool),
        )  # fmt: skip
        pairs = asked.join(candidates, on=["molecule", "key"], how="inner", nulls_equal=True)
        both = pl.col("collision_energy").is_not_null() & pl.col("n_energy").is_not_null()
        neither = pl.col("collision_energy").is_null() & pl.col("n_energy").is_null()
        apart = (pl.col("collision_energy") - pl.col("n_energy").cast(pl.Float64)).abs()
        distance = (
            pl.when(neither).then(0.0).when(~both).then(_ONE_UNKNOWN)
            .when(pl.col("unit") != pl.col("n_unit")).then(_FAR).otherwise(apart)
        )  # fmt: skip
        energy = distance.alias("by_energy")
        instrument = pl.col("instrument_type").eq_missing(pl.col("n_instrument")).not_().alias("by_instrument")
        order = ["by_energy", "by_instrument"] if self.options.prefer == "energy" else ["by_instrument", "by_energy"]
        fragmentation = pl.col("fragmentation").eq_missing(pl.col("n_fragmentation")).not_().alias("by_fragmentation")
        ranked = pairs.with_columns(energy, instrument, fragmentation)
        ranked = ranked.sort("identifier", *order, "by_fragmentation", "neighbour")
        return ranked.unique("identifier", keep="first", maintain_order=True).select(
            "identifier", "neighbour", "similarity"
        )

    def _fitted(self) -> pl.DataFrame:
        if self._library is None:
            raise ModelError("nearest-molecule was not fitted", remedy="call fit, or load a saved one")
        return self._library

    def parameters(self) -> int:
        return 0

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "options.json", self.options.model_dump())
        write_parquet(folder / "library.parquet", self._fitted().select(_KEPT))

    @classmethod
    def load(cls, folder: Path) -> Self:
        model = cls(**json.loads((folder / "options.json").read_text(encoding="utf-8")))
        model._set_library(pl.read_parquet(folder / "library.parquet"))
        return model


def _energy_unit() -> pl.Expr:
    """eV for everything that is in eV by the schema (eV, NCE, ramp, stepped), else the kind itself."""
    kind = pl.col("collision_energy_kind")
    return pl.when(kind.is_in(["resonant-%", "unitless"])).then(kind).otherwise(pl.lit("eV")).alias("unit")


def _key(pool: str) -> pl.Expr:
    return (pl.lit("all") if pool == "all" else pl.col(pool)).alias("key")


def _with_pool(asked: pl.DataFrame, library: pl.DataFrame) -> pl.DataFrame:
    """Adds `pool` (adduct, ion_mode, all) and `key` (its value)."""
    by_adduct = pl.col("adduct").is_in(library["adduct"].drop_nulls().unique().to_list()).fill_null(False)
    by_mode = pl.col("ion_mode").is_in(library["ion_mode"].drop_nulls().unique().to_list()).fill_null(False)
    pool = pl.when(by_adduct).then(pl.lit("adduct")).when(by_mode).then(pl.lit("ion_mode")).otherwise(pl.lit("all"))
    key = pl.when(by_adduct).then(pl.col("adduct")).when(by_mode).then(pl.col("ion_mode")).otherwise(pl.lit("all"))
    return asked.with_columns(pool.alias("pool"), key.alias("key"))


def _members(library: pl.DataFrame, pool: str, key: str, count: int) -> NDArray[np.int64]:
    """Ascending numbers of the molecules that have a spectrum in the pool."""
    if pool == "all":
        return np.arange(count)
    inside = library.filter(pl.col(pool) == key)["molecule"].unique().sort()
    return inside.to_numpy().astype(np.int64)


def _replace_precursor(rows: pl.DataFrame, tolerance: float) -> pl.DataFrame:
    """Moves what lies within `tolerance` of the neighbour's precursor to the query's precursor m/z."""
    flat = rows.with_row_index("row").explode("mzs", "intensities")
    at_precursor = (pl.col("mzs") - pl.col("neighbour_mz")).abs() <= tolerance
    flat = flat.with_columns(pl.when(at_precursor).then("precursor_mz").otherwise("mzs").alias("mzs"))
    flat = flat.group_by("row", "identifier", "mzs").agg(pl.col("intensities").sum()).sort("row", "mzs")
    return flat.group_by("row", "identifier", maintain_order=True).agg("mzs", "intensities")
