"""Is a sample predicted by a model that saw its replicate, its subject, or the same file under another name?"""

from __future__ import annotations

import polars as pl

from ..finding import Finding
from .tables import GROUPS, CohortTables

NAME = "replicates"


def replicates(tables: CohortTables) -> list[Finding]:
    """Groups that straddle folds, and runs that are one file."""
    out = [*_twins(tables), *_mixed(tables)]
    if tables.predictions is None:
        return out
    leaks = [finding for name in GROUPS for finding in _straddling(tables, name)]
    if not leaks:
        several = [
            g for g in GROUPS if g in tables.samples.columns and tables.samples[g].drop_nulls().is_duplicated().any()
        ]
        told = f"checked: {', '.join(several)}" if several else "the sheet names no replicates and no subjects"
        severity = "pass" if several else "note"
        claim = "no replicate is on both sides of a fold" if several else "every run counts as a sample of its own"
        remedy = "nothing to do" if several else "if some are injections of one sample, fill in replicate or subject"
        leaks = [Finding(NAME, severity, claim, tables.predictions["sample"].n_unique(), told, remedy)]
    return [*out, *leaks]


def _straddling(tables: CohortTables, name: str) -> list[Finding]:
    """Folds whose test samples have a mate elsewhere: in what the model was trained on."""
    assert tables.predictions is not None
    if name not in tables.samples.columns:
        return []
    mates = tables.asked.filter(pl.col("role") == "sample").select("sample", pl.col(name).alias("_group"))
    mates = mates.drop_nulls().filter(pl.len().over("_group") > 1)
    if mates.is_empty():
        return []
    cell = ["question", "target", "acquisition", "representation", "seed"]
    tested = tables.predictions.filter(pl.col("fold").is_not_null()).select(*cell, "fold", "sample").unique()
    mine = tested.join(mates, on="sample")
    # asked in any seed: a holdout asks its test side alone
    asked = [name for name in cell if name != "seed"]
    sizes = mine.group_by(*asked, "_group").agg(asked=pl.col("sample").n_unique())
    inside = mine.group_by(*cell, "fold", "_group").agg(together=pl.col("sample").n_unique())
    found = inside.join(sizes, on=[*asked, "_group"], nulls_equal=True)
    split = found.filter(pl.col("together") < pl.col("asked"))
    if split.is_empty():
        return []
    groups = split["_group"].unique().sort()
    told = (
        f"{groups.len()} of {mates['_group'].n_unique()} groups, e.g. {', '.join(map(str, groups.head(4).to_list()))}"
    )
    claim = f"rows of one {name} are on both sides of a fold: the model is asked what it has seen"
    remedy = f"keep them together (--together {name}) and discard these numbers"
    return [Finding(NAME, "fatal", claim, groups.len(), told, remedy)]


def _mixed(tables: CohortTables) -> list[Finding]:
    """Replicates of one sample cannot differ in what is told of it."""
    out = []
    for target in tables.targets:
        rows = tables.labelled(target)
        if "replicate" not in rows.columns:
            continue
        known = rows.filter(pl.col("replicate").is_not_null())
        sizes = known.group_by("replicate").agg(several=pl.col(target).n_unique() > 1).sort("replicate")
        found = sizes.filter(pl.col("several"))["replicate"]
        if found.is_empty():
            continue
        told = f"{found.len()} of {sizes.height} groups, e.g. {', '.join(found.head(4).to_list())}"
        claim = f"replicates differ in {target}: what counts as one sample is none"
        remedy = "an entry names the sample that is repeated, not the number of the injection; people are `subject`"
        out.append(Finding(NAME, "warning", claim, found.len(), told, remedy))
    return out


def _twins(tables: CohortTables) -> list[Finding]:
    """Runs that agree in the number of spectra, of peaks and in the total ion current to the last digit."""
    rows = tables.samples.filter(pl.col("total_intensity").is_not_null() & (pl.col("n_spectra") > 0))
    alike = ["n_spectra", "n_peaks", "total_intensity"]
    found = rows.filter(pl.len().over(alike) > 1)
    if found.is_empty():
        return []
    pairs = found.group_by(alike, maintain_order=True).agg(pl.col("sample"))["sample"].to_list()
    told = "; ".join(" = ".join(names) for names in pairs[:4])
    claim = "runs under different names hold the same data"
    return [Finding(NAME, "fatal", claim, found.height, told, "drop the copies from the sheet")]
