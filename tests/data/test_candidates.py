from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from mslitmus.data import candidates as c
from mslitmus.data.candidates import calibrate, lists, sets, workers
from mslitmus.data.molecules import MOLECULES
from mslitmus.errors import DataError
from mslitmus.schemas import CANDIDATES


@pytest.fixture(scope="module")
def own() -> c.MoleculeList:
    from mslitmus.chem.molecule import inchikey14

    frame = pl.DataFrame({"smiles": [smiles for _, smiles in MOLECULES]})
    keys = [inchikey14(smiles) for smiles in frame["smiles"]]
    return c.dataset_list(frame.with_columns(pl.Series("inchikey14", keys)), processes=1)


@pytest.fixture
def asked(own: c.MoleculeList) -> pl.DataFrame:
    return own.frame.filter(pl.col("exact_mass") > 130).gather_every(40).select("inchikey14", "smiles")


def test_real_pools_hold_the_truth_once_in_hash_order(own: c.MoleculeList, asked: pl.DataFrame) -> None:
    made = c.build(asked, [own], c.PoolSettings("mass", fill=False), processes=1)
    assert made.sizes()["truth"].all()
    assert made.pools.equals(sets.in_hash_order(made.pools.sample(fraction=1, shuffle=True, seed=1)))
    assert set(made.pools["origin"]) == {"dataset"}
    joined = made.pools.join(own.frame, left_on="candidate", right_on="inchikey14")
    truth = joined.join(own.frame.select("inchikey14", m="exact_mass"), left_on="molecule", right_on="inchikey14")
    assert ((truth["exact_mass"] - truth["m"]).abs() <= truth["m"] * 1e-5).all()
    assert truth.filter(pl.col("tautomer").is_duplicated().over("molecule")).is_empty()


def test_filled_pools_are_isomers_and_the_same_however_they_are_built(
    own: c.MoleculeList, asked: pl.DataFrame, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(calibrate, "_SAMPLE", 40)
    monkeypatch.setattr(calibrate, "_RAW", 8)
    settings = c.PoolSettings("formula", size=12)
    few = c.build(asked.head(2), [own], settings, processes=1)
    seen: list[tuple[int, int]] = []
    more = c.build(asked.head(4), [own], settings, lambda *a: seen.append(a), processes=1)
    assert seen[0] == (2, 4)  # the first two were kept
    assert seen[-1] == (4, 4)
    assert more.select(few.molecules).pools.equals(few.pools)
    monkeypatch.setenv("MSLITMUS_HOME", str(tmp_path))
    again = c.build(asked.head(4).reverse(), [own], settings, processes=1)
    assert again.hash == more.hash
    pools = more.pools
    assert pools.group_by("molecule").agg(pl.col("formula").n_unique())["formula"].max() == 1
    assert more.sizes()["candidates"].max() <= 12
    assert more.sizes()["candidates"].median() >= 10  # carbon dioxide and its like have few isomers
    assert pools.filter(c.is_decoy()).height > 8
    assert more.real_only().pools.filter(c.is_decoy()).is_empty()


def test_a_set_is_found_again_and_an_edited_one_is_refused(own: c.MoleculeList, asked: pl.DataFrame) -> None:
    made = c.build(asked, [own], c.PoolSettings(fill=False), processes=1)
    folder = made.save()
    assert c.candidate_set("mass-64").hash == made.hash == c.candidate_set(folder).hash
    pl.read_parquet(folder / "pools.parquet").head(3).write_parquet(folder / "pools.parquet")
    with pytest.raises(DataError, match="hash"):
        c.candidate_set("mass-64")
    with pytest.raises(DataError, match="no candidate set"):
        c.candidate_set("mass-257")


def pools_of(sizes: dict[str, int]) -> c.CandidateSet:
    rows = [(m, m if k == 0 else f"{m}{k}", "C", "CH4", "x") for m, n in sizes.items() for k in range(n)]
    return c.CandidateSet.make("made", "mass", {}, pl.DataFrame(rows, schema=CANDIDATES, orient="row"))


def test_subsamples_are_nested_and_hide_the_truth() -> None:
    full = pools_of({f"M{k}": 40 for k in range(300)})
    before: set[tuple[str, str]] = set()
    for size in (2, 8, 20, 40):
        part = c.subsample(full, size)
        rows = set(part.pools.select("molecule", "candidate").rows())
        assert before <= rows
        assert part.sizes()["candidates"].to_list() == [size] * 300
        assert part.sizes()["truth"].all()
        before = rows
    eight = c.subsample(full, 8).of(full.molecules)
    places = [pool.to_list().index(m) for m, pool in zip(eight["molecule"], eight["candidates"], strict=True)]
    assert max(places.count(k) for k in range(8)) < 65  # 37.5 expected in each place, σ = 5.7
    with pytest.raises(DataError):
        c.subsample(full, 0)


def test_of_keeps_order_and_says_where_no_pool_is() -> None:
    full = pools_of({"A": 3, "B": 1})
    rows = full.of(["B", None, "x", "A", "B"])
    assert rows["molecule"].to_list() == ["B", None, "x", "A", "B"]
    assert rows["candidates"].list.len().to_list() == [1, None, None, 3, 1]
    absent = full.without_truth()
    assert absent.molecules == ["A"]
    assert not absent.sizes()["truth"].any()
    assert absent.hash != full.hash


def test_a_candidate_that_repeats_is_refused() -> None:
    twice = pl.concat([pools_of({"A": 2}).pools] * 2)
    with pytest.raises(DataError, match="repeats"):
        c.CandidateSet.make("made", "mass", {}, twice)


@pytest.mark.parametrize(
    ("name", "text", "repeated"),
    [
        ("a.smi", "OCC one\nC[NH3+] two\nnonsense three\nOCC again\nCCO\n", 2),
        ("a.tsv", "x\tOCC\ny\tC[NH3+]\nz\tnonsense\nw\tCCO\n", 1),
        ("a.csv", "id,SMILES\n1,OCC\n2,C[NH3+]\n3,nonsense\n4,CCO\n", 1),
    ],
)
def test_lists_are_read_standardised_and_counted(tmp_path: Path, name: str, text: str, repeated: int) -> None:
    path = tmp_path / f"{name}.gz"
    path.write_bytes(gzip.compress(text.encode()))
    made = c.import_list(path, "mine")
    assert made.frame["smiles"].to_list() == ["CN", "CCO"]
    assert (made.info["unreadable"], made.info["repeated"]) == (1, repeated)
    assert made.info["lines"] == 3 + repeated
    assert made.info["unreadable_examples"] == ["nonsense"]
    assert c.molecule_list("mine").hash == made.hash
    assert c.import_list(path, "mine").info["imported"] == made.info["imported"]


def test_a_list_without_molecules_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.smi"
    path.write_text("nonsense\n")
    with pytest.raises(DataError, match="readable"):
        c.import_list(path)
    with pytest.raises(DataError, match="no such file"):
        c.import_list(tmp_path / "y.smi")
    with pytest.raises(DataError, match="no molecule list"):
        c.molecule_list("y")


@pytest.mark.parametrize(
    ("name", "content", "column", "said"),
    [
        ("a.smi", b"\n \n", None, "the file is empty"),
        ("a.smi.gz", b"no gzip", None, "cannot be read"),
        ("a.smi.gz", gzip.compress(b"CCO\n" * 999, mtime=0)[:20], None, "cannot be read"),
        ("a.csv.gz", gzip.compress(b"smiles\nCCO\n", mtime=0)[:-12] + b"damaged at the end", None, "cannot be read"),
        ("a.csv", b"id,SMILE\n1,CCO\n", None, r"no column 'smiles'\n.*did you mean --column SMILE\?"),
        ("a.csv", b"id,structure\n1,CCO\n", None, r"name the column of the SMILES with --column; .*id, structure"),
        ("a.csv", b"id,SMILES\n1,CCO\n", "smile", "no column 'smile'"),
        ("a.csv", b"id,smiles\n1,CCO,3,4\n", "smiles", "not a table"),
        ("a.smi", b"CCO\n", "smiles", "has no column"),
        ("a.parquet", b"PAR1", None, "cannot be read"),
        ("a.smi", b"no\nsense\n", None, "among 2 lines, e.g. 'no'"),
    ],
)
def test_lists_that_cannot_be_read_are_told_by_file(tmp_path: Path, name, content, column, said) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=said) as caught:
        c.import_list(tmp_path / name, column=column)
    assert name in str(caught.value.where)


def test_a_worker_that_fails_says_so() -> None:
    answers = workers.apply("builtins:abs", [-1, "a", -3])
    assert next(answers) == 1
    with pytest.raises(TypeError):
        next(answers)


def test_a_salt_keeps_the_key_of_the_dataset() -> None:
    frame = pl.DataFrame({"inchikey14": ["KEYOFTHESALTAA"], "smiles": ["CN(C)C(=N)NC(=N)N.Cl"]})
    row = c.dataset_list(frame).frame.row(0, named=True)
    assert row["inchikey14"] == "KEYOFTHESALTAA"
    assert "." not in row["smiles"]
    assert lists.dataset_list(frame.with_columns(smiles=pl.lit("nonsense"))).frame.is_empty()


def test_massspecgym_repaired_and_published(tmp_path: Path) -> None:
    file = {"OCC": ["C(C)O", "COC", "O(C)C", "nonsense"], "CCC": ["C=CC"]}
    path = tmp_path / "candidates_mass.json"
    path.write_text(json.dumps(file))
    repaired = c.from_json(path)
    assert repaired.sizes()["truth"].all()
    assert sorted(repaired.pools["smiles"]) == ["C=CC", "CCC", "CCO", "COC"]
    assert repaired.settings["unreadable"] == 1
    published = c.from_json(path, mode="published")
    assert published.pools["smiles"].to_list() == ["C(C)O", "COC", "O(C)C", "C=CC"]
    assert published.pools["candidate"].str.contains("#2").sum() == 1
    assert published.sizes().sort("candidates")["truth"].to_list() == [False, True]
    with pytest.raises(DataError):
        c.from_json(path, pl.DataFrame({"inchikey14": ["X"]}))


def test_a_judge_finds_planted_truths() -> None:
    smiles = [smiles for _, smiles in MOLECULES[:120]]
    rows = [
        (f"M{k:02}", f"M{k:02}" if j == 0 else f"M{k:02}{j}", smiles[k * 3 + j] + ".OO" * (j == 0), "C", "x")
        for k in range(40)
        for j in range(3)
    ]
    planted = c.CandidateSet.make("planted", "mass", {}, pl.DataFrame(rows, schema=CANDIDATES, orient="row"))
    keys = planted.molecules
    found = c.structure_auc(planted, keys[::2], keys[1::2])
    assert found["auc"] > 0.9
    assert found["low"] <= found["auc"] <= found["high"]
    assert found["auc_decoys"] is None
    assert found["auc_real"] == pytest.approx(found["auc"])


@pytest.mark.real
def test_massspecgyms_example(real_data: Callable[[str], Path]) -> None:
    made = c.from_json(real_data("readers/example_5_spectra_candidates.json"))
    assert made.sizes().sort("candidates")["candidates"].to_list() == [26, 70, 118, 129, 369]
    assert made.sizes()["truth"].all()
