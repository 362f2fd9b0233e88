"""`mslitmus search` and `mslitmus library`: from files to hits and a page, and everything that goes wrong."""

from __future__ import annotations

import sys
from pathlib import Path

import polars as pl
import pytest

from mslitmus.cli import main
from mslitmus.data import store
from mslitmus.data.ledger import Ledger, LedgerEntry
from mslitmus.errors import DataError
from mslitmus.report.search_page import SearchPage
from mslitmus.schemas import HITS
from mslitmus.search import searching, stored
from mslitmus.search.confidence import Confidence, Curve
from mslitmus.search.libraries import frames_of, open_libraries
from mslitmus.search.queries import read as queries_of
from mslitmus.search.searching import Search, search
from mslitmus.search.writing import OF_QUERY
from mslitmus.spectra import formats

COLUMNS = [*HITS, *(f"query_{name}" for name in OF_QUERY)]


@pytest.fixture
def queries(tiny) -> pl.DataFrame:
    """Half of the spectra with other names, and not told what they are."""
    unknown = [pl.lit(None, pl.String).alias(name) for name in ("smiles", "inchikey14", "formula", "name", "adduct")]
    return tiny[::2].with_columns((pl.lit("q-") + pl.col("identifier")).alias("identifier"), *unknown)


@pytest.fixture
def call(monkeypatch, capsys, tmp_path, tiny, queries):
    store.save("some", tiny, Ledger((LedgerEntry("made", tiny.height),)), {"title": "some"})
    monkeypatch.chdir(tmp_path)
    formats.write(queries, tmp_path / "q.mgf")

    def started(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["mslitmus", *map(str, arguments)])
        with pytest.raises(SystemExit) as done:
            main()
        out, err = capsys.readouterr()
        return int(done.value.code or 0), out, " ".join(err.split())

    return started


def hits_of(path: Path) -> pl.DataFrame:
    return pl.read_csv(path, separator="\t", schema_overrides=HITS)


def test_from_spectra_to_molecules(call, tmp_path, tiny, queries):
    code, out, err = call("search", "q.mgf", "-l", "some", "--top", 3)
    assert code == 0, err
    found = hits_of(tmp_path / "q.hits.tsv")
    assert found.columns == COLUMNS
    assert found["rank"].max() <= 3
    first = found.filter(pl.col("rank") == 1)
    truth = tiny.select(identifier=pl.lit("q-") + pl.col("identifier"), truth="inchikey14")
    judged = first.join(truth, on="identifier")
    assert judged.height == queries.height
    assert (judged["score"] > 0.999).all()
    assert (judged["inchikey14"] == judged["truth"]).all()
    assert (judged["precursor_difference"] == 0).all()
    assert judged["explained"].min() > 0.99
    assert found.group_by("identifier", "inchikey14").len()["len"].max() == 1  # a molecule is one hit
    assert f"{queries.height} queries, {queries.height} with a hit" in out
    page = (tmp_path / "q.hits.html").read_text()
    assert page.count('class="card"') == queries.height
    assert "q-" + tiny["identifier"][0] in page
    assert "not a probability" in page


def test_replicates_are_no_rivals_and_names_are_as_they_are(call, tiny, tmp_path):
    twins = pl.concat([tiny, tiny.with_columns(pl.col("identifier") + "-again")])
    formats.write(twins.with_columns(name=pl.lit('2",4-x')), tmp_path / "twins.mgf")
    code, _, err = call("search", "q.mgf", "-l", "twins.mgf", "--per", "spectrum", "--precursor", "1ppm")
    assert code == 0, err
    line = (tmp_path / "q.hits.tsv").read_text().splitlines()[1]
    assert line.split("\t")[COLUMNS.index("name")] == '2",4-x'
    page = SearchPage("t", [], (0.01, "±Da"), False, lambda library, identifier: None)
    hits = searching.search(tiny[:1], open_libraries([str(tmp_path / "twins.mgf")]), Search(per="spectrum", top_k=2))
    page.add(tiny[:1].with_columns(merged_scans=pl.lit(1)), hits, pl.Series([False]))
    assert hits["inchikey14"].n_unique() == 1 < hits.height
    assert page.best(1)["others"].to_list() == [None]


@pytest.mark.parametrize("per", ["molecule", "spectrum"])
def test_two_libraries_answer_as_one(call, tiny, queries, tmp_path, per):
    formats.write(tiny[:40], tmp_path / "a.parquet")
    formats.write(tiny[40:], tmp_path / "b.mgf")
    asked = Search(per=per, precursor=None, top_k=5, least_score=0.1)
    one = search(queries, open_libraries(["some"]), asked)
    two = search(queries, open_libraries([str(tmp_path / "a.parquet"), str(tmp_path / "b.mgf")]), asked)
    assert set(two["library"]) == {"a", "b"}
    columns = ["identifier", "rank", "inchikey14"] if per == "molecule" else ["identifier", "rank"]
    assert two.select(columns).equals(one.select(columns))
    assert two["score"].to_list() == pytest.approx(one["score"].to_list())


def test_ion_modes_do_not_meet(queries, tiny):
    library = open_libraries_of(tiny)
    for mode in ("positive", "negative"):
        some = queries.filter(pl.col("ion_mode") == mode)
        found = search(some, library, Search(precursor=None, per="spectrum"))
        modes = found.join(tiny.select(library_identifier="identifier", mode="ion_mode"), on="library_identifier")
        assert set(modes["mode"]) == {mode}
    silent = queries.with_columns(pl.lit(None, pl.String).alias("ion_mode"))
    asked = Search(precursor=None, per="spectrum", top_k=50)
    assert search(silent, library, asked).height > search(queries, library, asked).height


def open_libraries_of(frame: pl.DataFrame):
    store.save("these", frame, Ledger((LedgerEntry("made", frame.height),)), {"title": "these"})
    return open_libraries(["these"])


def test_the_formats_hold_the_same(call, tmp_path):
    for suffix in ("tsv", "parquet", "mztab"):
        assert call("search", "q.mgf", "-l", "some", "--out", f"h.{suffix}", "--no-page")[0] == 0
    table, parquet = hits_of(tmp_path / "h.tsv"), pl.read_parquet(tmp_path / "h.parquet")
    assert parquet.schema["rank"] == pl.Int32
    assert table.select("identifier", "rank", "library_identifier", "smiles").equals(
        parquet.select("identifier", "rank", "library_identifier", "smiles")
    )
    assert not list(tmp_path.glob("*.part"))
    assert not list(tmp_path.glob("*.html"))
    assert sum(line.startswith("SME\t") for line in (tmp_path / "h.mztab").read_text().split("\n")) == table.height


def test_queries_without_a_hit_or_a_precursor_are_told(call, tmp_path, queries):
    lost = queries.with_columns(
        pl.when(pl.int_range(pl.len()) > 1).then(None).otherwise(pl.col("precursor_mz") + 500).alias("precursor_mz")
    )
    formats.write(lost, tmp_path / "lost.mgf")
    code, out, err = call("search", "lost.mgf", "-l", "some")
    assert code == 0
    assert "0 with a hit" in out
    assert f"{queries.height - 2} × queries without precursor m/z, not searched" in err
    assert hits_of(tmp_path / "lost.hits.tsv").columns == COLUMNS
    page = (tmp_path / "lost.hits.html").read_text()
    assert "No query has a hit" in page
    assert page.count("no precursor m/z: not searched") == queries.height - 2
    code, out, _ = call("search", "lost.mgf", "-l", "some", "--open")
    assert f"{queries.height} with a hit" in out


def test_a_library_without_structures_has_spectra_for_molecules(call, tmp_path, queries):
    formats.write(queries, tmp_path / "bare.msp")
    code, _, err = call("search", "q.mgf", "-l", "bare.msp")
    assert code == 0, err
    found = hits_of(tmp_path / "q.hits.tsv").filter(pl.col("rank") == 1)
    assert found.height == queries.height
    assert found["inchikey14"].null_count() == queries.height
    assert "no structure" in (tmp_path / "q.hits.html").read_text()


def test_structures_without_keys_are_named(tiny, tmp_path):
    formats.write(tiny.with_columns(pl.lit(None, pl.String).alias("inchikey14")), tmp_path / "raw.msp")
    opened = open_libraries([str(tmp_path / "raw.msp")])[0]
    assert opened.molecules == tiny["inchikey14"].n_unique()
    assert any("named from their SMILES" in note for note in opened.notes)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("absent.mgf", "-l", "some"), "no such file or folder"),
        (("q.mgf", "-l", "sume"), "did you mean 'some'"),
        (("q.mgf", "-l", "no/where.msp"), "no such file, folder or dataset"),
        (("q.mgf", "-l", "some", "--score", "entropie"), "did you mean 'entropy'"),
        (("q.mgf", "-l", "some", "--out", "h.doc"), "no format of hits is known"),
        (("q.mgf", "-l", "some", "--out", "no/folder/h.tsv"), "cannot be written"),
        (("q.mgf", "-l", "some", "--out", "."), "no format of hits"),
        (("q.mgf", "-l", "some", "--precursor", "ten"), "not a tolerance"),
        (("q.mgf", "-l", "some", "--confidence", "none.json"), "none.json"),
        (("q.mgf", "-l", "some", "--ion-mode", "up"), "positive or negative"),
    ],
)
def test_mistakes_end_in_one_line_and_what_to_do(call, tmp_path, arguments, said):
    code, _, err = call("search", *arguments)
    assert code == 1
    assert said in err
    assert not list(tmp_path.glob("*.part"))
    assert not list(tmp_path.glob("*.tsv"))


def test_a_damaged_record_costs_itself(call, tmp_path):
    text = (tmp_path / "q.mgf").read_text()
    (tmp_path / "cut.mgf").write_text(text[:-40])
    code, _, err = call("search", "cut.mgf", "-l", "some")
    assert code == 1
    assert "1 places could not be read; all else is searched" in err
    assert hits_of(tmp_path / "cut.hits.tsv").height
    assert "Not read." in (tmp_path / "cut.hits.html").read_text()
    code, _, err = call("search", "cut.mgf", "-l", "some", "--strict", "--out", "s.tsv")
    assert code == 1
    assert "END IONS" in err
    assert not (tmp_path / "s.tsv").exists()


@pytest.mark.parametrize("before", [False, True])
def test_ctrl_c_keeps_what_is_done(call, tmp_path, monkeypatch, before):
    done: list[int] = []
    real = searching.search

    def impatient(queries, *rest):
        done.append(queries.height)
        if len(done) > 1:
            raise KeyboardInterrupt
        return real(queries, *rest)

    monkeypatch.setattr(searching, "search", impatient)
    monkeypatch.setitem(queries_of.__kwdefaults__, "batch", 10)
    if before:
        (tmp_path / "h.tsv").write_text("of yesterday")
    code, out, _ = call("search", "q.mgf", "-l", "some", "--out", "h.tsv")
    assert code == 130
    kept = tmp_path / ("h.tsv.part" if before else "h.tsv")
    assert hits_of(kept)["identifier"].n_unique() == 10
    assert str(kept.name) in out.replace("\n", "")
    assert not before or (tmp_path / "h.tsv").read_text() == "of yesterday"
    assert "NOT COMPLETE" in (tmp_path / "h.html").read_text()


# -- stored libraries ----------------------------------------------------------------------------------------------


def test_a_stored_library_answers_alike(call, tmp_path, queries):
    code, out, err = call("library", "build", "some", "--out", "lib")
    assert code == 0, err
    assert "positive" in out
    one, two = (
        search(queries, open_libraries([name]), Search(precursor=None)) for name in ("some", str(tmp_path / "lib"))
    )
    assert two.drop("library").equals(one.drop("library"))
    assert set(two["library"]) == {"lib"}
    code, out, _ = call("library", "show", "lib", "some")
    assert code == 0
    assert "index" in out
    assert call("search", "q.mgf", "-l", "lib")[0] == 0
    code, _, err = call("library", "build", "some", "--out", "lib")
    assert code == 1
    assert "it is there already" in err
    assert call("library", "build", "some", "--out", "lib", "--replace")[0] == 0
    (tmp_path / "mine").mkdir()
    assert call("library", "build", "some", "--out", "mine", "--replace")[0] == 1  # a folder of something else


def test_a_build_that_is_killed_leaves_nothing(tmp_path, call):
    def dying():
        yield from frames_of(["some"])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stored.build(dying(), tmp_path / "lib", sources=["some"])
    assert not list(tmp_path.glob("*lib*"))


def test_a_damaged_library_is_refused(call, tmp_path):
    call("library", "build", "some", "--out", "lib")
    about = tmp_path / "lib" / stored.ABOUT
    text = about.read_text()
    for wrong in (text.replace('"format": 1', '"format": 99'), text[:20], text.replace('"positive"', '"other"')):
        about.write_text(wrong)
        with pytest.raises(DataError, match="mslitmus library build"):
            open_libraries([str(tmp_path / "lib")])


def test_a_calibration_adds_probabilities(call, tmp_path):
    line = Curve((0.0, 1.0), (0.0, 1.0))
    settings = {"score": "entropy", "tolerance": "0.010Da", "precursor_tolerance": "5ppm", "library": "some"}
    made = Confidence("isotonic", (), (), (), (), line, Curve((0.0, 1.0), (0.5, 0.0)), search=settings)
    made.save(tmp_path / "c.json")
    code, _, err = call("search", "q.mgf", "-l", "some", "--confidence", "c.json", "--top", 1)
    assert code == 0, err
    assert "the calibration was made with candidates within 5ppm, this search: 10ppm" in err
    assert "tolerance" not in err
    found = hits_of(tmp_path / "q.hits.tsv")
    assert found["rank"].unique().to_list() == [1]
    assert found["probability"].to_list() == pytest.approx(found["score"].to_list(), abs=1e-4)
    assert found["q_value"].max() <= 0.5
    page = (tmp_path / "q.hits.html").read_text()
    assert "not a probability" not in page
    assert "candidates within 5ppm" in page
    (tmp_path / "q.hits.tsv").unlink()
    code, _, err = call("search", "q.mgf", "-l", "some", "--confidence", "c.json", "--score", "cosine")
    assert code == 1
    assert "made with score entropy, this search has cosine" in err
    assert not (tmp_path / "q.hits.tsv").exists()


def test_a_damaged_record_does_not_end_a_build(call, tmp_path):
    text = (tmp_path / "q.mgf").read_text()
    first = text.index("BEGIN IONS")
    (tmp_path / "bad.mgf").write_text(
        text[:first] + "BEGIN IONS\nTITLE=x\nPEPMASS=100\n1e6 1\nEND IONS\n" + text[first:]
    )
    code, out, err = call("library", "build", "bad.mgf", "--out", "lib", "--score", "entropy", "--tolerance", "20 ppm")
    assert code == 1
    assert "1 places could not be read; all else is stored" in err
    assert "bad.mgf:" in err
    assert "cannot be above 100,000" in err
    assert "library:" in out
    code, _, err = call("search", "q.mgf", "-l", "lib", "--tolerance", "20.0ppm")
    assert code == 0
    assert "is not stored" not in err
    code, _, err = call("search", "q.mgf", "-l", "lib", "--score", "hybrid")
    assert "mslitmus library add lib --score hybrid --tolerance 0.01Da" in err
    assert call("library", "add", "lib", "--score", "hybrid")[0] == 0
    code, _, err = call("search", "q.mgf", "-l", "lib", "--score", "hybrid")
    assert "is not stored" not in err
    code, _, err = call("library", "build", "bad.mgf", "--out", "strict", "--strict")
    assert code == 1
    assert not (tmp_path / "strict").exists()


def test_shards_and_filters_of_the_command(call, tmp_path, tiny):
    adduct = tiny["adduct"].drop_nulls()[0]
    ways = {"one": (), "three": ("--shards", 3)}
    for name, more in ways.items():
        code, _, err = call(
            "search", "q.mgf", "-l", "some", "--open", "--adduct", adduct, "--out", f"{name}.tsv", "--no-page", *more
        )
        assert code == 0, err
    assert (tmp_path / "one.tsv").read_text() == (tmp_path / "three.tsv").read_text()
    assert set(hits_of(tmp_path / "one.tsv")["adduct"]) == {adduct}
    for wrong, said in (
        (("--adduct", "[M+X]+"), "unknown adduct"),
        (("--engine", "rai"), "did you mean 'ray'"),
        (("--address", "auto"), "--engine ray"),
        (("--shards", "0"), "1 or more"),
    ):
        code, _, err = call("search", "q.mgf", "-l", "some", *wrong)
        assert code == 1
        assert said in err
