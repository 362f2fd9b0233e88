"""Many pairs at once: order, repeats, the cache, other processes; and the clusters built on them."""

from __future__ import annotations

import sqlite3
from itertools import combinations

import polars as pl
import pytest
from scipy.cluster.hierarchy import fcluster, linkage

from mslitmus.chem.distance import batch, cluster, mces, mces_clusters, mces_many
from mslitmus.data.molecules import MOLECULES
from mslitmus.errors import ChemistryError, DataError

SOME = [smiles for _, smiles in MOLECULES if len(smiles) < 24][::5][:14]


def table(pairs: list[tuple[str, str]]) -> pl.DataFrame:
    return pl.DataFrame(pairs, schema=["smiles_a", "smiles_b"], orient="row")


def test_rows_keep_their_order_and_spelling():
    pairs = [("CCO", "CCN"), ("OCC", "NCC"), ("CCN", "CCO"), ("CCO", "CCO"), *combinations(SOME[:5], 2)]
    found = mces_many(table(pairs), threshold=6)
    assert found.columns == ["smiles_a", "smiles_b", "mces", "exact", "upper"]
    assert found.select("smiles_a", "smiles_b").rows() == pairs
    assert [(v, e) for v, e in found.select("mces", "exact").iter_rows()] == [mces(a, b, 6) for a, b in pairs]
    assert (found["upper"] >= found["mces"]).all()
    assert found.filter("exact")["upper"].equals(found.filter("exact")["mces"].alias("upper"))


def test_processes_change_nothing(monkeypatch):
    monkeypatch.setattr(batch, "_PORTION", 4)
    lines: list[str] = []
    pairs = table(list(combinations(SOME[:5], 2)))
    assert mces_many(pairs, processes=2, progress=lines.append).equals(mces_many(pairs))
    assert lines[-1] == "MCES: 10 of 10 pairs"


def test_the_cache_is_used_where_it_answers(tmp_path, monkeypatch):
    path = tmp_path / "folder" / "pairs.sqlite"
    pairs = table([("CCCCCCCCCCCC", "c1ccc2ccccc2c1"), ("CCO", "CCN")])
    first = mces_many(pairs, threshold=2, cache=path)
    calls: list[int] = []
    work = batch._solve

    def counted(some, **settings):
        calls.append(len(some))
        return work(some, **settings)

    monkeypatch.setattr(batch, "_solve", counted)
    assert mces_many(pairs.select(smiles_a="smiles_b", smiles_b="smiles_a"), threshold=2, cache=path)["mces"].equals(
        first["mces"]
    )
    assert not calls
    exact = mces_many(pairs, threshold=None, cache=path)  # the bound above 2 is no answer to this
    assert calls == [1]
    assert exact["exact"].all()
    assert exact["mces"][0] >= first["mces"][0]
    assert mces_many(pairs, threshold=1, cache=path)["mces"].equals(exact["mces"])
    assert calls == [1]
    with sqlite3.connect(path) as base:
        base.execute("update mces set rdkit = 'older'")
    base.close()
    mces_many(pairs, threshold=2, cache=path)
    assert calls == [1, 2]


def test_what_is_done_before_an_interrupt_is_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(batch, "_PORTION", 2)
    path = tmp_path / "pairs.sqlite"
    pairs = table(list(combinations(SOME[:5], 2)))

    def stop(line: str) -> None:
        if "4 of" in line:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        mces_many(pairs, cache=path, progress=stop)
    with sqlite3.connect(path) as base:
        assert base.execute("select count(*) from mces").fetchone() == (4,)
    base.close()


def test_what_cannot_be_is_named(tmp_path):
    with pytest.raises(ChemistryError, match="XYZ"):
        mces_many(table([("CCO", "CCN"), ("CCO", "XYZ")]))
    with pytest.raises(ChemistryError, match="lacks"):
        mces_many(pl.DataFrame({"smiles_a": ["CCO", None], "smiles_b": ["CCO", "CCN"]}))
    (tmp_path / "no.sqlite").write_bytes(b"not a database at all, but long enough to be read as one" * 10)
    with pytest.raises(DataError, match=r"no\.sqlite"):
        mces_many(table([("CCO", "CCN")]), cache=tmp_path / "no.sqlite")
    assert mces_many(table([])).height == 0


@pytest.mark.parametrize("threshold", [4.0, 8.0])
def test_clusters_are_single_linkage(threshold):
    distances = [mces(a, b, None)[0] for a, b in combinations(SOME, 2)]
    truth = fcluster(linkage(distances, "single"), threshold - 0.25, "distance")
    found = cluster(SOME, threshold)
    assert found.undecided == 0
    assert found.molecules == len(SOME)
    assert found.solved <= found.screened
    assert found.table["smiles"].to_list() == SOME
    pairs = set(zip(truth.tolist(), found.table["cluster"].to_list(), strict=True))
    assert len(pairs) == len(set(truth.tolist())) == found.table["cluster"].n_unique()
    sizes = found.table.group_by("cluster").len().sort("cluster")["len"].to_list()
    assert sizes == sorted(sizes, reverse=True)
    backwards = mces_clusters(SOME[::-1], threshold)
    assert backwards.reverse().equals(found.table)


def test_spellings_of_one_molecule_share_a_cluster_and_open_pairs_link(monkeypatch):
    assert mces_clusters(["CCO", "OCC", "c1ccccc1"], 2.0)["cluster"].to_list() == [0, 0, 1]
    a, b = "CCC(C)c1ccccc1OC(=O)NC", "Cc1cc(C2CCCCC2)n(O)c(=O)c1"
    found = cluster([a, b], 13.0, time_limit=0.0)
    assert found.undecided == found.solved == 1
    assert found.table["cluster"].n_unique() == 1
    assert cluster([a, b], 13.0).table["cluster"].n_unique() == 2
    assert mces_clusters([], 10.0).height == 0
