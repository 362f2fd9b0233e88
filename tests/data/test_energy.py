"""Collision energies: every spelling of MassBank and the other libraries, and what each means on its instrument."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mslitmus.spectra.energy import energy_report, parse_energy, with_energies
from mslitmus.spectra.instruments import classify

SPELLINGS = [
    ("40", "single", (40,), None),
    ("30 % (nominal)", "single", (30,), "%"),
    ("30% (nominal)", "single", (30,), "%"),
    ("35  (nominal)", "single", (35,), None),
    ("20 ev", "single", (20,), "eV"),
    ("35eV", "single", (35,), "eV"),
    ("10.0V", "single", (10,), "V"),
    ("30.0 NCE", "single", (30,), "NCE"),
    ("NCE 35", "single", (35,), "NCE"),
    ("35 (NCE)", "single", (35,), "NCE"),
    ("Ramp 5-60 V", "ramp", (5, 60), "V"),
    ("Ramp 20%-70% (nominal)", "ramp", (20, 70), "%"),
    ("RAMP 10-30 eV", "ramp", (10, 30), "eV"),
    ("Ramp 22,9-34.3 eV", "ramp", (22.9, 34.3), "eV"),
    ("Ramp 17.2-25.8 eV 30 eV", "ramp", (17.2, 25.8), "eV"),
    ("30 V (ramped)", "ramp", (30,), "V"),
    ("30-50", "ramp", (30, 50), None),
    ("25,60,100% (stepped)", "stepped", (25, 60, 100), "%"),
    ("25,60,100 (stepped)", "stepped", (25, 60, 100), None),
    ("42% (nominal) with stepped collision energies 30% and 55%", "stepped", (30, 55), "%"),
    ("HCD (NCE 20-30-40%)", "stepped", (20, 30, 40), "NCE"),
    ("[20.0, 45.0, 60.0]", "stepped", (20, 45, 60), None),
    ("35 eV FT-MS II", "single", (35,), "eV"),
    ("35 eV IT-MS", "single", (35,), "eV"),
    ("CE45", "single", (45,), None),
    ("120 HCD", "single", (120,), None),
    ("HCD 35%", "single", (35,), "%"),
    ("NCE=35% 40eV", "single", (40,), "eV"),
    ("80 % by Ar 50 %", "single", (80,), "%"),
    ("30.58772", "single", (30.58772,), None),
    ("0", "single", (0,), None),
]
UNREAD = ["3 kV", "5 keV", "scaled by m/z", "160-0.41mz or 15 (mz>350) nominal units", "ceV", "SORI CID", "low",
          "15, 30, 45, 60, 70 or 90 (nominal)", "scaled 80 (m/z=200) to 110 (m/z=120)", "10 psi of argon"]  # fmt: skip


@pytest.mark.parametrize(("text", "form", "values", "unit"), SPELLINGS)
def test_spelling_is_read(text: str, form: str, values: tuple[float, ...], unit: str | None) -> None:
    reading = parse_energy(text)
    assert (reading.form, reading.values, reading.unit) == (form, values, unit)


@pytest.mark.parametrize("text", UNREAD)
def test_what_is_no_energy_has_a_reason(text: str) -> None:
    reading = parse_energy(text)
    assert reading.form == "none"
    assert reading.why
    assert not reading.values


# raw, instrument type, model, fragmentation, charge, m/z → kind, origin, eV (or number), part of the rule's name
MEANINGS = [
    ("20 eV", "LC-ESI-QTOF", "maXis", "CID", 1, 300, "eV", "stated", 20, "eV stated"),
    ("30 % (nominal)", "LC-ESI-QFT", "Q Exactive Plus", "HCD", 1, 250, "NCE", "inferred", 15, "% on HCD"),
    ("30 % (nominal)", "LC-ESI-QFT", "Q Exactive Plus", None, 1, 250, "NCE", "inferred", 15, "% on HCD"),
    ("30 (nominal)", "LC-ESI-QFT", "Q Exactive", "HCD", 2, 500, "NCE", "inferred", 27, "(nominal) on HCD"),
    ("30 NCE", "LC-ESI-QFT", "Q Exactive", "HCD", -3, 500, "NCE", "stated", 25.5, "NCE stated"),
    ("35 % (nominal)", "LC-ESI-ITFT", "LTQ Orbitrap XL", "CID", 1, 250, "resonant-%", "inferred", 35, "ion-trap CID"),
    ("35 % (nominal)", "LC-ESI-ITFT", "LTQ Orbitrap XL", None, 1, 250, "unitless", "unknown", 35, "of what"),
    ("120 %", "LC-ESI-ITTOF", "LCMS-IT-TOF", None, 1, 250, "resonant-%", "inferred", 120, "ion-trap CID"),
    ("120 HCD", "APCI-ITFT", "LTQ-Orbitrap", None, 1, 250, "NCE", "inferred", 60, "LTQ Orbitrap HCD"),
    ("35 eV FT-MS", "LC-ESI-ITFT", "Orbitrap Classic", "CID", 1, 250, "resonant-%", "inferred", 35, "knows only %"),
    ("35eV", "LC-ESI-ITFT", "LTQ Orbitrap XL", None, 1, 250, "unitless", "unknown", 35, "mode not said"),
    ("40", "LC-ESI-QTOF", "TripleTOF 5600 SCIEX", "CID", 1, 250, "eV", "inferred", 40, "knows only V"),
    ("40", "LC-ESI-QTOF", "TripleTOF 5600 SCIEX", "CID", 2, 250, "eV", "inferred", 80, "knows only V"),
    ("40", "ESI-QTOF", "N/A", None, 1, 250, "unitless", "unknown", 40, "nothing settles"),
    ("40", "LC-ESI-QFT", "Q Exactive Plus", "HCD", 1, 250, "unitless", "unknown", 40, "nothing settles"),
    ("12", "LC-ESI-QTOF", "ZenoTOF 7600", "EAD", 1, 250, "unitless", "unknown", 12, "nothing settles"),
    ("12", "LC-ESI-QTOF", "ZenoTOF 7600", None, 1, 250, "unitless", "unknown", 12, "nothing settles"),
    ("12", "LC-ESI-QTOF", "ZenoTOF 7600", "CID", 1, 250, "eV", "inferred", 12, "knows only V"),
    ("30 V", "LC-ESI-QQ", "Xevo TQ", "CID", 1, 250, "eV", "inferred", 30, "V on a collision cell"),
    ("30 V", "LC-ESI-QQ", "Xevo TQ", "CID", None, 250, "eV", "inferred", None, "V on a collision cell"),
    ("30 V", "LC-ESI-Q", "Fisons VG Platform", "CID", 1, 250, "unitless", "unknown", 30, "not known to have"),
    ("Ramp 5-60 V", "LC-ESI-QTOF", "Q-Tof Premier, Waters", "CID", 1, 250, "ramp", "inferred", 32.5, "V on"),
    ("25,60,100 (stepped)", "LC-ESI-FT", "Q Exactive Focus", "HCD", 1, 250, "stepped", "unknown", None, "nothing"),
    ("20,40% (stepped)", "LC-ESI-FT", "Q Exactive Focus", "HCD", 1, 250, "stepped", "inferred", 15, "% on HCD"),
    ("3 kV", "FAB-EBEB", "JMS-HX", None, 1, 250, None, "unknown", None, "acceleration"),
]


@pytest.mark.parametrize("case", MEANINGS, ids=lambda c: f"{c[0]}|{c[2]}|{c[3]}|{c[4]}")
def test_meaning_on_the_instrument(case: tuple[object, ...]) -> None:
    raw, kind_code, model, mode, charge, mz, kind, origin, energy, rule = case
    frame = pl.DataFrame(
        {"collision_energy_raw": [raw], "instrument_type": [kind_code], "instrument": [model], "fragmentation": [mode],
         "charge": [charge], "precursor_mz": [float(mz)]},  # type: ignore[arg-type]
        schema_overrides={"charge": pl.Int8, "fragmentation": pl.String},
    )  # fmt: skip
    row = with_energies(frame).row(0, named=True)
    assert (row["collision_energy_kind"], row["collision_energy_origin"]) == (kind, origin)
    assert str(rule) in row["collision_energy_rule"]
    assert row["collision_energy"] == (None if energy is None else pytest.approx(energy))


def test_steps_are_in_ev_and_the_energy_is_their_mean() -> None:
    frame = pl.DataFrame(
        {"collision_energy_raw": ["20,40% (stepped)", "30-50"], "instrument_type": ["Orbitrap", "QTOF"],
         "instrument": ["Q Exactive", None], "fragmentation": ["HCD", "CID"], "charge": [1, 1],
         "precursor_mz": [250.0, 250.0]}
    )  # fmt: skip
    out = with_energies(frame)
    assert out["collision_energy_steps"].to_list() == [[10.0, 20.0], [30.0, 50.0]]
    assert out["collision_energy"].to_list() == [15.0, None]  # the second has no unit: as written, not comparable


def test_a_documented_unit_counts_as_stated() -> None:
    frame = pl.DataFrame({"collision_energy_raw": ["30.0", "20 V"], "instrument_type": ["Orbitrap", "QTOF"]})
    out = with_energies(frame.with_columns(collision_energy_unit=pl.lit("eV")))
    assert out["collision_energy_kind"].to_list() == ["eV", "eV"]
    assert out["collision_energy_origin"].to_list() == ["stated", "inferred"]


def test_an_energy_that_waited_for_the_precursor_is_computed_later() -> None:
    frame = pl.DataFrame(
        {"collision_energy_raw": ["30 NCE"], "instrument_type": ["Orbitrap"], "fragmentation": ["HCD"],
         "charge": [1], "precursor_mz": [None]},
        schema_overrides={"precursor_mz": pl.Float64},
    )  # fmt: skip
    first = with_energies(frame)
    assert first["collision_energy"].to_list() == [None]
    assert first["collision_energy_kind"].to_list() == ["NCE"]
    assert with_energies(first.with_columns(precursor_mz=pl.lit(500.0)))["collision_energy"].to_list() == [30.0]


def test_report_counts_every_row_once() -> None:
    frame = pl.DataFrame({"collision_energy_raw": ["20 eV", "20 eV", None, "7"], "instrument_type": ["QTOF"] * 4})
    report = energy_report(frame)
    assert report["spectra"].sum() == 4
    assert report["share"].sum() == pytest.approx(1)
    assert report.row(0)[:2] == ("eV", "stated")
    assert "no collision energy stated" in report["rule"].to_list()


@pytest.mark.parametrize(
    ("code", "model", "resolution", "expected"),
    [
        ("LC-ESI-QFT", None, None, "Orbitrap"),
        ("LC-ESI-ITFT", "LTQ Orbitrap XL Thermo Scientific", "15000", "Orbitrap"),
        ("LC-ESI-ITFT", "Orbitrap Classic, Thermo Scientific", "nominal", "IonTrap"),
        ("ESI-ITFT", "Bruker Apex QE 12T FT-ICR", None, "FTICR"),
        ("LC-ESI-QTOF", "Q-Exactive HF, Thermo Scientific [MS:1002523]", None, "Orbitrap"),
        ("LC-ESI-QTOF", "6599 QTOF Agilent", None, "QTOF"),
        ("ESI-TOF", "micrOTOF-Q", None, "QTOF"),
        ("LC-ESI-TOF", "LCT Micromass", None, "other"),
        ("LC-ESI-ITTOF", "Shimadzu LC20A-IT-TOFMS", None, "other"),
        ("LC-ESI-QQ", "Quattro Premier", None, "QqQ"),
        ("GC-EI-TOF", None, None, "other"),
        ("LC-ESI-IT", None, None, "IonTrap"),
        ("qTof", None, None, "QTOF"),
        ("Orbitrap", None, None, "Orbitrap"),
        ("Q-TOF", None, None, "QTOF"),
        ("Ion Trap", None, None, "IonTrap"),
        ("Linear Ion Trap", None, None, "IonTrap"),
        ("QqQ/triple quadrupole", None, None, "QqQ"),
        (None, "Orbitrap Fusion Lumos", None, "Orbitrap"),
        ("N/A", "N/A", None, None),
        (None, None, None, None),
    ],
)
def test_instrument_types(code: str | None, model: str | None, resolution: str | None, expected: str | None) -> None:
    assert classify(code, model, resolution).type == expected


WORDS = ["0", "35", "7.5", "1e9", ",", "-", ".", "%", "eV", "V", "kV", "NCE", "HCD", "ramp", "stepped", "(", "[", "or"]
PIECES = st.lists(st.sampled_from(WORDS))


@given(st.one_of(st.text(max_size=60), PIECES.map(" ".join), PIECES.map("".join)))
def test_no_text_breaks_the_reading(text: str) -> None:
    reading = parse_energy(text)
    assert (reading.form == "none") == (not reading.values)
    assert all(0 <= value <= 10_000 for value in reading.values)
    frame = pl.DataFrame({"collision_energy_raw": [text], "instrument_type": [text], "instrument": [text]})
    assert with_energies(frame).height == 1
