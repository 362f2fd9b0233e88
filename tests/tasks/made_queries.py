"""Queries of the three tasks over a few molecules, for the tests of what comes in and goes out."""

from __future__ import annotations

from types import SimpleNamespace

import polars as pl

from mslitmus.chem.molecule import identify
from mslitmus.schemas import PREDICTED_FINGERPRINTS, PREDICTED_SCORES, PREDICTED_SPECTRA

POOL = ("CCO", "CCCO", "CC(C)O", "c1ccccc1O", "CC(=O)Nc1ccc(O)cc1")
MEASURED = ("identifier", "mzs", "intensities", "precursor_mz", "adduct", "charge", "ion_mode", "instrument_type",
            "fragmentation", "collision_energy", "collision_energy_kind")  # fmt: skip
ASKED = ("identifier", "smiles", "inchikey14", "formula", "adduct", "charge", "ion_mode", "precursor_mz",
         "instrument_type", "fragmentation", "collision_energy", "collision_energy_kind")  # fmt: skip


def task(name: str) -> SimpleNamespace:
    """What intake and template need of a task object."""
    shown = {
        "spectrum-prediction": (ASKED, PREDICTED_SPECTRA),
        "fingerprint": (MEASURED, PREDICTED_FINGERPRINTS),
        "retrieval": ((*MEASURED, "candidates", "candidate_smiles"), PREDICTED_SCORES),
    }
    visible, schema = shown[name]
    return SimpleNamespace(
        name=name, visible=visible, predictions=schema, record=lambda: {"name": name, "candidates": "h"}
    )


def keys() -> list[str]:
    return [identify(smiles).inchikey14 for smiles in POOL]


def frame(count: int = 3) -> pl.DataFrame:
    """Rows with truth and pool; query `Q1` is of the first molecule of POOL, and so on."""
    rows = []
    for number in range(count):
        who = identify(POOL[number])
        rows.append(
            {
                "identifier": f"Q{number + 1}", "mzs": [50.0 + number, 60.5], "intensities": [1.0, 0.25],
                "precursor_mz": who.exact_mass + 1.00728, "adduct": "[M+H]+", "charge": 1, "ion_mode": "positive",
                "instrument_type": "Orbitrap", "fragmentation": "HCD", "collision_energy": 10.0 + 15 * number,
                "collision_energy_kind": "eV", "smiles": who.smiles, "inchikey14": who.inchikey14,
                "formula": who.formula, "name": f"secret-name-{number}", "candidates": keys(),
                "candidate_smiles": list(POOL),
            }
        )  # fmt: skip
    return pl.DataFrame(rows).with_columns(pl.col("charge").cast(pl.Int8))


def queries(name: str, count: int = 3) -> pl.DataFrame:
    return frame(count).select(task(name).visible)
