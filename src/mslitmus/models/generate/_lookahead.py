"""Whether a half-written SMILES can still be finished: bounds that never refuse what can, and an exact end game."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...spectra._compiled import kernel, part
from ._writing import (
    AT_ATOM,
    AT_BOND,
    AT_CLOSE,
    AT_LATE_BOND,
    AT_OPEN,
    ATOM_SIZE,
    BONDS,
    DEPTH,
    DONE,
    FINAL,
    HEAVY,
    HYDROGEN,
    LABELS,
    LEFT,
    NET,
    NET_HIGH,
    NET_LOW,
    OPENED,
    PARENS,
    PARTS,
    PATH,
    PENDING,
    PHASE,
    RING_BONDS,
    SHUT,
    STACK,
    START,
    TOKEN,
    UNCOVERED,
    UPWARD,
    WAYS_WIDTH,
    WIDTH,
    write,
)
from .rules import (
    AROMATIC,
    ATOM,
    DOUBLE,
    ELEMENT,
    FIRST,
    FIXED,
    HIGH,
    KIND,
    LIKE_CARBON,
    LOW,
    MINUS,
    MOST_BONDS,
    NOT_AROMATIC,
    PLUS,
    RING,
    RINGED,
    SLACK,
    SUM_A,
    SUM_B,
    SUM_C,
    TRIPLE,
    VALUE,
)

_LEVELS = 200  # tokens that a search may write
_GAME, _CERTAIN = 400, 1500  # tokens that it may try
# Sums over the path: hydrogens that atoms would take as they are, bonds that they still need (of open and shut atoms),
# bonds beyond the lowest valence, aromatic bonds that are missing, ring labels open, aromatic atoms incomplete.
FILL_OPEN, FILL_SHUT, NEED_OPEN, NEED_SHUT, BEYOND, RING_NEED, RINGS_OPEN, UNPAIRED = range(8)


@part
def _needs(state: Any, tokens: Any, p: Any) -> Any:
    """(hydrogens it would take now, bonds it needs at least, bonds it may take beyond) of one incomplete atom."""
    token, bonds = state[p + TOKEN], state[p + BONDS]
    kind = tokens[token, AROMATIC]
    if kind == NOT_AROMATIC:
        first = tokens[token, FIRST]
        if bonds <= first:
            return first - bonds, 0, tokens[token, MOST_BONDS] - first
        for column in (SUM_A, SUM_B, SUM_C):
            if tokens[token, column] >= bonds:
                return 0, tokens[token, column] - bonds, tokens[token, MOST_BONDS] - tokens[token, column]
        return 0, 99, 0
    if kind == FIXED:
        return 0, tokens[token, SUM_A] - bonds, 0
    need = max(0, 2 - bonds)
    return (min(1, 3 - bonds) if kind == LIKE_CARBON else 0), need, (0 if kind == LIKE_CARBON else 1)


@part
def _survey(state: Any, tokens: Any, sums: Any) -> Any:
    """Fill `sums` from the path. False where an atom of the path cannot be completed whatever comes."""
    sums[:] = 0
    heavy, top = state[HEAVY], state[DEPTH] - 1
    rings_here = state[PHASE] == AT_ATOM or state[PHASE] == AT_BOND
    lowest_ring, lowest_bare = 9999, 9999
    for at in range(top + 1):
        p = PATH + ATOM_SIZE * at
        opened = state[p + OPENED]
        if opened > 0:
            sums[RINGS_OPEN] += opened
            lowest_ring = min(lowest_ring, at)
            closers = heavy - 1 if at == top else heavy if at == top - 1 else heavy + (1 if rings_here else 0)
            if opened > closers:
                return False
        if state[p + UPWARD] == UNCOVERED:
            lowest_bare = min(lowest_bare, at)
        if state[p + FINAL]:
            continue
        fill, need, beyond = _needs(state, tokens, p)
        missing = 0
        if tokens[state[p + TOKEN], AROMATIC] != NOT_AROMATIC:
            missing = max(0, 2 - state[p + RING_BONDS] - opened)
            sums[UNPAIRED] += 1
            if missing > tokens[state[p + TOKEN], MOST_BONDS] - state[p + BONDS]:
                return False
            if missing > 0 and lowest_ring > at and (at < top or state[PHASE] != AT_ATOM):
                return False  # a ring through this atom would have to be open, or to be opened by its label
        if state[p + SHUT]:
            if missing > 0 or need > opened:
                return False
            sums[FILL_SHUT] += fill
            sums[NEED_SHUT] += need
        else:
            sums[FILL_OPEN] += fill
            sums[NEED_OPEN] += need
            sums[RING_NEED] += missing
        sums[BEYOND] += beyond
    return lowest_bare == 9999 or lowest_ring < lowest_bare


@part
def _rings_in_branch(state: Any) -> Any:
    """Ring labels that must be closed before this branch (or the string) ends."""
    first, rings = (state[STACK + state[PARENS] - 1] + 1 if state[PARENS] > 0 else 0), 0
    for at in range(first, state[DEPTH]):
        rings += state[PATH + ATOM_SIZE * at + OPENED]
    return rings


@part
def possible(state: Any, tokens: Any, elements: Any, sums: Any) -> Any:
    """Necessary conditions; see docs/generation.md for each. A state that can be finished always passes."""
    phase, heavy, hydrogen = state[PHASE], state[HEAVY], state[HYDROGEN]
    if hydrogen < 0:
        return False
    if phase == DONE:
        return True
    waits = phase in (START, AT_OPEN, AT_CLOSE, AT_LATE_BOND)
    if heavy < state[PARENS] + (1 if waits else 0):
        return False
    units, gain, ringed, plus, minus, slack, lowest, lowest_high = 0, 0, 0, 0, 0, 0, 0, 0
    for e in range(elements.shape[0]):
        left = state[LEFT + e]
        if left == 0:
            continue
        units += left * elements[e, HIGH]
        gain += left * (elements[e, HIGH] - 2)
        ringed += left * elements[e, RINGED]
        plus += left * elements[e, PLUS]
        minus += left * elements[e, MINUS]
        slack += left * elements[e, SLACK]
        if elements[e, LOW] > lowest:
            lowest, lowest_high = elements[e, LOW], elements[e, HIGH]
    low, high = state[NET_LOW] - state[NET], state[NET_HIGH] - state[NET]
    if low > plus or -high > minus or not _survey(state, tokens, sums):
        return False
    rings_here = phase in (AT_ATOM, AT_BOND)
    top, rings = state[DEPTH] - 1, sums[RINGS_OPEN]
    room, extra = 0, 0
    if top >= 0:
        p = PATH + ATOM_SIZE * top
        if state[PENDING] == DOUBLE:  # the second half of an aromatic atom's double bond took no hydrogen's place
            extra = 2 if tokens[state[p + TOKEN], AROMATIC] == NOT_AROMATIC else 1
        elif state[PENDING] == TRIPLE:
            extra = 4
        room = tokens[state[p + TOKEN], MOST_BONDS] - state[p + BONDS]
    if heavy == 0 and rings > (room if rings_here else 0):
        return False
    if heavy > 0 and room == 0 and phase != START and state[PARENS] == 0 and state[PARTS] == 0:
        return False
    if room == 0 and (phase == AT_CLOSE or (top >= 0 and phase == AT_ATOM and _rings_in_branch(state) > 0)):
        return False
    units += slack + high
    fill = sums[FILL_OPEN] + sums[FILL_SHUT]
    sites = fill + sums[NEED_OPEN] + sums[NEED_SHUT] + (sums[BEYOND] if heavy > 0 or rings > 0 else 0)
    most = sites + gain + slack + high - rings - extra + (2 if phase == START else 0)
    if most + (2 * heavy if state[PARTS] else 0) < hydrogen:
        return False
    here = 2 * rings if rings_here else 0
    if fill - units - rings - here > hydrogen or sums[NEED_SHUT] > rings or sums[NEED_OPEN] > units + here:
        return False
    if sums[RING_NEED] > ringed + (rings if rings_here else 0):
        return False
    others = hydrogen + sites + rings + sums[UNPAIRED] + units - min(high, 0) - lowest_high
    return heavy == 0 or lowest - (1 if low < 0 else 0) <= others


@part
def copy(state: Any, ways: Any, to_state: Any, to_ways: Any) -> None:
    """The state, as far as it is in use."""
    used = PATH + ATOM_SIZE * state[DEPTH]  # an atom written next clears its own place
    to_state[:used] = state[:used]
    used = 2 + int(ways[0])
    to_ways[:used] = ways[:used]


@part
def _worth(state: Any, tokens: Any, token: Any) -> Any:
    """Cheap refusals before anything is copied."""
    kind = tokens[token, KIND]
    if kind == ATOM:
        return state[LEFT + tokens[token, ELEMENT]] > 0
    if kind == RING:
        return state[PHASE] == AT_ATOM or state[PHASE] == AT_BOND
    return kind > 0 and state[PHASE] != AT_BOND and state[PHASE] != AT_LATE_BOND and state[PHASE] != START


@part
def finishes(
    states: Any, ways: Any, tokens: Any, elements: Any, order: Any, allowed: Any, sums: Any, budget: Any, end: Any
) -> Any:
    """Depth-first search from level 0 of `states`: 1 if a string of this formula is found (or, with `end` false, an
    atom can be written), 0 if there is none, 2 if `budget` was spent first."""
    tried, number = np.zeros(_LEVELS, np.int64), len(tokens)
    level = 0
    while level >= 0:
        state, way = states[level], ways[level]
        if tried[level] == len(order):
            level -= 1
            continue
        token = order[tried[level]]
        tried[level] += 1
        opens = token >= number  # ring labels come twice: to close a ring early, to open one late
        token -= number if opens else 0
        if not allowed[token] or not _worth(state, tokens, token):
            continue
        if tokens[token, KIND] == RING and (state[LABELS + tokens[token, VALUE]] == 0) != opens:
            continue
        budget -= 1
        if budget <= 0 or level == _LEVELS - 1:
            return 2
        below, way_below = states[level + 1], ways[level + 1]
        copy(state, way, below, way_below)
        if write(below, way_below, tokens, token) and possible(below, tokens, elements, sums):
            if below[PHASE] == DONE or (not end and below[PHASE] == AT_ATOM):
                return 1
            level += 1
            tried[level] = 0
    return 0


@kernel
def permitted(
    states: Any, ways: Any, tokens: Any, elements: Any, order: Any, allowed: Any, game: Any, mask: Any
) -> None:
    """Fill `mask` (beams, vocabulary): the tokens after which the string can still be finished, as far as is seen.

    `game`: from so few heavy atoms on, every token is followed to an end of the string.
    """
    deep, deep_ways = np.empty((_LEVELS, WIDTH), np.int16), np.empty((_LEVELS, WAYS_WIDTH), np.int64)
    sums = np.zeros(8, np.int64)
    for row in range(len(states)):
        mask[row] = False
        if states[row, PHASE] == DONE:
            continue
        for token in range(len(tokens)):
            if not allowed[token] or not _worth(states[row], tokens, token):
                continue
            copy(states[row], ways[row], deep[0], deep_ways[0])
            if not write(deep[0], deep_ways[0], tokens, token) or not possible(deep[0], tokens, elements, sums):
                continue
            good, ends = 1, deep[0, HEAVY] <= game
            if deep[0, PHASE] != DONE and (ends or deep[0, PHASE] != AT_ATOM):
                good = finishes(deep, deep_ways, tokens, elements, order, allowed, sums, _GAME, ends)
            mask[row, token] = good > 0


@kernel
def certain(
    states: Any, ways: Any, tokens: Any, elements: Any, order: Any, allowed: Any, ranked: Any, chosen: Any
) -> None:
    """The first of each row's `ranked` tokens (beams, choices; −1 where there is no more) from which a search finds an
    end of the string, into `chosen`; −1 where none does. The token after which the last search went on is found again
    by the same search, so a row that was certain once stays so, if all tokens are offered."""
    deep, deep_ways = np.empty((_LEVELS, WIDTH), np.int16), np.empty((_LEVELS, WAYS_WIDTH), np.int64)
    sums = np.zeros(8, np.int64)
    for row in range(len(states)):
        chosen[row] = -1
        for token in ranked[row]:
            if token < 0:
                break
            copy(states[row], ways[row], deep[0], deep_ways[0])
            if not write(deep[0], deep_ways[0], tokens, token) or not possible(deep[0], tokens, elements, sums):
                continue
            if deep[0, PHASE] == DONE or (
                finishes(deep, deep_ways, tokens, elements, order, allowed, sums, _CERTAIN, True) == 1
            ):
                chosen[row] = token
                break


@kernel
def advance(states: Any, ways: Any, tokens: Any, chosen: Any, good: Any) -> None:
    """Write one token to each state, in place; `good` says where it was possible. A negative one writes nothing."""
    for row in range(len(states)):
        good[row] = True
        if chosen[row] >= 0:
            good[row] = write(states[row], ways[row], tokens, chosen[row])
