"""What is told of a query and a candidate spectrum: classical scores, learned cosines, conditions, and the pool's rest.

Nothing tells which candidates' molecules are known: in a split by molecule a molecule of the training fold is never the
answer, and a re-ranker that saw it would rank by that. For the same reason the pool is described by its spectra and not
by their molecules, which a model is not shown. The precursor's deviation is left out too: where both sides wrote the
theoretical mass it tells the formula, and an instrument's mass does not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...metrics.strata import IN_EV
from ...search.pairs import Pairs, measure_pairs
from ...spectra.flat import flatten
from ...spectra.library import Library, Scoring
from ..baselines.library_score import prepared

Floats = NDArray[np.float64]
_WITHOUT = {"precursor": "remove", "min_intensity": 0.0}
READ = ("identifier", "mzs", "intensities", "precursor_mz", "instrument_type", "collision_energy",
        "collision_energy_kind")  # fmt: skip


class Score(NamedTuple):
    """A classical score among the features, and whether the precursor's region is taken out first."""

    scoring: Scoring
    bare: bool = False


#: The scores that `library-score` is tuned over in part 6, and their kin.
SCORES: Mapping[str, Score] = {
    "entropy": Score(Scoring("entropy", "0.02Da")),
    "entropy wide": Score(Scoring("entropy", "0.05Da")),
    "entropy narrow": Score(Scoring("entropy", "0.005Da")),
    "entropy unweighted": Score(Scoring("entropy-unweighted", "0.02Da")),
    "entropy bare": Score(Scoring("entropy", "0.02Da"), bare=True),
    "cosine": Score(Scoring("cosine", "0.02Da")),
    "sqrt cosine": Score(Scoring("cosine", "0.02Da", 0.5)),
    "flat cosine": Score(Scoring("cosine", "0.02Da", 0.25)),
    "heavy cosine": Score(Scoring("cosine", "0.02Da", 0.5, 0.5)),
    "sqrt cosine bare": Score(Scoring("cosine", "0.02Da", 0.5), bare=True),
    "neutral loss": Score(Scoring("neutral-loss", "0.02Da", 0.5)),
}
#: Unit of each kind of energy.
_UNITS = {**dict.fromkeys(IN_EV, 0), "resonant-%": 1, "unitless": 2}
_OF_POOL = ("", " above the next", " place")
_PAIR = (
    "matched peaks", "matched share", "explained", "explained library", "energy apart", "energies known",
    "same instrument", "instruments known", "peaks of query", "peaks of candidate", "entropy of query",
    "entropy of candidate", "candidates",
)  # fmt: skip


def names(learned: int) -> tuple[str, ...]:
    """Names of the columns of `features`, with so many learned cosines."""
    scored = (*SCORES, *(f"learned {k + 1}" for k in range(learned)))
    return tuple(f"{name}{of}" for name in scored for of in _OF_POOL) + _PAIR


def signs(learned: int) -> NDArray[np.int64]:
    """(features,) 1 for similarities and their lead in the pool: more of them never speaks against a candidate."""
    rising = [not name.endswith(_OF_POOL[2]) and name not in _PAIR for name in names(learned)]
    return np.array(rising, np.int64)


@dataclass(frozen=True)
class Shelf:
    """A library ready to be compared: with and without the region of the precursor, and its spectra in numbers."""

    library: Library
    bare: Library
    frame: pl.DataFrame = field(repr=False)
    any_unit: bool = False

    @classmethod
    def of(cls, spectra: pl.DataFrame, any_unit: bool = False) -> Shelf:
        """spectra: `READ`; other columns are kept in `library.rows`. any_unit: see `_conditions`."""
        ordered = spectra.sort("identifier")
        read = ordered.select(READ)
        return cls(Library.build(ordered), Library.build(prepared(read, _WITHOUT)), read, any_unit)

    def features(
        self, queries: pl.DataFrame, pairs: Pairs, learned: list[Floats], threads: int | None = None
    ) -> NDArray[np.float32]:
        """(m, len(names)) of these pairs. queries: `READ`; learned: (m,) cosines of each embedder."""
        columns: list[Floats] = []
        stripped = prepared(queries.select(READ), _WITHOUT)
        matched = None
        for score in SCORES.values():
            library, asked = (self.bare, stripped) if score.bare else (self.library, queries)
            found = measure_pairs(library, asked, score.scoring, pairs, threads)
            matched = matched or found
            columns += [found.score, *in_pool(found.score, pairs.query)]
        for cosine in learned:
            columns += [cosine, *in_pool(cosine, pairs.query)]
        assert matched is not None
        mine, theirs = _described(queries), _described(self.frame)
        fewer = np.maximum(1, np.minimum(mine.peaks[pairs.query], theirs.peaks[pairs.row]))
        count = matched.matched.astype(np.float64)
        columns += [count, count / fewer, matched.explained, matched.explained_library]
        columns += _conditions(queries, self.frame, pairs, self.any_unit)
        columns += [np.log1p(mine.peaks[pairs.query]), np.log1p(theirs.peaks[pairs.row])]
        columns += [mine.entropy[pairs.query], theirs.entropy[pairs.row]]
        columns += [np.log(np.maximum(1, pairs.sizes(queries.height)))[pairs.query]]
        return np.stack(columns, axis=1).astype(np.float32)


def in_pool(score: Floats, query: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """How far each candidate lies above the best other one of its query (its own score where it is alone), and its
    place as a share: 0 for the best, 1 for the last. query: ascending."""
    if not score.size:
        return score.copy(), score.copy()
    order = np.lexsort((-score, query))
    asked = query[order]
    new = np.diff(asked, prepend=-1) != 0
    begin = np.maximum.accumulate(np.where(new, np.arange(asked.size), 0))
    size = np.bincount(asked)[asked]
    best = score[order[begin]]
    second = np.where(size > 1, score[order[np.minimum(begin + 1, asked.size - 1)]], 0.0)
    ahead, place = np.empty(score.size), np.empty(score.size)
    at = np.arange(asked.size) - begin
    ahead[order] = score[order] - np.where(at == 0, second, best)
    fresh = new | (np.diff(score[order], prepend=np.inf) != 0)
    tied = np.maximum.accumulate(np.where(fresh, np.arange(asked.size), 0))  # equal scores share the first one's place
    place[order] = (tied - begin) / np.maximum(1, size - 1)
    return ahead, place


class _Numbers(NamedTuple):
    peaks: Floats
    entropy: Floats


def _described(frame: pl.DataFrame) -> _Numbers:
    """Number of peaks and spectral entropy (nats) of each row."""
    flat = flatten(frame)
    row = np.repeat(np.arange(frame.height), np.diff(flat.offsets))
    total = np.bincount(row, flat.intensities, frame.height)
    share = flat.intensities / total[row]
    entropy = -np.bincount(row, share * np.log(share), frame.height).astype(np.float64)
    return _Numbers(np.diff(flat.offsets).astype(np.float64), entropy)


def _conditions(queries: pl.DataFrame, library: pl.DataFrame, pairs: Pairs, any_unit: bool = False) -> list[Floats]:
    """Energies apart (|log ratio| of the numbers + 1; 0 where not known), known; instruments alike, known.

    What two energies are apart is known where both are stated in one unit: eV, resonant per cent, or none. With
    `any_unit` numbers of different units are compared too.
    """
    frames = (queries, library)
    energies = [f["collision_energy"].cast(pl.Float64).fill_null(np.nan).to_numpy() for f in frames]
    apart = np.abs(np.log1p(np.abs(energies[0][pairs.query])) - np.log1p(np.abs(energies[1][pairs.row])))
    units = [f["collision_energy_kind"].replace_strict(_UNITS, default=-1, return_dtype=pl.Int64) for f in frames]
    mine_in, theirs_in = (u.fill_null(-1).to_numpy()[at] for u, at in zip(units, pairs, strict=True))
    known = np.isfinite(apart) & (any_unit | ((mine_in == theirs_in) & (mine_in >= 0)))
    both = pl.concat([queries["instrument_type"], library["instrument_type"]])
    code = (both.rank("dense").cast(pl.Int64) - 1).fill_null(-1).to_numpy()
    mine, theirs = code[: queries.height][pairs.query], code[queries.height :][pairs.row]
    told = (mine >= 0) & (theirs >= 0)
    return [
        np.where(known, apart, 0.0),
        known.astype(float),
        ((mine == theirs) & told).astype(float),
        told.astype(float),
    ]
