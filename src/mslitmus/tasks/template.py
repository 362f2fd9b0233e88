"""The blind query file that an outsider fills in, and the training file for those who train elsewhere.

A query file holds the task's visible columns and nothing else; beside it lies `<file>.readme.json`, which says what is
asked, how to answer, and by which hashes the answer will be recognised.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import polars as pl

from ..errors import PredictionError, unknown_name
from ..provenance import now, table_hash, write_json, write_parquet
from ..schemas import SPECTRA, conform
from ..spectra import formats

Format = Literal["parquet", "jsonl", "csv", "mgf"]
FORMATS: tuple[str, ...] = ("parquet", "jsonl", "csv", "mgf")
#: Columns that say what the molecule is; a task shows some of them only where it asks about something else.
TRUTH = (
    "truth_smiles",
    "truth_inchikey14",
    "smiles",
    "inchikey14",
    "formula",
    "name",
    "parent_mass",
    "precursor_formula",
)
#: What the readme tells of a split. Its largest groups are named by their molecules, those of test included.
_OF_SPLIT = (
    "name",
    "hash",
    "method",
    "form",
    "seed",
    "parameters",
    "dataset_hash",
    "fold",
    "sizes",
    "notes",
    "left_out",
)
_ANSWERS: dict[str, dict[str, Any]] = {
    "spectrum-prediction": {
        "columns": {"identifier": "text", "mzs": "list of m/z in Da", "intensities": "list, any scale, not negative"},
        "csv": "identifier, peaks ('mz:intensity mz:intensity'); or MGF, MSP with the identifier as TITLE, Name",
        "example": {"identifier": "…", "mzs": [121.0647, 149.0597], "intensities": [1.0, 0.35]},
    },
    "fingerprint": {
        "columns": {"identifier": "text", "fingerprint": "2048 probabilities: Morgan radius 2, 2048 bits (RDKit)"},
        "csv": "columns identifier, fingerprint ('0.1 0.9 …' or '0101…') or bits (indices of the set bits)",
        "example": {"identifier": "…", "bits": [80, 294, 1057]},
    },
    "retrieval": {
        "columns": {"identifier": "text", "candidate": "InChIKey or its first 14 letters", "score": "higher is better"},
        "csv": "one row a candidate: identifier, candidate (or smiles), score; or one row a query: scores as shown",
        "example": {"identifier": "…", "candidate": "RYYVLZVUVIJVGH", "score": 0.93},
    },
    "generation": {
        "columns": {"identifier": "text", "smiles": "one structure; several rows a query", "score": "higher is better"},
        "csv": "one row a structure: identifier, smiles, score; no score: best first",
        "example": {"identifier": "…", "smiles": "CC(=O)Nc1ccc(O)cc1", "score": -2.7},
    },
    "library-search": {
        "columns": {"identifier": "text", "candidate": "as the query lists it", "score": "higher is better"},
        "csv": "one row a library spectrum: identifier, candidate (or library_identifier), score",
        "example": {"identifier": "s1d0c…", "candidate": "s77ae…", "score": 0.93},
    },
}  # fmt: skip


def write_queries(
    queries: pl.DataFrame,
    path: str | Path,
    task: Any,
    *,
    dataset: Mapping[str, Any] | None = None,
    split: Mapping[str, Any] | None = None,
    format: Format | None = None,
) -> Path:
    """Write the query file and its readme; returns the path of the readme.

    Args:
        queries: as `task.queries` gives them.
        task: a task object: `.name`, `.visible`, and `.record()` where it has one (the hash of the pools).
        dataset: of the queries, e.g. {"name": …, "hash": …}; `split` likewise (`Split.record()`). Both go into the
            readme, a split without its groups, which name test molecules.
        format: one of FORMATS; None tells it by the ending.
    CSV holds lists as numbers separated by blanks; for retrieval it is the sheet to fill in (one row a candidate, score
    empty), and the spectra lie beside it in `<stem>.spectra.csv`. MGF holds the measured spectra of fingerprint and
    retrieval queries (a retrieval query's candidates then lie beside it as `<stem>.candidates.csv`).
    Raises PredictionError for a column that the task does not show, or a format that cannot hold the queries.
    """
    path = Path(path)
    _refuse_hidden(queries, task)
    kind = format_of(path, format)
    written = [path]
    if kind == "mgf":
        if "mzs" not in queries.columns:
            remedy = "write Parquet, JSON Lines or CSV"
            raise PredictionError(f"queries of {task.name} have no peaks for MGF", where=str(path), remedy=remedy)
        _write_mgf(queries, path)
        if "candidates" in queries.columns:
            written.append(_beside(path, "candidates"))
            _answer_sheet(queries).write_csv(written[-1])
    elif kind == "csv" and "candidates" in queries.columns:
        _answer_sheet(queries).write_csv(path)
        written.append(_beside(path, "spectra"))
        _flat(queries.drop("candidates", "candidate_smiles")).write_csv(written[-1])
    else:
        _write(queries, path, kind)
    readme = path.with_name(f"{path.name}.readme.json")
    write_json(readme, _readme(queries, task, written, dataset, split))
    return readme


def write_training(train: pl.DataFrame, path: str | Path, format: Format | None = None) -> None:
    """Training (or validation) rows with everything a model may learn from, structures included.

    MGF holds what fits the spectra schema, and is for frames with peaks; other formats hold every column.
    """
    path = Path(path)
    kind = format_of(path, format)
    if kind == "mgf":
        formats.write(train, path, "mgf")
    else:
        _write(train, path, kind)


def format_of(path: Path, format: str | None) -> str:
    """The format named, else told by the ending. Raises ConfigError or PredictionError by name."""
    if format is not None:
        if format not in FORMATS:
            raise unknown_name("format to write", format, FORMATS)
        return format
    ending = path.suffix.lower().removeprefix(".")
    if ending not in FORMATS:
        known = ", ".join(f".{name}" for name in FORMATS)
        raise PredictionError(
            f"no format is known by the ending {path.suffix!r}", where=str(path), remedy=f"use {known}"
        )
    return ending


def _refuse_hidden(queries: pl.DataFrame, task: Any) -> None:
    if extra := [name for name in queries.columns if name not in task.visible]:
        what = "the truth" if set(extra) & set(TRUTH) else "columns that the task does not show"
        remedy = "write what task.queries(frame) gives, nothing more"
        raise PredictionError(f"the queries hold {what}: {', '.join(extra)}", where=f"task {task.name}", remedy=remedy)
    if "identifier" not in queries.columns or queries["identifier"].is_duplicated().any():
        raise PredictionError("queries need unique identifiers", where=f"task {task.name}", remedy="see docs/schema.md")


def _write(frame: pl.DataFrame, path: Path, kind: str) -> None:
    if kind == "parquet":
        write_parquet(path, frame)
    elif kind == "jsonl":
        frame.write_ndjson(path)
    else:
        _flat(frame).write_csv(path)


def _flat(frame: pl.DataFrame) -> pl.DataFrame:
    """Lists as text, their items separated by blanks."""
    lists = [name for name, dtype in frame.schema.items() if isinstance(dtype, pl.List)]
    return frame.with_columns(pl.col(name).cast(pl.List(pl.String)).list.join(" ") for name in lists)


def _answer_sheet(queries: pl.DataFrame) -> pl.DataFrame:
    """identifier, candidate, smiles, score (empty): one row a candidate, in the shown order."""
    rows = queries.select("identifier", candidate="candidates", smiles="candidate_smiles").explode(
        "candidate", "smiles"
    )
    return rows.with_columns(score=pl.lit(None, pl.Float64))


def _write_mgf(queries: pl.DataFrame, path: Path) -> None:
    """The visible columns that the spectra schema knows; every other one of its columns is empty."""
    formats.write(conform(queries.select(c for c in queries.columns if c in SPECTRA)), path, "mgf")


def _beside(path: Path, what: str) -> Path:
    return path.with_name(f"{path.stem}.{what}.csv")


def _readme(
    queries: pl.DataFrame,
    task: Any,
    written: list[Path],
    dataset: Mapping[str, Any] | None,
    split: Mapping[str, Any] | None,
) -> dict[str, Any]:
    answer = _ANSWERS[task.name]
    record = getattr(task, "record", None)
    return {
        "task": task.name,
        "settings": record() if callable(record) else {"name": task.name},
        "dataset": dict(dataset or {}),
        "split": {name: value for name, value in (split or {}).items() if name in _OF_SPLIT},
        "files": [file.name for file in written],
        "queries": queries.height,
        "queries_hash": table_hash(queries),
        "visible_columns": {name: str(dtype) for name, dtype in queries.schema.items()},
        "answer": {
            "formats": "Parquet, JSON Lines or CSV (docs/external.md)",
            **answer,
            "rules": "one answer a query, every query answered, finite numbers, identifiers and candidates as here",
        },
        "score": f"mslitmus score ANSWER --task {task.name} …",
        "honesty": "identifiers, and peaks too, may be those of public records: looking the answer up is no prediction",
        "written": now(),
    }
