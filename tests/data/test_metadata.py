"""Harmonising: raw texts become canonical terms, peaks sorted and scaled, and doing it twice changes nothing."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mslitmus.errors import FormatError
from mslitmus.spectra.metadata import harmonise


def raw(**columns: list[object]) -> pl.DataFrame:
    n = len(next(iter(columns.values())))
    base: dict[str, list[object]] = {
        "identifier": [f"s{i}" for i in range(n)],
        "mzs": [[100.0, 50.0]] * n,
        "intensities": [[10.0, 40.0]] * n,
        "precursor_mz": [150.0] * n,
    }
    return pl.DataFrame(base | columns, strict=False)


def one(**columns: object) -> dict[str, object]:
    return harmonise(raw(**{name: [value] for name, value in columns.items()})).row(0, named=True)


def test_peaks_are_sorted_and_scaled_and_the_base_peak_kept() -> None:
    row = one(adduct="[M+H]+")
    assert row["mzs"] == [50.0, 100.0]
    assert row["intensities"] == [1.0, 0.25]
    assert row["base_peak_intensity"] == 40.0


def test_adduct_gives_charge_and_mode() -> None:
    row = one(adduct="M+CH3COOH-H", ion_mode=None)
    assert (row["adduct"], row["charge"], row["ion_mode"]) == ("[M+C2H3O2]-", -1, "negative")


def test_unread_adduct_becomes_null_and_is_flagged() -> None:
    row = one(adduct="[M-3]+,[M-H2O+H]+", ion_mode="POSITIVE")
    assert row["adduct"] is None
    assert row["flags"] == ["adduct-not-read"]
    assert one(adduct="N/A")["flags"] == []


@pytest.mark.parametrize(
    ("text", "mode", "charge"),
    [("1+", None, 1), ("2-", None, -2), ("-1", None, -1), ("1", "negative", -1), ("0", None, None), ("x", None, None)],
)
def test_charge_spellings(text: str, mode: str | None, charge: int | None) -> None:
    assert one(charge=text, ion_mode=mode)["charge"] == charge


def test_adduct_wins_over_a_contradicting_charge() -> None:
    row = one(adduct="[M+2H]2+", charge="1")
    assert (row["charge"], row["flags"]) == (2, ["charge-conflict"])


@pytest.mark.parametrize(
    ("text", "level"),
    [("MS2", 2), ("2", 2), ("MS/MS", 2), ("MS", 1), ("MS1", 1), ("MSn", 3), ("MS3", 3), ("?", None), (None, None)],
)
def test_levels(text: str | None, level: int | None) -> None:
    assert one(ms_level=text)["ms_level"] == level


@pytest.mark.parametrize(
    ("text", "name"),
    [("LOW-ENERGY CID", "CID"), ("HCD", "HCD"), ("higher-energy collisional dissociation", "HCD"), ("RID", "RID"),
     ("EThcD", "EThcD"), ("collision-induced dissociation", "CID"), ("N/A", None)],
)  # fmt: skip
def test_fragmentation(text: str, name: str | None) -> None:
    assert one(fragmentation=text)["fragmentation"] == name


def test_harmonising_twice_changes_nothing() -> None:
    frame = raw(
        adduct=["[M+H]+", "[M-H]-", None, "[M+H]+", "junk"],
        ion_mode=["P", "NEGATIVE", "positive", "NEGATIVE", None],
        charge=["1", None, "2+", None, "1"],
        instrument_type=["LC-ESI-QFT", "LC-ESI-QTOF", "LC-ESI-ITTOF", None, "Orbitrap"],
        instrument=["Q Exactive", "Q-Exactive HF", "LCMS-IT-TOF", "maXis", "LTQ Orbitrap XL"],
        collision_energy_raw=["30 % (nominal)", "10.0 eV", "120 %", "20", "35 CID"],
        ms_level=["MS2", "MS", "MSn", "2", None],
    )
    once = harmonise(frame)
    twice = harmonise(once)
    assert once.select(sorted(once.columns)).to_dicts() == twice.select(sorted(twice.columns)).to_dicts()


def test_extra_columns_stay_and_null_peaks_become_empty() -> None:
    frame = raw(adduct=["[M+H]+"], inchikey=["ABC"]).with_columns(mzs=None, intensities=None)
    out = harmonise(frame)
    assert out["inchikey"].to_list() == ["ABC"]
    assert out["mzs"].to_list() == [[]]
    assert out["base_peak_intensity"].to_list() == [None]


def test_an_empty_frame_passes() -> None:
    assert harmonise(raw(adduct=["[M+H]+"]).head(0)).height == 0


def test_unequal_lists_are_refused_by_name() -> None:
    frame = raw(adduct=["[M+H]+"]).with_columns(intensities=pl.lit([1.0]))
    with pytest.raises(FormatError, match="s0"):
        harmonise(frame)


WORDS = st.text("[]M0123456789+-HNaKCl. ()*,eVMS/", max_size=30)


@given(WORDS, WORDS, WORDS, WORDS)
def test_no_text_breaks_it(adduct: str, charge: str, level: str, mode: str) -> None:
    row = one(adduct=adduct, charge=charge, ms_level=level, ion_mode=mode, instrument_type=level)
    assert row["charge"] is None or 0 < abs(row["charge"]) < 100  # type: ignore[arg-type]


def test_absurd_charges_are_not_read() -> None:
    assert one(adduct="[M+H]300+")["adduct"] is None
    assert one(adduct="[M" + "+H" * 200 + "]+")["flags"] == ["adduct-not-read"]
    assert one(charge="9" * 5000)["charge"] is None
