"""Which formula has this spectrum? The one that fits the precursor, explains the peaks and looks like a molecule.

Candidates are all formulae within the tolerance of the neutral mass that precursor and adduct say, made of the
elements other than C, H, N, O in combinations that a training molecule has. Each gets

    score = prior + weight × share of √intensity explained (10 strongest peaks) − ½ (mass error / third of tolerance)²

where the prior is log share of its combination among the training formulae, minus half the squared Mahalanobis distance
of (H/C, N/C, O/C) from their mean, plus a bonus if a training molecule has this very formula. Only the candidates best
by prior and mass error are held against the peaks. Weight and bonus are the best of those tried on
500 training molecules of MassBank that the prior had not seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from ..chem.formula import MASSES, Formula, parse_adduct, parse_formula
from ..chem.formula_candidates import ELEMENTS, explained_by, formulae_of
from ..errors import ChemistryError
from ..spectra.flat import strongest
from .options import Options

_PEAKS = 10
_PARTS = 5  # that molecules are dealt into where each is guessed without its own help
_PRECURSOR = 0.01  # Da around the precursor: a peak there tells nothing of the formula


class GuessOptions(Options):
    """Of choosing a formula."""

    ppm: float = Field(10.0, gt=0, le=100, description="of the precursor and of the peaks; 0.001 Da at least")
    candidates: int = Field(256, ge=1, description="held against the peaks, the best by prior and mass error")
    peaks: float = Field(5.0, ge=0, description="weight of the share explained")
    known: float = Field(4.0, ge=0, description="bonus of a formula that a training molecule has")


@dataclass(frozen=True)
class FormulaPrior:
    """What the formulae of the training molecules say about a formula.

    Attributes:
        formulas: distinct ones, sorted: all else follows from them.
        signatures: (k, elements - 4) distinct combinations; share: (k,) log of their share.
        most: largest counts of N and O; centre (3,), inverse (3, 3): of the ratios.
    """

    formulas: tuple[str, ...]
    known: frozenset[tuple[int, ...]]
    signatures: NDArray[np.int64]
    share: dict[tuple[int, ...], float]
    most: tuple[int, int]
    centre: NDArray[np.float64]
    inverse: NDArray[np.float64]

    @classmethod
    def of(cls, formulas: Sequence[str]) -> FormulaPrior:
        """Formulae that hold other elements or no carbon are left out."""
        distinct = tuple(sorted(set(formulas)))
        rows = [row for row in map(_vector, distinct) if row is not None and row[0] > 0]
        counts = np.array(rows or [[1, 4, *[0] * (len(ELEMENTS) - 2)]], np.int64)
        signatures, number = np.unique(counts[:, 4:], axis=0, return_counts=True)
        share = {tuple(s.tolist()): float(np.log(n / len(counts))) for s, n in zip(signatures, number, strict=True)}
        ratios = _ratios(counts)
        spread = np.cov(ratios, rowvar=False) if len(ratios) > 3 else np.zeros((3, 3))
        inverse = np.linalg.inv(spread + 0.01 * np.eye(3)).astype(np.float64)
        most = (int(counts[:, 2].max()), int(counts[:, 3].max()))
        known = frozenset(tuple(row) for row in counts.tolist())
        return cls(distinct, known, signatures, share, most, ratios.mean(axis=0).astype(np.float64), inverse)

    def log_prior(self, counts: NDArray[np.int64], bonus: float) -> NDArray[np.float64]:
        """(n, elements) → (n,)."""
        away = _ratios(counts) - self.centre
        far = np.einsum("ni,ij,nj->n", away, self.inverse, away)
        share = np.array([self.share[tuple(row)] for row in counts[:, 4:].tolist()])
        known = np.array([tuple(row) in self.known for row in counts.tolist()], bool)
        prior: NDArray[np.float64] = share - far / 2 + bonus * known
        return prior


def guess(frame: pl.DataFrame, prior: FormulaPrior, options: GuessOptions) -> pl.Series:
    """The best formula of each spectrum; null without a readable adduct, or where none fits."""
    return best_guesses(frame, prior, options, 1)["formulae"].list.first().alias("formula")


def guess_apart(frame: pl.DataFrame, options: GuessOptions) -> pl.Series:
    """The best formula of each training spectrum by what the formulae of *other* molecules say, so that on a split
    by molecule it is wrong as often as a query's. `frame` has `formula` and `inchikey14`; null as of `guess`."""
    part = ((frame["inchikey14"].rank("dense") - 1) % _PARTS).to_numpy()
    found = np.full(frame.height, None, dtype=object)
    for k in np.unique(part):
        others = FormulaPrior.of(frame.filter(part != k)["formula"].to_list())
        found[part == k] = guess(frame.filter(part == k), others, options).to_numpy()
    return pl.Series("formula", found.tolist(), dtype=pl.String)


def scored_guess(frame: pl.DataFrame, prior: FormulaPrior, options: GuessOptions) -> pl.DataFrame:
    """`formula` as `guess`, `formula_score`, and `formula_lead` over the next best; null where there is none."""
    found = best_guesses(frame, prior, options, 2)
    first, second = pl.col("scores").list.get(0, null_on_oob=True), pl.col("scores").list.get(1, null_on_oob=True)
    return found.select(formula=pl.col("formulae").list.first(), formula_score=first, formula_lead=first - second)


def best_guesses(frame: pl.DataFrame, prior: FormulaPrior, options: GuessOptions, most: int) -> pl.DataFrame:
    """The `most` best `formulae` of each spectrum, best first, and their `scores`: lists, empty where none fits."""
    _, (mz, height, offsets) = strongest(frame, _PEAKS)
    rows = zip(frame["precursor_mz"].to_list(), frame["adduct"].to_list(), strict=True)
    found = [
        _best(precursor, adduct, mz[offsets[i] : offsets[i + 1]], height[offsets[i] : offsets[i + 1]], prior, options)
        for i, (precursor, adduct) in enumerate(rows)
    ]
    lists = [([_text(row) for row in counts[:most]], score[:most].tolist()) for counts, score in found]
    schema = {"formulae": pl.List(pl.String), "scores": pl.List(pl.Float64)}
    return pl.DataFrame(lists, schema=schema, orient="row")


def _best(
    precursor: float | None,
    adduct: str | None,
    mz: NDArray[np.float64],
    height: NDArray[np.float64],
    prior: FormulaPrior,
    options: GuessOptions,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """(n, elements) counts and (n,) scores of what fits, best first."""
    nothing = np.zeros((0, len(ELEMENTS)), np.int64), np.zeros(0)
    try:
        ion = parse_adduct(adduct) if adduct and precursor else None
    except ChemistryError:
        ion = None
    if ion is None or precursor is None or (added := _signed(ion.delta)) is None:
        return nothing
    mass = ion.neutral_mass(precursor)
    tolerance = max(precursor * options.ppm * 1e-6, 0.001) * abs(ion.charge) / ion.molecules
    counts = formulae_of(mass, tolerance, prior.signatures, prior.most)
    counts = counts[(counts * ion.molecules + added >= 0).all(axis=1)]
    if not len(counts):
        return nothing
    error = (counts @ _weights() - mass) / (tolerance / 3)
    score = prior.log_prior(counts, options.known) - error**2 / 2
    best = np.argsort(-score, kind="stable")[: options.candidates]
    counts, score = counts[best], score[best]
    low = mz < precursor - _PRECURSOR
    if options.peaks > 0 and low.any():
        share = np.sqrt(height[low])
        wide = np.maximum(mz[low] * options.ppm * 1e-6, 0.001)
        hit = explained_by(counts * ion.molecules + added, mz[low], wide, ion.charge)
        score = score + options.peaks * (hit @ share) / share.sum()
    order = np.argsort(-score, kind="stable")
    return counts[order], score[order]


def _weights() -> NDArray[np.float64]:
    return np.array([MASSES[element] for element in ELEMENTS])


def _ratios(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """(n, 3): H, N and O by C."""
    ratios: NDArray[np.float64] = counts[:, 1:4] / counts[:, :1]
    return ratios


def _vector(formula: str) -> list[int] | None:
    """Counts of ELEMENTS; None for what is no formula or holds others."""
    try:
        parsed = parse_formula(formula)
    except ChemistryError:
        return None
    signed = _signed(parsed)
    return None if signed is None else [int(n) for n in signed]


def _signed(formula: Formula) -> NDArray[np.int64] | None:
    """Counts of ELEMENTS, negative ones too; None where others occur."""
    counts = dict(formula.counts)
    if set(counts) - set(ELEMENTS):
        return None
    return np.array([counts.get(element, 0) for element in ELEMENTS], np.int64)


def _text(counts: NDArray[np.int64]) -> str:
    return str(Formula.of(zip(ELEMENTS, counts.tolist(), strict=True)))
