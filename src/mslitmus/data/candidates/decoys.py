"""Decoys: made-up isomers that fill a pool, neither unnatural nor gathered around the truth.

Two shortcuts would give a truth away without a spectrum: that decoys look made up, and that the truth lies in the
middle of its own edits. Against the second, half of the raw decoys are joined from halves of other molecules, and the
rest are edits of these and of one another; only the first few are edits of real members, the truth among them. Against
the first, `excess` times too many are made, and a draw weighted by a likeness model keeps those that look like truths:
with w·x the log odds of truth against raw decoy, learned on other molecules' pools, keeping x with weight exp(w·x)
gives decoys the distribution of truths, as far as the model can see (importance sampling; Gumbel-top-k, Kool 2019).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from ...chem.edits import canonical, charge, edit, join, sane
from ...chem.molecule import Mol, parse, traits
from ...chem.standardise import Standard, describe, uniform
from ...errors import ChemistryError
from .library import Library
from .likeness import BITS
from .sets import draw

ORIGIN_JOIN, ORIGIN_EDIT = "decoy:joined", "decoy:edited"
RARITIES = 4
_WALK = 4  # edits between a lone truth and the roots of its pool
_ROOTS = 12  # structures below which such walks are made


@dataclass(frozen=True)
class Raw:
    """A decoy before it is judged."""

    smiles: str
    molecule: Mol
    origin: str


def grow(formula: str, members: Sequence[str], wanted: int, library: Library, random: Random) -> list[Raw]:
    """Up to `wanted` raw decoys of one formula.

    Args:
        members: SMILES of the pool's real molecules of this formula, the truth included.
    """
    roots = [parse(text) for text in members]
    nodes = list(roots)
    seen = set(members)
    made: list[Raw] = []

    def keep(molecule: Mol, origin: str) -> bool:
        text = canonical(molecule)
        if text in seen or not library.plausible(molecule, random):
            return False
        seen.add(text)
        nodes.append(molecule)
        made.append(Raw(text, molecule, origin))
        return True

    for attempt, (left, right) in enumerate(library.pairs(formula, random)):
        if len(made) >= wanted // 2 or attempt >= 3 * wanted:
            break
        joined = join(left, right)
        if joined is not None and charge(joined) == charge(roots[0]) and sane(joined):
            keep(joined, ORIGIN_JOIN)
    for _ in range(3 * _ROOTS):
        if len(nodes) >= _ROOTS:
            break
        walked = _walk(roots[int(random.random() * len(roots))], random)
        if walked is not None:
            keep(walked, ORIGIN_EDIT)
    misses = 0
    while len(made) < wanted and misses < wanted + 50:
        sources = nodes[len(roots) :] if len(made) >= _ROOTS else nodes  # real ones would be the centre of their edits
        changed = edit(sources[int(random.random() * len(sources))], random)
        misses += changed is None or not keep(changed, ORIGIN_EDIT)
    return made


def _walk(start: Mol, random: Random) -> Mol | None:
    """A few edits away; what lies between is not kept."""
    molecule = start
    for _ in range(_WALK):
        molecule = edit(molecule, random)
        if molecule is None:
            return None
    return molecule


def features(smiles: Sequence[str], molecules: Sequence[Mol], own: int, library: Library) -> Any:
    """What the likeness model sees, CSR (n, BITS + descriptors + RARITIES): log Morgan counts, log descriptors, rarity.

    `own` as in `Library.rarity`.
    """
    seen = traits(smiles, bits=BITS)
    counts = sparse.csr_matrix((np.log1p(seen.counts), seen.indices, seen.indptr), shape=(len(smiles), BITS))
    rare = np.array([library.rarity(each, own) for each in molecules]).reshape(len(smiles), RARITIES)
    dense = np.concatenate([np.log1p(seen.descriptors), rare], axis=1)
    return sparse.hstack([counts, sparse.csr_matrix(dense)], format="csr")


def choose(
    key: str, raw: Sequence[Raw], scores: NDArray[np.float64], wanted: int, taken: set[str], tautomers: set[str]
) -> list[tuple[Standard, str]]:
    """Up to `wanted` raw decoys with their origin, drawn by exp(score), none with a key or tautomer that is taken.

    `taken` (InChIKey-14) and `tautomers` grow by what is chosen.
    """
    noisy = [score + _gumbel(key, each.smiles) for score, each in zip(scores, raw, strict=True)]
    chosen: list[tuple[Standard, str]] = []
    for index in np.argsort(-np.array(noisy), kind="stable"):
        if len(chosen) >= wanted:
            break
        try:
            form = describe(uniform(raw[index].molecule))
        except ChemistryError:
            continue
        if form.inchikey14 in taken or form.tautomer in tautomers:
            continue
        taken.add(form.inchikey14)
        tautomers.add(form.tautomer)
        chosen.append((form, raw[index].origin))
    return chosen


def _gumbel(key: str, smiles: str) -> float:
    return -log(-log((draw("keep", key, smiles) + 0.5) / 2**64))
