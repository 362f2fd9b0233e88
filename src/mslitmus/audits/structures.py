"""Molecules of a run's folds in uniform form, and which of them lie near others: what the leak audits share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numba
import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..chem.distance.batch import solve_pairs
from ..chem.distance.graph import key as graph_key
from ..chem.molecule import morgan_packed
from ..data.candidates.likeness import popcount
from ..data.candidates.lists import dataset_list
from .evidence import Evidence

#: MCES < 10, MassSpecGym's rule; distances are multiples of one half.
MCES_BELOW = 9.75
#: Seconds a pair; one that is undecided after them counts as far.
_PAIR_SECONDS = 1.0


def uniform(evidence: Evidence) -> pl.DataFrame:
    """inchikey14, smiles, formula, exact_mass, tautomer of every molecule of the run, in uniform form.

    About 0.6 ms a molecule, once for all audits. A molecule that has no such form has no row. Raises Absent.
    """

    def make() -> pl.DataFrame:
        parts = [
            part.select("inchikey14", "smiles").drop_nulls()
            for split in evidence.tables.splits
            for part in evidence.folds(split).values()
        ]
        every = pl.concat(parts).unique("inchikey14", keep="first", maintain_order=True)
        evidence.progress(f"uniform forms of {every.height:,} molecules")
        return dataset_list(every).frame

    found: pl.DataFrame = evidence.kept("uniform molecules", make)
    return found


def members(evidence: Evidence, split: str, fold: str) -> pl.DataFrame:
    """Rows of `uniform` that have spectra in a fold."""
    keys = evidence.folds(split)[fold]["inchikey14"].drop_nulls().unique()
    return uniform(evidence).filter(pl.col("inchikey14").is_in(keys.implode())).sort("inchikey14")


def nearest(
    queries: Sequence[str], library: Sequence[str], k: int, progress: Callable[[str], None]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The k most similar library molecules (Tanimoto, Morgan radius 2, 2048 bits) of each query, best first.

    Returns (queries, k) rows of the library (−1 where it is shorter) and similarities. Similarities of 3,000 to 30,000
    take some seconds.
    """
    own, others = morgan_packed(list(queries)), morgan_packed(list(library))
    bits = np.unpackbits(others.view(np.uint8), axis=1).sum(axis=1).astype(np.int64)
    rows, values = np.full((len(own), k), -1), np.full((len(own), k), -1.0)
    for start in range(0, len(own), 500):
        stop = min(start + 500, len(own))
        rows[start:stop], values[start:stop] = _nearest(own[start:stop], others, bits, k)
        if len(own) > 500:
            progress(f"compared with {len(others):,} molecules: {stop:,} of {len(own):,}")
    return rows, values


@numba.njit(cache=True, nogil=True)
def _nearest(own, others, bits, k):  # type: ignore[no-untyped-def]
    rows, values = np.full((own.shape[0], k), -1), np.full((own.shape[0], k), -1.0)
    for q in range(own.shape[0]):
        size = 0
        for word in range(own.shape[1]):
            size += popcount(own[q, word])
        for j in range(others.shape[0]):
            low, high = min(size, bits[j]), max(size, bits[j])
            if low < values[q, k - 1] * high:
                continue  # Tanimoto is at most low / high
            shared = 0
            for word in range(own.shape[1]):
                shared += popcount(own[q, word] & others[j, word])
            union = size + bits[j] - shared
            value = shared / union if union else 0.0
            place = k
            while place > 0 and value > values[q, place - 1]:
                place -= 1
            for after in range(k - 1, place, -1):
                values[q, after], rows[q, after] = values[q, after - 1], rows[q, after - 1]
            if place < k:
                values[q, place], rows[q, place] = value, j
    return rows, values


def near_by_mces(
    queries: Sequence[str], library: Sequence[str], rows: NDArray[np.int64], progress: Callable[[str], None]
) -> NDArray[np.bool_]:
    """Whether one of a query's listed library molecules lies at MCES < 10. Shape (queries,).

    Rounds from the most similar listed one on; a query that has a near one is done. Others that are not listed may
    be near too, so the count is a lower bound.
    """
    found = np.zeros(len(queries), np.bool_)
    for place in range(rows.shape[1]):
        open_ = [q for q in np.flatnonzero(~found).tolist() if rows[q, place] >= 0]
        texts = [(queries[q], library[rows[q, place]]) for q in open_]
        names = {text: graph_key(text) for pair in texts for text in pair}
        spelled = {name: text for text, name in names.items()}
        pairs = [(min(names[a], names[b]), max(names[a], names[b])) for a, b in texts]
        known: dict[Any, Any] = solve_pairs(
            list(dict.fromkeys(pairs)), spelled, MCES_BELOW, _PAIR_SECONDS, processes=1, decide=True
        )
        for q, pair in zip(open_, pairs, strict=True):
            found[q] = known[pair].upper <= MCES_BELOW
        progress(f"MCES, round {place + 1} of {rows.shape[1]}: {int(found.sum()):,} of {len(queries):,} are near")
    return found
