"""Which laboratory measured a record: several contributors of MassBank are one, by the AUTHORS lines of their records.

A held-out "lab" must not also train, and a replicate counts as from another lab only if it is. A contributor of whose
records a part comes from another laboratory (HBM4EU: 1,192 of 3,204 from UFZ) counts as that laboratory.
"""

from __future__ import annotations

import polars as pl

#: contributor (`source`) → laboratory; every other contributor is its own.
LABORATORY = {
    "NaToxAq": "UFZ",
    "CASMI_2016": "UFZ",
    "HBM4EU": "UFZ",
    "Eawag_Additional_Specs": "Eawag",
}


def laboratory(source: pl.Expr | None = None) -> pl.Expr:
    """The laboratory of each contributor; `source` is the column of that name where none is given."""
    return (pl.col("source") if source is None else source).replace(LABORATORY).alias("laboratory")
