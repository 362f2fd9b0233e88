"""The `class` split: whole compound classes are in the test fold and nowhere else."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from ...chem.classes import CLASSES, RULES_HASH
from ...errors import SplitError
from .allocate import allocate, check_fractions
from .grouped import DEFAULT_FRACTIONS
from .labels import in_classes
from .split import Assignment


def by_class(
    frame: pl.DataFrame,
    *,
    seed: int,
    test: str | Sequence[str] = (),
    fractions: Sequence[float] = DEFAULT_FRACTIONS,
) -> Assignment:
    """`class`: every molecule that is in any of the classes named under `test` (`chem.classes`) is tested; all others
    train and validate, val drawn by molecule. Of `fractions` only train : val counts."""
    names = (test,) if isinstance(test, str) else tuple(test)
    if not names or not set(names) <= set(CLASSES):
        unknown = sorted(set(names) - set(CLASSES))
        said = f"unknown compound class {unknown[0]!r}" if unknown else "no compound class to leave out"
        raise SplitError(said, remedy=f"parameters: {{test: [steroids]}}; classes: {', '.join(CLASSES)}")
    shares = check_fractions(fractions)
    rows = frame.select("identifier", "inchikey14", inside=in_classes(frame, names))
    known = rows.drop_nulls(["inchikey14", "inside"])
    inside, outside = known.filter("inside"), known.filter(~pl.col("inside"))
    if inside.is_empty():
        raise SplitError(f"no molecule in {', '.join(names)}", remedy="name classes that the data have")
    sizes = dict(outside["inchikey14"].value_counts().iter_rows())
    if len(sizes) < 2:
        raise SplitError(f"{len(sizes)} molecules are left for train and val", remedy="leave out fewer classes")
    total = shares[0] + shares[1]
    fold = allocate(sizes, {"train": shares[0] / total, "val": shares[1] / total}, seed)
    placed = outside.with_columns(fold=pl.col("inchikey14").replace_strict(fold, return_dtype=pl.String))
    folds = pl.concat([placed, inside.with_columns(fold=pl.lit("test"))])
    missing = frame.height - known.height
    return Assignment(
        folds.select("identifier", "fold", group=pl.col("inchikey14")),
        {"test": list(names), "fractions": list(shares), "rules": RULES_HASH},
        left_out={"no structure": missing} if missing else {},
        notes=(f"compound classes: test {', '.join(names)}; train and val everything else.",),
        disjoint=("inchikey14",),
        shifted="class",
    )
