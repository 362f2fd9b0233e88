"""Predictions as people write them: every spelling gives the schema, every mistake names file and rows."""

from __future__ import annotations

import gzip
import json
import pickle
import time

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mslitmus.errors import ConfigError, PredictionError
from mslitmus.schemas import PREDICTED_FINGERPRINTS, PREDICTED_SCORES, PREDICTED_SPECTRA
from mslitmus.spectra import formats
from mslitmus.tasks.intake import check_file, read_predictions

from .made_queries import POOL, keys, queries, task

SPECTRA = pl.DataFrame({"identifier": ["Q1", "Q2", "Q3"], "mzs": [[50.5, 61.25], [70.0], []],
                        "intensities": [[1.0, 0.5], [3.0], []]},
                       schema=dict(PREDICTED_SPECTRA))  # fmt: skip
SOME = SPECTRA.head(2)


def put(path, text, mode="w"):
    path.write_text(text) if mode == "w" else path.write_bytes(text)
    return path


# --- spectra --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["parquet", "parquet-extra", "jsonl", "jsonl.gz", "pairs.jsonl"])
def test_spectra_with_lists(tmp_path, how):
    path = tmp_path / f"mine.{how}"
    if how == "parquet":
        SPECTRA.write_parquet(path)
    elif how == "parquet-extra":
        path = tmp_path / "mine.pq"
        SPECTRA.with_columns(note=pl.lit("x")).rename({"mzs": "mz", "identifier": "ID"}).write_parquet(path)
    elif how == "pairs.jsonl":
        rows = [{"id": i, "peaks": [list(p) for p in zip(m, h, strict=True)]} for i, m, h in SPECTRA.rows()]
        put(path, "\n".join(json.dumps(row) for row in rows))
    else:
        text = SPECTRA.write_ndjson().encode()
        put(path, gzip.compress(text) if how.endswith("gz") else text, "b")
    read = read_predictions(path, task("spectrum-prediction"), queries("spectrum-prediction"))
    assert read.schema == PREDICTED_SPECTRA
    assert read.equals(SPECTRA)


@pytest.mark.parametrize(
    "text",
    [
        "identifier,peaks\nQ1,50.5:1 61.25:0.5\n\nQ2,70:3\n",
        "identifier\tmzs\tintensities\nQ1\t50.5 61.25\t1 0.5\nQ2\t70\t3\n",
        'spectrum_id;mz;intensity\nQ1;50.5 61.25;1 0.5\nQ2;"70";"3"\n',
        'identifier,mzs,intensities\r\nQ1,"[50.5, 61.25]","[1.0, 0.5]"\r\nQ2,[70],[3]\r\n',
        "identifier,peaks\nQ1,61.25:0.5 50.5:1\nQ2,70:3\n",  # out of order: sorted
    ],
)
def test_spectra_as_csv(tmp_path, text):
    for name, data in (("a.csv", text.encode()), ("b.csv.gz", gzip.compress(b"\xef\xbb\xbf" + text.encode()))):
        read = read_predictions(put(tmp_path / name, data, "b"), "spectrum-prediction", queries("spectrum-prediction"))
        assert read.equals(SOME)


def test_spectra_as_mgf_and_msp(tmp_path):
    asked = queries("spectrum-prediction")
    mgf = "".join(f"BEGIN IONS\nTITLE={i}\nPEPMASS=100\n{p}END IONS\n\n" for i, p in
                  (("Q1", "50.5 1\n61.25 0.5\n"), ("Q2", "70 3\n")))  # fmt: skip
    msp = "Name: Q1\nNum Peaks: 2\n50.5 1\n61.25 0.5\n\nName: Q2\nDB#: 77\nNum Peaks: 1\n70 3\n\n"
    for name, text in (("a.mgf", mgf), ("b.txt", mgf), ("c.msp", msp)):
        read = read_predictions(put(tmp_path / name, text), "spectrum-prediction", asked)
        assert read["identifier"].to_list() == ["Q1", "Q2"]
        assert read["mzs"].to_list() == SOME["mzs"].to_list()
    own = tmp_path / "own.mgf"
    formats.write(SOME.with_columns(precursor_mz=pl.lit(100.0)), own)
    assert read_predictions(own, "spectrum-prediction", asked).equals(SOME)
    again = put(tmp_path / "d.mgf", mgf + mgf)
    with pytest.raises(PredictionError, match=r"d\.mgf: 2 rows answer a query a second time: 'Q1#2' \(row 3\)"):
        read_predictions(again, "spectrum-prediction")
    with pytest.raises(PredictionError, match="does not answer the task retrieval"):
        read_predictions(again, "retrieval")
    with pytest.raises(PredictionError, match="END IONS"):
        read_predictions(put(tmp_path / "cut.mgf", mgf[:-20]), "spectrum-prediction")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("identifier,peaks\nQ1,50:1\nQX,50:1\nQY,60:1\n", r"2 rows of identifiers .* 'QX' \(line 3\), 'QY' \(line 4\)"),
        ("identifier,peaks\nQ1,50:1\n\nQ1,50:1\n", r"1 row answers a query a second time: 'Q1' \(line 4\)"),
        ("identifier,peaks\nQ1,50:1\nQ2,50:high\n", r"holds? text .* 'Q2' \(line 3\)"),
        ("identifier,peaks\nQ1,\n", r"without peaks: 'Q1' \(line 2\)"),
        ("identifier,peaks\nQ1,50:1 60\n", r"not pairs: 'Q1' \(line 2\)"),
        ("identifier,peaks\nQ1,nan:1\n", r"m/z that is NaN"),
        ("identifier,peaks\nQ1,50:-1\n", r"intensity that is NaN, infinite or below 0: 'Q1' \(line 2\)"),
        ("identifier,mzs,intensities\nQ1,1 2,1\n", r"unequal number: 'Q1' \(line 2\)"),
        ("identifier,peaks\n,50:1\n", r"without identifier: line 2"),
        (
            "identifer,peaks\nQ1,50:1\n",
            r"no column identifier; the file has identifer, peaks\n.*did you mean 'identifer'",
        ),
        ("identifier,mzs,intensty\nQ1,50,1\n", r"no column intensities.*\n.*did you mean 'intensty'"),
        ("identifier,peaks\nQ1,50:1,x\n", r"bad\.csv:2: not a table"),
        ("identifier,peaks\n", "no predictions inside"),
        ("", "the file is empty"),
        ('[{"identifier": "Q1"}]', "a JSON array"),
        ("<!doctype html><html>", "HTML"),
    ],
)
def test_mistakes_in_spectra(tmp_path, text, said):
    path = put(tmp_path / "bad.csv", text)
    with pytest.raises(PredictionError, match=said) as caught:
        read_predictions(path, "spectrum-prediction", queries("spectrum-prediction"))
    assert "bad.csv" in str(caught.value)
    assert caught.value.remedy


def test_lines_are_those_of_the_file_behind_quoted_line_feeds(tmp_path):
    path = put(tmp_path / "a.csv", 'identifier,note,peaks\nQ1,"two\nlines",50:1\nQX,,50:1\n')
    with pytest.raises(PredictionError, match=r"'QX' \(line 4\)"):
        read_predictions(path, "spectrum-prediction", queries("spectrum-prediction"))


def test_five_rows_are_named(tmp_path):
    path = put(tmp_path / "a.csv", "identifier,peaks\n" + "".join(f"X{n},50:1\n" for n in range(9)))
    with pytest.raises(PredictionError, match=r"9 rows .*'X4' \(line 6\) and 4 more"):
        read_predictions(path, "spectrum-prediction", queries("spectrum-prediction"))


def test_files_of_another_kind(tmp_path):
    asked = queries("spectrum-prediction")
    parquet = tmp_path / "whole.parquet"
    SPECTRA.write_parquet(parquet)
    data = parquet.read_bytes()
    broken = {
        "cut.parquet": (data[:-100], "cut or damaged"),
        "not.parquet": (b"identifier", "does not begin as Parquet"),
        "mine.pkl": (pickle.dumps({"a": 1}), "a pickle"),
        "mine.h5": (b"\x89HDF\r\n\x1a\n", "HDF5"),
        "mine.npy": (b"\x93NUMPY", "NumPy"),
        "mine.xlsx": (b"PK\x03\x04", "zip"),
        "mine.bin": (b"ab\0\0", "binary"),
        "cut.csv.gz": (gzip.compress(b"identifier,peaks\nQ1,50:1\n" * 99)[:-20], "cut or damaged"),
        "a.jsonl": (b'{"identifier":"Q1","peaks":[[50,1]]}\n\n{"identifier":', r"a\.jsonl:3: not JSON"),
        "b.jsonl": (b'{"identifier":"Q1","peaks":[[50,NaN]]}', r"b\.jsonl:1: not JSON: NaN"),
        "c.jsonl": (b'{"identifier":"Q1","mzs":[50],"intensities":["x"]}', r"holds? text .*'Q1' \(line 1\)"),
        "d.jsonl": (b'{"identifier":"Q1","mzs":50,"intensities":1}', "not lists"),
    }
    for name, (content, said) in broken.items():
        with pytest.raises(PredictionError, match=said):
            read_predictions(put(tmp_path / name, content, "b"), "spectrum-prediction", asked)
    with pytest.raises(PredictionError, match=r"no such file\n.*did you mean 'whole\.parquet'"):
        read_predictions(tmp_path / "whol.parquet", "spectrum-prediction", asked)
    with pytest.raises(PredictionError, match="a folder"):
        read_predictions(tmp_path, "spectrum-prediction", asked)
    with pytest.raises(ConfigError, match=r"unknown format"):
        read_predictions(parquet, "spectrum-prediction", asked, format="parket")
    with pytest.raises(ConfigError, match="unknown task"):
        read_predictions(parquet, "retreival", asked)


ODD = (1, 1.5, True, None, "x", [1], ["a"], [[1, 2]], {"a": 1}, [], [None], [{"a": 1}])


@settings(deadline=None, max_examples=150)
@given(st.sampled_from(["spectrum-prediction", "fingerprint", "retrieval"]), st.data())
def test_no_table_ends_in_an_error_of_another_kind(tmp_path_factory, name, data):
    """Any value in any column: read, or refused by name."""
    path = tmp_path_factory.mktemp("x") / "a.parquet"
    columns = data.draw(st.lists(st.sampled_from(COLUMNS[name]), unique=True, max_size=4))
    made = pl.DataFrame({"identifier": ["Q1"], **{c: [data.draw(st.sampled_from(ODD))] for c in columns}})
    made.write_parquet(path)
    try:
        read = read_predictions(path, name, data.draw(st.sampled_from([None, queries(name)])))
    except PredictionError:
        return
    assert read.schema == task(name).predictions


COLUMNS = {
    "spectrum-prediction": ("mzs", "intensities", "peaks"),
    "fingerprint": ("fingerprint", "bits"),
    "retrieval": ("candidate", "smiles", "score", "candidates", "scores"),
}


def test_rows_that_were_not_asked_are_dropped_where_that_is_wanted(tmp_path):
    path = tmp_path / "a.parquet"
    SPECTRA.write_parquet(path)
    asked = queries("spectrum-prediction", 1)
    said = []
    read = read_predictions(path, "spectrum-prediction", asked, unknown="drop", say=said.append)
    assert read["identifier"].to_list() == ["Q1"]
    assert said == ["a.parquet: 2 of 3 rows left out, of 2 identifiers that were not asked, e.g. 'Q2', 'Q3'"]
    other = asked.with_columns(identifier=pl.lit("Z"))
    with pytest.raises(PredictionError, match="none of its identifiers"):
        read_predictions(path, "spectrum-prediction", other, unknown="drop")


@settings(deadline=None, max_examples=25)
@given(st.lists(st.lists(st.floats(1, 2000, allow_nan=False), max_size=5), min_size=1, max_size=4))
def test_csv_and_parquet_say_the_same(tmp_path_factory, lists):
    folder = tmp_path_factory.mktemp("x")
    made = pl.DataFrame(
        {"identifier": [f"Q{n}" for n in range(len(lists))], "mzs": [sorted(x) for x in lists], "intensities": lists},
        schema=dict(PREDICTED_SPECTRA),
    ).filter(pl.col("mzs").list.len() > 0)
    if made.is_empty():
        return
    made.write_parquet(folder / "a.parquet")
    flat = made.with_columns(pl.col("mzs", "intensities").cast(pl.List(pl.String)).list.join(" "))
    flat.write_csv(folder / "a.csv")
    one = read_predictions(folder / "a.parquet", "spectrum-prediction")
    assert one.equals(made)
    assert read_predictions(folder / "a.csv", "spectrum-prediction").equals(one)


# --- fingerprints ---------------------------------------------------------------------------------------------------


def test_fingerprints_in_every_spelling(tmp_path):
    bits = np.random.default_rng(0).random((2, 2048)) < 0.03
    made = pl.DataFrame({"identifier": ["Q1", "Q2"], "fingerprint": bits.astype(np.float32).tolist()},
                        schema=dict(PREDICTED_FINGERPRINTS))  # fmt: skip
    made.write_parquet(tmp_path / "a.parquet")
    made.with_columns(pl.col("fingerprint").list.to_array(2048)).write_parquet(tmp_path / "array.parquet")
    made.write_ndjson(tmp_path / "a.jsonl")
    ones = [" ".join(map(str, np.flatnonzero(row))) for row in bits]
    strings = ["".join("01"[b] for b in row) for row in bits.astype(int)]
    probabilities = [" ".join(f"{float(b)}" for b in row) for row in bits]
    pl.DataFrame({"identifier": ["Q1", "Q2"], "bits": ones}).write_csv(tmp_path / "bits.csv")
    pl.DataFrame({"identifier": ["Q1", "Q2"], "fingerprint": strings}).write_csv(tmp_path / "digits.csv")
    pl.DataFrame({"identifier": ["Q1", "Q2"], "fingerprint": probabilities}).write_csv(tmp_path / "numbers.csv")
    lists = [np.flatnonzero(row).tolist() for row in bits]
    pl.DataFrame({"identifier": ["Q1", "Q2"], "bits": lists}).write_ndjson(tmp_path / "bits.jsonl")
    for path in sorted(tmp_path.iterdir()):
        assert read_predictions(path, task("fingerprint"), queries("fingerprint")).equals(made), path.name


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("identifier,fingerprint\nQ1," + "1" * 1024 + "\n", r"has 1024 values, not 2,048: 'Q1' \(line 2\)"),
        ("identifier,fingerprint\nQ1," + "2 " * 2048 + "\n", r"outside 0 to 1, or NaN: 'Q1' \(line 2\)"),
        ("identifier,fingerprint\nQ1," + "0 " * 2047 + "NaN\n", r"outside 0 to 1, or NaN: 'Q1' \(line 2\)"),
        ("identifier,bits\nQ1,5 2048\n", r"no index below 2,048: 'Q1' \(line 2\)"),
        ("identifier,bits\nQ1,5 x\n", r"holds? text"),
        ("identifier,fingerprnt\nQ1,5\n", r"did you mean 'fingerprnt'"),
    ],
)
def test_mistakes_in_fingerprints(tmp_path, text, said):
    with pytest.raises(PredictionError, match=said):
        read_predictions(put(tmp_path / "bad.csv", text), "fingerprint", queries("fingerprint"))


# --- scores of candidates -------------------------------------------------------------------------------------------

SCORES = pl.DataFrame(
    {"identifier": ["Q1"] * 5 + ["Q2"] * 5, "candidate": keys() * 2, "score": [float(n) for n in range(10)]},
    schema=dict(PREDICTED_SCORES),
)


def by_smiles(smiles):
    return SCORES.with_columns(smiles=pl.Series(list(smiles) * 2)).drop("candidate")


def test_scores_in_every_spelling(tmp_path):
    SCORES.write_parquet(tmp_path / "a.parquet")
    SCORES.write_csv(tmp_path / "a.csv")
    SCORES.write_csv(tmp_path / "a.tsv", separator="\t")
    SCORES.with_columns(pl.col("candidate") + "-UHFFFAOYSA-N").rename({"candidate": "InChIKey"}).write_csv(
        tmp_path / "k.csv"
    )
    by_smiles(POOL).write_csv(tmp_path / "shown.csv")
    by_smiles(["OCC", "OCCC", "CC(O)C", "Oc1ccccc1", "Oc1ccc(NC(C)=O)cc1"]).write_csv(tmp_path / "spelt.csv")
    lists = SCORES.group_by("identifier", maintain_order=True).agg("candidate", "score")
    lists = lists.rename({"candidate": "candidates", "score": "scores"})
    lists.write_ndjson(tmp_path / "lists.jsonl")
    lists.drop("candidates").write_parquet(tmp_path / "shown.parquet")
    flat = lists.with_columns(
        pl.col("candidates").list.join(" "), pl.col("scores").cast(pl.List(pl.String)).list.join(" ")
    )
    flat.write_csv(tmp_path / "lists.csv")
    for path in sorted(tmp_path.iterdir()):
        read = read_predictions(path, task("retrieval"), queries("retrieval"))
        assert read.schema == PREDICTED_SCORES
        assert read.equals(SCORES), path.name
    assert read_predictions(tmp_path / "spelt.csv", "retrieval").equals(SCORES)  # without queries by structure alone


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "identifier,candidate,score\nQ1,{k0},1\nQ1,{k0},2\n",
            r"scores a candidate a second time: '\w{14}' \(line 3\)",
        ),
        ("identifier,candidate,score\nQ1,AAAAAAAAAAAAAA,1\n", r"not in the query's pool: 'AAAAAAAAAAAAAA' \(line 2\)"),
        ("identifier,candidate,score\nQ1,CCO,1\n", r"no InChIKey: 'CCO' \(line 2\)"),
        ("identifier,candidate,score\nQ1,{k0},\n", r"without score: '\w{14}' \(line 2\)"),
        ("identifier,candidate,score\nQ1,{k0},good\n", r"text where a number belongs: 'good' \(line 2\)"),
        ("identifier,candidate,score\nQ1,{k0},NaN\n", r"NaN or infinite: '\w{14}' \(line 2\)"),
        ("identifier,candidate,score\nQ1,{k0},-inf\n", r"NaN or infinite"),
        ("identifier,smiles,score\nQ1,C1CC,1\n", r"do not parse: 'C1CC' \(line 2\)"),
        ("identifier,scores\nQ1,1 2\n", r"unequal number: 'Q1' \(line 2\)"),
        ("identifier,candidate,scoree\nQ1,{k0},1\n", r"no column score.*\n.*'scoree'"),
        ("identifier,candidates,score\nQ1,{k0},1\n", r"no column candidate"),
    ],
)
def test_mistakes_in_scores(tmp_path, text, said):
    path = put(tmp_path / "bad.csv", text.replace("{k0}", keys()[0]))
    with pytest.raises(PredictionError, match=said):
        read_predictions(path, "retrieval", queries("retrieval"))


def test_scores_alone_need_the_shown_order(tmp_path):
    with pytest.raises(PredictionError, match="scores without candidates"):
        read_predictions(put(tmp_path / "a.csv", "identifier,scores\nQ1,1 2 3 4 5\n"), "retrieval")


def test_half_a_million_scores_take_no_time(tmp_path):
    """A ninth of MassSpecGym's 4.5 million; docs/external.md has the figure of the whole."""
    names = [
        f"{'ABCDEFGHIJKL'[n % 12]}{n:013d}".translate(str.maketrans("0123456789", "QWERTYUIOP")) for n in range(250)
    ]
    asked = pl.DataFrame({"identifier": [f"Q{n}" for n in range(2000)], "candidates": [names] * 2000})
    made = asked.explode("candidates").rename({"candidates": "candidate"})
    made = made.with_columns(score=pl.int_range(pl.len()).cast(pl.Float64))
    made.write_parquet(tmp_path / "a.parquet")
    started = time.perf_counter()
    assert read_predictions(tmp_path / "a.parquet", "retrieval", asked).height == 500_000
    assert time.perf_counter() - started < 5


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.csv", "id,candidat,score\nQ1,X,1\n", "no column candidate"),
        ("a.tsv", "id\tsmiles\nQ1\tX\n", "no column score"),
        ("a.jsonl", '{"identifier": "Q1"}\n{"identifier": "Q2", "score": 1}\n', "no column candidate"),
        ("a.csv", "", "the file is empty"),
        ("a.mgf", "BEGIN IONS\n", "a file of spectra does not answer"),
        ("a.parquet", "PAR1 cut", "cut or damaged"),
        ("a.csv", "spectrum;smiles;score\nQ1;CCO;1\n", ""),
        ("a.jsonl", '{"identifier": "Q1"}\n{"identifier": "Q2", "scores": [1]}\n', ""),
        ("a.jsonl", '{"identifier": "' + "x" * 100_000, ""),  # the beginning does not tell
    ],
)
def test_a_file_is_looked_at_before_there_are_queries(tmp_path, name, text, said):
    path = put(tmp_path / name, text)
    if not said:
        check_file(path, "retrieval")
        return
    with pytest.raises(PredictionError, match=said) as caught:
        check_file(path, "retrieval")
    assert name in caught.value.where
