"""Published cohorts: mwTab files as sheets, and one call from a server of the repository's shape to the runs."""

from __future__ import annotations

import io
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import polars as pl
import pytest

from mslitmus.cohort.samples import read_sheet
from mslitmus.cohort.settings import parse as parse_settings
from mslitmus.cohort.studies import prepare
from mslitmus.data.cohorts import SheetRule, cohort_studies, cohort_study
from mslitmus.data.cohorts.workbench import analyses_of, parse, sheet
from mslitmus.errors import ConfigError, DataError

HEAD = "#METABOLOMICS WORKBENCH STUDY_ID:ST900001 ANALYSIS_ID:{analysis}\n#CHROMATOGRAPHY\n"
MODES = {"AN1": ("HILIC", "POSITIVE"), "AN2": ("HILIC", "NEGATIVE"), "AN3": ("Reversed phase", "POSITIVE"),
         "AN4": ("Reversed phase", "NEGATIVE")}  # fmt: skip
ROW = "SUBJECT_SAMPLE_FACTORS           \t{subject}\t{sample}\t{factors}\tRAW_FILE_NAME(Raw file name)={file}; x=1\n"


def mwtab(analysis: str, names: tuple[str, str] = ("case", "control")) -> str:
    column, mode = MODES[analysis]
    text = HEAD.format(analysis=analysis)
    text += f"CH:CHROMATOGRAPHY_TYPE                  \t{column}\nMS:ION_MODE                  \t{mode}\n"
    text = text.replace("                  \t", "\t")
    for k in range(6):
        factors = f"Subject_ID:{names[k % 2]} | Sample source:Serum"
        file = f"raw/{analysis}_{k}.mzXML"
        text += ROW.format(subject=f"p{k}", sample=f"s{k}", factors=factors, file=file)
    blank = "Subject_ID:- | Sample source:Blank"
    return text + ROW.format(subject="-", sample="blank1", factors=blank, file=f"{analysis}_blank.mzXML")


def archive(*names: str) -> bytes:
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w") as made:
        for name in names:
            made.writestr(name, "a run")
    return whole.getvalue()


@pytest.fixture
def server() -> Iterator[tuple[str, dict[str, bytes], list[str]]]:
    """(address, path → body, paths that were asked for)."""
    pages: dict[str, bytes] = {}
    asked: list[str] = []

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            body = pages.get(self.path)
            self.send_response(404 if body is None else 200)
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, format: str, *args: object) -> None:
            pass

    served = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=served.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{served.server_port}", pages, asked
    served.shutdown()
    served.server_close()
    thread.join()


def test_the_three_studies_are_whole():
    assert set(cohort_studies()) == {"antipsychotic-overdose", "cystic-fibrosis", "septic-shock"}
    for study in cohort_studies().values():
        how = parse_settings(study.settings, study.name)
        assert study.sheet.target in how.targets
    septic = cohort_study("septic-shock")
    assert [(each.metric, each.value) for each in septic.published] == [("macro-f1", 0.84), ("macro-f1", 0.80)]
    how = parse_settings(septic.settings, "septic-shock")
    assert (how.splits, how.test_share, how.seeds) == ("holdout", 0.3, 5)
    with pytest.raises(ConfigError, match="did you mean"):
        cohort_study("septic-shok")


def test_an_mwtab_file_becomes_a_sheet(tmp_path):
    table = sheet([("", parse(mwtab("AN1"), "here"))], SheetRule(factor="Subject_ID"))
    table.write_csv(tmp_path / "samples.tsv", separator="\t")
    read = read_sheet(tmp_path / "samples.tsv", targets=["group"])
    assert read.rows.filter(pl.col("role") == "sample")["group"].to_list() == ["case", "control"] * 3
    assert read.rows.filter(pl.col("role") == "blank")["group"].to_list() == [None]
    assert read.rows["subject"].to_list()[:2] == ["p0", "p1"]
    assert read.rows["file"][0] == "AN1_0.mzXML"


def test_a_factor_that_is_not_known_is_asked_for():
    tab = parse(mwtab("AN1"), "here")
    with pytest.raises(DataError, match=r"Subject_ID: case \(3\), control \(3\)"):
        sheet([("", tab)], SheetRule())
    with pytest.raises(DataError, match="no factor 'Diagnosis'"):
        sheet([("", tab)], SheetRule(), "Diagnosis")
    with pytest.raises(DataError, match="names a raw file"):
        sheet([("", tab)], SheetRule(factor="Subject_ID", file="MZML"))
    with pytest.raises(DataError, match="SUBJECT_SAMPLE_FACTORS"):
        parse("<html>", "here")


def test_four_acquisitions_of_a_project_that_is_looked_up(server, tmp_path, monkeypatch):
    monkeypatch.setenv("MSLITMUS_HOME", str(tmp_path))
    base, pages, asked = server
    listed = [f"project_id\tPR002693\nstudy_id\tST900001\nanalysis_id\t{a}\n" for a in MODES]
    pages["/rest/study/study_id/ST/available/txt"] = (
        "project_id\tPR000001\nstudy_id\tST000001\nanalysis_id\tAN000001\n\n" + "\n".join(listed)
    ).encode()
    for a in MODES:
        pages[f"/rest/study/analysis_id/{a}/mwtab/txt"] = mwtab(a).encode()
    pages["/data/DRCCStudySummary.php?Mode=SetupRawDataDownload&StudyID=ST900001"] = (
        b'<a href="/studydownload/ST900001_A.zip">A</a> <a href="/studydownload/ST900001_AN1_Results.txt">no</a>'
    )
    files = [f"ST900001/{a}_{k}.mzXML" for a in MODES for k in [*range(6), "blank"]]
    pages["/studydownload/ST900001_A.zip"] = archive(*files)
    assert len(analyses_of("PR002693", base)) == 4
    ready = prepare(cohort_study("cystic-fibrosis"), factor="Subject_ID", base=base)
    rows = read_sheet(ready.sheet, targets=["group"]).rows
    assert rows.height == 28
    assert set(rows["acquisition"]) == {f"{column} {mode}" for column, mode in MODES.values()}
    assert rows.filter(pl.col("unit") == "s0").height == 4
    there = {path.name for path in ready.data.rglob("*.mzXML")}
    assert set(rows["file"]) == there
    before = len([path for path in asked if path.endswith(".zip")])
    prepare(cohort_study("cystic-fibrosis"), factor="Subject_ID", base=base)
    assert len([path for path in asked if path.endswith(".zip")]) == before  # kept


def test_a_wrong_archive_is_set_aside(server, tmp_path, monkeypatch):
    monkeypatch.setenv("MSLITMUS_HOME", str(tmp_path))
    base, pages, _ = server
    text = mwtab("AN1", ("Septic shock", "Non-septic shock"))
    pages["/rest/study/analysis_id/AN005237/mwtab/txt"] = text.encode()
    pages["/studydownload/ST003189_Rawdata.zip"] = archive("AN1_0.mzXML")
    with pytest.raises(DataError, match="differs from the catalogue's"):
        prepare(cohort_study("septic-shock"), base=base)


def test_files_at_hand_need_no_network(tmp_path, monkeypatch):
    monkeypatch.setenv("MSLITMUS_HOME", str(tmp_path / "home"))
    folder = tmp_path / "data"
    folder.mkdir()
    with pytest.raises(DataError, match="no mwTab text file"):
        prepare(cohort_study("antipsychotic-overdose"), folder)
    (folder / "one.txt").write_text(mwtab("AN1"))
    ready = prepare(cohort_study("antipsychotic-overdose"), folder, "Subject_ID")
    assert ready.data == folder
    assert read_sheet(ready.sheet, targets=["group"]).classes == ("group",)
