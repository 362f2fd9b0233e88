"""What a representation of spectra is, and what is kept of a run: its spectra pooled in several ways."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import sparse

from ..errors import RunError
from ..spectra.flat import flatten

Array = NDArray[np.float32]
#: What the dimensions of a representation mean. `kind`: precursor, peak, loss, molecule, dimension.
WORDS = {"index": pl.Int64(), "word": pl.String(), "kind": pl.String(), "mz": pl.Float64(), "name": pl.String()}
QUANTILES = (0.1, 0.5, 0.9)
#: Spectra of a run that a codebook may be fitted on at most, drawn by the seed of their sample's name.
_SPECTRA = 500


class Representation(Protocol):
    """Spectra → vectors, one a spectrum, by itself: nothing is fitted on a cohort here.

    Attributes:
        bag: whether the entries are words that a spectrum holds or not (sparse, ≥ 0); else dimensions of an embedding.
        aggregations: those that are sensible, the default first.
    """

    name: str
    bag: bool
    aggregations: tuple[str, ...]

    def vectors(self, spectra: pl.DataFrame) -> Any:
        """(n, d) of n rows of schema SPECTRA: a scipy CSR matrix of a bag, else a float32 array."""
        ...

    def words(self, index: NDArray[np.int64]) -> pl.DataFrame:
        """Schema WORDS of some dimensions, in their order."""
        ...

    def identity(self) -> dict[str, Any]:
        """Settings and, where it was trained, hash: whatever changes vectors."""
        ...


@dataclass(frozen=True)
class Summary:
    """One run's spectra, pooled; a bag lists the dimensions that occur, an embedding all d.

    Attributes:
        index: (m,) dimensions, ascending.
        total, weighted, most: (m,) sum over spectra; sum weighted by the intensity of each spectrum over the sum of
            weights; maximum.
        n_spectra: of the run.
        quantiles: (3, m) of an embedding, else None.
        spectra: (≤ 500, d) float16, of an embedding, else None.
    """

    index: NDArray[np.int64]
    total: Array
    weighted: Array
    most: Array
    n_spectra: int
    quantiles: Array | None = None
    spectra: NDArray[np.float16] | None = None


def summarise(representation: Representation, spectra: pl.DataFrame, seed: int) -> Summary:
    """Pool a run. Spectra whose intensity is not recorded weigh as much as the run's median one."""
    n = spectra.height
    vectors = representation.vectors(spectra)
    weights = _weights(spectra)
    if representation.bag:
        matrix = sparse.csc_matrix(vectors, dtype=np.float32)
        index = np.flatnonzero(np.diff(matrix.indptr)).astype(np.int64)
        matrix = matrix[:, index]
        total = np.asarray(matrix.sum(axis=0), np.float32).ravel()
        weighted = np.asarray(matrix.T @ weights, np.float32).ravel()
        most = matrix.max(axis=0).toarray().ravel().astype(np.float32) if n else total
        return Summary(index, total, weighted, most, n)
    dense = np.asarray(vectors, np.float32)
    index = np.arange(dense.shape[1], dtype=np.int64)
    if not n:
        zero = np.zeros(index.size, np.float32)
        return Summary(
            index, zero, zero, zero, 0, np.zeros((len(QUANTILES), index.size), np.float32), dense.astype("f2")
        )
    quantiles = np.quantile(dense, QUANTILES, axis=0).astype(np.float32)
    kept = dense
    if n > _SPECTRA:
        kept = dense[np.sort(np.random.default_rng(seed).choice(n, _SPECTRA, replace=False))]
    weighted = (weights @ dense).astype(np.float32)
    return Summary(index, dense.sum(0), weighted, dense.max(0), n, quantiles, kept.astype(np.float16))


def _weights(spectra: pl.DataFrame) -> Array:
    """(n,) shares of the summed intensity, together 1."""
    base = spectra["base_peak_intensity"].cast(pl.Float64).fill_null(float("nan")).to_numpy()
    flat = flatten(spectra, where="spectra of a run")
    row = np.repeat(np.arange(spectra.height), np.diff(flat.offsets))
    weights = base * np.bincount(row, weights=flat.intensities, minlength=spectra.height)
    known = np.isfinite(weights) & (weights > 0)
    weights[~known] = np.median(weights[known]) if known.any() else 1.0
    return np.asarray(weights / max(weights.sum(), 1e-300), np.float32)


def save(path: Path, summary: Summary) -> None:
    """As `.npz`, through a temporary file."""
    arrays = {k: v for k, v in vars(summary).items() if v is not None}
    temporary = path.with_name(f".{path.stem}.tmp.npz")
    np.savez(temporary, **arrays)
    temporary.replace(path)


def load(path: Path) -> Summary:
    """Raises RunError for a damaged file."""
    try:
        with np.load(path, allow_pickle=False) as file:
            found = {name: file[name] for name in file.files}
        return Summary(**{**found, "n_spectra": int(found["n_spectra"])})
    except (OSError, ValueError, KeyError, TypeError) as error:
        what, remedy = f"cannot be read: {error}", "delete it: it is made again"
        raise RunError(what, where=str(path), remedy=remedy) from error


def words_frame(
    index: NDArray[np.int64], word: Sequence[str], kind: Sequence[str], mz: Sequence[float | None], name: Sequence[Any]
) -> pl.DataFrame:
    """Schema WORDS."""
    columns = {"index": index, "word": word, "kind": kind, "mz": mz, "name": name}
    return pl.DataFrame({c: pl.Series(c, list(v), dtype=WORDS[c]) for c, v in columns.items()})
