"""MassSpecGym's candidate files: a JSON object, SMILES → list of candidate SMILES, repaired or as published.

Version 1 lists the truth first and in its own spelling, so that position and spelling tell it. `repaired` gives every
candidate the uniform spelling, keeps one of each InChIKey-14, adds the truth where it is absent, and puts pools in hash
order; where the file has its truths, and how it spells them, stands in the settings (`as_listed`). `published` keeps
the truth only where the file has it, duplicates as separate candidates (`KEY#2`), and order and spelling of the file:
for reproducing published numbers, never for a comparison of models.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import polars as pl

from ...chem.molecule import RDKIT_VERSION
from ...chem.standardise import standardise
from ...errors import ChemistryError, DataError
from ...provenance import file_hash, write_parquet
from ...schemas import CANDIDATES
from . import lists, workers
from .sets import CandidateSet, draw

#: What is remembered of a SMILES; nulls where it does not parse.
FORMS = {"text": pl.String(), "candidate": pl.String(), "smiles": pl.String(), "formula": pl.String()}
ORIGIN = "massspecgym"
_CHUNK = 2000
_PART = 100_000  # structures between two writes of the cache


def from_json(
    path: Path,
    molecules: pl.DataFrame | None = None,
    mode: Literal["repaired", "published"] = "repaired",
    *,
    kind: str = "mass",
    name: str | None = None,
    processes: int = 2,
    progress: Callable[[int, int], None] | None = None,
) -> CandidateSet:
    """The candidate set of a MassSpecGym file.

    Structures are standardised once a distinct text (0.6 ms each and process) and remembered in the store, part by
    part, so that a second call, and one after a kill, starts from there.

    Args:
        molecules: inchikey14, smiles of those wanted; default all of the file. A molecule is found by its InChIKey-14.
        kind: `mass` or `formula`, as the file's name says.
        progress: called with (structures done, structures).

    Raises DataError for a file that is no such object, or has none of the molecules.
    """
    if mode not in ("repaired", "published"):
        raise DataError(f"no mode {mode!r}", remedy="use repaired or published")
    table = _read(path)
    texts = table.get_column("query").unique().sort()
    keys = _forms(texts.to_list(), processes, None).select(
        pl.col("text").alias("query"), pl.col("candidate").alias("molecule")
    )
    found = table.join(keys.drop_nulls(), on="query", maintain_order="left")
    if molecules is not None:
        found = found.filter(pl.col("molecule").is_in(molecules.get_column("inchikey14").drop_nulls().implode()))
    if found.is_empty():
        raise DataError("none of the molecules has a pool", where=str(path), remedy="compare the InChIKey-14 of both")
    wanted = pl.concat([found.get_column("query"), found.get_column("text")]).unique().sort().to_list()
    forms = _forms(wanted, processes, progress)
    rows = found.join(forms, on="text", how="left", maintain_order="left")
    listed = _as_listed(rows)
    unreadable = rows.get_column("candidate").null_count()
    rows = rows.drop_nulls("candidate").with_columns(pl.lit(ORIGIN).alias("origin"))
    settings = {
        "source": path.name,
        "sha256": file_hash(path),
        "mode": mode,
        "unreadable": unreadable,
        "as_listed": listed,
        "rdkit": RDKIT_VERSION,
    }
    label = name or f"{path.name.partition('.')[0]}-{mode}"
    if mode == "published":
        return CandidateSet(label, kind, settings, _published(rows))
    truths = found.unique("molecule", maintain_order=True).select("molecule", pl.col("query").alias("text"))
    own = truths.join(forms, on="text").with_columns(pl.lit("given").alias("origin"))
    own = own.filter(pl.col("candidate") == pl.col("molecule"))
    columns = list(CANDIDATES)
    every = pl.concat([rows.select(columns), own.select(columns)])
    pools = every.unique(["molecule", "candidate"], keep="first", maintain_order=True)
    return CandidateSet.make(label, kind, settings, pools)


def _read(path: Path) -> pl.DataFrame:
    """query, text: one row a candidate as listed."""
    try:
        pools = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read: {error}", where=str(path), remedy="give MassSpecGym's candidate JSON") from error
    if not isinstance(pools, dict) or not all(isinstance(pool, list) for pool in pools.values()):
        remedy = 'it should be {"SMILES": ["SMILES", …], …}'
        raise DataError("not a candidate file", where=str(path), remedy=remedy)
    table = pl.DataFrame(
        {"query": list(pools), "text": list(pools.values())}, schema_overrides={"text": pl.List(pl.String)}
    )
    return table.explode("text").drop_nulls()


def _as_listed(rows: pl.DataFrame) -> dict[str, Any]:
    """Where the file has its truths, which no repaired set can tell any more: JSON values for the audit of candidates.

    with_truth: lists that hold their truth; truth_first, truth_last, own_spelling: those that have it there, or in the
    spelling of the query; chance: mean of 1/length.
    """
    place = pl.int_range(pl.len()).over("query").alias("place")
    listed = rows.with_columns(place, size=pl.len().over("query")).filter(pl.col("candidate") == pl.col("molecule"))
    truths = listed.unique("query", keep="first", maintain_order=True)
    return {
        "with_truth": truths.height,
        "truth_first": int((truths["place"] == 0).sum()),
        "truth_last": int((truths["place"] == truths["size"] - 1).sum()),
        "own_spelling": int((truths["query"] == truths["text"]).sum()),
        "chance": float(truths.select((1 / pl.col("size")).mean()).item() or 0.0),
    }


def _published(rows: pl.DataFrame) -> pl.DataFrame:
    """Order and spelling of the file; the n-th repeat of a key gets `#n`, and only the first can be the truth."""
    first = rows.unique(["molecule", "query"], keep="first").unique("molecule", keep="first", maintain_order=True)
    kept = rows.join(first.select("molecule", "query"), on=["molecule", "query"], how="semi", maintain_order="left")
    repeat = pl.int_range(1, pl.len() + 1).over("molecule", "candidate")
    candidate = pl.when(repeat == 1).then("candidate").otherwise(pl.format("{}#{}", "candidate", repeat))
    return kept.select("molecule", candidate.alias("candidate"), pl.col("text").alias("smiles"), "formula", "origin")


def _forms(texts: list[str], processes: int, progress: Callable[[int, int], None] | None) -> pl.DataFrame:
    """Table `FORMS` of distinct texts, from the cache where it has them."""
    folder = lists.home() / f".forms-rdkit-{RDKIT_VERSION}"
    wanted = pl.DataFrame({"text": pl.Series(texts, dtype=pl.String)})
    parts = [pl.DataFrame(schema=FORMS)]
    for path in sorted(folder.glob("*.parquet")):
        try:
            parts.append(pl.read_parquet(path).join(wanted, on="text", how="semi"))
        except (OSError, pl.exceptions.PolarsError):
            path.unlink(missing_ok=True)  # a damaged cache costs time, nothing else
    known = pl.concat(parts).unique("text")
    new = wanted.join(known, on="text", how="anti").get_column("text").sort().to_list()
    done = [known]
    for start in range(0, len(new), _PART):
        share = new[start : start + _PART]
        chunks = [share[i : i + _CHUNK] for i in range(0, len(share), _CHUNK)]
        rows: list[tuple[str | None, ...]] = []
        for part in workers.apply(f"{__name__}:compute_forms", chunks, processes):
            rows += part
            if progress is not None:
                progress(known.height + start + len(rows), len(texts))
        done.append(pl.DataFrame(rows, schema=FORMS, orient="row"))
        folder.mkdir(parents=True, exist_ok=True)
        write_parquet(folder / f"{draw(*share):016x}.parquet", done[-1])
    return pl.concat(done)


def compute_forms(texts: list[str]) -> list[tuple[str | None, ...]]:
    """Rows of `FORMS`. Runs in a worker."""
    out: list[tuple[str | None, ...]] = []
    for text in texts:
        try:
            form = standardise(text)
        except ChemistryError:
            out.append((text, None, None, None))
        else:
            out.append((text, form.inchikey14, form.smiles, form.formula))
    return out
