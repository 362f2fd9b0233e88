"""Evaluation sets: no molecule of the set is anywhere but in test, and what is held out is said."""

from __future__ import annotations

import polars as pl
import pytest

from mslitmus.data import store
from mslitmus.data.catalogue import entries
from mslitmus.data.ledger import Ledger, LedgerEntry
from mslitmus.data.splits import make_split
from mslitmus.data.splits.evaluation import SETS, held_out_keys, keys_hash
from mslitmus.errors import ConfigError, DataError, SplitError


def frame() -> pl.DataFrame:
    """30 molecules, two spectra each: one of three contributors; molecules 0 to 4 in CASMI 2016 too, 4 to 6 in 2012."""
    rows = [(f"lab{m}-{n}", f"{'ABCDEFGHIJ'[m % 10]}{m:013d}", f"Lab{m % 3}") for m in range(30) for n in range(2)]
    rows += [(f"six-{m}", rows[2 * m][1], "CASMI_2016") for m in range(5)]
    rows += [(f"own-{n}", f"Z{n:013d}", "CASMI_2016") for n in range(2)]
    rows += [(f"twelve-{m}", rows[2 * m][1], "CASMI_2012") for m in (4, 5, 6)]
    rows += [("unknown", None, "CASMI_2016"), ("lost", None, None)]
    schema = {"identifier": pl.String, "inchikey14": pl.String, "source": pl.String}
    return pl.DataFrame(rows, schema=schema, orient="row")


def folds(split, rows):
    return dict(split.apply(rows).items())


def test_casmi_2016_is_the_test_fold_and_its_molecules_are_nowhere_else():
    rows = frame()
    split = make_split(rows, "evaluation", set="casmi-2016", seed=1)
    split.check(rows)
    parts = folds(split, rows)
    assert set(parts["test"]["identifier"]) == {*(f"six-{m}" for m in range(5)), "own-0", "own-1"}
    keys = set(parts["test"]["inchikey14"])
    assert not keys & {*parts["train"]["inchikey14"], *parts["val"]["inchikey14"]}
    assert not {*parts["train"]["inchikey14"]} & {*parts["val"]["inchikey14"]}
    # molecule 4 is in both contests; the other records of CASMI 2012 are ordinary
    learned = {*parts["train"]["identifier"], *parts["val"]["identifier"]}
    assert {"twelve-5", "twelve-6"} <= learned
    assert "twelve-4" not in learned
    assert split.left_out == {"no structure": 2, "molecule of the evaluation set, measured elsewhere": 11}
    assert split.parameters["held_out_molecules"] == 7
    assert split.parameters["held_out_hash"] == keys_hash(keys) in " ".join(split.notes)
    assert held_out_keys("casmi-2016", rows) == keys
    assert held_out_keys(["casmi-2016", "casmi-2012"], rows) == keys | held_out_keys("casmi-2012", rows)


def test_the_order_of_rows_changes_nothing_and_the_seed_only_validation():
    rows = frame()
    first = make_split(rows, "evaluation", seed=1)
    assert make_split(rows.sample(fraction=1, shuffle=True, seed=3), "evaluation", seed=1).folds.equals(first.folds)
    other = make_split(rows, "evaluation", seed=2)
    test = pl.col("fold") == "test"
    assert other.folds.filter(test).equals(first.folds.filter(test))
    assert not other.folds.equals(first.folds)
    large = make_split(rows, "evaluation", val=0.4)
    assert large.sizes["val"]["spectra"] > first.sizes["val"]["spectra"]


def test_the_store_says_what_is_held_out(tiny):
    with pytest.raises(DataError):
        held_out_keys("casmi-2016")
    some = tiny.with_columns(source=pl.when(pl.int_range(pl.len()) < 5).then(pl.lit("CASMI_2016")).otherwise("source"))
    store.save("massbank", some, Ledger((LedgerEntry("made", some.height),)), {"title": "few"})
    assert held_out_keys("casmi-2016") == frozenset(some["inchikey14"].head(5))


@pytest.mark.parametrize(
    ("parameters", "error", "said"),
    [
        ({"set": "casmi-2015"}, ConfigError, "unknown evaluation set 'casmi-2015'\n.*'casmi-2016'"),
        ({"set": "casmi-2016", "val": 1.5}, SplitError, "is no share"),
        ({"set": "casmi-2016", "path": "x.csv"}, SplitError, "takes no fold file"),
        ({"set": "nplib1"}, SplitError, "ships no folds"),
        ({"set": "nplib1", "path": "absent.csv"}, SplitError, "fold file absent"),
    ],
)
def test_what_cannot_be_asked(parameters, error, said):
    with pytest.raises(error, match=said):
        make_split(frame(), "evaluation", **parameters)


def test_a_dataset_without_the_set_is_refused():
    with pytest.raises(SplitError, match=r"no spectrum of casmi-2012.*\n.*CASMI_2012"):
        make_split(frame().filter(pl.col("source") == "Lab0"), "evaluation", set="casmi-2012")


# --- NPLIB1 ---------------------------------------------------------------------------------------------------------


def nplib1() -> pl.DataFrame:
    return pl.DataFrame(
        {"identifier": ["CCMS1", "CCMS2-1", "CCMS2-2", "CCMS3", "CCMS4", "CCMS5", "CCMS6"],
         "inchikey14": ["A", "B", "B", "C", "D", "A", "E"], "source": "NPLIB1"},
    )  # fmt: skip


def test_nplib1_takes_published_folds(tmp_path):
    path = tmp_path / "canopus_hplus_100_0.tsv"
    table = "spec\tFold_100_0\nCCMS1\ttest\nCCMS2\ttrain\nCCMS3\tval\nCCMS4\ttrain\nCCMS5\ttrain\nCCMSX\ttest\n"
    path.write_text(table)
    split = make_split(nplib1(), "evaluation", set="nplib1", path=path)
    split.check(nplib1())
    assert dict(split.folds.rows()) == {
        "CCMS1": "test", "CCMS2-1": "train", "CCMS2-2": "train", "CCMS3": "val", "CCMS4": "train"}  # fmt: skip
    assert split.left_out == {
        "molecule of the evaluation set, measured elsewhere": 1, "not in the published folds": 1}  # fmt: skip
    assert split.parameters["path"] == path.name
    assert len(split.parameters["sha256"]) == 64
    assert held_out_keys("nplib1", nplib1(), path) == {"A"}
    both = tmp_path / "two.csv"
    both.write_text(table.replace("\t", ",").replace("Fold_100_0", "Fold_1,Fold_2").replace("train", "train,val"))
    with pytest.raises(SplitError):
        make_split(nplib1(), "evaluation", set="nplib1", path=both)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("spec,fold_a,fold_b\nCCMS1,test,val\n", "say column="),
        ("name_of,fold\nCCMS1,test\n", "columns name_of, fold"),
        ("spec,fold\nCCMS1,testing\n", "unknown fold 'testing'"),
        ("spec,fold\nCCMS1,test\nCCMS1,val\n", "'CCMS1' is in two folds"),
        ("spec,fold\nnone,test\n", "no spectrum of this dataset"),
    ],
)
def test_fold_files_that_are_none(tmp_path, text, said):
    path = tmp_path / "folds.csv"
    path.write_text(text)
    with pytest.raises(SplitError, match=said):
        make_split(nplib1(), "evaluation", set="nplib1", path=path)
    with pytest.raises(SplitError, match="unknown column 'fld'"):
        make_split(nplib1(), "evaluation", set="nplib1", path=path, column="fld")


def test_every_set_has_a_title_and_a_dataset():
    assert {wanted.dataset for wanted in SETS.values()} <= set(entries())
