"""The sub-formulae of one ion, searchable by m/z.

Method: every composition that the ion contains is enumerated once *without* its hydrogens and sorted by mass modulo
the mass of hydrogen. A fragment's hydrogens are whole multiples of that mass, so the compositions that can explain a
peak are those with the peak's own remainder: one binary search a peak, and the hydrogen count follows by division. The
result is exhaustive (parity-tested against `enumerate_slowly`), from a table smaller by the factor H + 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ..errors import ChemistryError
from .formula import ELECTRON, MASSES, Formula

Array = NDArray[Any]

# Usual valence; for metals the common one with the parity of the atomic number, so that 2 RDBE + charge is even exactly
# when the electrons are.
_VALENCES = {
    1: "H D F Cl Br I Li Na K Cs Ag Au Cu Tl",
    2: "O S Se Te Mg Ca Ba Zn Cd Hg Fe Ni Pd Pt Ru Cr Mo W Gd",
    3: "N P As Sb Bi B Al Ga Co Mn V",
    4: "C Si Ge Sn Pb Ti Zr",
}
VALENCE = {element: valence for valence, group in _VALENCES.items() for element in group.split()}
_HYDROGEN = MASSES["H"]
_LARGEST_TABLE = 5_000_000  # 160 MB; a peptide of 3,000 Da needs about 1 million


@dataclass(frozen=True)
class Rules:
    """What may explain a peak, tolerance in ppm aside.

    Attributes:
        floor: smallest tolerance in Da (of m/z), for instruments whose error does not shrink with m/z.
        rdbe_min, rdbe_max: limits of the ring-double-bond equivalents, 1 + Σ n (valence - 2) / 2 over the ion's atoms.
            An ion that lies outside itself (ammonium adducts of saturated molecules) widens them to include it.
        radicals: allow odd-electron fragments.
        isotopes: look for isotope partners of explained peaks among the unexplained.
    """

    floor: float = 0.0
    rdbe_min: float = -0.5
    rdbe_max: float = float("inf")
    radicals: bool = True
    isotopes: bool = True


@dataclass(frozen=True)
class SubFormulae:
    """The hydrogen-free compositions of one ion, sorted by mass modulo hydrogen. Arrays are (compositions,)."""

    elements: tuple[str, ...]  # all but H
    limits: tuple[int, ...]
    hydrogens: int
    charge: int
    twice_rdbe: int  # of the whole ion
    remainder: Array
    mass: Array
    index: Array  # mixed radix of the counts, last element fastest
    twice: Array  # 2 RDBE

    @staticmethod
    def of(ion: Formula, charge: int) -> SubFormulae:
        """Enumerate. Raises ChemistryError for no charge, negative counts or more than 5 million compositions."""
        elements = tuple(e for e, _ in ion.counts if e != "H")
        limits = tuple(ion[e] for e in elements)
        if charge == 0 or not ion.counts or min(n for _, n in ion.counts) < 0:
            raise ChemistryError(f"{ion} with charge {charge} is no ion", remedy="check formula and adduct")
        size = prod(n + 1 for n in limits)
        if size > _LARGEST_TABLE:
            raise ChemistryError(
                f"{ion} has {size:,} hydrogen-free sub-formulae", remedy="leave out molecules of several kDa"
            )
        mass, twice = np.zeros(1), np.full(1, 2, np.int64)
        for element, limit in zip(elements, limits, strict=True):
            steps = np.arange(limit + 1)
            mass = np.add.outer(mass, steps * MASSES[element]).ravel()
            twice = np.add.outer(twice, steps * (VALENCE[element] - 2)).ravel()
        whole = int(twice[-1]) - ion["H"]
        remainder = mass % _HYDROGEN
        order = np.argsort(remainder)
        return SubFormulae(
            elements, limits, ion["H"], charge, whole, remainder[order], mass[order], order, twice[order]
        )

    def counts(self, row: Array) -> Array:
        """Counts of `elements` in these rows of the table: (n,) → (n, elements)."""
        index = self.index[row]
        out = np.empty((len(row), len(self.elements)), np.int64)
        for column in range(len(self.elements) - 1, -1, -1):
            index, out[:, column] = np.divmod(index, self.limits[column] + 1)
        return out

    def match(self, mzs: Array, tolerances: Array, rules: Rules) -> tuple[Array, Array, Array, Array]:
        """Every composition within tolerance (Da) of every peak: peak, row of the table, hydrogens, |charge|."""
        lowest = min(np.ceil(2 * rules.rdbe_min), self.twice_rdbe)
        highest = max(min(np.floor(2 * rules.rdbe_max), 2.0**40), self.twice_rdbe)
        found = _match(
            mzs, tolerances, self.charge, self.hydrogens, self.remainder, self.mass, self.twice,
            int(lowest), int(highest), rules.radicals,
        )  # fmt: skip
        return found[0], found[1], found[2], found[3]

    def names(self, row: Array, hydrogen: Array) -> tuple[list[str], Array]:
        """Distinct formulae in Hill order, and which of them each pair (row, hydrogen) is."""
        key, inverse = np.unique(row * (self.hydrogens + 1) + hydrogen, return_inverse=True)
        counts = np.column_stack([self.counts(key // (self.hydrogens + 1)), key % (self.hydrogens + 1)])
        limit = dict(zip((*self.elements, "H"), (*self.limits, self.hydrogens), strict=True))
        columns = {element: column for column, element in enumerate(limit)}
        spelled = {e: ["", e, *(f"{e}{n}" for n in range(2, limit[e] + 1))] for e in limit}
        organic = [(columns[e], spelled[e]) for e in sorted(limit, key=lambda e: ({"C": 0, "H": 1}.get(e, 2), e))]
        plain = [(columns[e], spelled[e]) for e in sorted(limit)]
        carbon = counts[:, columns["C"]] > 0 if "C" in columns else np.zeros(len(counts), bool)
        lines = zip(counts.tolist(), carbon.tolist(), strict=True)
        return ["".join([words[n[c]] for c, words in (organic if hill else plain)]) for n, hill in lines], inverse


@njit(cache=True, nogil=True)
def _match(  # type: ignore[no-untyped-def]
    mzs, tolerances, charge, hydrogens, remainder, mass, twice, lowest, highest, radicals
):
    capacity, n = max(16, 4 * len(mzs)), 0
    found = np.empty((4, capacity), np.int64)  # peak, row, hydrogens, |charge|
    sign = 1 if charge > 0 else -1
    for i in range(len(mzs)):
        for z in range(1, abs(charge) + 1):
            target, tolerance = (mzs[i] + sign * ELECTRON) * z, tolerances[i] * z
            width = min(tolerance + 1e-7, _HYDROGEN / 2)  # a little more than asked: the exact test follows below
            for turn in range(-1, 2):
                centre = target % _HYDROGEN + turn * _HYDROGEN
                start = np.searchsorted(remainder, centre - width, side="left")
                stop = np.searchsorted(remainder, centre + width, side="left")
                for row in range(start, stop):
                    gap = target - mass[row]
                    fewest = max(0, int(np.floor((gap - tolerance) / _HYDROGEN)))
                    most = min(hydrogens, int(np.ceil((gap + tolerance) / _HYDROGEN)))
                    for h in range(fewest, most + 1):
                        neutral, double = mass[row] + h * _HYDROGEN, twice[row] - h
                        if abs(neutral - target) > tolerance or neutral == 0 or double < lowest or double > highest:
                            continue
                        if (double - z) % 2 != 0 and not radicals:
                            continue
                        if n == capacity:
                            capacity *= 2
                            wider = np.empty((4, capacity), np.int64)
                            wider[:, :n] = found[:, :n]
                            found = wider
                        found[0, n], found[1, n], found[2, n], found[3, n] = i, row, h, z
                        n += 1
    return found[:, :n]


def enumerate_slowly(mz: float, ion: Formula, charge: int, tolerance: float, rules: Rules) -> set[tuple[str, int]]:
    """The slow reference: every sub-formula of `ion` within `tolerance` (Da of m/z), as (formula, charge)."""
    sign = 1 if charge > 0 else -1
    atoms = ion.counts

    def rdbe(counts: tuple[int, ...]) -> float:
        return 1 + sum(n * (VALENCE[e] - 2) / 2 for (e, _), n in zip(atoms, counts, strict=True))

    whole, found = rdbe(tuple(n for _, n in atoms)), set()
    low, high = min(rules.rdbe_min, whole), max(rules.rdbe_max, whole)
    for counts in product(*(range(n + 1) for _, n in atoms)):
        mass = sum(n * MASSES[e] for (e, _), n in zip(atoms, counts, strict=True))
        if mass == 0 or not low <= rdbe(counts) <= high:
            continue
        for z in range(1, abs(charge) + 1):
            even_electron = (2 * rdbe(counts) + z) % 2 == 0
            if abs((mass - sign * z * ELECTRON) / z - mz) <= tolerance and (even_electron or rules.radicals):
                found.add((str(Formula.of((e, n) for (e, _), n in zip(atoms, counts, strict=True))), sign * z))
    return found
