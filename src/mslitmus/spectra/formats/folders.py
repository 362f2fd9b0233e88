"""Which files of a folder are read as spectra."""

from __future__ import annotations

from pathlib import Path

from ...errors import FormatError
from ...lineage import LINEAGE, SIMULATION, USED

#: What `mslitmus simulate` leaves beside its shards, with its records and the list of its molecules.
EXCLUDED = "excluded.parquet"


def files_of(folder: Path) -> list[Path]:
    """Every file below a folder, in a stable order. Hidden ones are left alone, and so are a simulation's lists.

    Raises FormatError for a folder without any.
    """
    found = sorted(file for file in folder.rglob("*") if file.is_file() and not hidden(file.relative_to(folder)))
    if not found:
        raise FormatError("the folder holds no files", where=str(folder), remedy="name a file or another folder")
    return [file for file in found if not _beside_shards(file)]


def hidden(path: Path) -> bool:
    """Whether a path within a folder or archive is nobody's data."""
    return any(part.startswith((".", "__MACOSX")) for part in path.parts)


def _beside_shards(file: Path) -> bool:
    return file.name in (SIMULATION, LINEAGE, USED, EXCLUDED) and (file.parent / SIMULATION).is_file()
