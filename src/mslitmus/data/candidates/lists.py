"""Molecule lists: where real candidates come from. Imported once, standardised, kept as Parquet.

<home>/molecules/<name>.parquet  <name>.json
"""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl

from ... import __version__
from ...chem.molecule import RDKIT_VERSION
from ...chem.standardise import Standard, standardise
from ...errors import ChemistryError, DataError
from ...provenance import file_hash, now, table_hash, write_json, write_parquet
from .. import store
from . import workers

#: One row a molecule; ascending exact mass, then InChIKey-14.
MOLECULES = {
    "inchikey14": pl.String(),
    "smiles": pl.String(),
    "formula": pl.String(),
    "exact_mass": pl.Float64(),
    "tautomer": pl.String(),
}
Progress = Callable[[int, int], None]
_CHUNK = 500
_COLUMNS = ("standardised", "standardized", "canonical_smiles", "smiles")  # of a table with a header, best first


@dataclass(frozen=True)
class MoleculeList:
    """Distinct molecules in uniform form, table `MOLECULES`. `info` counts what was read and what was not."""

    name: str
    frame: pl.DataFrame = field(repr=False)
    info: dict[str, Any] = field(default_factory=dict, repr=False)

    @cached_property
    def hash(self) -> str:
        """Of the molecules; the name and what was left out do not count."""
        return table_hash(self.frame)


def import_list(
    path: Path,
    name: str | None = None,
    *,
    column: str | None = None,
    processes: int = 2,
    progress: Progress | None = None,
) -> MoleculeList:
    """Read, standardise and store a list (0.6 ms a molecule and process), or load it if this file is imported already.

    Args:
        path: `.smi`, `.tsv`, `.csv` (each also `.gz`) or `.parquet`. In a `.smi` the first word of a line counts; in a
            table the column named `column`, else `standardised` or `smiles`, else (no header) the last SMILES column.
        name: default the file's name up to the first dot.
        progress: called with (lines done, lines).

    Raises DataError for a file that is absent or holds no molecule. Lines that do not parse are counted in
    `info["unreadable"]`, with examples.
    """
    label = name or path.name.partition(".")[0]
    store.check_name(label)
    if not path.is_file():
        raise DataError("no such file", where=str(path), remedy="give the path of a list of SMILES")
    source = {"file": path.name, "sha256": file_hash(path), "column": column, "rdkit": RDKIT_VERSION}
    known = home() / f"{label}.json"
    if known.is_file() and json.loads(known.read_text(encoding="utf-8")).get("source") == source:
        return molecule_list(label)
    texts = read_smiles(path, column)
    try:
        made = make_list(label, texts, processes=processes, progress=progress)
    except DataError as error:
        raise DataError(error.message, where=str(path), remedy=error.remedy) from error
    info = made.info | {"source": source, "hash": made.hash, "imported": now(), "mslitmus": __version__}
    try:
        home().mkdir(parents=True, exist_ok=True)
        write_parquet(home() / f"{label}.parquet", made.frame)
        write_json(known, info)
    except OSError as error:
        raise DataError(f"cannot write: {error}", where=str(home()), remedy="free some space") from error
    return MoleculeList(label, made.frame, info)


def make_list(
    name: str, smiles: Iterable[str], *, processes: int = 2, progress: Progress | None = None
) -> MoleculeList:
    """A list from SMILES at hand. Raises DataError where none is readable."""
    stated = [text for text in smiles if text]
    texts = list(dict.fromkeys(stated))
    chunks = [texts[i : i + _CHUNK] for i in range(0, len(texts), _CHUNK)]
    rows: list[Standard | str] = []
    for part in workers.apply(f"{__name__}:standardise_many", chunks, processes if len(texts) > 2 * _CHUNK else 1):
        rows += part
        if progress is not None:
            progress(len(rows), len(texts))
    good = [row for row in rows if isinstance(row, Standard)]
    bad = [text for text, row in zip(texts, rows, strict=True) if isinstance(row, str)]
    unreadable = set(bad)
    bad_lines = [text for text in stated if text in unreadable]
    if not good:
        example = f", e.g. {bad[0][:60]!r}" if bad else ""
        remedy = "check that it holds SMILES; of a table, name their column with --column"
        raise DataError(f"no molecule is readable among {len(stated):,} lines{example}", where=name, remedy=remedy)
    table = pl.DataFrame([vars(row) for row in good], schema_overrides=MOLECULES).select(list(MOLECULES))
    ordered = table.sort("exact_mass", "inchikey14", "smiles")  # of one key's tautomers the first spelling stays
    frame = ordered.unique("inchikey14", keep="first", maintain_order=True)
    info = {
        "name": name,
        "lines": len(stated),
        "molecules": frame.height,
        "repeated": len(stated) - len(bad_lines) - frame.height,
        "unreadable": len(bad_lines),
        "unreadable_examples": bad[:5],
    }
    return MoleculeList(name, frame, info)


def standardise_many(smiles: list[str]) -> list[Standard | str]:
    """The standard form of each, or what is wrong with it. Runs in a worker."""
    out: list[Standard | str] = []
    for text in smiles:
        try:
            out.append(standardise(text))
        except ChemistryError as error:
            out.append(error.message)
    return out


def dataset_list(frame: pl.DataFrame, name: str = "dataset", *, processes: int = 2) -> MoleculeList:
    """The distinct molecules of a dataset, train and test alike, under the dataset's own InChIKey-14.

    The key stays where the uniform form would get another one (a salt counted whole): a truth must be in its pool.
    Where the uniform form cannot be had, parts and charges stay. Needs inchikey14 and smiles.
    """
    pairs = frame.select("inchikey14", "smiles").drop_nulls().unique("inchikey14", maintain_order=True)
    pairs = pairs.sort("inchikey14")
    keys, texts = pairs.get_column("inchikey14").to_list(), pairs.get_column("smiles").to_list()
    rows: list[dict[str, Any]] = []
    chunks = [list(zip(keys[i : i + _CHUNK], texts[i : i + _CHUNK], strict=True)) for i in range(0, len(keys), _CHUNK)]
    for part in workers.apply(f"{__name__}:own_forms", chunks, processes if len(keys) > 2 * _CHUNK else 1):
        rows += part
    table = pl.DataFrame(rows, schema=MOLECULES, orient="row").sort("exact_mass", "inchikey14")
    info = {"name": name, "lines": len(keys), "molecules": table.height, "unreadable": len(keys) - table.height}
    return MoleculeList(name, table, info)


def own_forms(pairs: list[tuple[str, str]]) -> list[dict[str, Any]]:
    """Rows of `MOLECULES` for (InChIKey-14, SMILES) of a dataset; none for what does not parse. Runs in a worker."""
    rows = []
    for key, text in pairs:
        try:
            form = standardise(text)
        except ChemistryError:
            try:
                form = standardise(text, neutralise=False)
            except ChemistryError:
                continue
        rows.append(vars(form) | {"inchikey14": key})
    return rows


def read_smiles(path: Path, column: str | None = None) -> list[str]:
    """The SMILES of a file, as written; see `import_list`. Raises DataError."""
    stem = re.sub(r"\.gz$", "", path.name.lower())
    try:
        if stem.endswith(".parquet"):
            table = pl.read_parquet(path)
            return _column(table, _choose(table, column, path))
        lines = _lines(path)
    except (OSError, UnicodeDecodeError, EOFError, zlib.error, pl.exceptions.PolarsError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        remedy = "is it cut, or of another kind than its ending says? .smi, .tsv, .csv (each also .gz) or .parquet"
        raise DataError(f"cannot be read: {reason}", where=str(path), remedy=remedy) from error
    if not any(line.strip() for line in lines):
        raise DataError("the file is empty", where=str(path), remedy="give a list of SMILES")
    if stem.endswith((".tsv", ".csv")):
        return _table(lines, "\t" if stem.endswith(".tsv") else ",", column, path)
    if column is not None:
        remedy = "leave --column out (the first word of a line counts), or call a table .tsv or .csv"
        raise DataError(f"a .smi list has no column {column!r}", where=str(path), remedy=remedy)
    return [line.split()[0] for line in lines if line.strip()]


def _lines(path: Path) -> list[str]:
    raw = path.read_bytes()
    if raw.startswith(b"PAR1"):
        raise OSError("a Parquet file without its ending")
    packed = raw.startswith(b"\x1f\x8b") or path.suffix.lower() == ".gz"
    return (gzip.decompress(raw) if packed else raw).decode("utf-8-sig").splitlines()


def _table(lines: list[str], separator: str, column: str | None, path: Path) -> list[str]:
    """Without a header (the first line's fields parse as molecules) the last column that holds SMILES counts."""
    first = lines[0].split(separator) if lines else []
    smiles_like = [i for i, cell in enumerate(first) if _parses(cell)]
    if smiles_like and column is None:
        cells = (line.split(separator) for line in lines)
        return [row[smiles_like[-1]] for row in cells if len(row) > smiles_like[-1]]
    text = "\n".join(lines).encode()
    try:
        table = pl.read_csv(text, separator=separator, infer_schema=False)
    except pl.exceptions.PolarsError as error:
        remedy = "every line needs as many columns as the header; quote values that hold the separator"
        raise DataError(f"not a table: {str(error).splitlines()[0]}", where=str(path), remedy=remedy) from error
    return _column(table, _choose(table, column, path))


def _parses(text: str) -> bool:
    try:
        standardise(text.strip().strip('"'))
    except ChemistryError:
        return False
    return True


def _choose(table: pl.DataFrame, column: str | None, path: Path) -> str:
    names = {name.lower(): name for name in table.columns}
    for wanted in (column.lower(),) if column else _COLUMNS:
        if wanted in names:
            return names[wanted]
    close = get_close_matches((column or "smiles").lower(), names, n=1, cutoff=0.6)
    hint = f"did you mean --column {names[close[0]]}? " if close else "name the column of the SMILES with --column; "
    remedy = f"{hint}the file has {', '.join(table.columns[:12])}"
    raise DataError(f"no column {column or 'smiles'!r}", where=str(path), remedy=remedy)


def _column(table: pl.DataFrame, name: str) -> list[str]:
    return table.get_column(name).cast(pl.String).drop_nulls().to_list()


def home() -> Path:
    """Where molecule lists are kept."""
    return store.home() / "molecules"


def names() -> list[str]:
    """Names of the imported lists."""
    return sorted(path.stem for path in home().glob("*.json") if path.with_suffix(".parquet").is_file())


def molecule_list(name: str) -> MoleculeList:
    """An imported list. Raises DataError where it is absent or damaged."""
    place = home() / f"{name}.parquet"
    if name not in names():
        raise DataError(
            f"no molecule list {name!r}",
            where=str(home()),
            remedy=f"here: {', '.join(names()) or 'none'}; give the path of a file to import one",
        )
    try:
        info = json.loads(place.with_suffix(".json").read_text(encoding="utf-8"))
        frame = pl.read_parquet(place).select(list(MOLECULES))
    except (OSError, ValueError, pl.exceptions.PolarsError) as error:
        raise DataError(f"the list cannot be read: {error}", where=str(place), remedy="import it again") from error
    return MoleculeList(name, frame, info)
