"""The parts of a cohort against readable definitions and scikit-learn."""

from __future__ import annotations

import tarfile

import made_cohort
import numpy as np
import polars as pl
import pytest

pytest.importorskip("sklearn", reason="the extra cohort is not installed")

from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import balanced_accuracy_score, confusion_matrix, f1_score, r2_score

from mslitmus.cohort import REPRESENTATIONS
from mslitmus.cohort.asking import unasked
from mslitmus.cohort.design import unit_of
from mslitmus.cohort.files import locate, opened
from mslitmus.cohort.groups import folds, group, shuffles
from mslitmus.cohort.learners import STRENGTHS, classify, ridge
from mslitmus.cohort.library_hits import LibraryHits
from mslitmus.cohort.measures import confusions, of_classes, of_numbers, p_value, sums
from mslitmus.cohort.nearest import truth_distances
from mslitmus.cohort.nested import predict_classes, predict_numbers
from mslitmus.cohort.pooled import Pooled, distances, fits
from mslitmus.cohort.representation import summarise
from mslitmus.cohort.samples import read_sheet, stem
from mslitmus.cohort.separation import permanova
from mslitmus.cohort.settings import CohortSettings, parse
from mslitmus.cohort.words import Fragments, PrecursorHistogram
from mslitmus.errors import ConfigError, DataError, FormatError, MslitmusError, SchemaError, SplitError
from mslitmus.schemas import conform

rng = np.random.default_rng(0)
HOW = CohortSettings(folds=3, inner_folds=3, seeds=2, permutations=9)


class Table:
    """Features that are simply there."""

    def __init__(self, x: np.ndarray) -> None:
        self.x = x

    def gram(self, aggregation, train):
        return self.x @ self.x.T


def sheet_of(tmp_path, text):
    path = tmp_path / "samples.tsv"
    path.write_text(text.replace(" ", "\t"))
    return path


def test_a_sheet_is_read(tmp_path):
    path = sheet_of(tmp_path, "file group value1 role\na.mzML x 1 \nb/b.mgf.gz y 2.5 Sample_1\nc.mgf NA 3 Blank_SPE\n")
    sheet = read_sheet(path)
    assert sheet.classes == ("group",)
    assert sheet.numbers == ("value1",)
    assert sheet.rows["sample"].to_list() == ["a", "b", "c"]
    assert sheet.rows["role"].to_list() == ["sample", "sample", "blank"]
    assert read_sheet(path, targets=["value1"], classes=["value1"]).classes == ("value1",)
    assert stem("x/y.D/run.1.mzML.gz") == "run.1"


def test_unknown_numbers_and_numbers_that_are_names(tmp_path):
    path = sheet_of(tmp_path, "file value dose\na 1 5,3\nb NAN 6\nc 2 7\nd nan 8\n")
    sheet = read_sheet(path)
    assert sheet.numbers == ("value",)
    assert sheet.rows["value"].null_count() == 2
    assert read_sheet(path, targets=["dose"], classes=["dose"]).classes == ("dose",)


def test_one_sample_in_two_acquisitions(tmp_path):
    text = "file sample acquisition group\na1 s RP x\na2 s HILIC x\nb1 t RP y\nb2 t HILIC y\n"
    sheet = read_sheet(sheet_of(tmp_path, text))
    assert sheet.acquisitions == ["HILIC", "RP"]
    assert sheet.rows["sample"].to_list() == ["s@RP", "s@HILIC", "t@RP", "t@HILIC"]
    assert group(sheet.rows, None, 2).of.tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize(
    ("text", "options", "error", "match"),
    [
        ("name group\na x\n", {}, SchemaError, "no column 'file'"),
        ("file group\na x\na y\n", {}, SchemaError, "named twice: a"),
        ("file group\na x\nb x\n", {}, DataError, "only 'x'"),
        ("file value\na 1\nb 1.0\n", {}, DataError, "only 1.0"),
        ("file group\na x\nb y\n", {"targets": ["grup"]}, SchemaError, "no column 'grup'"),
        ("file group role\na x blnk\nb y \n", {}, SchemaError, "role 'blnk'"),
        ("file group order\na x 1\nb y late\n", {}, SchemaError, "'late' is no number"),
        ("file group\na x\nb y\n", {"columns": {"role": "kind"}}, SchemaError, "no column 'kind'"),
        ("file group\na x\nb y\n", {"columns": {"roll": "group"}}, ConfigError, "unknown column 'roll'"),
        ("file group role\na x blank\n", {}, DataError, "nothing"),
        ("file sample group\na s x\nb s y\n", {}, SchemaError, "sample named twice"),
        ("file value\na 1\nb inf\n", {}, SchemaError, "is infinite"),
        ("file group group\xa0\na x x\nb y y\n", {}, DataError, "cannot be read"),
        ("file value\na 5,3\nb 6\nc 1,25e3\n", {}, SchemaError, "decimal commas: '5,3'"),
        ("file value\na 5.3\nb 6\nc <LOD\n", {}, SchemaError, "1 of 3 entries that are none: '<LOD'"),
        ("file group order\na x 1\nb y inf\n", {}, SchemaError, "'inf' is no number"),
        ("file group acquisition\na x all\nb y RP\n", {}, SchemaError, "acquisition 'all'"),
        ("file group acquisition\na x R/P\nb y RP\n", {}, SchemaError, "acquisition 'R/P'"),
        ("file group group\na x x\nb y y\n", {}, SchemaError, "two columns called 'group'"),
        ("file,group\na,x\nb,y\n", {}, SchemaError, "save the sheet as tab-separated text"),
    ],
)
def test_a_bad_sheet_is_refused(tmp_path, text, options, error, match):
    with pytest.raises(error, match=match):
        read_sheet(sheet_of(tmp_path, text), **options)


def test_files_are_found_whatever_the_case_but_none_twice(tmp_path):
    for name in ("C18/QEC18_QCmix_end.mgf", "C18/a.mgf", "C18/A.mgf", "x.mgf"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    found = locate(["QEC18_Qcmix_end.mzML", "a.mzML", "A.mzML"], tmp_path)
    assert [path.name for path in found.values()] == ["QEC18_QCmix_end.mgf", "a.mgf", "A.mgf"]
    with pytest.raises(DataError, match=r"are one file, x\.mgf"):
        locate(["x.mgf", "raw/x.mzML"], tmp_path)
    with pytest.raises(DataError, match=r"1 of 2 files are not there: y\.mgf"):
        locate(["x.mgf", "y.mgf"], tmp_path)


@pytest.mark.parametrize("cut", [False, True])
def test_a_damaged_archive_is_refused(tmp_path, cut):
    whole = tmp_path / "whole.tar.gz"
    (tmp_path / "a.mgf").write_bytes(bytes(rng.integers(48, 58, 200_000).tolist()))
    with tarfile.open(whole, "w:gz") as archive:
        archive.add(tmp_path / "a.mgf", "a.mgf")
    data = bytearray(whole.read_bytes())
    data[40_000:40_100] = bytes(100)
    (tmp_path / "bad.tar.gz").write_bytes(data[:40_000] if cut else data)
    with pytest.raises(FormatError, match="cannot be unpacked"), opened(tmp_path / "bad.tar.gz", tmp_path / "run"):
        pass
    assert not list((tmp_path / "run").iterdir())


def test_what_cannot_be_asked_is_said(tmp_path):
    text = "file group subject replicate\n" + "".join(f"s{k} {'xy'[k % 2]} p{k // 2} {k % 2}\n" for k in range(6))
    sheet = read_sheet(sheet_of(tmp_path, text))
    assert "group is not predicted: all samples belong together (replicate, subject)" in unasked(sheet, HOW)[0]
    few = read_sheet(sheet_of(tmp_path, "file group\na x\nb y\nc x\n"))
    assert "3 samples, and 4 are needed" in unasked(few, HOW)[0]
    own = read_sheet(sheet_of(tmp_path, "file group\na w\nb x\nc y\nd z\n"))
    assert "no class has two independent samples" in unasked(own, HOW)[0]
    fine = read_sheet(sheet_of(tmp_path, "file group\na x\nb y\nc x\nd y\n"))
    assert unasked(fine, HOW) == []


def test_a_subject_is_no_replicate_of_the_same_name():
    rows = rows_of(subject=["1", None], replicate=["a", "1"])
    assert unit_of(rows).n_unique() == 2


def test_settings_are_strict():
    with pytest.raises(ConfigError, match="unknown setting 'fold'"):
        parse({"fold": 3}, "x.yaml")
    with pytest.raises(ConfigError, match="splits"):
        parse({"splits": "random"}, "x.yaml")


def rows_of(**columns):
    n = len(next(iter(columns.values())))
    blank = {name: [None] * n for name in ("replicate", "subject", "batch")}
    full = {"unit": [str(i) for i in range(n)], **blank, **columns}
    return pl.DataFrame(full, schema=dict.fromkeys(full, pl.String))


def test_what_belongs_together_through_others():
    rows = rows_of(replicate=["a", "a", "b", "c", None], subject=["1", "2", "2", "3", None])
    assert group(rows, None, 2).of.tolist() == [0, 0, 0, 1, 2]
    assert group(rows, ["replicate"], 2).of.tolist() == [0, 0, 1, 2, 3]
    one_batch = rows.with_columns(batch=pl.lit("1"))
    found = group(one_batch, None, 2)
    assert found.of.max() == 2
    assert found.note == ""  # there is nothing to keep apart
    two = group(rows.with_columns(batch=pl.Series(list("11122"))), None, 3)
    assert two.of.max() == 2
    assert "the 2 batches are not kept together in the folds: that would leave 2 groups" in two.note
    with pytest.raises(SchemaError, match="no column 'bach'"):
        group(rows, ["bach"], 2)


@pytest.mark.parametrize("splits", ["folds", "leave-one-group-out", "holdout"])
@pytest.mark.parametrize("classes", [True, False])
def test_folds_keep_groups_whole_and_classes_even(splits, classes):
    groups = np.repeat(np.arange(12), 3)
    labels = (groups % 2).astype(np.int64) if classes else None
    how = HOW.model_copy(update={"splits": splits})
    found = folds(groups, labels, how, 5)
    for train, test in found:
        assert not set(groups[train]) & set(groups[test])
        assert train.size + test.size == groups.size
        if classes and splits != "leave-one-group-out":
            assert (labels[test] == 0).mean() == 0.5
    assert len(found) == {"folds": 3, "leave-one-group-out": 12, "holdout": 1}[splits]
    again = folds(groups, labels, how, 5)
    assert all((a[1] == b[1]).all() for a, b in zip(found, again, strict=True))
    if splits != "holdout":
        assert sorted(np.concatenate([test for _, test in found])) == list(range(36))
    with pytest.raises(SplitError):
        folds(np.zeros(4, np.int64), None, HOW, 0)


def test_shuffles_move_whole_groups_within_cells():
    groups = np.repeat(np.arange(6), 2)
    labels = np.repeat([0.0, 1, 0, 1, 0, 1], 2)[:, None]
    cells = np.repeat([0, 0, 1, 1, 1, 1], 2)
    seen = set()
    for order in shuffles(groups, labels, cells, 50, 0):
        mixed = labels[order, 0]
        assert (mixed[::2] == mixed[1::2]).all()
        assert mixed[cells == 0].sum() == labels[cells == 0].sum()
        seen.add(tuple(mixed))
    assert len(seen) == 2 * 6
    varying = np.tile([0.0, 1], 6)[:, None]
    for order in shuffles(groups, varying, None, 5, 0):
        assert (groups[order] == groups).all()


def test_ridge_is_that_of_scikit_learn():
    x, y = rng.normal(size=(20, 50)), rng.normal(size=(20, 2))
    train, test = np.arange(14), np.arange(14, 20)
    weights = rng.uniform(0.5, 2, 14)
    found = ridge(x @ x.T, train, test, y[train], weights)
    share = weights / weights.sum()
    centred = x[train] - share @ x[train]
    scale = share @ (centred**2).sum(axis=1)
    for strength, mine in zip(STRENGTHS, found, strict=True):
        model = Ridge(alpha=strength * scale / 14 * 14, solver="svd").fit(x[train], y[train], sample_weight=share * 14)
        np.testing.assert_allclose(mine, model.predict(x[test]), rtol=1e-6, atol=1e-8)


def test_logistic_is_that_of_scikit_learn():
    x = rng.normal(size=(30, 40))
    labels = (x[:, 0] > 0).astype(np.int64)
    train, test = np.arange(20), np.arange(20, 30)
    found = classify(x @ x.T, train, test, labels, 2, "logistic")
    centred = x - x[train].mean(axis=0)
    centred /= np.sqrt((centred[train] ** 2).sum(axis=1).mean())
    model = LogisticRegression(C=1.0, class_weight="balanced", max_iter=1000).fit(centred[train], labels[train])
    place = int(np.flatnonzero(STRENGTHS == 1.0)[0])
    np.testing.assert_allclose(found[place], model.predict_proba(centred[test]), atol=5e-3)


def test_measures_are_those_of_scikit_learn():
    labels, called = rng.integers(0, 3, 60), rng.integers(0, 3, 60)
    groups = np.repeat(np.arange(20), 3)
    counts = confusions(labels, called, groups, 3).sum(axis=0)
    assert (counts == confusion_matrix(labels, called)).all()
    found = of_classes(counts)
    assert found["macro-f1"] == pytest.approx(f1_score(labels, called, average="macro"))
    assert found["balanced-accuracy"] == pytest.approx(balanced_accuracy_score(labels, called))
    truth, guess = rng.normal(size=(60, 2)), rng.normal(size=(60, 2))
    found = of_numbers(sums(truth, guess, groups).sum(axis=0))
    np.testing.assert_allclose(found["r2"], r2_score(truth, guess, multioutput="raw_values"))
    assert p_value(3.0, np.array([1.0, 2, 3])) == 0.5
    assert p_value(0.5, np.array([1.0, 2, 3]), smaller=True) == 0.25


def test_permanova_is_analysis_of_variance_on_euclidean_distances():
    """In one dimension, pseudo-F is the F of a one-way analysis of variance, or of a linear regression."""
    from scipy.stats import f_oneway, linregress

    values, labels = rng.normal(size=24), np.repeat([0, 1, 2], 8)
    distance = np.abs(values[:, None] - values[None, :])
    f, r2 = permanova(distance, np.eye(3)[labels][None])
    assert f[0] == pytest.approx(f_oneway(*(values[labels == k] for k in range(3))).statistic)
    x = rng.normal(size=24)
    line = linregress(x, values)
    _, r2 = permanova(distance, x[None, :, None])
    assert r2[0] == pytest.approx(line.rvalue**2)


def test_a_signal_is_found_and_none_is_not():
    groups = np.repeat(np.arange(20), 2)
    labels = (groups % 2).astype(np.int64)
    x = rng.normal(size=(40, 200))
    outer = folds(groups, labels, HOW, 0)
    for strength, low, high in ((0.0, 0.0, 0.75), (8.0, 0.9, 1.01)):
        shifted = x.copy()
        shifted[:, 0] += strength * labels
        found = predict_classes(Table(shifted), ["mean"], labels, 2, groups, outer, HOW, 0)
        assert low < (found.labels[0] == labels).mean() < high
        values = np.stack([labels, labels[::-1]], axis=1)[:, :, None].astype(float)
        numbers, fold = predict_numbers(Table(shifted), ["mean"], values, groups, outer, HOW, 0)
        error = ((numbers[0, :, 0, 0] - labels) ** 2).mean()
        assert (error < 0.1) == (strength > 0)
        assert set(fold) == {0, 1, 2}


def spectra(*peaks, precursor=300.0):
    frame = {
        "identifier": [str(i) for i in range(len(peaks))],
        "mzs": [list(p) for p in peaks],
        "intensities": [[1.0] * len(p) for p in peaks],
        "precursor_mz": [precursor] * len(peaks),
        "base_peak_intensity": [1.0 + 2 * i for i in range(len(peaks))],
    }
    return conform(pl.DataFrame(frame))


def test_words_of_a_spectrum():
    made = Fragments()
    matrix = made.vectors(spectra((100.004, 150.0), (150.001,)))
    index = np.flatnonzero(matrix.getnnz(axis=0))
    words = dict(zip(made.words(index)["word"], np.asarray(matrix.sum(axis=0)).ravel()[index], strict=True))
    assert words == {"peak@100.00": 1, "peak@150.00": 2, "loss@150.00": 2, "loss@200.00": 1}
    histogram = PrecursorHistogram(width=10)
    matrix = histogram.vectors(spectra((1.0,), precursor=999.9))
    assert histogram.words(matrix.indices)["word"].to_list() == ["precursor@990-1000"]


def test_pooling_a_bag_and_an_embedding():
    made = Fragments()
    runs = [spectra((100.0, 150.0), (150.0,)), spectra((150.0,), (120.0,)), spectra((120.0,))]
    pooled = Pooled([summarise(made, run, 0) for run in runs], True)
    words = made.words(pooled.index)["word"].to_list()
    assert words == ["peak@120.00", "peak@150.00", "loss@150.00", "loss@180.00"]
    np.testing.assert_allclose(pooled.vectors()[:, 1], [1, 0.5, 0])
    everyone = np.arange(3)
    np.testing.assert_allclose(pooled.matrix("log", everyone).toarray()[0, 1], np.log(3))
    np.testing.assert_allclose(pooled.matrix("weighted", everyone).toarray()[1, :2], [0.75, 0.25])
    tfidf = pooled.matrix("tfidf", everyone).toarray()
    np.testing.assert_allclose((tfidf**2).sum(axis=1), 1)
    assert (distances(pooled.gram("tfidf", everyone)) >= 0).all()

    class Made:
        name, bag, aggregations = "made", False, ("mean",)

        def vectors(self, frame):
            return np.stack([np.array([len(m), sum(m)], np.float32) for m in frame["mzs"]])

    dense = Pooled([summarise(Made(), run, 0) for run in runs], False)
    np.testing.assert_allclose(dense.vectors()[0], [1.5, 200])
    assert dense.gram("kmeans", everyone).shape == (3, 3)
    assert dense.matrix("quantile", everyone).shape == (3, 6)
    assert fits("kmeans", False)
    assert not fits("kmeans", True)
    with pytest.raises(ConfigError, match="unknown aggregation 'tfidv'"):
        fits("tfidv", True)


def test_weights_are_fitted_on_training_samples():
    made = Fragments()
    runs = [spectra((100.0, 150.0)), spectra((150.0,)), spectra((100.0,)), spectra((100.0, 150.0))]
    pooled = Pooled([summarise(made, run, 0) for run in runs], True)
    a, b = pooled.gram("tfidf", np.array([0, 1])), pooled.gram("tfidf", np.array([2, 3]))
    assert not np.allclose(a, b)
    assert pooled.gram("mean", np.array([0, 1])) is pooled.gram("mean", np.array([2, 3]))


def test_blanks_are_subtracted():
    made = Fragments()
    runs = [summarise(made, spectra((100.0,), (150.0,)), 0)] * 2
    pooled = Pooled(runs, True, [summarise(made, spectra((100.0,)), 0)])
    told = dict(zip(made.words(pooled.index)["word"], pooled.vectors()[0], strict=True))
    assert told["peak@100.00"] == 0
    assert told["peak@150.00"] == 0.5


def test_distances_of_compositions():
    rows = pl.DataFrame({"a": [100.0, 50.0, 0.0], "b": [0.0, 50.0, 100.0], "kind": ["x", "y", "x"]})
    np.testing.assert_allclose(truth_distances(rows, ("a", "b"), True)[0], [0, 0.5, 1])
    assert truth_distances(rows, ("kind",), False)[0].tolist() == [0, 1, 0]


def test_every_representation_says_what_it_needs():
    for name in ("library-hits", "embedding"):
        with pytest.raises(MslitmusError) as caught:
            REPRESENTATIONS[name]()
        assert caught.value.remedy


def test_library_hits_count_molecules(tmp_path):
    ions = made_cohort.molecules(0)[:5]
    library = tmp_path / "lib.mgf"
    library.write_text("\n".join(made_cohort.spectrum(n, *ion, 0.0) for n, ion in enumerate(ions)))
    made = LibraryHits((str(library),))
    queries = conform(
        pl.DataFrame(
            {
                "identifier": ["a", "b", "c", "d"],
                "mzs": [ions[3][1], ions[3][1], ions[0][1], ions[1][1]],
                "intensities": [ions[3][2], ions[3][2], ions[0][2], ions[0][2]],
                "precursor_mz": [ions[3][0], ions[3][0], 900.0, None],
            }
        )
    )
    matrix = made.vectors(queries)
    assert matrix.shape == (4, 5)
    index = np.flatnonzero(matrix.getnnz(axis=0))
    assert made.words(index)["word"].to_list() == ["lib:3"]
    np.testing.assert_allclose(np.asarray(matrix.sum(axis=0)).ravel()[index], [2.0], atol=1e-3)
    assert "lib" in str(made.identity())
