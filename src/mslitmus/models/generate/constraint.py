"""Formula-constrained decoding: which tokens may come next so that the string ends valid and of exactly the formula.

The mask never exceeds the elements that are left (hydrogens are counted when an atom gets its last bond), closes rings
and parentheses, and keeps to valences and to ring systems that kekulise. With few atoms left it searches to the end of
the string, so a beam runs into a dead end only where simple bounds, far from the end, could not see it; such a beam has
no permitted token and is dropped. The net charge is zero where the formula has closed shells as it stands, else +1 or
−1 (a formula carries no charge sign).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...chem.formula import Formula, parse_adduct, parse_formula
from ...errors import ChemistryError, ModelError
from . import _lookahead, _writing
from .rules import rules
from .smiles_tokens import BEGIN, ELEMENTS, END, PAD

_MOST_ATOMS = 10_000  # a state counts in 16 bits
_ODD = ("H", "N", "P", "F", "Cl", "Br", "I", "B", "As")


def writable(formula: str | Formula) -> bool:
    """Whether all elements of a formula can be written, and its atoms counted."""
    counts = (parse_formula(formula) if isinstance(formula, str) else formula).counts
    known = all(element in (*ELEMENTS, "H") for element, _ in counts) and any(e in ELEMENTS for e, _ in counts)
    return known and sum(count for _, count in counts) <= _MOST_ATOMS


def net_charges(formula: Formula) -> tuple[int, int]:
    """Lowest and highest net charge of a closed-shell structure: 0 by the parity of valences, else −1 to 1."""
    odd = sum(formula[element] for element in _ODD) % 2
    return (-1, 1) if odd else (0, 0)


def own_charge(adduct: str | None) -> int | None:
    """Net charge of the molecule where the ion is the molecule itself (`[M]+`, `[M]2+`), else None."""
    try:
        ion = parse_adduct(adduct) if adduct else None
    except ChemistryError:
        return None
    return ion.charge if ion is not None and ion.molecules == 1 and not dict(ion.delta.counts) else None


@dataclass
class Beams:
    """Half-written strings of n beams: `states` (n, …) and `ways` (n, …), opaque, and `alive` (n,)."""

    states: NDArray[np.int16]
    ways: NDArray[np.int64]
    alive: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.states)

    def take(self, rows: NDArray[np.int64]) -> Beams:
        """These beams, copied: one may be taken more than once."""
        return Beams(self.states[rows], self.ways[rows], self.alive[rows])

    @property
    def heavy(self) -> NDArray[np.int64]:
        """(n,) heavy atoms left."""
        heavy: NDArray[np.int64] = self.states[:, _writing.HEAVY].astype(np.int64)
        return heavy


@dataclass(frozen=True)
class FormulaConstraint:
    """Masks of the next token.

    Args:
        stereo: whether stereo marks may be written.
        parts: whether a structure may have parts (salts), written with dots.
        game: from so few heavy atoms left on, masks are exact.
    """

    stereo: bool = False
    parts: bool = False
    game: int = 2
    _allowed: NDArray[np.bool_] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        table = rules()
        object.__setattr__(self, "_allowed", np.logical_or(self.stereo, ~table.stereo))

    def start(self, formulas: Sequence[str | Formula], charges: Sequence[int | None] | None = None) -> Beams:
        """One empty string a formula. `charges`: the net charge where it is known and the parity of valences allows it.

        Raises ModelError for a formula with an element that the vocabulary lacks (see `writable`).
        """
        states = np.zeros((len(formulas), _writing.WIDTH), np.int16)
        ways = np.zeros((len(formulas), _writing.WAYS_WIDTH), np.int64)
        ways[:, 0] = 1
        for number, (row, text) in enumerate(zip(states, formulas, strict=True)):
            formula = parse_formula(text) if isinstance(text, str) else text
            if not writable(formula):
                held = f"{', '.join(ELEMENTS)} and hydrogen, {_MOST_ATOMS:,} atoms at most"
                remedy = f"leave it out: what can be written holds {held}"
                raise ModelError(f"{formula} has no writable structure", remedy=remedy)
            left = [formula[element] for element in ELEMENTS]
            row[_writing.LEFT : _writing.LEFT + len(ELEMENTS)] = left
            row[_writing.HEAVY], row[_writing.HYDROGEN] = sum(left), formula["H"]
            low, high = net_charges(formula)
            stated = None if charges is None else charges[number]
            if stated is not None and (stated - high) % 2 == 0:
                low = high = stated
            row[_writing.NET_LOW], row[_writing.NET_HIGH], row[_writing.PARTS] = low, high, self.parts
        return Beams(states, ways, np.ones(len(formulas), bool))

    def mask(self, beams: Beams) -> NDArray[np.bool_]:
        """(n, vocabulary): what may come next. A finished beam may only be padded, a dead one has no token."""
        table = rules()
        out = np.zeros((len(beams), len(table.tokens)), bool)
        _lookahead.permitted(
            beams.states, beams.ways, table.tokens, table.elements, table.order, self._allowed, self.game, out
        )
        out[~beams.alive] = False
        out[self.done(beams), PAD] = True
        return out

    def choose(
        self, beams: Beams, preference: NDArray[np.floating[Any]], mask: NDArray[np.bool_] | None = None
    ) -> NDArray[np.int64]:
        """(n,) the token that each beam prefers, (n, vocabulary), among those from which a search finds an end: a beam
        that only ever takes these never meets a dead end. `PAD` for a finished one, −1 where the search finds none.
        `mask`: that of these beams, where it is at hand."""
        table, out = rules(), np.full(len(beams), -1, np.int64)
        mask = self.mask(beams) if mask is None else mask
        ranked = np.argsort(np.where(mask, -preference, np.inf), axis=1, kind="stable")
        ranked = np.where(np.take_along_axis(mask, ranked, axis=1), ranked, -1)
        done = self.done(beams)
        ranked[done] = -1
        _lookahead.certain(
            beams.states, beams.ways, table.tokens, table.elements, table.order, self._allowed, ranked, out
        )
        out[done] = PAD
        return out

    def advance(self, beams: Beams, tokens: NDArray[np.int64]) -> None:
        """Write one token (n,) to each beam, in place. A beam that is given an impossible one is no more alive."""
        good = np.zeros(len(beams), bool)
        silent = (tokens == PAD) | (tokens == BEGIN)
        chosen = np.where(silent | ~beams.alive, -1, tokens).astype(np.int64)
        _lookahead.advance(beams.states, beams.ways, rules().tokens, chosen, good)
        beams.alive &= good

    def done(self, beams: Beams) -> NDArray[np.bool_]:
        """(n,) whether `end` was written."""
        done: NDArray[np.bool_] = (beams.states[:, _writing.PHASE] == _writing.DONE) & beams.alive
        return done

    def forbidden_at(self, tokens: NDArray[np.int64], formula: str | Formula) -> int | None:
        """First place of an encoded SMILES (with begin and end) that the mask forbids, None where it allows all."""
        beams = self.start([formula])
        for place, token in enumerate(tokens):
            if token in (BEGIN, PAD):
                continue
            if not self.mask(beams)[0, token]:
                return place
            self.advance(beams, np.array([token]))
            if token == END:
                break
        return None


def sample(
    constraint: FormulaConstraint,
    formulas: Sequence[str | Formula],
    logits: NDArray[np.float64] | None = None,
    seed: int = 0,
    longest: int = 300,
) -> tuple[list[list[int]], NDArray[np.bool_]]:
    """One string a formula, drawn at random by the same `logits` (vocabulary,) at every place: a blind bottom rung.

    Returns the tokens of each, and (n,) which were finished.
    """
    rng = np.random.default_rng(seed)
    beams = constraint.start(formulas)
    written: list[list[int]] = [[] for _ in formulas]
    for _ in range(longest):
        preference = rng.gumbel(size=(len(beams), len(rules().tokens))) + (0.0 if logits is None else logits)
        tokens = constraint.choose(beams, preference)
        if (tokens <= PAD).all():
            break
        beams.alive &= tokens >= 0
        constraint.advance(beams, np.maximum(tokens, PAD))
        for row in np.flatnonzero(tokens > PAD):
            written[row].append(int(tokens[row]))
    return written, constraint.done(beams)
