"""SMILES and formulae as tokens: an atom-level regular expression, one fixed and versioned vocabulary.

A bracket atom is one token (Schwaller et al. 2018), so that charge and hydrogens are chosen with the atom. A formula is
one token per element and count, `C` and `17` fused: `C:17`. Both ways round: what was encoded is decoded as it was.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ...chem.formula import Formula, parse_formula
from ...chem.spelling import canonical, respelled
from ...errors import ModelError

VERSION = 1
PAD, BEGIN, END = 0, 1, 2
_SPECIAL = ("<pad>", "<begin>", "<end>")
ORGANIC = ("C", "c", "N", "n", "O", "o", "S", "s", "P", "p", "F", "Cl", "Br", "I", "B")
#: By falling frequency in PubChem, ZINC natural products and MassBank; all others of these lists together are in less
#: than 0.5 % of molecules (radicals, metals, isotopes).
BRACKETS = (
    "[nH]", "[N+]", "[O-]", "[n+]", "[Si]", "[N-]", "[S+]", "[C-]", "[P+]", "[As]", "[B-]", "[Se]", "[se]", "[s+]",
    "[o+]", "[PH]", "[SH]", "[NH+]", "[NH2+]", "[NH3+]", "[n-]", "[nH+]", "[NH-]", "[CH-]", "[S-]", "[O+]", "[SiH]",
    "[SiH2]", "[cH-]", "[BH-]",
)  # fmt: skip
STEREO = ("[C@]", "[C@@]", "[C@H]", "[C@@H]", "[S@]", "[S@@]", "[P@]", "[P@@]", "[N@+]", "[N@@+]", "[S@+]", "[S@@+]")
BONDS = ("=", "#", "-", "/", "\\")
RINGS = (*(str(n) for n in range(1, 10)), *(f"%{n}" for n in range(10, 16)))
VOCABULARY: tuple[str, ...] = (*_SPECIAL, *ORGANIC, *BRACKETS, *STEREO, *BONDS, "(", ")", ".", *RINGS)
#: Of a formula: the elements that can be written, hydrogen last.
ELEMENTS = ("C", "N", "O", "S", "P", "F", "Cl", "Br", "I", "B", "Si", "Se", "As")
#: A count above it shares the last token.
MOST = {"C": 100, "H": 200, "N": 30, "O": 50, "S": 15, "P": 15, "F": 40, "Cl": 15, "Br": 10, "I": 6}
_FEW = 9
_TOKEN = re.compile(r"\[[^\]]+\]|Br|Cl|[BCNOPSFI]|[cnops]|%\d\d|\d|[().=#\-/\\]|.")


def split(smiles: str) -> list[str]:
    """`CC(=O)[O-]` → `C`, `C`, `(`, `=`, `O`, `)`, `[O-]`. Joined they are the text again, whatever it holds."""
    return _TOKEN.findall(smiles)


@dataclass(frozen=True)
class SmilesTokens:
    """Text ↔ numbers, by the vocabulary of this version."""

    vocabulary: tuple[str, ...] = VOCABULARY

    @cached_property
    def number(self) -> dict[str, int]:
        return {token: k for k, token in enumerate(self.vocabulary)}

    def __len__(self) -> int:
        return len(self.vocabulary)

    def knows(self, smiles: str) -> bool:
        """Whether every token of a SMILES is in the vocabulary."""
        return all(token in self.number for token in split(smiles))

    def encode(self, smiles: str) -> NDArray[np.int64]:
        """(length + 2,) numbers, with begin and end. Raises ModelError for a token that is not in the vocabulary."""
        try:
            return np.array([BEGIN, *(self.number[token] for token in split(smiles)), END], np.int64)
        except KeyError as error:
            remedy = "leave the molecule out: `knows` tells (radicals, metals and isotopes are not in the vocabulary)"
            raise ModelError(f"no token for {error.args[0]!r} of {smiles!r}", remedy=remedy) from error

    def batch(self, smiles: Sequence[str]) -> NDArray[np.int64]:
        """(n, longest) numbers, short ones padded."""
        rows = [self.encode(text) for text in smiles]
        out = np.full((len(rows), max((len(row) for row in rows), default=0)), PAD, np.int64)
        for place, row in zip(out, rows, strict=True):
            place[: len(row)] = row
        return out

    def decode(self, numbers: Sequence[int] | NDArray[np.int64]) -> str:
        """The text up to `end`; padding and `begin` are silent."""
        out = []
        for number in numbers:
            if number == END:
                break
            if number >= len(_SPECIAL):
                out.append(self.vocabulary[int(number)])
        return "".join(out)


@dataclass(frozen=True)
class FormulaTokens:
    """Formula ↔ numbers: one token per element present, which says its count. 0 is padding."""

    elements: tuple[str, ...] = (*ELEMENTS, "H")

    @cached_property
    def offsets(self) -> dict[str, int]:
        starts, at = {}, 1
        for element in self.elements:
            starts[element] = at
            at += MOST.get(element, _FEW)
        return starts

    def __len__(self) -> int:
        return 1 + sum(MOST.get(element, _FEW) for element in self.elements)

    def encode(self, formula: str | Formula) -> list[int]:
        """Numbers in the order of `elements`; elements that cannot be written are left out."""
        counts = dict((parse_formula(formula) if isinstance(formula, str) else formula).counts)
        return [self.offsets[e] + min(counts[e], MOST.get(e, _FEW)) - 1 for e in self.elements if counts.get(e, 0) > 0]

    def decode(self, numbers: Sequence[int]) -> Formula:
        """The formula of these numbers. Raises ModelError for a number that no element has."""
        found = []
        for number in numbers:
            if number == PAD:
                continue
            element = next((e for e in reversed(self.elements) if self.offsets[e] <= number), None)
            if element is None or number >= len(self):
                raise ModelError(f"no formula token {number}", remedy=f"numbers are below {len(self)}")
            found.append((element, int(number) - self.offsets[element] + 1))
        return Formula.of(found)


def target(smiles: str, stereo: bool = False) -> str:
    """What a model is taught to write: the canonical SMILES, without stereo marks unless asked for.

    Raises ChemistryError for what does not parse.
    """
    return canonical(smiles, stereo)


def spellings(smiles: Sequence[str], seed: int) -> list[str]:
    """One random SMILES of each (Arús-Pous et al. 2019): augmentation."""
    return respelled(smiles, seed)
