"""Queries from files: centroids, precursors, repeats, and what goes wrong on the way."""

from __future__ import annotations

from collections import Counter

import made_run
import numpy as np
import polars as pl
import pytest
from made_run import ms1, ms2, mzml

from mslitmus.errors import ConfigError, DataError, FormatError
from mslitmus.schemas import conform
from mslitmus.search.picking import centroid, profile
from mslitmus.search.precursors import Repair, precision, repair
from mslitmus.search.queries import Intake, check_ion_mode, check_paths, read
from mslitmus.search.repeats import Repeats, merge
from mslitmus.search.runs import Preparation, prepare
from mslitmus.spectra.flat import Flat
from mslitmus.spectra.formats import Problems

PEAKS = [55.0178, 73.0284, 91.0542, 119.0491]
HEIGHTS = [10.0, 40.0, 100.0, 60.0]
OTHER = [60.0444, 77.0386, 105.0335, 133.0648]


def flat(*spectra):
    offsets = np.concatenate(([0], np.cumsum([len(x) for x, _ in spectra])))
    return Flat(*(np.concatenate([np.asarray(s[k], float) for s in spectra]) for k in (0, 1)), offsets)


# -- profile spectra -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [0.004, 0.012, 0.05])
def test_a_profile_is_seen_and_its_peaks_are_found(width):
    sampled = made_run.profile(PEAKS, HEIGHTS, width)
    both = flat(sampled, (PEAKS, HEIGHTS))
    assert profile(both).tolist() == [True, False]
    mzs, heights, _ = centroid(flat(sampled))
    assert mzs == pytest.approx(PEAKS, abs=width / 100)
    assert heights == pytest.approx(HEIGHTS, rel=0.1)


def test_centroids_close_to_each_other_and_lone_points_are_no_profile():
    isotopes = ([100.0, 100.5, 101.0034], [100.0, 50.0, 30.0])
    assert profile(flat(isotopes, ([80.0], [1.0]), ([], []))).tolist() == [False, False, False]


# -- precursors ----------------------------------------------------------------------------------------------------

SURVEY = np.array([86.0600, 131.1290, 132.1324, 150.0913, 171.0763])
COUNTS = np.array([10.0, 100.0, 7.0, 5.0, 50.0])


@pytest.mark.parametrize(
    ("stated", "charge", "found", "what"),
    [
        (131.13, None, 131.1290, Repair.MEASURED),  # two decimals: within 5 mDa
        (171.0765, 1, 171.0763, Repair.MEASURED),
        (132.1325, None, 131.1290, Repair.MOVED),  # the 13C peak was isolated
        (171.0805, None, 171.0805, Repair.ABSENT),
        (300.1234, None, 300.1234, Repair.ABSENT),
    ],
)
def test_a_precursor_is_measured_in_the_survey_scan(stated, charge, found, what):
    value, said = repair(stated, charge, SURVEY, COUNTS)
    assert (value, said) == (pytest.approx(found), what)


def test_a_peak_too_tall_for_an_isotope_stays():
    tall = np.array([10.0, 100.0, 90.0, 5.0, 50.0])  # more than 10 carbons can give
    assert repair(132.1324, None, SURVEY, tall) == (132.1324, Repair.MEASURED)


def test_precision_is_that_of_two_decimals_or_fewer():
    assert [precision(x) for x in (86.06, 350.1, 171.0763)] == [0.005, 0.05, 0.0]


# -- a run ---------------------------------------------------------------------------------------------------------


def run() -> list[made_run.Scan]:
    """One ion three times within 10 s, another of the same m/z between, the first again a minute later."""
    faint = [*HEIGHTS, 0.2]
    return [
        ms1(0, [150.0913, 151.0947], [1000.0, 80.0]),
        ms2(1, 150.09, [*PEAKS, 140.0], faint),
        ms2(2, 150.0913, OTHER, HEIGHTS),
        ms1(4, [150.0915], [2000.0]),
        ms2(5, 150.09, PEAKS, [h * 3 for h in HEIGHTS]),
        ms2(9, 151.09, PEAKS, HEIGHTS),
        ms1(60, [150.0912], [500.0]),
        ms2(61, 150.09, PEAKS, HEIGHTS),
        ms2(62, None, PEAKS, HEIGHTS),
    ]


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "made.mzML"
    file.write_text(mzml(run()))
    return file


def test_a_run_becomes_queries(path):
    intake = Intake()
    found = pl.concat(list(read([path], intake=intake)))
    assert found["identifier"].to_list() == [f"made:scan={n}" for n in (3, 5, 6, 8, 9)]
    assert found["merged_scans"].to_list() == [1, 2, 1, 1, 1]
    assert found["members"].to_list()[1] == ["made:scan=2", "made:scan=5"]
    assert found["precursor_mz"].to_list()[:4] == pytest.approx([150.0913, 150.0914, 151.09, 150.0912])
    assert found["precursor_mz"][4] is None
    assert found["mzs"][1].to_list() == pytest.approx(PEAKS, abs=1e-4)  # without the peak of 0.2 %
    assert found["intensities"][1].max() == 1
    assert intake.notes["repeated scans merged into others"] == 1
    assert intake.ion_modes == {str(path): {"positive"}}


def test_each_step_can_be_left_out(path):
    plain = pl.concat(list(read([path], Preparation(None, 0.0, measure_precursor=False))))
    assert plain.height == 6
    assert plain["precursor_mz"].to_list()[:2] == [150.09, 150.0913]
    assert 140.0 in plain["mzs"][0].to_list()


def test_blocks_and_nested_scans_change_nothing(path):
    """Scans one by one, and a survey scan after its own MS/MS scans as in nested mzXML, give the same queries."""
    from mslitmus.spectra import formats

    whole = formats.read(path, ms1=True).frame
    nested = whole[[1, 2, 0, 4, 5, 3, 7, 8, 6]]
    ways = [whole], [whole[n : n + 1] for n in range(9)], [nested[n : n + 2] for n in range(0, 9, 2)]
    answers = [pl.concat(list(prepare(frames, Preparation(), Counter()))) for frames in ways]
    assert answers[0].equals(answers[1])
    assert answers[0].sort("identifier").drop("members").equals(answers[2].sort("identifier").drop("members"))


def test_a_profile_run_is_centroided(tmp_path):
    file = tmp_path / "p.mzML"
    survey, scan = made_run.profile([150.0913, 151.0947], [1000, 80]), made_run.profile(PEAKS, HEIGHTS)
    file.write_text(mzml([ms1(0, *survey), ms2(1, 150.09, *scan)]))
    intake = Intake()
    found = pl.concat(list(read([file], intake=intake)))
    assert found["mzs"][0].to_list() == pytest.approx(PEAKS, abs=1e-4)
    assert found["precursor_mz"][0] == pytest.approx(150.0913, abs=1e-4)
    assert intake.notes["MS/MS scans recorded as profile, centroided"] == 1


def test_merging_spares_what_differs_in_time_ion_or_mode():
    rows = [("a", 0.0, 150.0, "positive"), ("b", 5.0, 150.0, "positive"), ("c", 50.0, 150.0, "positive"),
            ("d", 1.0, 150.1, "positive"), ("e", 1.0, 150.0, "negative"), ("f", None, 150.0, "positive"),
            ("g", 2.0, None, "positive")]  # fmt: skip
    frame = pl.DataFrame(rows, schema=["identifier", "retention_time", "precursor_mz", "ion_mode"], orient="row")
    peaks = {"mzs": [PEAKS] * 7, "intensities": [HEIGHTS] * 7, "base_peak_intensity": range(7)}
    found = merge(conform(frame.with_columns(**{k: pl.Series(v) for k, v in peaks.items()})), Repeats())
    assert dict(found.select("identifier", "merged_scans").iter_rows()) == {
        "b": 2, "c": 1, "d": 1, "e": 1, "f": 1, "g": 1
    }  # fmt: skip


def test_an_ion_watched_through_the_run_is_cut(path):
    scans = [ms2(10.0 * n + 1, 150.0913, PEAKS, HEIGHTS) for n in range(14)]
    path.write_text(mzml(scans))
    found = pl.concat(list(read([path])))
    assert found["merged_scans"].to_list() == [6, 6, 2]


# -- files ---------------------------------------------------------------------------------------------------------


def test_several_files_have_unique_identifiers(tmp_path, path):
    (tmp_path / "other").mkdir()
    again = tmp_path / "other" / "made.mzML"
    again.write_text(path.read_text())
    (tmp_path / "other" / "notes.txt").write_text("nothing to see")
    found = pl.concat(list(read([path, tmp_path / "other"])))
    assert found["identifier"].n_unique() == found.height == 10
    assert found["identifier"][5] == "made#2:made:scan=3"
    assert found["file"].unique(maintain_order=True).to_list() == [str(path), str(again)]


def test_a_prepared_file_is_taken_as_it_is(tmp_path, tiny):
    from mslitmus.spectra import formats

    formats.write(tiny, tmp_path / "q.mgf")
    found = pl.concat(list(read([tmp_path / "q.mgf"], batch=30)))
    assert found["mzs"].to_list() == tiny["mzs"].to_list()
    assert found["merged_scans"].unique().to_list() == [1]


def test_a_cut_file_gives_what_is_before_the_cut(path):
    text = path.read_text()
    path.write_text(text[: text.index('id="scan=6"')])
    intake = Intake()
    assert pl.concat(list(read([path], intake=intake))).height == 2
    assert "ends too early" in str(intake.problems.errors[0])
    with pytest.raises(FormatError, match="ends too early"):
        list(read([path], intake=Intake(Problems("raise"))))


def test_files_without_queries_say_why(tmp_path, path):
    (tmp_path / "survey.mzML").write_text(mzml(run()[:1]))
    with pytest.raises(DataError, match=r"no MS/MS spectrum"):
        list(read([tmp_path / "survey.mzML"]))
    (tmp_path / "empty.mgf").write_text("")
    with pytest.raises(FormatError, match="the file is empty"):
        list(read([tmp_path / "empty.mgf"]))
    (tmp_path / "page.mgf").write_text("<html>log in</html>")
    with pytest.raises(FormatError, match="HTML page"):
        list(read([tmp_path / "page.mgf"]))
    with pytest.raises(FormatError, match="no such file"):
        check_paths([tmp_path / "absent.mgf"])


def test_ion_modes_are_positive_or_negative():
    assert (check_ion_mode("pos"), check_ion_mode("NEGATIVE"), check_ion_mode(None)) == ("positive", "negative", None)
    with pytest.raises(ConfigError):
        check_ion_mode("both")
