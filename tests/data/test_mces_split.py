"""The `mces` split: clusters by molecule, what is kept on disk, what the notes tell, and who may be near whom."""

from __future__ import annotations

from itertools import combinations

import polars as pl
import pytest

from mslitmus.chem.distance import mces
from mslitmus.chem.molecule import identify
from mslitmus.data import store
from mslitmus.data.molecules import MOLECULES
from mslitmus.data.splits import make_split
from mslitmus.data.splits import mces as module
from mslitmus.data.splits.mces import molecule_clusters
from mslitmus.errors import ChemistryError, SplitError
from mslitmus.schemas import FOLD_NAMES

SMILES = [smiles for _, smiles in MOLECULES if len(smiles) < 26][::5][:20]


def spectra(smiles: list[str], each: int = 3) -> pl.DataFrame:
    names = [identify(s) for s in smiles for _ in range(each)]
    return pl.DataFrame(
        {
            "identifier": [f"s{k:03d}" for k in range(len(names))],
            "smiles": [n.smiles for n in names],
            "inchikey14": [n.inchikey14 for n in names],
        }
    )


def test_no_two_folds_hold_near_molecules():
    frame = spectra(SMILES)
    split = make_split(frame, "mces", threshold=5.0)
    split.check(frame)
    fold = dict(frame.join(split.folds, on="identifier").select("smiles", "fold").unique().iter_rows())
    assert set(fold.values()) == set(FOLD_NAMES)
    for a, b in combinations(fold, 2):
        assert fold[a] == fold[b] or mces(a, b)[0] >= 5.0
    assert split.parameters == {"fractions": [0.8, 0.1, 0.1], "balance": "spectra", "threshold": 5.0}
    assert split.notes[0].startswith("20 molecules in ")
    assert "The largest cluster holds " in split.notes[1]
    assert split == make_split(frame.sample(fraction=1.0, shuffle=True, seed=1), "mces", threshold=5.0)


def test_clusters_are_read_again(monkeypatch):
    frame = spectra(SMILES)
    first = molecule_clusters(frame, 5.0)
    assert first.table["inchikey14"].is_sorted()
    assert first.table.height == 20
    names = first.table.group_by("cluster").agg(pl.col("inchikey14").min())
    assert names["cluster"].equals(names["inchikey14"].alias("cluster"))
    calls = []
    monkeypatch.setattr(module, "cluster", lambda *a, **k: calls.append(a))
    again = molecule_clusters(frame.reverse(), 5.0)
    assert again.table.equals(first.table)
    assert (again.screened, again.solved, again.undecided) == (first.screened, first.solved, first.undecided)
    monkeypatch.undo()
    for path in (store.home() / "mces").glob("clusters-*.json"):
        path.write_text("{", encoding="utf-8")
    assert molecule_clusters(frame, 5.0).table.equals(first.table)


def test_all_spellings_of_a_molecule_are_one_node():
    """Two tautomers under one InChIKey-14 join the molecules near either."""
    frame = pl.DataFrame({"inchikey14": ["A", "A", "B", "C"], "smiles": ["CCO", "c1ccccc1CCCC", "CCO", "CCCCc1ccccc1"]})
    assert molecule_clusters(frame, 2.0).table.rows() == [("A", "A"), ("B", "A"), ("C", "A")]
    assert molecule_clusters(frame.clear(), 2.0).table.is_empty()


def test_spectra_without_structure_are_left_out():
    frame = spectra(SMILES).with_columns(
        smiles=pl.when(pl.col("identifier").is_in(["s000", "s007"])).then(None).otherwise("smiles"),
        inchikey14=pl.when(pl.col("identifier") == "s008").then(None).otherwise("inchikey14"),
    )
    assert make_split(frame, "mces", threshold=5.0).left_out == {"no structure to group by": 3}


def test_undecided_pairs_are_told(monkeypatch):
    monkeypatch.setattr(module, "_TIME_LIMIT", 0.0)
    far = ["FC(F)(F)" + "C(F)(F)" * 5 + "C(F)(F)F", "ClC(Cl)(Cl)" + "C(Cl)(Cl)" * 5 + "C(Cl)(Cl)Cl"]
    frame = spectra(["CCC(C)c1ccccc1OC(=O)NC", "Cc1cc(C2CCCCC2)n(O)c(=O)c1", *far])
    split = make_split(frame, "mces", threshold=13.0, fractions=(0.4, 0.3, 0.3))
    assert "undecided within 0 s and are linked" in split.notes[-1]


def test_what_cannot_be_is_refused():
    frame = spectra(SMILES)
    with pytest.raises(SplitError, match="threshold"):
        make_split(frame, "mces", threshold=0.0)
    with pytest.raises(ChemistryError, match="XYZ"):
        make_split(frame.with_columns(smiles=pl.lit("XYZ")), "mces")
    with pytest.raises(SplitError, match="1 groups"):
        make_split(spectra(["CCO", "CCN"]), "mces")
