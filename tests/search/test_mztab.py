"""mzTab-M 2.0.0-M: every mandatory line and column, references that lead somewhere, no empty cell."""

from __future__ import annotations

import io
import re

import polars as pl
import pytest

from mslitmus.schemas import HITS, conform
from mslitmus.search.libraries import Reference
from mslitmus.search.mztab import MzTab
from mslitmus.search.queries import FILE, Intake
from mslitmus.search.searching import Search

QUERIES = conform(
    pl.DataFrame(
        {
            "identifier": ["run:scan=7", "run:scan=9", "b:third"],
            "mzs": [[50.0]] * 3,
            "intensities": [[1.0]] * 3,
            "precursor_mz": [195.08765, 301.5, None],
            "charge": [None, -2, None],
            "retention_time": [61.25, None, None],
        }
    )
).with_columns(
    pl.Series(FILE, ["run.mzML", "run.mzML", "b.mgf"]),
    pl.Series("members", [["run:scan=7", "run:scan=8"], ["run:scan=9"], ["b:third"]]),
)
_HITS = {
    "identifier": ["run:scan=7", "run:scan=7", "b:third"],
    "rank": [1, 2, 1],
    "library": ["my lib"] * 3,
    "library_identifier": ["A|1", "B", "C"],
    "score": [0.9, 0.0000012, 0.5],
    "matched_peaks": [4, 1, 2],
    "explained": [0.5, 0.1, None],
    "explained_library": [0.25, 0.1, None],
    "precursor_difference": [0.0000001, -0.001, None],
    "probability": [0.75, None, None],
    "q_value": [0.01, None, None],
    "name": ["caffeine\twith tab", None, "odd|name"],
    "smiles": ["Cn1cnc2c1c(=O)n(C)c(=O)n2C", None, None],
    "inchikey14": ["RYYVLZVUVIJVGH", None, None],
    "formula": ["C8H10N4O2", "not a formula", None],
    "adduct": ["[M+H]+", "[M+2H]2+", "strange"],
}


@pytest.fixture
def text(tmp_path) -> str:
    intake = Intake(files=["run.mzML", "b.mgf"], ion_modes={"run.mzML": {"positive", "negative"}})
    out = io.BytesIO()
    writer = MzTab(out, Search(), [Reference("my lib", "file", tmp_path / "lib.msp", ())], intake)
    hits = conform(pl.DataFrame(_HITS), HITS)
    writer.write(QUERIES[:1], hits[:2])
    writer.write(QUERIES[1:], hits[2:])
    writer.close()
    return out.getvalue().decode()


def tables(text: str) -> dict[str, list[dict[str, str]]]:
    found: dict[str, list[dict[str, str]]] = {}
    for line in text.split("\n"):
        kind, *cells = line.split("\t")
        if kind in ("SMH", "SFH", "SEH"):
            header = cells
            rows = found[{"SMH": "SML", "SFH": "SMF", "SEH": "SME"}[kind]] = []
        elif kind in ("SML", "SMF", "SME"):
            rows.append(dict(zip(header, cells, strict=True)))
    return found


def test_the_metadata_that_every_file_must_have(text):
    said = dict(line.split("\t")[1:] for line in text.split("\n") if line.startswith("MTD"))
    mandatory = """mzTab-version mzTab-ID software[1] quantification_method ms_run[1]-location ms_run[2]-location
        ms_run[1]-scan_polarity[1] ms_run[1]-scan_polarity[2] ms_run[2]-scan_polarity[1] assay[1] assay[1]-ms_run_ref
        assay[2]-ms_run_ref study_variable[1] study_variable[1]-assay_refs study_variable[1]-description cv[1]-label
        cv[1]-full_name cv[1]-version cv[1]-uri database[1] database[1]-prefix database[1]-version database[1]-uri
        small_molecule-quantification_unit small_molecule_feature-quantification_unit id_confidence_measure[1]"""
    assert set(mandatory.split()) <= set(said)
    assert said["mzTab-version"] == "2.0.0-M"
    assert said["study_variable[1]-assay_refs"] == "assay[1]|assay[2]"
    assert "positive scan" in said["ms_run[1]-scan_polarity[1]"]
    assert said["ms_run[1]-location"].startswith("file:///")


def test_the_tables_stand_in_order_with_all_columns_and_no_empty_cell(text):
    sections = [line[:3] for line in text.split("\n") if line]
    kept = [s for n, s in enumerate(sections) if n == 0 or sections[n - 1] != s]
    assert kept == ["MTD", "SMH", "SML", "SFH", "SMF", "SEH", "SME"]
    found = tables(text)
    assert [len(found[name]) for name in ("SML", "SMF", "SME")] == [3, 3, 3]
    assert list(found["SML"][0])[-4:] == [
        "abundance_assay[1]", "abundance_assay[2]", "abundance_study_variable[1]",
        "abundance_variation_study_variable[1]",
    ]  # fmt: skip
    assert not [cell for rows in found.values() for row in rows for cell in row.values() if cell == ""]
    numbers = [row[name] for row in found["SME"] for name in row if name.startswith("id_confidence") or "mass" in name]
    assert all(re.fullmatch(r"-?\d+(\.\d+)?|null|NaN", number) for number in numbers)  # no exponents


def test_references_lead_somewhere(text):
    found = tables(text)
    evidence = {row["SME_ID"]: row for row in found["SME"]}
    for row in found["SML"]:
        assert row["SMF_ID_REFS"] in {feature["SMF_ID"] for feature in found["SMF"]}
    first, second, third = found["SMF"]
    assert (first["SME_ID_REFS"], first["SME_ID_REF_ambiguity_code"]) == ("1|2", "1")
    assert (second["SME_ID_REFS"], second["SME_ID_REF_ambiguity_code"]) == ("null", "null")
    assert third["SME_ID_REFS"] == "3"
    assert evidence["1"]["spectra_ref"] == "ms_run[1]:scan=7|ms_run[1]:scan=8"
    assert evidence["3"]["spectra_ref"] == "ms_run[2]:b:third"
    assert evidence["1"]["evidence_input_id"] == evidence["2"]["evidence_input_id"]
    assert [row["charge"] for row in found["SMF"]] == ["1", "2", "1"]
    assert third["exp_mass_to_charge"] == "NaN"


def test_names_and_numbers_are_clean(text):
    first, second, third = tables(text)["SML"]
    assert first["chemical_name"] == "caffeine with tab"
    assert first["database_identifier"] == "my_lib:A/1"
    assert first["theoretical_neutral_mass"] == "194.080376"
    assert first["reliability"] == "2"
    assert (second["reliability"], second["best_id_confidence_measure"]) == ("4", "null")
    assert (third["chemical_name"], third["adduct_ions"]) == ("odd/name", "null")
    assert tables(text)["SME"][1]["theoretical_mass_to_charge"] == "195.088650"
    assert tables(text)["SME"][1]["id_confidence_measure[1]"] == "0.000001"


def test_others_read_it(text, tmp_path):
    pytest.importorskip("pandas")
    mztab = pytest.importorskip("pyteomics.mztab")
    path = tmp_path / "x.mztab"
    path.write_text(text)
    with mztab.MzTab(str(path)) as read:
        assert read.version == "2.0.0-M"
        assert len(read.small_molecule_table) == 3
