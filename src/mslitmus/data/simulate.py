"""Simulated spectra: bond-cut fragments of real molecules with a documented intensity law, laboratories and noise.

For trying the tool, for tests and for audits that need a known truth. Never a claim about real spectra: every row is
flagged `simulated`. The law is in `intensity.py`; docs/simulated-data.md has its equations.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..chem.formula import parse_adduct, parse_formula
from ..chem.molecule import Identity, identify
from ..chem.recombine import recombined
from ..errors import ConfigError
from ..schemas import SPECTRA, conform
from . import store
from .intensity import LAW_VERSION, IonModel, Structure, hashed, ion_model, read_structure, temperature
from .ledger import Ledger, LedgerEntry
from .molecules import MOLECULES

ENERGIES = (10.0, 20.0, 40.0)
FLAG = "simulated"
_NOTE = "bond-cut fragments of real molecules with a known intensity law and noise; not measured"
_MAX_PEAKS = 120


@dataclass(frozen=True)
class Laboratory:
    """How one laboratory measures."""

    source: str
    instrument_type: str
    instrument: str
    fragmentation: str
    efficiency: float  # of turning eV into temperature
    ppm: float  # standard deviation of m/z
    low_mass: float  # Da: nothing is seen below
    half_transmission: float  # Da: m/z whose ions are seen at half strength, 0 = all alike
    noise: float  # sigma of the log-normal intensity noise
    noise_peaks: float  # mean number a spectrum
    detection: float  # limit, relative to the base peak


LABORATORIES = (
    Laboratory(
        "simulated-orbitrap-lab", "Orbitrap", "Simulated Orbitrap", "HCD", 1.0, 1.5, 50.0, 0.0, 0.15, 2.0, 0.002
    ),
    Laboratory("simulated-qtof-lab", "QTOF", "Simulated QTOF", "CID", 0.8, 5.0, 40.0, 60.0, 0.25, 6.0, 0.005),
    # the instrument of the first once more: what it repeats is the ceiling of every metric
    Laboratory(
        "simulated-orbitrap-lab-2", "Orbitrap", "Simulated Orbitrap", "HCD", 0.95, 2.5, 50.0, 0.0, 0.2, 3.0, 0.002
    ),
)


def simulate(
    seed: int = 0,
    molecules: Sequence[tuple[str, str]] | None = None,
    energies: Sequence[float] = ENERGIES,
    *,
    replicate_share: float = 0.5,
    sodium_share: float = 0.35,
) -> pl.DataFrame:
    """Spectra of `molecules` (name, SMILES; default MOLECULES) as a frame in the schema SPECTRA.

    Each molecule is measured as `[M+H]+`, `[M-H]-` and `[M+Na]+` as its structure allows (`adducts_of`), at every
    energy (eV), in one of the first two LABORATORIES or, for `replicate_share` of the molecules, in all three.
    A spectrum depends on the seed, the molecule and its condition only, not on which others are simulated with it.
    Raises ChemistryError where a SMILES does not parse, ConfigError for an energy that is no positive number.
    """
    if bad := [energy for energy in energies if not 0 < energy < np.inf]:
        raise ConfigError(f"energy {bad[0]} eV", where="energies", remedy="give positive numbers, e.g. 10, 20, 40")
    rows: list[dict[str, Any]] = []
    for name, smiles in MOLECULES if molecules is None else molecules:
        identity, structure = identify(smiles), read_structure(smiles)
        for adduct in adducts_of(identity, structure, seed, sodium_share):
            model = ion_model(structure, adduct, f"{seed} {identity.inchikey14}")
            for laboratory in _laboratories(identity, seed, replicate_share):
                rows.extend(_spectrum(name, identity, adduct, model, laboratory, float(e), seed) for e in energies)
    return conform(pl.DataFrame(rows, schema={k: SPECTRA[k] for k in _COLUMNS}))


def opened(name: str) -> store.Dataset:
    """The stored dataset of this name; a simulated one (SIMULATED) is made where it is first asked for."""
    return simulated_dataset(name) if name in SIMULATED else store.load(name)


def simulated_dataset(name: str = "simulated") -> store.Dataset:
    """A simulated set, saved in the store once for every version of the law.

    A set of that name made by another LAW_VERSION is superseded (it stays loadable as `name@n`).
    """
    if name in store.names():
        dataset = store.load(name)
        if dataset.info.get("law_version") == LAW_VERSION:
            return dataset
    title, make = SIMULATED[name]
    frame = make()
    simulated = LedgerEntry("mark_simulated", frame.height, marked=frame.height, note=_NOTE)
    info = {
        "title": title,
        "description": _NOTE,
        "license": "CC0",
        "simulated": True,
        "law_version": LAW_VERSION,
        "seed": 0,
    }
    return store.save(name, frame, Ledger((simulated,)), info)


def simulate_recombined(seed: int = 0, count: int = 8000) -> pl.DataFrame:
    """The well-known molecules and `count` joined from their parts, at 20 eV in one laboratory each, without sodium."""
    new = recombined([smiles for _, smiles in MOLECULES], count, seed)
    molecules = [*MOLECULES, *((f"recombined {number}", smiles) for number, smiles in enumerate(new))]
    frame = simulate(seed, molecules, (20.0,), replicate_share=0.0, sodium_share=0.0)
    return frame.unique("identifier", keep="first", maintain_order=True)  # new ones may be tautomers of others


#: Name → title, and what makes it.
SIMULATED: dict[str, tuple[str, Callable[[], pl.DataFrame]]] = {
    "simulated": ("Simulated spectra of well-known molecules", simulate),
    "simulated-recombined": (
        "Simulated spectra of well-known molecules and of ones joined from their parts",
        simulate_recombined,
    ),
}


def adducts_of(identity: Identity, structure: Structure, seed: int, sodium_share: float) -> list[str]:
    """Ions a molecule gives: protonated at any basic site, deprotonated at an acid or phenol, sodiated if rich in O."""
    if identity.charge:
        return ["[M]+"] if identity.charge == 1 else []
    draw = np.random.default_rng(hashed(f"{seed} adducts {identity.inchikey14}")).random(2)
    chosen = []
    if structure.basicity.max() >= 7.7:
        chosen.append("[M+H]+")
    if structure.acidity.max() >= 8.5 and (draw[0] < 0.6 or not chosen):
        chosen.append("[M-H]-")
    if (structure.sodium >= 8.0).sum() >= 3 and (draw[1] < sodium_share or not chosen):
        chosen.append("[M+Na]+")
    return chosen


def _laboratories(identity: Identity, seed: int, replicate_share: float) -> Sequence[Laboratory]:
    draw = np.random.default_rng(hashed(f"{seed} laboratory {identity.inchikey14}")).random(2)
    return LABORATORIES if draw[0] < replicate_share else LABORATORIES[int(draw[1] < 0.5) :][:1]


_COLUMNS = (
    "identifier", "mzs", "intensities", "base_peak_intensity", "precursor_mz", "charge", "ms_level", "adduct",
    "ion_mode", "instrument_type", "instrument", "fragmentation", "collision_energy", "collision_energy_kind",
    "collision_energy_origin", "collision_energy_raw", "parent_mass", "precursor_formula", "smiles", "inchikey14",
    "formula", "name", "source", "license", "flags",
)  # fmt: skip


def _spectrum(
    name: str, identity: Identity, adduct: str, model: IonModel, laboratory: Laboratory, energy: float, seed: int
) -> dict[str, Any]:
    ion, formula = parse_adduct(adduct), parse_formula(identity.formula)
    precursor = ion.mz(formula.mass)
    condition = f"{identity.inchikey14} {adduct} {laboratory.source} {energy:g}"
    rng = np.random.default_rng(hashed(f"{seed} spectrum {condition}"))
    heat = temperature(energy, precursor, laboratory.efficiency)
    mzs, intensities, base = _measure(model, heat, precursor, laboratory, rng)
    return {
        "identifier": f"SIM-{hashed(f'{seed} {condition}'):016x}",
        "mzs": mzs,
        "intensities": intensities,
        "base_peak_intensity": base,
        "precursor_mz": precursor,
        "charge": ion.charge,
        "ms_level": 2,
        "adduct": ion.name,
        "ion_mode": ion.ion_mode,
        "instrument_type": laboratory.instrument_type,
        "instrument": laboratory.instrument,
        "fragmentation": laboratory.fragmentation,
        "collision_energy": energy,
        "collision_energy_kind": "eV",
        "collision_energy_origin": "stated",
        "collision_energy_raw": f"{energy:g} eV",
        "parent_mass": formula.mass,
        "precursor_formula": str(ion.ion_formula(formula)),
        "smiles": identity.smiles,
        "inchikey14": identity.inchikey14,
        "formula": identity.formula,
        "name": name,
        "source": laboratory.source,
        "license": "CC0",
        "flags": [FLAG],
    }


def _measure(
    model: IonModel, heat: float, precursor: float, laboratory: Laboratory, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float32], float]:
    """Peaks as this laboratory would see them: (ascending m/z, intensities with base peak 1, absolute base peak)."""
    mzs, heights = _merge(model.mzs, model.intensities(heat))
    seen = mzs >= laboratory.low_mass
    mzs, heights = mzs[seen], heights[seen]
    heights = heights * mzs / (mzs + laboratory.half_transmission)
    heights = heights * np.exp(rng.normal(0.0, laboratory.noise, len(mzs)))
    count = rng.poisson(laboratory.noise_peaks)
    floor = laboratory.detection * heights.max()
    mzs = np.concatenate([mzs, rng.uniform(laboratory.low_mass, precursor, count)])
    heights = np.concatenate([heights, floor * np.exp(rng.normal(0.6, 0.5, count))])
    kept = np.flatnonzero(heights >= floor)
    kept = kept[np.argsort(-heights[kept], kind="stable")[:_MAX_PEAKS]]
    mzs = mzs[kept] * (1.0 + rng.normal(0.0, laboratory.ppm * 1e-6, len(kept)))
    order = np.argsort(mzs, kind="stable")
    relative = (heights[kept] / heights[kept].max())[order].astype(np.float32)
    return mzs[order], relative, float(np.exp(rng.normal(14.0, 1.0)))


def _merge(mzs: NDArray[np.float64], heights: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Ions of one formula become one peak; those below 1e-5 of the strongest are left out first."""
    strong = heights >= 1e-5 * heights.max()
    keys, first, inverse = np.unique(np.round(mzs[strong] * 1e4), return_index=True, return_inverse=True)
    merged: NDArray[np.float64] = np.bincount(inverse, heights[strong], len(keys)).astype(np.float64)
    return mzs[strong][first], merged
