"""Which molecules pretraining may see: lists joined, and everything near a held-out molecule taken out.

Pretraining on test molecules is a leak although no spectrum is seen: an encoder knows its test set by heart. So every
molecule of the val and test folds goes, the same molecule in another form (salt, charge, tautomer) goes, and so do
neighbours of high Tanimoto similarity. What was excluded, and the list of what was used, is kept beside the weights.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numba
import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...chem.molecule import RDKIT_VERSION, morgan_packed
from ...data.candidates import workers
from ...data.candidates.likeness import popcount
from ...data.candidates.lists import MoleculeList, dataset_list, import_list, molecule_list, names
from ...errors import ConfigError, DataError
from ...provenance import file_hash, table_hash

Progress = Callable[[str], None]
FINGERPRINT = "Morgan radius 2, 2048 bits"
_CHUNK = 5000
_FITTING = ".smi, .tsv, .csv (each also .gz) or .parquet with a column of SMILES, or the name of an imported list"


@dataclass(frozen=True)
class HeldOut:
    """What must stay unseen.

    Attributes:
        molecules: inchikey14, smiles of all val and test molecules.
        record: what a reader needs to find them again: dataset, its hash, the splits and their hashes. JSON values.
    """

    molecules: pl.DataFrame
    record: dict[str, Any] = field(default_factory=dict)


def open_lists(sources: Sequence[str], *, processes: int = 2, progress: Progress | None = None) -> list[MoleculeList]:
    """Files of SMILES, or names of imported lists. A file is imported once (`data.candidates.lists`) and found by its
    contents afterwards. Raises ConfigError where none is named, DataError where one is absent or holds no molecule."""
    if not sources:
        stored = f"; imported here: {', '.join(names())}" if names() else ""
        raise ConfigError("no molecules to pretrain on", where="--molecules", remedy=f"name files: {_FITTING}{stored}")
    return [_open(source, processes, progress) for source in sources]


def _open(source: str, processes: int, progress: Progress | None) -> MoleculeList:
    path = Path(source)
    if not path.is_file():
        if source in names():
            return molecule_list(source)
        raise DataError("no such file or imported list", where=source, remedy=f"name {_FITTING}")
    digest = file_hash(path)
    for name in names():
        known = molecule_list(name)
        origin = known.info.get("source", {})
        if origin.get("sha256") == digest and origin.get("column") is None and origin.get("rdkit") == RDKIT_VERSION:
            return known

    def report(done: int, total: int) -> None:
        if progress is not None and done % 50_000 == 0:
            progress(f"{path.name}: {done:,} of {total:,} lines")

    return import_list(path, f"{path.name.partition('.')[0]}-{digest[:8]}", processes=processes, progress=report)


def list_record(found: MoleculeList) -> dict[str, Any]:
    """What is told of a list: counts, hash, and the file it is from."""
    origin = found.info.get("source", {})
    return {
        "name": found.name,
        "hash": found.hash,
        "molecules": found.frame.height,
        **{key: found.info.get(key) for key in ("lines", "repeated", "unreadable")},
        **{key: origin.get(key) for key in ("file", "sha256")},
    }


def join(lists: Sequence[MoleculeList], limit: int | None = None, seed: int = 0) -> pl.DataFrame:
    """Distinct molecules (InChIKey-14) of all lists, table `lists.MOLECULES` sorted by key; `limit` of them, drawn."""
    frame = pl.concat([each.frame for each in lists])
    frame = frame.unique("inchikey14", keep="first", maintain_order=True).sort("inchikey14")
    if limit is None or frame.height <= limit:
        return frame
    return frame[np.sort(np.random.default_rng(seed).choice(frame.height, limit, replace=False))]


def exclude(
    frame: pl.DataFrame, held_out: HeldOut, threshold: float, *, processes: int = 2, progress: Progress | None = None
) -> tuple[pl.DataFrame, dict[str, Any]]:
    """`frame` (table `lists.MOLECULES`) without held-out molecules and their near neighbours, and what was taken out.

    Counted one after the other: `exact` (same InChIKey-14), `tautomer` (the same but for salt, charge, stereo or mobile
    hydrogens), `near` (Tanimoto of Morgan fingerprints ≥ `threshold`). Raises DataError where nothing is left.
    """
    keys = held_out.molecules.drop_nulls("inchikey14").select("inchikey14").unique()
    known = dataset_list(held_out.molecules, processes=processes).frame if keys.height else frame.clear()
    not_exact = frame.join(keys, on="inchikey14", how="anti", maintain_order="left")
    distinct = not_exact.join(known.select("tautomer"), on="tautomer", how="anti", maintain_order="left")
    near = near_any(distinct["smiles"].to_list(), known["smiles"].to_list(), threshold, processes, progress)
    kept = distinct.filter(~pl.Series(near, dtype=pl.Boolean))
    counts = {
        "held_out_molecules": keys.height,
        "held_out_without_structure": keys.height - known.height,
        "exact": frame.height - not_exact.height,
        "tautomer": not_exact.height - distinct.height,
        "near": distinct.height - kept.height,
        "threshold": threshold,
        "fingerprint": FINGERPRINT,
    }
    if kept.is_empty():
        what = f"none of {frame.height:,} molecules is left once held-out molecules and their neighbours are excluded"
        raise DataError(what, remedy="give a longer list, or a higher --near")
    return kept, counts


def near_any(
    smiles: Sequence[str],
    others: Sequence[str],
    threshold: float,
    processes: int = 1,
    progress: Progress | None = None,
) -> NDArray[np.bool_]:
    """Whether each molecule has one of `others` within a Tanimoto similarity of `threshold` (at least). Shape (n,)."""
    if not smiles or not others:
        return np.zeros(len(smiles), np.bool_)
    packed = morgan_packed(list(others))
    bits = np.unpackbits(packed.view(np.uint8), axis=1).sum(axis=1).astype(np.int64)
    order = np.argsort(bits, kind="stable")
    held = (packed[order], bits[order], threshold)
    chunks = [(list(smiles[i : i + _CHUNK]), *held) for i in range(0, len(smiles), _CHUNK)]
    parts: list[NDArray[np.bool_]] = []
    for part in workers.apply(f"{__name__}:near_chunk", chunks, processes):
        parts.append(part)
        if progress is not None and len(parts) % 10 == 0:
            progress(f"compared with held-out molecules: {len(parts) * _CHUNK:,} of {len(smiles):,}")
    return np.concatenate(parts)


def near_chunk(
    work: tuple[list[str], NDArray[np.uint64], NDArray[np.int64], float],
) -> NDArray[np.bool_]:
    """One block of `near_any`: its SMILES, the packed others sorted by their number of bits, the threshold."""
    smiles, others, bits, threshold = work
    found: NDArray[np.bool_] = _near(morgan_packed(smiles), others, bits, threshold)
    return found


@numba.njit(cache=True, nogil=True)
def _near(packed, others, bits, threshold):  # type: ignore[no-untyped-def]
    """Only others whose number of bits allows the threshold are compared: Tanimoto ≤ min(a, b) / max(a, b)."""
    out = np.zeros(packed.shape[0], np.bool_)
    for i in range(packed.shape[0]):
        own = 0
        for word in range(packed.shape[1]):
            own += popcount(packed[i, word])
        first = np.searchsorted(bits, own * threshold - 1e-9)
        last = np.searchsorted(bits, own / threshold + 1e-9)
        for j in range(first, last):
            shared = 0
            for word in range(packed.shape[1]):
                shared += popcount(packed[i, word] & others[j, word])
            union = own + bits[j] - shared
            if union > 0 and shared >= threshold * union - 1e-9:
                out[i] = True
                break
    return out


def used_hash(frame: pl.DataFrame) -> str:
    """Of the molecules that take part, by their keys."""
    return table_hash(frame.select("inchikey14").sort("inchikey14"))
