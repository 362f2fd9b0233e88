"""RDKit identities of many SMILES: once per distinct text, on several processes, remembered on disk.

Workers are plain subprocesses (`python -m mslitmus.data.identities`), so that importing works from any script, with or
without a `__main__` guard, and never forks a threaded process.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import polars as pl

from ..chem.molecule import RDKIT_VERSION, identify
from ..errors import ChemistryError
from ..provenance import write_parquet

#: One row a SMILES as written; `canonical` and the rest are null where it does not parse, `problem` says why.
IDENTITIES = {
    "smiles": pl.String(),
    "canonical": pl.String(),
    "inchikey14": pl.String(),
    "formula": pl.String(),
    "exact_mass": pl.Float64(),
    "charge": pl.Int64(),
    "problem": pl.String(),
}
_POOL_FROM = 1500  # below this, starting workers costs more than it saves


def identities(smiles: Iterable[str], cache: Path | None = None, workers: int | None = None) -> pl.DataFrame:
    """Table `IDENTITIES` of the distinct texts. About 1 ms a new molecule and worker.

    `cache` is a folder: what was computed with this RDKit version is read from there, what is new is added.
    """
    wanted = pl.Series("smiles", sorted({text for text in smiles if text}), dtype=pl.String)
    path = None if cache is None else cache / f"identities-rdkit-{RDKIT_VERSION}.parquet"
    known = _cached(path)
    new = wanted.filter(~wanted.is_in(known.get_column("smiles").implode())).to_list()
    if new:
        count = workers or min(os.cpu_count() or 1, 8)
        rows = _in_workers(new, count) if len(new) >= _POOL_FROM and count > 1 else compute(new)
        known = pl.concat([known, rows])
        if path is not None:
            with contextlib.suppress(OSError):  # without the cache the next import is slower, nothing else
                path.parent.mkdir(parents=True, exist_ok=True)
                write_parquet(path, known)
    return wanted.to_frame().join(known, on="smiles", how="left", maintain_order="left")


def _cached(path: Path | None) -> pl.DataFrame:
    if path is not None and path.is_file():
        try:
            table = pl.read_parquet(path)
        except (OSError, pl.exceptions.PolarsError):
            pass  # a damaged cache costs time, nothing else: it is written anew
        else:
            if dict(table.schema) == IDENTITIES:
                return table
    return pl.DataFrame(schema=IDENTITIES)


def compute(smiles: Sequence[str]) -> pl.DataFrame:
    """Identities in this process."""
    rows: list[tuple[object, ...]] = []
    for text in smiles:
        try:
            found = identify(text)
        except ChemistryError as error:
            rows.append((text, None, None, None, None, None, error.message))
        else:
            rows.append((text, found.smiles, found.inchikey14, found.formula, found.exact_mass, found.charge, None))
    return pl.DataFrame(rows, schema=IDENTITIES, orient="row")


def _in_workers(smiles: Sequence[str], workers: int) -> pl.DataFrame:
    """Deal the texts out to subprocesses; a share whose worker dies is computed here."""
    shares = [smiles[i::workers] for i in range(workers)]
    command = [sys.executable, "-m", "mslitmus.data.identities"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p), "PYTHONIOENCODING": "utf-8"}
    running = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) for _ in shares[1:]
    ]
    for process, share in zip(running, shares[1:], strict=True):
        assert process.stdin is not None
        try:
            process.stdin.write(pl.DataFrame({"smiles": share}).write_ipc(None).getvalue())
            process.stdin.close()
        except BrokenPipeError:
            continue
    parts = [compute(shares[0])]
    for process, share in zip(running, shares[1:], strict=True):
        assert process.stdout is not None
        output = process.stdout.read()
        process.stdout.close()
        parts.append(pl.read_ipc(output) if process.wait() == 0 and output else compute(share))
    return pl.concat(parts)


if __name__ == "__main__":
    table = pl.read_ipc(sys.stdin.buffer.read())
    sys.stdout.buffer.write(compute(table.get_column("smiles").to_list()).write_ipc(None).getvalue())
