"""The replicate ceiling: how well a second laboratory's spectrum of the same molecule predicts the recorded one.

No model can be expected to predict a spectrum better than a repetition of the experiment does, so this, not 1, is the
bound against which the skill of spectrum prediction is measured.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from ..data.laboratory import laboratory
from ..errors import SchemaError
from ..spectra.flat import flatten
from .names import parse_as
from .spectrum import score_flat
from .spectrum_names import SpectrumMetric

#: Fewer molecules with replicates than this give no bound.
LEAST_MOLECULES = 20
ENERGY_RELATIVE, ENERGY_ABSOLUTE = 0.2, 2.0
_SAME = ("inchikey14", "adduct", "instrument_type", "collision_energy_kind")
_NEEDED = ("identifier", "mzs", "intensities", "precursor_mz", "source", "collision_energy", *_SAME)


@dataclass(frozen=True)
class Ceiling:
    """Bound of one metric: the mean similarity of `n_queries` queries to their replicates, each query weighing the same
    (`spectrum`) or each of their `n_molecules` molecules (`molecule`)."""

    metric: str
    spectrum: float
    molecule: float
    n_queries: int
    n_molecules: int


def replicate_ceiling(
    frame: pl.DataFrame, identifiers: Iterable[str], metrics: Sequence[str], max_replicates: int = 10
) -> dict[str, Ceiling | None]:
    """The ceiling of each metric on the queries `identifiers`.

    A replicate is a spectrum in `frame` (schema SPECTRA) of the same molecule, adduct and instrument type, of the same
    kind of collision energy within 20 % (of the larger) or 2 eV, whichever is more, from another laboratory
    (`data.laboratory` of `source`). Rows flagged `duplicate` and identical peak lists of three or more peaks are
    copies, not replicates. At most `max_replicates` a query (the nearest in energy, then by identifier) are averaged
    per query, queries as both averages of `Ceiling`. A metric maps to None if fewer than 20 molecules have a
    replicate, or if more of it is not better.
    """
    if absent := [c for c in _NEEDED if c not in frame.columns]:
        raise SchemaError(
            f"columns absent: {', '.join(absent)}", where="replicate ceiling", remedy="see docs/schema.md"
        )
    pairs = replicate_pairs(frame, identifiers, max_replicates)
    parsed = {m: parse_as(SpectrumMetric, m) for m in metrics}
    rated = {m: metric for m, metric in parsed.items() if metric.higher_is_better}
    if pairs.get_column("inchikey14").n_unique() < LEAST_MOLECULES or not rated:
        return dict.fromkeys(metrics)
    spectra = frame.select("identifier", "mzs", "intensities", "precursor_mz")
    query, replicate = (
        pairs.select(pl.col(column).alias("identifier")).join(
            spectra, on="identifier", how="left", maintain_order="left"
        )
        for column in ("identifier", "replicate")
    )
    values = score_flat(flatten(replicate), flatten(query), rated, query.get_column("precursor_mz").to_numpy())
    scored = pairs.select("identifier", "inchikey14").with_columns(pl.Series(n, v) for n, v in values.items())
    per_query = scored.group_by("identifier", "inchikey14").mean()
    per_molecule = per_query.group_by("inchikey14").agg(pl.col(*rated).mean())
    spectrum, molecule = (table.select(pl.col(*rated).mean()).row(0, named=True) for table in (per_query, per_molecule))
    sizes = (per_query.height, per_molecule.height)
    return {m: Ceiling(m, float(spectrum[m]), float(molecule[m]), *sizes) if m in rated else None for m in metrics}


def replicate_pairs(frame: pl.DataFrame, identifiers: Iterable[str], max_replicates: int = 10) -> pl.DataFrame:
    """Columns identifier (the query), replicate (an identifier), inchikey14; sorted, none repeated."""
    light = frame.with_row_index("_row").filter(
        pl.all_horizontal(pl.col(c).is_not_null() for c in (*_SAME, "source", "collision_energy")),
        pl.col("mzs").list.len() > 0,
        *([~pl.col("flags").list.contains("duplicate").fill_null(False)] if "flags" in frame.columns else []),
    )
    columns = ("identifier", laboratory(), "collision_energy", "_row", *_SAME)
    light = light.select(*columns)
    queries = light.filter(pl.col("identifier").is_in(list(identifiers)))
    energy, other = pl.col("collision_energy").cast(pl.Float64), pl.col("collision_energy_right").cast(pl.Float64)
    window = pl.max_horizontal(ENERGY_RELATIVE * pl.max_horizontal(energy, other), pl.lit(ENERGY_ABSOLUTE))
    pairs = (
        queries.join(light, on=list(_SAME))
        .filter(pl.col("laboratory") != pl.col("laboratory_right"), (energy - other).abs() <= window + 1e-6)
        .with_columns((energy - other).abs().alias("_gap"))
    )
    pairs = pairs.filter(~pl.Series(_copies(frame, pairs), dtype=pl.Boolean))
    return (
        pairs.sort("identifier", "_gap", "identifier_right")
        .group_by("identifier", maintain_order=True)
        .head(max_replicates)
        .select("identifier", pl.col("identifier_right").alias("replicate"), "inchikey14")
    )


def _copies(frame: pl.DataFrame, pairs: pl.DataFrame) -> list[bool]:
    """True where both spectra of a pair have the same three or more peaks (m/z to 0.0001 Da, intensity to 0.001)."""
    keys: dict[int, bytes] = {}
    rows = pl.concat([pairs.get_column("_row"), pairs.get_column("_row_right")]).unique()
    part = frame.select("mzs", "intensities")[rows]
    for row, mzs, intensities in zip(rows.to_list(), part["mzs"], part["intensities"], strict=True):
        mz, height = mzs.to_numpy(), intensities.to_numpy()
        if mz.size >= 3:
            relative = np.round(height / max(float(height.max()), 1e-30), 3)
            keys[row] = np.round(mz, 4).tobytes() + relative.astype(np.float32).tobytes()
    both = zip(pairs["_row"].to_list(), pairs["_row_right"].to_list(), strict=True)
    return [a in keys and keys[a] == keys.get(b) for a, b in both]
