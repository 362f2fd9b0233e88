"""What every token of the vocabulary does to a half-written molecule, as tables for the compiled kernels.

Valences are RDKit's. An organic-subset atom may end with its first valence, filled up with hydrogen, or with exactly
one of its higher ones (sulphur 2, 4, 6; phosphorus 3, 5); a bracket atom with exactly what its charge and hydrogens
leave, so that no radical is written. An aromatic atom has a number of single (σ) bonds and either takes one double bond
of the ring system or does not: `c` does, `n` (and `[s+]`) does with two σ bonds and does not with three; `o`, `s` and
`[nH]` do not.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from .smiles_tokens import BEGIN, ELEMENTS, END, PAD, STEREO, VOCABULARY

# Columns of the token table.
KIND, ELEMENT, AROMATIC, HYDROGENS, CHARGE, FIRST, SUM_A, SUM_B, SUM_C, MOST_BONDS, VALUE, MATCHED = range(12)
# Kinds of token.
NOTHING, ATOM, BOND, OPEN, CLOSE, RING, DOT, FINISH = range(8)
# How an aromatic atom chooses: not aromatic; like carbon; like nitrogen; fixed by its token.
NOT_AROMATIC, LIKE_CARBON, LIKE_NITROGEN, FIXED = range(4)
# Bonds: none written, and `-`, `=`, `#`, and the directional ones.
PLAIN, SINGLE, DOUBLE, TRIPLE, DIRECTED = range(5)
# Columns of the element table: highest valence, lowest valence, may be aromatic, may be + and −, units gained as anion.
HIGH, LOW, RINGED, PLUS, MINUS, SLACK = range(6)

_ORGANIC = {
    "C": (4,), "N": (3,), "O": (2,), "S": (2, 4, 6), "P": (3, 5), "F": (1,), "Cl": (1,), "Br": (1,), "I": (1,),
    "B": (3,),
}  # fmt: skip
#: Bracket atoms outside rings' aromaticity: sums of bond orders they may end with.
_BRACKETS = {
    "[N+]": (4,), "[O-]": (1,), "[Si]": (4,), "[N-]": (2,), "[S+]": (3, 5), "[C-]": (3,), "[P+]": (4,), "[As]": (3, 5),
    "[B-]": (4,), "[Se]": (2, 4, 6), "[PH]": (4,), "[SH]": (3, 5), "[NH+]": (3,), "[NH2+]": (2,), "[NH3+]": (1,),
    "[NH-]": (1,), "[CH-]": (2,), "[S-]": (1,), "[O+]": (3,), "[SiH]": (3,), "[SiH2]": (2,), "[BH-]": (3,),
    "[C@]": (4,), "[C@@]": (4,), "[C@H]": (3,), "[C@@H]": (3,), "[S@]": (4,), "[S@@]": (4,), "[P@]": (5,),
    "[P@@]": (5,), "[N@+]": (4,), "[N@@+]": (4,), "[S@+]": (3,), "[S@@+]": (3,),
}  # fmt: skip
#: Aromatic atoms that choose nothing: σ bonds, and whether they take a double bond of the ring system.
_FIXED = {
    "o": (2, 0), "s": (2, 0), "[nH]": (2, 0), "[se]": (2, 0), "[n-]": (2, 0), "[cH-]": (2, 0), "[n+]": (3, 1),
    "[nH+]": (2, 1), "[o+]": (2, 1),
}  # fmt: skip
_BONDS = {"-": SINGLE, "=": DOUBLE, "#": TRIPLE, "/": DIRECTED, "\\": DIRECTED}
_ELEMENTS = {
    # high, low, ringed, plus, minus, slack
    "C": (4, 4, 1, 0, 1, 0), "N": (3, 3, 1, 1, 1, 0), "O": (2, 2, 1, 1, 1, 0), "S": (6, 2, 1, 1, 1, 0),
    "P": (5, 3, 1, 1, 0, 0), "F": (1, 1, 0, 0, 0, 0), "Cl": (1, 1, 0, 0, 0, 0), "Br": (1, 1, 0, 0, 0, 0),
    "I": (1, 1, 0, 0, 0, 0), "B": (3, 3, 0, 0, 1, 2), "Si": (4, 4, 0, 0, 0, 0), "Se": (6, 2, 1, 0, 0, 0),
    "As": (5, 3, 0, 0, 0, 0),
}  # fmt: skip


@dataclass(frozen=True)
class Rules:
    """tokens (vocabulary, 12) and elements (13, 6), both int16; `order` is how a search tries them, ring labels once
    more (by number + vocabulary) to open rings;
    `stereo` (vocabulary,) marks tokens that say something about it."""

    tokens: NDArray[np.int16]
    elements: NDArray[np.int16]
    order: NDArray[np.int64]
    stereo: NDArray[np.bool_]


@cache
def rules() -> Rules:
    """The tables of this vocabulary."""
    table = np.full((len(VOCABULARY), 12), -1, np.int16)
    for row, token in zip(table, VOCABULARY, strict=True):
        row[:] = _row(token)
    table[[PAD, BEGIN], KIND] = NOTHING
    table[END, KIND] = FINISH
    first = {FINISH: 0, RING: 1, BOND: 2, ATOM: 3, CLOSE: 4, OPEN: 5, DOT: 7, NOTHING: 8}
    place = np.array([first[int(kind)] for kind in table[:, KIND]], float)
    place[[k for k, token in enumerate(VOCABULARY) if token == "-"]] = 5.5
    place[[k for k, token in enumerate(VOCABULARY) if token.startswith("[")]] += 0.5
    # What may have a high valence comes first: until it has its bonds, bounds on the hydrogens of the rest are loose.
    place[[k for k, token in enumerate(VOCABULARY) if token in ("S", "P")]] = 1.5
    again = np.flatnonzero(table[:, KIND] == RING)
    order = np.argsort(np.concatenate([place, np.full(len(again), 6.0)]), kind="stable")
    order = np.concatenate([np.arange(len(place)), again + len(place)])[order].astype(np.int64)
    directed = (table[:, KIND] == BOND) & (table[:, VALUE] == DIRECTED)
    stereo = np.isin(np.array(VOCABULARY), STEREO) | directed
    elements = np.array([_ELEMENTS[e] for e in ELEMENTS], np.int16)
    return Rules(table, elements, order, stereo)


def _row(token: str) -> list[int]:
    if token in _BONDS:
        return [BOND, *[-1] * 9, _BONDS[token], -1]
    if token in ("(", ")", "."):
        return [{"(": OPEN, ")": CLOSE, ".": DOT}[token], *[-1] * 11]
    if token.strip("%").isdigit():
        return [RING, *[-1] * 9, int(token.strip("%")) - 1, -1]
    if token.startswith("<"):
        return [NOTHING, *[-1] * 11]
    return _atom(token)


def _atom(token: str) -> list[int]:
    body = token.strip("[]").replace("@", "")
    symbol = body[:2] if body[:2] in ("Cl", "Br", "Si", "Se", "As", "se") else body[0]
    element = ELEMENTS.index(symbol.capitalize())
    rest = body[len(symbol) :]
    charge = rest.count("+") - rest.count("-")
    hydrogens = 0 if "H" not in rest else int(rest[1]) if rest[1:2].isdigit() else 1
    if token in _FIXED:
        bonds, matched = _FIXED[token]
        return [ATOM, element, FIXED, hydrogens, charge, -1, bonds, -1, -1, bonds, -1, matched]
    if token in ("c", "n", "p", "[s+]"):
        aromatic = LIKE_CARBON if token == "c" else LIKE_NITROGEN
        return [ATOM, element, aromatic, 0, charge, -1, -1, -1, -1, 3, -1, -1]
    sums = _ORGANIC[token] if token in _ORGANIC else _BRACKETS[token]
    first = sums[0] if token in _ORGANIC else -1
    return [ATOM, element, NOT_AROMATIC, hydrogens, charge, first, *sums, *[-1] * (3 - len(sums)), sums[-1], -1, -1]
