"""The split `class`: whole classes are tested and nothing of them is trained on."""

from __future__ import annotations

import polars as pl
import pytest

from mslitmus.chem.classes import compound_classes
from mslitmus.data.splits import Split, make_split
from mslitmus.errors import SplitError


def test_whole_classes_are_tested(tiny, tmp_path):
    counts: dict[str, int] = {}
    for smiles in tiny["smiles"].unique():
        for name in compound_classes(smiles):
            counts[name] = counts.get(name, 0) + 1
    name = next(name for name, n in sorted(counts.items()) if 2 <= n <= 12)
    split = make_split(tiny, "class", test=name)
    split.check(tiny)
    parts = split.apply(tiny)
    for fold, rows in parts.items():
        assert {name in compound_classes(smiles) for smiles in rows["smiles"]} == {fold == "test"}
    assert sum(rows.height for rows in parts.values()) == tiny.height
    assert make_split(tiny.reverse(), "class", test=name).folds.equals(split.folds)
    split.save(tmp_path, "s")
    assert Split.load(tmp_path, "s") == split
    other = tiny.with_columns(smiles=pl.lit("CCO"))
    with pytest.raises(SplitError, match="class 'outside' is in train or val and in test"):
        split.check(other)


@pytest.mark.parametrize(
    ("test", "says"),
    [((), "no compound class to leave out"), ("steroid", "unknown compound class"), ("nucleosides", "no molecule in")],
)
def test_what_cannot_be_made_is_refused(tiny, test, says):
    with pytest.raises(SplitError, match=says):
        make_split(tiny.filter(~pl.col("formula").str.contains("N")), "class", test=test)
