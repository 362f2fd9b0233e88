"""The simulated data: contract, determinism, and that the law does what its document says."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from mslitmus.chem.formula import parse_adduct, parse_formula
from mslitmus.chem.fragmenter import explain, fragment
from mslitmus.chem.molecule import identify
from mslitmus.data import intensity, store
from mslitmus.data.molecules import GROUPS, MOLECULES
from mslitmus.data.simulate import ENERGIES, LABORATORIES, simulate, simulate_recombined, simulated_dataset
from mslitmus.errors import ChemistryError, ConfigError
from mslitmus.schemas import INSTRUMENT_TYPES, SPECTRA

SOME = [
    pair for pair in MOLECULES if pair[0] in {"Caffeine", "Acetaminophen", "Salicylic acid", "Glucose", "Berberine"}
]
FORMULAE = {
    "Caffeine": "C8H10N4O2", "Glutathione": "C10H17N3O6S", "Adenosine triphosphate": "C10H16N5O13P3",
    "Cholesterol": "C27H46O", "Morphine": "C17H19NO3", "Paclitaxel": "C47H51NO14", "Erythromycin": "C37H67NO13",
    "Atrazine": "C8H14ClN5", "Imidacloprid": "C9H10ClN5O2", "Azoxystrobin": "C22H17N3O5", "Rutin": "C27H30O16",
    "Reserpine": "C33H40N2O9", "Aflatoxin B1": "C17H12O6", "Deoxynivalenol": "C15H20O6", "Strychnine": "C21H22N2O2",
    "PC 16:0/18:1": "C42H82NO8P", "Sphingomyelin d18:1/16:0": "C39H79N2O6P", "Sildenafil": "C22H30N6O4S",
    "Doxycycline": "C22H24N2O8", "Folic acid": "C19H19N7O6", "Riboflavin": "C17H20N4O6", "Artemisinin": "C15H22O5",
    "Perfluorooctanoic acid": "C8HF15O2", "Prostaglandin E2": "C20H32O5", "Thyroxine": "C15H11I4NO4",
}  # fmt: skip


@pytest.fixture(scope="module")
def some() -> pl.DataFrame:
    return simulate(molecules=SOME)


def test_the_molecules_parse_and_differ() -> None:
    identities = [identify(smiles) for _, smiles in MOLECULES]
    assert len(MOLECULES) >= 400
    assert len({i.inchikey14 for i in identities}) == len({name for name, _ in MOLECULES}) == len(MOLECULES)
    assert all(80 <= i.exact_mass <= 900 for i in identities)
    assert all(".@/\\".find(c) < 0 for _, smiles in MOLECULES for c in smiles)  # one part, no stereo
    assert set(GROUPS) == {name for name, _ in MOLECULES}
    assert min(list(GROUPS.values()).count(group) for group in set(GROUPS.values())) >= 5


def test_names_match_structures() -> None:
    listed = dict(MOLECULES)
    assert {name: identify(listed[name]).formula for name in FORMULAE} == FORMULAE


def test_the_frame_keeps_the_contract(some: pl.DataFrame) -> None:
    assert dict(some.schema) == dict(SPECTRA)
    assert some["identifier"].is_unique().all()
    assert some["flags"].to_list() == [["simulated"]] * some.height
    assert set(some["license"]) == {"CC0"}
    assert all(source.startswith("simulated-") for source in some["source"])
    assert set(some["instrument_type"]) <= set(INSTRUMENT_TYPES)
    for row in some.iter_rows(named=True):
        mzs, heights = np.array(row["mzs"]), np.array(row["intensities"])
        assert (np.diff(mzs) >= 0).all()
        assert heights.max() == 1.0
        assert (heights > 0).all()
        ion = parse_adduct(row["adduct"])
        assert row["precursor_mz"] == pytest.approx(ion.mz(parse_formula(row["formula"]).mass))
        assert row["ion_mode"] == ion.ion_mode
        assert mzs.max() < row["precursor_mz"] + 2.1


def test_the_seed_decides_and_the_order_does_not(some: pl.DataFrame) -> None:
    again = simulate(molecules=SOME[::-1]).sort("identifier")
    assert again.equals(some.sort("identifier"))
    assert simulate(molecules=SOME[:1]).equals(some.filter(pl.col("name") == SOME[0][0]))
    other = simulate(seed=1, molecules=SOME)
    assert not set(other["identifier"]) & set(some["identifier"])


def test_ions_follow_the_structure(some: pl.DataFrame) -> None:
    adducts = {name: set(part["adduct"]) for (name,), part in some.group_by("name")}
    assert "[M+H]+" in adducts["Caffeine"]
    assert "[M-H]-" not in adducts["Caffeine"]  # no acidic hydrogen
    assert adducts["Berberine"] == {"[M]+"}
    assert set(some["collision_energy"]) == set(ENERGIES)


def test_replicates_agree_across_laboratories_but_not_fully() -> None:
    all_three = simulate(molecules=SOME, replicate_share=1.0)
    assert set(all_three.group_by("inchikey14", "adduct", "collision_energy").len()["len"]) == {len(LABORATORIES)}
    assert simulate(molecules=SOME, replicate_share=0.0).height * 3 == all_three.height


def test_energy_breaks_the_precursor() -> None:
    frame = simulate(molecules=MOLECULES[::40], replicate_share=0.0).filter(pl.col("adduct") == "[M+H]+")
    left = [
        sum(i for m, i in zip(r["mzs"], r["intensities"], strict=True) if abs(m - r["precursor_mz"]) < 0.02)
        / sum(r["intensities"])
        for r in frame.iter_rows(named=True)
    ]
    shares = frame.with_columns(share=pl.Series(left)).group_by("collision_energy").agg(pl.col("share").mean())
    ordered = shares.sort("collision_energy")["share"].to_list()
    assert ordered[0] > 0.4 > ordered[1] > ordered[2]
    assert ordered[2] < 0.15


def test_peaks_are_the_molecules_own_fragments() -> None:
    """Most intensity is explained by the molecule and little by another one: structure is what the law reads."""
    frame = simulate(molecules=[("Lidocaine", dict(MOLECULES)["Lidocaine"])], energies=(40.0,))
    row = frame.filter(pl.col("adduct") == "[M+H]+").row(0, named=True)
    mzs, heights = np.array(row["mzs"]), np.array(row["intensities"])
    own = explain(mzs, fragment(row["smiles"]), ppm=20)
    other = explain(mzs, fragment(dict(MOLECULES)["Sulfadiazine"]), ppm=20)
    assert heights[own].sum() > 0.95 * heights.sum()
    assert heights[other].sum() < 0.3 * heights.sum()


def test_weaker_bonds_break_first() -> None:
    phenethyl_ether = intensity.read_structure("c1ccccc1CCOC")
    by_bond = dict(zip(map(tuple, phenethyl_ether.ends.tolist()), phenethyl_ether.strength, strict=True))
    assert by_bond[(5, 6)] > by_bond[(7, 8)]  # aryl–C above C–O
    assert by_bond[(0, 1)] == max(by_bond.values())  # aromatic


def test_the_dataset_is_saved_once() -> None:
    first = simulated_dataset()
    saved = first.folder.joinpath("spectra.parquet").stat().st_mtime_ns
    assert first.simulated
    assert first.info["law_version"] == intensity.LAW_VERSION
    assert store.names() == ["simulated"]
    assert simulated_dataset().folder.joinpath("spectra.parquet").stat().st_mtime_ns == saved
    assert [entry.rule for entry in first.ledger] == ["mark_simulated"]


def test_a_new_law_supersedes_the_saved_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mslitmus.data.simulate.simulate", lambda: simulate(molecules=SOME))
    simulated_dataset()
    monkeypatch.setattr("mslitmus.data.simulate.LAW_VERSION", intensity.LAW_VERSION + 1)
    assert simulated_dataset().info["law_version"] == intensity.LAW_VERSION + 1


def test_a_bad_molecule_is_named() -> None:
    with pytest.raises(ChemistryError, match="C1CC"):
        simulate(molecules=[("broken", "C1CC")])


def test_the_fixture_is_small_and_simulated(tiny: pl.DataFrame) -> None:
    assert 50 <= tiny.height <= 150
    assert tiny["inchikey14"].n_unique() == 20
    assert tiny.filter(pl.col("flags").list.contains("simulated")).height == tiny.height


@pytest.mark.parametrize("energy", [0.0, -10.0, float("nan"), float("inf")])
def test_an_energy_that_cannot_be_is_refused(energy: float) -> None:
    with pytest.raises(ConfigError, match="energies"):
        simulate(molecules=SOME, energies=[energy])


def test_recombined_molecules_are_simulated_too():
    frame = simulate_recombined(count=20)
    assert frame["inchikey14"].n_unique() > len(MOLECULES)
    assert set(frame["collision_energy"]) == {20.0}
    assert frame["identifier"].is_unique().all()
