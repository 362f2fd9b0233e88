"""ms-pred (Coley group): what ICEBERG, SCARF and the binned models predict.

Read are the JSON trees `tree_preds_inten/pred_<spec>.json` of the first releases: ICEBERG's (`frags` with `mz_charge`
and `intens` of each fragment and hydrogen shift) and SCARF's (`output_tbl` with `mono_mass`, the m/z with the adduct,
and `ms2_inten`); and with h5py installed the HDF5 of later ones, `preds.hdf5` (m/z, intensity) and
`binned_preds.hdf5` (bins; dense, or sparse pairs of bin and intensity; a bin becomes a peak at its centre), groups
`pred_<spec>/ikey <key>/collision <energy>`. Pickles (`binned_preds.p` of ICEBERG, SCARF, NEIMS and other baselines)
are refused: they run code when read.

`<spec>` is the identifier of the query, given as `spec` in the labels. In HDF5 each query gets the collision energy
nearest its own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from ...errors import MissingExtraError, PredictionError
from ..intake_notes import Notes
from .adapter import Adapter, files_below, query_named, refuse_pickle
from .spectra import Peaks, at_energy, merged, table

_FILES = "tree_preds_inten/ (JSON), preds.hdf5 or binned_preds.hdf5"
_PICKLE = (
    "predict without --binned-out (JSON trees), or write the pickle's spectra as MGF or Parquet where you trust it"
)
_ENERGY = re.compile(r"collision\s+([0-9.]+)")


def read(
    path: str | Path, queries: pl.DataFrame, unknown: str = "raise", notes: Notes | None = None, **_: Any
) -> pl.DataFrame:
    """PREDICTED_SPECTRA of the queries predicted. Raises PredictionError for a file of no query or another shape."""
    identifiers = frozenset(queries["identifier"].to_list())
    asked = {row["identifier"]: row for row in queries.drop("mzs", "intensities", strict=False).iter_rows(named=True)}
    levels: dict[str, dict[float, Peaks]] = {}
    for file in files_below(path, ("pred_*.json", "*.hdf5", "*.h5", "*.p"), _FILES):
        refuse_pickle(file, _PICKLE)
        for name, energy, peaks in _hdf5(file) if file.suffix in (".hdf5", ".h5") else [_tree(file)]:
            identifier = query_named(name, identifiers)
            if identifier is None and unknown == "drop":
                if notes is not None:
                    notes.dropped.append(name)
                continue
            if identifier is None:
                remedy = "use the identifiers of the query file as `spec` in the labels"
                raise PredictionError(f"{name!r} is no query", where=str(file), remedy=remedy)
            found = levels.setdefault(identifier, {})
            if energy in found:
                raise PredictionError(f"query {identifier!r} is answered twice", where=str(file), remedy="keep one")
            found[energy] = peaks
    return table((name, at_energy(asked[name], levels[name])) for name in asked if name in levels)


def _tree(file: Path) -> tuple[str, float, Peaks]:
    """(spec, no energy, peaks) of one JSON tree."""
    try:
        tree = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise PredictionError(
            f"not JSON: {error}", where=str(file), remedy="the file may be cut: write it again"
        ) from error
    try:
        name = str(tree.get("name") or tree.get("spec_name") or file.stem)
        if "output_tbl" in tree:
            rows = tree["output_tbl"] or {"mono_mass": [], "ms2_inten": []}
            return name, 0.0, merged([_checked(rows["mono_mass"], rows["ms2_inten"])])
        shifts = [_checked(f["mz_charge"], f["intens"]) for f in tree["frags"].values() if "intens" in f]
        return name, 0.0, merged(shifts)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        remedy = "give the trees with intensities (tree_preds_inten), not the bare fragment trees"
        raise PredictionError(f"no predicted intensities inside ({error})", where=str(file), remedy=remedy) from error


def _checked(mzs: Any, intensities: Any) -> Peaks:
    peaks = Peaks(np.asarray(mzs, np.float64), np.asarray(intensities, np.float64))
    if peaks.mzs.shape != peaks.intensities.shape or peaks.mzs.ndim != 1:
        raise ValueError("m/z and intensities of unequal number")
    if not (np.isfinite(peaks.mzs).all() and np.isfinite(peaks.intensities).all()):
        raise ValueError("an m/z or intensity is not finite")
    kept = peaks.mzs > 0  # a shift below the bare fragment has no ion
    return Peaks(peaks.mzs[kept], np.maximum(peaks.intensities[kept], 0.0))


def _hdf5(file: Path) -> Iterator[tuple[str, float, Peaks]]:
    """(spec, eV, peaks) of each data set `spec`."""
    try:
        h5py = import_module("h5py")
    except ImportError as error:
        raise MissingExtraError("h5py is not installed", where=str(file), remedy="pip install h5py") from error
    try:
        with h5py.File(file, "r") as store:
            binned = "binned" in file.name
            width = float(store.attrs["upper_limit"]) / float(store.attrs["num_bins"])
            found: list[tuple[str, Any]] = []
            store.visititems(lambda name, item: found.append((name, item[()])) if name.endswith("/spec") else None)
    except (OSError, KeyError) as error:
        remedy = "give preds.hdf5 or binned_preds.hdf5 of ms-pred"
        raise PredictionError(f"not HDF5 of ms-pred ({error})", where=str(file), remedy=remedy) from error
    for name, value in found:
        energy = _ENERGY.search(name)
        yield name.split("/")[0], float(energy[1]) if energy else 0.0, merged([_bins(np.asarray(value), binned, width)])


def _bins(value: Any, binned: bool, width: float) -> Peaks:
    if value.ndim == 1:
        value = np.stack([np.arange(len(value)), value], axis=1)
    mzs = (value[:, 0] + 0.5) * width if binned else value[:, 0]
    return _checked(mzs, value[:, 1])


ADAPTER = Adapter("ms-pred (ICEBERG, SCARF; JSON trees and HDF5)", "spectrum-prediction", _FILES, read)
