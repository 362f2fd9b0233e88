"""One token further: the compiled state of a half-written SMILES.

A state is a row of int16 (header, remaining elements, open ring labels, open parentheses, then the path of atoms from
the first one to the current one) and a row of int64: the ways in which the aromatic atoms that are not yet complete
can be matched by double bonds, one set of bits each. That set is followed exactly (a frontier dynamic programme over
the ring system), so a string that ends kekulises. Rings close to atoms on the path only, as every depth-first writer
does it, RDKit's canonical and random ones among them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...spectra._compiled import part
from .rules import (
    AROMATIC,
    ATOM,
    BOND,
    CHARGE,
    CLOSE,
    DIRECTED,
    DOT,
    DOUBLE,
    ELEMENT,
    FINISH,
    FIRST,
    HYDROGENS,
    KIND,
    LIKE_CARBON,
    LIKE_NITROGEN,
    MATCHED,
    MOST_BONDS,
    NOT_AROMATIC,
    OPEN,
    PLAIN,
    RING,
    SINGLE,
    SUM_A,
    SUM_B,
    SUM_C,
    TRIPLE,
    VALUE,
)

# Phases: what may come next.
START, AT_ATOM, AT_BOND, AT_OPEN, AT_CLOSE, AT_LATE_BOND, DONE = range(7)
# Header of a state.
(PHASE, PENDING, DEPTH, PARENS, NET, HYDROGEN, HEAVY, NET_LOW, NET_HIGH, PARTS, FREED, CLOSED) = range(12)
PARTNERS = CLOSED + 1  # positions of the atoms to which the current one closed a ring, four at most
LEFT = PARTNERS + 4  # heavy atoms left, by element
LABELS = LEFT + 13  # position + 1 of the atom that opened each ring label
N_LABELS = 15
STACK = LABELS + N_LABELS  # positions of the atoms with an open parenthesis
N_STACK = 40
PATH = STACK + N_STACK
# An atom of the path.
TOKEN, BONDS, RING_BONDS, OPENED, SLOT, UPWARD, SHUT, FINAL = range(8)
ATOM_SIZE = 8
MOST_DEPTH = 160
WIDTH = PATH + ATOM_SIZE * MOST_DEPTH
# The bond to the atom before: other, aromatic and not yet in a ring, aromatic in a ring.
OTHER, UNCOVERED, COVERED = range(3)
# Ways of matching: their number, the bits in use, then the ways.
WAYS = 256
WAYS_WIDTH = WAYS + 2
SLOTS = 62  # aromatic atoms incomplete at a time


@part
def keep_only(ways: Any, slot: Any, matched: Any) -> Any:
    """Keep the ways in which this atom is (not) matched."""
    bit, kept = np.int64(1) << slot, 0
    for k in range(int(ways[0])):
        if ((ways[2 + k] & bit) != 0) == (matched == 1):
            ways[2 + kept] = ways[2 + k]
            kept += 1
    ways[0] = kept
    return kept > 0


@part
def leave(ways: Any, slot: Any) -> None:
    """The atom is complete: its bit is free again; ways that differed in it alone become one."""
    bit, kept = np.int64(1) << slot, 0
    for k in range(int(ways[0])):
        way, known = ways[2 + k] & ~bit, False
        for j in range(kept):
            known = known or ways[2 + j] == way
        if not known:
            ways[2 + kept] = way
            kept += 1
    ways[0] = kept
    ways[1] &= ~bit


@part
def join(ways: Any, a: Any, b: Any, must: Any) -> Any:
    """A bond that may (or must) be the double bond of both atoms. False where too many ways would be open."""
    both, count, kept = (np.int64(1) << a) | (np.int64(1) << b), int(ways[0]), 0
    if must:
        for k in range(count):
            if ways[2 + k] & both == 0:
                ways[2 + kept] = ways[2 + k] | both
                kept += 1
        ways[0] = kept
        return kept > 0
    for k in range(count):
        if ways[2 + k] & both == 0:
            if count + kept >= WAYS:
                return False
            ways[2 + count + kept] = ways[2 + k] | both
            kept += 1
    ways[0] = count + kept
    return True


@part
def complete(state: Any, ways: Any, tokens: Any, at: Any) -> Any:
    """No bond will come to this atom any more: fill up hydrogens, hold it to its valence and its place in a ring."""
    p = PATH + ATOM_SIZE * at
    token, bonds = state[p + TOKEN], state[p + BONDS]
    kind = tokens[token, AROMATIC]
    if kind == NOT_AROMATIC:
        if bonds <= tokens[token, FIRST]:
            state[HYDROGEN] -= tokens[token, FIRST] - bonds
        elif bonds != tokens[token, SUM_A] and bonds != tokens[token, SUM_B] and bonds != tokens[token, SUM_C]:
            return False
    else:
        if state[p + RING_BONDS] < 2:
            return False
        matched = tokens[token, MATCHED]
        if kind == LIKE_CARBON:
            matched = 1
            state[HYDROGEN] -= 3 - bonds
        elif kind == LIKE_NITROGEN:
            matched = 1 if bonds == 2 else 0
        elif bonds != tokens[token, SUM_A]:
            return False
        if not keep_only(ways, state[p + SLOT], matched):
            return False
        leave(ways, state[p + SLOT])
    state[p + FINAL] = 1
    return state[HYDROGEN] >= 0


@part
def shut(state: Any, ways: Any, tokens: Any, at: Any) -> Any:
    """No further atom is attached here; ring closures may still come."""
    p = PATH + ATOM_SIZE * at
    state[p + SHUT] = 1
    return complete(state, ways, tokens, at) if state[p + OPENED] == 0 else True


@part
def bind(state: Any, ways: Any, tokens: Any, a: Any, b: Any, bond: Any, a_has: Any) -> Any:
    """Bond between the atoms at a and b; `a_has` of its order is counted at a already. False for an impossible one."""
    p, q = PATH + ATOM_SIZE * a, PATH + ATOM_SIZE * b
    s, t = state[p + TOKEN], state[q + TOKEN]
    ringed_a, ringed_b = tokens[s, AROMATIC] != NOT_AROMATIC, tokens[t, AROMATIC] != NOT_AROMATIC
    both = ringed_a and ringed_b
    if (bond == SINGLE) != (both and bond == SINGLE) or (bond == DIRECTED and both):
        return False
    order = 2 if bond == DOUBLE else 3 if bond == TRIPLE else 1
    if order == 3 and (ringed_a or ringed_b):
        return False
    if order == 2:
        if (ringed_a and tokens[s, AROMATIC] != LIKE_CARBON) or (ringed_b and tokens[t, AROMATIC] != LIKE_CARBON):
            return False
        if both:
            if not join(ways, state[p + SLOT], state[q + SLOT], True):
                return False
        elif ringed_a:
            if not join(ways, state[p + SLOT], state[p + SLOT], True):
                return False
        elif ringed_b and not join(ways, state[q + SLOT], state[q + SLOT], True):
            return False
    state[p + BONDS] += (1 if ringed_a else order) - a_has
    state[q + BONDS] += 1 if ringed_b else order
    if both and bond == PLAIN:
        state[p + RING_BONDS] += 1
        state[q + RING_BONDS] += 1
        if not join(ways, state[p + SLOT], state[q + SLOT], False):
            return False
    return state[p + BONDS] <= tokens[s, MOST_BONDS] and state[q + BONDS] <= tokens[t, MOST_BONDS]


@part
def write_atom(state: Any, ways: Any, tokens: Any, token: Any) -> Any:
    """The next atom, bound to the current one."""
    element, at = tokens[token, ELEMENT], state[DEPTH]
    if state[LEFT + element] == 0 or at >= MOST_DEPTH or state[PHASE] == DONE:
        return False
    p = PATH + ATOM_SIZE * at
    for k in range(ATOM_SIZE):
        state[p + k] = 0
    state[p + TOKEN] = token
    state[LEFT + element] -= 1
    state[HEAVY] -= 1
    state[HYDROGEN] -= tokens[token, HYDROGENS]
    state[NET] += tokens[token, CHARGE]
    if tokens[token, AROMATIC] != NOT_AROMATIC:
        slot = 0
        while slot < SLOTS and (ways[1] >> slot) & 1 != 0:
            slot += 1
        if slot == SLOTS:
            return False
        ways[1] |= np.int64(1) << slot
        state[p + SLOT] = slot
    if state[PHASE] != START and not _hang(state, ways, tokens, at):
        return False
    state[DEPTH] = at + 1
    state[PHASE], state[PENDING], state[FREED], state[CLOSED] = AT_ATOM, PLAIN, 0, 0
    return state[HYDROGEN] >= 0


@part
def _hang(state: Any, ways: Any, tokens: Any, at: Any) -> Any:
    """Bind the new atom to the one before it on the path."""
    parent, bond = at - 1, state[PENDING]
    p, q = PATH + ATOM_SIZE * parent, PATH + ATOM_SIZE * at
    if not bind(state, ways, tokens, parent, at, bond, 0):
        return False
    ringed = tokens[state[p + TOKEN], AROMATIC] != NOT_AROMATIC and tokens[state[q + TOKEN], AROMATIC] != NOT_AROMATIC
    state[q + UPWARD] = UNCOVERED if ringed and bond == PLAIN else OTHER
    if state[PARENS] > 0 and state[STACK + state[PARENS] - 1] == parent:
        return state[p + BONDS] < tokens[state[p + TOKEN], MOST_BONDS]  # one more atom follows the branch
    return shut(state, ways, tokens, parent)


@part
def write_ring(state: Any, ways: Any, tokens: Any, label: Any) -> Any:
    """A ring label: it opens a ring, or closes the one that is open under it."""
    here = state[DEPTH] - 1
    p = PATH + ATOM_SIZE * here
    if state[PHASE] != AT_ATOM and state[PHASE] != AT_BOND:
        return False
    if state[LABELS + label] == 0:
        for smaller in range(label):
            if state[LABELS + smaller] == 0 and (state[FREED] >> smaller) & 1 == 0:
                return False  # writers take the lowest label that is free
        if state[PENDING] != PLAIN or (state[FREED] >> label) & 1:
            return False
        state[LABELS + label] = here + 1
        state[p + OPENED] += 1
        state[p + BONDS] += 1
        return state[p + BONDS] <= tokens[state[p + TOKEN], MOST_BONDS]
    there = state[LABELS + label] - 1
    if there >= here - 1 or state[CLOSED] == 4:
        return False
    for k in range(state[CLOSED]):
        if state[PARTNERS + k] == there:
            return False
    state[PARTNERS + state[CLOSED]] = there
    state[CLOSED] += 1
    if not bind(state, ways, tokens, there, here, state[PENDING], 1):
        return False
    state[LABELS + label] = 0
    state[FREED] |= 1 << label
    state[PHASE], state[PENDING] = AT_ATOM, PLAIN
    for at in range(there + 1, here + 1):
        if state[PATH + ATOM_SIZE * at + UPWARD] == UNCOVERED:
            state[PATH + ATOM_SIZE * at + UPWARD] = COVERED
    q = PATH + ATOM_SIZE * there
    state[q + OPENED] -= 1
    if state[q + OPENED] == 0 and state[q + SHUT] == 1:
        return complete(state, ways, tokens, there)
    return True


@part
def leave_path(state: Any, ways: Any, tokens: Any, down_to: Any) -> Any:
    """The atoms above this position are done: nothing open, every aromatic bond in a ring."""
    top = state[DEPTH] - 1
    if top >= down_to and not shut(state, ways, tokens, top):
        return False
    for at in range(down_to, top + 1):
        p = PATH + ATOM_SIZE * at
        if state[p + OPENED] > 0 or state[p + UPWARD] == UNCOVERED:
            return False
    state[DEPTH] = down_to
    return True


@part
def write(state: Any, ways: Any, tokens: Any, token: Any) -> Any:
    """Write one token. False where the grammar, a valence or the formula forbids it; the state is then spoilt."""
    kind, phase = tokens[token, KIND], state[PHASE]
    if kind == ATOM:
        return write_atom(state, ways, tokens, token)
    if kind == RING:
        return write_ring(state, ways, tokens, tokens[token, VALUE])
    if kind == BOND:
        if phase != AT_ATOM and phase != AT_OPEN and phase != AT_CLOSE:
            return False
        state[PENDING] = tokens[token, VALUE]
        state[PHASE] = AT_BOND if phase == AT_ATOM else AT_LATE_BOND
        return True
    if kind == OPEN:
        here = state[DEPTH] - 1
        if (phase != AT_ATOM and phase != AT_CLOSE) or state[PARENS] >= N_STACK:
            return False
        state[STACK + state[PARENS]] = here
        state[PARENS] += 1
        state[PHASE] = AT_OPEN
        p = PATH + ATOM_SIZE * here
        return state[p + BONDS] + 2 <= tokens[state[p + TOKEN], MOST_BONDS]
    if kind == CLOSE:
        if phase != AT_ATOM or state[PARENS] == 0:
            return False
        state[PARENS] -= 1
        state[PHASE] = AT_CLOSE
        return leave_path(state, ways, tokens, state[STACK + state[PARENS]] + 1)
    if kind == DOT:
        if phase != AT_ATOM or state[PARENS] > 0 or state[PARTS] == 0:
            return False
        state[PHASE] = START
        return leave_path(state, ways, tokens, 0)
    if kind == FINISH:
        if phase != AT_ATOM or state[PARENS] > 0 or state[HEAVY] > 0:
            return False
        state[PHASE] = DONE
        if not leave_path(state, ways, tokens, 0):
            return False
        return state[HYDROGEN] == 0 and state[NET_LOW] <= state[NET] and state[NET] <= state[NET_HIGH]
    return False
