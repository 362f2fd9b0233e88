"""Spectra of a run → one vector a sample: the aggregations; what is fitted is fitted on training samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from ..errors import unknown_name
from .representation import Summary

Gram = NDArray[np.float64]
Rows = NDArray[np.int64]
#: Name → what it is, for the documentation and the error message.
AGGREGATIONS = {
    "mean": "mean over spectra",
    "weighted": "mean over spectra, each weighing as much as its intensity",
    "hellinger": "square root of the mean weighted by intensity, scaled to unit length",
    "count": "sum over spectra",
    "log": "logarithm of 1 + the sum",
    "max": "maximum over spectra",
    "quantile": "10th, 50th and 90th percentile of each dimension",
    "tfidf": "mean times log of how few training samples hold the word, unit length",
    "kmeans": "share of spectra in each of the clusters of the training samples' spectra, square root",
}
FITTED = ("tfidf", "kmeans")
OF_BAGS = ("mean", "weighted", "hellinger", "count", "log", "max", "tfidf")
OF_EMBEDDINGS = ("mean", "weighted", "max", "quantile", "kmeans")
#: Words of fewer runs tell nothing of other samples: so many, and this share of the runs.
LEAST_RUNS, LEAST_SHARE = 2, 0.01
_CODEBOOK, _FITTED_ON = 64, 30_000
_ASSIGNED = 8192  # spectra that find their cluster in one call


class Features(Protocol):
    """Samples that can be compared: all that a learner needs."""

    def gram(self, aggregation: str, train: Rows) -> Gram:
        """(n, n) inner products of all samples, what is fitted being fitted on `train`."""
        ...


def fits(name: str, bag: bool) -> bool:
    """Whether an aggregation is for this kind of vectors. Raises ConfigError for a name that there is not."""
    if name not in AGGREGATIONS:
        raise unknown_name("aggregation", name, AGGREGATIONS)
    return name in (OF_BAGS if bag else OF_EMBEDDINGS)


class Pooled:
    """The runs of one acquisition in one representation.

    Args:
        summaries: n of them.
        bag: as of the representation.
        blanks: what is seen in them is subtracted (mean over blanks of the mean over spectra); only of bags.
        seed: of the codebook.
    """

    def __init__(self, summaries: Sequence[Summary], bag: bool, blanks: Sequence[Summary] = (), seed: int = 0) -> None:
        self._summaries, self.bag, self._seed = list(summaries), bag, seed
        self._spectra = np.asarray([max(s.n_spectra, 1) for s in summaries], np.float64)
        self._grams: dict[Any, Gram] = {}
        self.index = _common(summaries) if bag else np.asarray(summaries[0].index)
        per_spectrum = 1 / self._spectra
        self._matrix: dict[str, Any] = {"mean": self._stack("total", per_spectrum), "weighted": self._stack("weighted")}
        if blanks:
            rates = Pooled._blank_rate(blanks, self.index)
            self._matrix["mean"] = _less(self._matrix["mean"], rates)
        self._matrix["count"] = sparse.diags(self._spectra) @ self._matrix["mean"] if bag else None
        self._matrix["max"] = self._stack("most")
        if bag:
            self._matrix["log"] = self._matrix["count"].log1p()
            self._matrix["hellinger"] = _unit(self._matrix["weighted"].sqrt())
        else:
            self._matrix["quantile"] = np.stack([_flat(s.quantiles) for s in summaries]).astype(np.float64)

    def _stack(self, name: str, scale: NDArray[np.float64] | None = None) -> Any:
        """(n, m) of one attribute of the summaries."""
        parts = [getattr(s, name) for s in self._summaries]
        if not self.bag:
            dense = np.stack(parts).astype(np.float64)
            return dense if scale is None else dense * scale[:, None]
        return _rows(self._summaries, parts, self.index, scale)

    @staticmethod
    def _blank_rate(blanks: Sequence[Summary], index: NDArray[np.int64]) -> NDArray[np.float64]:
        scale = 1 / np.asarray([max(b.n_spectra, 1) for b in blanks], np.float64)
        rates = _rows(blanks, [b.total for b in blanks], index, scale)
        return np.asarray(rates.mean(axis=0), np.float64).ravel()

    def vectors(self) -> NDArray[np.float32]:
        """(n, m) the plain mean, with dimensions `index`."""
        mean = self._matrix["mean"]
        return np.asarray(mean.toarray() if self.bag else mean, np.float32)

    def gram(self, aggregation: str, train: Rows) -> Gram:
        """See `Features`; kept, so that a second question costs nothing."""
        key = (aggregation, train.tobytes() if aggregation in FITTED else None)
        if key not in self._grams:
            matrix = self.matrix(aggregation, train)
            product = matrix @ matrix.T
            self._grams[key] = np.asarray(product.toarray() if sparse.issparse(product) else product, np.float64)
        return self._grams[key]

    def matrix(self, aggregation: str, train: Rows) -> Any:
        """(n, features) CSR or array."""
        if aggregation == "tfidf":
            return self._tfidf(train)
        if aggregation == "kmeans":
            return self._clusters(train)
        return self._matrix[aggregation]

    def _tfidf(self, train: Rows) -> Any:
        mean = self._matrix["mean"]
        held = np.bincount(mean[train].nonzero()[1], minlength=mean.shape[1])
        weight = np.log((1 + train.size) / (1 + held)) + 1
        weighted = mean @ sparse.diags(weight)
        return _unit(weighted)

    def _clusters(self, train: Rows) -> NDArray[np.float64]:
        from sklearn.cluster import MiniBatchKMeans

        spectra = [s.spectra for s in self._summaries if s.spectra is not None]
        pool = _drawn([spectra[i] for i in train.tolist()], np.random.default_rng(self._seed))
        if not pool.shape[0]:
            return np.zeros((len(spectra), 1))
        k = max(1, min(_CODEBOOK, pool.shape[0] // 10))
        codebook = MiniBatchKMeans(k, random_state=self._seed, n_init=1, batch_size=4096, max_iter=20).fit(pool)
        sizes = np.array([each.shape[0] for each in spectra])
        out = np.zeros((len(spectra), k))
        for runs in np.split(np.arange(len(spectra)), np.flatnonzero(np.diff(np.cumsum(sizes) // _ASSIGNED)) + 1):
            if sizes[runs].sum():
                word = codebook.predict(np.concatenate([spectra[i] for i in runs.tolist()]).astype(np.float32))
                np.add.at(out, (np.repeat(runs, sizes[runs]), word), 1)
        return np.asarray(np.sqrt(out / np.maximum(sizes, 1)[:, None]))


class Together:
    """Several acquisitions of the same samples, side by side, each weighing the same.

    Args:
        parts: of each acquisition, the samples in the same order.
    """

    def __init__(self, parts: Sequence[Features]) -> None:
        self._parts = list(parts)

    def gram(self, aggregation: str, train: Rows) -> Gram:
        out: Any = 0.0
        for part in self._parts:
            gram = part.gram(aggregation, train)
            inner = gram[np.ix_(train, train)]
            spread = float(np.trace(inner) / train.size - inner.mean())
            out = out + gram / max(spread, 1e-12)
        return np.asarray(out, np.float64)


def distances(gram: Gram) -> Gram:
    """(n, n) Euclidean."""
    own = np.diag(gram)
    squared = np.maximum(own[:, None] + own[None, :] - 2 * gram, 0.0)
    np.fill_diagonal(squared, 0.0)
    return np.asarray(np.sqrt((squared + squared.T) / 2))


def _common(summaries: Sequence[Summary]) -> NDArray[np.int64]:
    """Dimensions that occur in enough runs, or in any where no two runs share one."""
    index, runs = np.unique(np.concatenate([s.index for s in summaries]), return_counts=True)
    shared = index[runs >= max(LEAST_RUNS, LEAST_SHARE * len(summaries))]
    return np.asarray(shared if shared.size else index, np.int64)


def _rows(
    summaries: Sequence[Summary], values: Sequence[Any], index: NDArray[np.int64], scale: NDArray[np.float64] | None
) -> Any:
    """CSR of one row a summary, dimensions `index` only."""
    counts = np.asarray([s.index.size for s in summaries])
    row = np.repeat(np.arange(counts.size), counts)
    dimension = np.concatenate([s.index for s in summaries])
    value = np.concatenate(values).astype(np.float64)
    if scale is not None:
        value *= scale[row]
    at = np.searchsorted(index, dimension)
    known = (at < index.size) & (value != 0)
    known[known] = index[at[known]] == dimension[known]
    return sparse.csr_matrix((value[known], (row[known], at[known])), shape=(counts.size, index.size))


def _less(matrix: Any, rates: NDArray[np.float64]) -> Any:
    """A CSR less a row of rates wherever it has a value, never below 0."""
    out = matrix.copy()
    out.data = np.maximum(out.data - rates[out.indices], 0.0)
    out.eliminate_zeros()
    return out


def _unit(matrix: Any) -> Any:
    """Rows of length 1; an empty one stays so."""
    length = np.sqrt(np.asarray(matrix.multiply(matrix).sum(axis=1)).ravel())
    return sparse.csr_matrix(sparse.diags(1 / np.maximum(length, 1e-12)) @ matrix)


def _drawn(spectra: Sequence[Any], rng: np.random.Generator) -> NDArray[np.float32]:
    """All spectra of some runs, or `_FITTED_ON` of them, without a copy of those that are not drawn."""
    sizes = np.array([each.shape[0] for each in spectra])
    if sizes.sum() <= _FITTED_ON:
        return np.concatenate(spectra).astype(np.float32)
    chosen = rng.choice(int(sizes.sum()), _FITTED_ON, replace=False)
    first = np.cumsum(sizes) - sizes
    of = np.searchsorted(first, chosen, side="right") - 1
    out = np.empty((chosen.size, spectra[0].shape[1]), np.float32)
    for run in np.unique(of).tolist():
        mine = of == run
        out[mine] = spectra[run][chosen[mine] - first[run]]
    return out


def _flat(values: Any) -> Any:
    return np.asarray(values).ravel()
