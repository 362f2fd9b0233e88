"""Curation: each rule drops, changes or marks exactly what it says, and the ledger counts it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from mslitmus.chem.formula import parse_adduct, parse_formula
from mslitmus.chem.molecule import identify
from mslitmus.data import identities as identities_module
from mslitmus.data.curate import DEFAULT_RULES, LIBRARY_RULES, OPTIONAL, RULES, curate
from mslitmus.data.identities import identities
from mslitmus.errors import ConfigError, DataError, SchemaError
from mslitmus.schemas import SPECTRA
from mslitmus.spectra.metadata import harmonise

CAFFEINE, ASPIRIN, CHOLINE = "CN1C=NC2=C1C(=O)N(C)C(=O)N2C", "CC(=O)Oc1ccccc1C(O)=O", "C[N+](C)(C)CCO"


def mz(smiles: str, adduct: str) -> float:
    return parse_adduct(adduct).mz(parse_formula(identify(smiles).formula).mass)


def record(
    name: str = "r", smiles: str | None = CAFFEINE, adduct: str | None = "[M+H]+", **more: Any
) -> dict[str, Any]:
    precursor = mz(smiles, adduct) if smiles and adduct else 300.1
    base = {
        "identifier": name, "smiles": smiles, "adduct": adduct, "ion_mode": None, "ms_level": "MS2",
        "precursor_mz": precursor, "mzs": [60.0442, 110.0713, 138.0662], "intensities": [5.0, 20.0, 100.0],
        "instrument_type": "LC-ESI-QTOF", "instrument": None, "inchikey": None, "formula": None, "ionization": None,
        "fragmentation": None, "collision_energy_raw": None, "charge": None,
    }  # fmt: skip
    return base | more


def run(*records: dict[str, Any], rules: tuple[str, ...] | None = None) -> tuple[pl.DataFrame, Any]:
    frame = pl.DataFrame(list(records), infer_schema_length=None, strict=False)
    frame = frame.with_columns(pl.col(pl.Null).cast(pl.String))
    return curate(harmonise(frame), rules)


def test_clean_record_passes_and_every_rule_is_in_the_ledger() -> None:
    frame, ledger = run(record())
    assert dict(frame.schema) == dict(SPECTRA)
    assert [entry.rule for entry in ledger] == [name for name in RULES if name in DEFAULT_RULES]
    assert all(entry.note for entry in ledger)
    row = frame.row(0, named=True)
    assert row["inchikey14"] == "RYYVLZVUVIJVGH"
    assert (row["formula"], row["precursor_formula"]) == ("C8H10N4O2", "C8H11N4O2")
    assert row["parent_mass"] == pytest.approx(194.08038, abs=1e-4)
    assert row["fragmentation"] == "CID"
    assert row["flags"] == []


def test_rows_add_up() -> None:
    _, ledger = run(record("a"), record("b", ms_level="MS"), record("c") | {"smiles": "C1CC"})
    for before, after in zip(ledger, list(ledger)[1:], strict=False):
        assert before.rows_out == after.rows_in
    assert ledger.rows_in == 3
    assert ledger.rows_out == 1


DROPS: list[tuple[str, dict[str, Any]]] = [
    ("require_ms2", {"ms_level": "MS"}),
    ("require_ms2", {"ms_level": "MSn"}),
    ("require_ms2", {"ms_level": None, "ionization": "EI"}),
    ("require_finite_peaks", {"intensities": [5.0, float("nan"), 100.0]}),
    ("require_finite_peaks", {"intensities": [5.0, -1.0, 100.0]}),
    ("require_finite_peaks", {"mzs": [60.0, float("inf"), 100.0]}),
    ("require_structure", {"smiles": None}),
    ("require_structure", {"smiles": " "}),
    ("require_readable_structure", {"smiles": "C1CC"}),
    ("require_readable_structure", {"smiles": "*CC*"}),
    ("require_precursor_mz", {"precursor_mz": None, "adduct": None}),
    ("require_adduct_fits_ion_mode", {"ion_mode": "NEGATIVE"}),
    ("require_precursor_agrees", {"precursor_mz": 195.2}),
    ("require_fragment", {"mzs": [195.0877, 196.0, 196.5]}),
    ("require_fragment", {"mzs": [300.0, 301.0, 302.0]}),
]


@pytest.mark.parametrize(("rule", "fault"), DROPS, ids=lambda v: v if isinstance(v, str) else "/".join(v))
def test_a_fault_is_dropped_by_its_rule_with_a_reason(rule: str, fault: dict[str, Any]) -> None:
    frame, ledger = run(record("good"), record("bad") | fault, rules=LIBRARY_RULES)
    assert frame["identifier"].to_list() == ["good"]
    assert {entry.rule: entry.dropped for entry in ledger if entry.dropped} == {rule: 1}
    assert ledger[rule].examples[0].startswith("bad: ")


def test_unknown_molecules_stay_unless_a_library_is_asked_for() -> None:
    unknown = record("u", smiles=None, adduct=None)
    assert run(unknown)[0].height == 1
    with pytest.raises(DataError, match="require_structure leaves none of 1"):
        run(unknown, rules=LIBRARY_RULES)


def test_stated_inchikey_that_differs_is_replaced_and_flagged() -> None:
    wrong = identify(ASPIRIN).inchikey14 + "-UHFFFAOYSA-N"
    right = identify(CAFFEINE).inchikey14 + "-UHFFFAOYSA-N"
    frame, ledger = run(record("a", inchikey=right), record("b", inchikey=wrong, mzs=[60.0442, 110.0713, 139.0]))
    assert frame["inchikey14"].n_unique() == 1
    assert ledger["repair_inchikey14"].changed == 1
    assert frame["flags"].to_list() == [[], ["inchikey-mismatch"]]


@pytest.mark.parametrize(("stated", "changed"), [("C8H10N4O2", 0), ("[C8H10N4O2]+", 0), ("C8H10N4O3", 1), (None, 1)])
def test_formula_is_computed(stated: str | None, changed: int) -> None:
    frame, ledger = run(record(formula=stated))
    assert frame["formula"].to_list() == ["C8H10N4O2"]
    assert ledger["repair_formula"].changed == changed


def test_precursor_of_a_salt_is_not_derived_from_all_its_parts() -> None:
    """Which part flew is not said: the sodium of the SMILES would shift the precursor by 22 Da."""
    frame, ledger = run(record("good"), record("salt", smiles="CC(=O)[O-].[Na+]", precursor_mz=None))
    assert frame["identifier"].to_list() == ["good"]
    assert ledger["derive_precursor_mz"].changed == 0
    assert ledger["require_precursor_mz"].dropped == 1


def test_a_labelled_structure_gets_no_precursor_formula() -> None:
    frame, _ = run(record(smiles="[2H]C([2H])([2H])N1C=NC2=C1C(=O)N(C)C(=O)N2C", precursor_mz=198.10648))
    assert frame["precursor_formula"].to_list() == [None]


def test_precursor_is_derived_from_the_adduct_and_the_energy_that_waited_for_it() -> None:
    waiting = record(precursor_mz=None, instrument_type="LC-ESI-QFT", collision_energy_raw="30 NCE")
    frame, ledger = run(waiting)
    assert frame["precursor_mz"][0] == pytest.approx(195.08765, abs=1e-4)
    assert ledger["derive_precursor_mz"].changed == 1
    assert ledger["derive_collision_energy"].changed == 1
    assert frame["collision_energy"][0] == pytest.approx(30 * 195.08765 / 500, rel=1e-5)
    assert frame["fragmentation"].to_list() == ["HCD"]


def test_adduct_is_inferred_only_where_one_fits() -> None:
    sodium = record("na", adduct=None, precursor_mz=mz(CAFFEINE, "[M+Na]+"), ion_mode="positive")
    odd = record("odd", adduct=None, precursor_mz=250.0, mzs=[60.0442, 110.0713, 138.0662])
    frame, ledger = run(sodium, odd)
    assert frame["adduct"].to_list() == ["[M+Na]+", None]
    assert frame["charge"].to_list() == [1, None]
    assert frame["flags"].to_list()[0] == ["adduct-inferred"]
    assert ledger["derive_adduct"].changed == 1


@pytest.mark.parametrize(("offset", "kept"), [(0.0099, True), (0.0101, False)])
def test_ten_millidalton_below_a_thousand(offset: float, kept: bool) -> None:
    frame, _ = run(record("anchor"), record("r", precursor_mz=mz(CAFFEINE, "[M+H]+") + offset))
    assert ("r" in frame["identifier"].to_list()) is kept


def test_unit_resolution_is_marked_and_gets_half_a_dalton() -> None:
    triple = record("qqq", precursor_mz=195.3, instrument_type="LC-ESI-QQQ", mzs=[60.1, 110.2, 138.0])
    rounded = record("tof", mzs=[60.0, 110.1, 138.1])
    frame, ledger = run(triple, rounded, record("fine"))
    assert frame["flags"].to_list() == [["unit-resolution"], ["unit-resolution"], []]
    assert ledger["mark_unit_resolution"].marked == 2


def test_permanent_cation_weighs_as_its_ion() -> None:
    frame, _ = run(record(smiles=CHOLINE, adduct="[M]+", mzs=[45.03, 58.0651, 60.0808]))
    assert frame["precursor_formula"].to_list() == ["C5H14NO"]
    assert frame["precursor_mz"][0] == pytest.approx(104.10699, abs=1e-4)


@pytest.mark.parametrize(
    ("adduct", "mzs", "left"),
    [
        ("[M+H]+", [138.0662, 195.0877, 198.09, 200.5, 400.0], [138.0662, 195.0877, 198.09]),
        ("[M+2H]2+", [60.05, 98.0475, 138.0662, 150.1, 400.0], [60.05, 98.0475, 138.0662, 150.1]),
        ("[2M+H]+", [195.0877, 389.1681, 393.0, 500.0], [195.0877, 389.1681, 393.0]),
    ],
)
def test_peaks_above_the_ion_are_removed(adduct: str, mzs: list[float], left: list[float]) -> None:
    intensities = [10.0, *[5.0] * (len(mzs) - 2), 100.0]  # the highest is one that goes
    frame, ledger = run(record(adduct=adduct, mzs=mzs, intensities=intensities))
    assert frame["mzs"].to_list()[0] == left
    assert max(frame["intensities"].to_list()[0]) == 1.0
    assert frame["base_peak_intensity"][0] == pytest.approx(10.0)
    assert ledger["repair_peaks"].changed == 1


def test_zero_peaks_are_removed_and_unknown_charge_keeps_the_rest() -> None:
    frame, _ = run(record(smiles=None, adduct=None, mzs=[50.0, 60.0, 500.0], intensities=[1.0, 0.0, 2.0]))
    assert frame["mzs"].to_list() == [[50.0, 500.0]]


def test_duplicates_and_conflicting_labels() -> None:
    isomer = "CN1C=NC2=C1N(C)C(=O)N(C)C2=O"  # isocaffeine
    rows = (record("a"), record("b"), record("c", smiles=isomer), record("d", intensities=[6.0, 20.0, 100.0]))
    frame, ledger = run(*rows)
    flags = dict(zip(frame["identifier"], frame["flags"].to_list(), strict=True))
    assert flags == {
        "a": ["conflicting-label"],
        "b": ["conflicting-label", "duplicate"],
        "c": ["conflicting-label"],
        "d": [],
    }
    assert ledger["mark_conflicting_labels"].marked == 3
    assert ledger["mark_duplicates"].marked == 1
    assert run(*rows, rules=(*DEFAULT_RULES, "drop_duplicates"))[0].height == 3
    assert run(*rows, rules=(*DEFAULT_RULES, "drop_conflicting_labels"))[0]["identifier"].to_list() == ["d"]


def test_two_peaks_are_too_few_to_call_a_duplicate() -> None:
    few = {"mzs": [110.0713, 138.0662], "intensities": [1.0, 2.0]}
    frame, _ = run(record("a", **few), record("b", **few))
    assert frame["flags"].to_list() == [[], []]


def test_identifiers_become_unique() -> None:
    frame, ledger = run(record("a"), record("a"), record("a#2"), record(None))  # type: ignore[arg-type]
    assert frame["identifier"].n_unique() == 4
    assert frame["identifier"].to_list()[0] == "a"
    assert ledger["repair_identifiers"].changed >= 2


def test_level_is_derived_where_nothing_speaks_against_it() -> None:
    frame, ledger = run(record(ms_level=None))
    assert frame["ms_level"].to_list() == [2]
    assert ledger["derive_ms_level"].changed == 1


def test_rules_are_named_and_ordered_as_registered() -> None:
    with pytest.raises(ConfigError, match="did you mean 'require_ms2'"):
        run(record(), rules=("require_ms3",))
    assert set(OPTIONAL) < set(RULES)
    verbs = {name.split("_")[0] for name in RULES}
    assert verbs == {"require", "derive", "repair", "drop", "mark"}


def test_curating_twice_changes_nothing() -> None:
    first, _ = run(record("a"), record("b", smiles=ASPIRIN, adduct="[M-H]-", mzs=[93.0346, 137.0244, 150.0]))
    second, ledger = curate(first)
    assert second.to_dicts() == first.to_dicts()
    assert not any(entry.dropped for entry in ledger)


def test_identities_in_workers_equal_those_computed_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    smiles = ["C" * n + "O" for n in range(1, 12)] + ["C1CC", "*C"]
    here = identities(smiles)
    monkeypatch.setattr(identities_module, "_POOL_FROM", 2)
    there = identities(smiles, cache=tmp_path, workers=2)
    assert there.to_dicts() == here.to_dicts()
    assert here.filter(pl.col("problem").is_not_null()).height == 2

    def fail(*_: object) -> pl.DataFrame:
        raise AssertionError("the cache was not used")

    monkeypatch.setattr(identities_module, "compute", fail)
    monkeypatch.setattr(identities_module, "_in_workers", fail)
    assert identities(smiles, cache=tmp_path).to_dicts() == here.to_dicts()


@pytest.mark.real
def test_real_records_keep_their_count(real_data: Callable[[str], Path]) -> None:
    from mslitmus.spectra import formats

    result = formats.read(real_data("readers/massbank_five_spectra.msp"))
    frame, ledger = curate(result.frame)
    assert ledger.rows_in == 5
    assert frame.height == ledger.rows_out


@pytest.mark.parametrize(
    ("column", "message"),
    [(pl.lit("x").alias("precursor_mz"), "does not cast"), (pl.lit([50.0]).alias("mzs"), "unequally many")],
)
def test_a_frame_that_breaks_the_contract_is_refused_by_name(column: pl.Expr, message: str) -> None:
    broken = harmonise(pl.DataFrame([record()])).with_columns(column)
    with pytest.raises(SchemaError, match=message) as caught:
        curate(broken)
    assert caught.value.remedy
