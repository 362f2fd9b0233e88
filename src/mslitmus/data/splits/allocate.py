"""Groups of unequal size → folds near their target sizes, the same for every order of the rows."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from ...errors import SplitError

#: In the first pass no group may fill more than this share of a held-out fold.
LARGEST_SHARE = 0.2


def draw(labels: Iterable[str], seed: int) -> list[str]:
    """Labels in seeded random order that depends on the labels alone (a keyed hash), not on the order they come in."""
    key = str(seed).encode()
    return sorted(set(labels), key=lambda label: (blake2b(label.encode(), digest_size=8, key=key).digest(), label))


def allocate(sizes: Mapping[str, int], shares: Mapping[str, float], seed: int) -> dict[str, str]:
    """Group → fold, whole groups, near the shares of the total size. The first fold named (train) takes the rest.

    Groups come in seeded order. First pass: a group goes to the last fold (test), else the one before (val), if it
    fits into what that fold still lacks and is no more than `LARGEST_SHARE` of its target, so that no single scaffold
    makes a test set. Second pass: groups still in train fill what is lacking without that cap. The rest is train, and
    so is every group larger than a held-out fold; where the largest leaves too little, the held-out folds share the
    rest in proportion. A held-out fold that is still empty takes the group nearest to its
    target in size. Raises SplitError for fewer groups than folds.
    """
    rest, *held_out = shares
    if len(sizes) < len(shares):
        raise SplitError(
            f"{len(sizes)} groups cannot make {len(shares)} folds",
            remedy="use more data or a split with smaller groups",
        )
    total = sum(sizes.values())
    outside = total - max(sizes.values())  # the largest group trains: held-out folds share what lies outside it
    shrink = min(1.0, outside / (total * sum(shares[name] for name in held_out)))
    target = {name: shrink * shares[name] * total for name in reversed(held_out)}
    lacking = dict(target)
    fold = dict.fromkeys(draw(sizes, seed), rest)
    for cap in (LARGEST_SHARE, 1.0):
        for group in fold:
            if fold[group] != rest:
                continue
            for name in lacking:
                if sizes[group] <= min(lacking[name], cap * target[name]):
                    fold[group] = name
                    lacking[name] -= sizes[group]
                    break
    for name in target:
        if name not in fold.values():
            free = [group for group in fold if fold[group] == rest]
            fold[min(free, key=lambda group: abs(sizes[group] - target[name]))] = name
    return fold


def check_fractions(fractions: Sequence[float]) -> tuple[float, float, float]:
    """(train, val, test) as given. Raises SplitError unless they are three positive numbers with sum 1."""
    try:
        train, val, test = (float(x) for x in fractions)
    except (TypeError, ValueError):
        train = val = test = math.nan
    if not (min(train, val, test) > 0 and abs(train + val + test - 1) <= 1e-6):  # NaN passes no comparison
        raise SplitError(
            f"fractions {fractions!r} are not three positive numbers with sum 1",
            remedy="give train, val, test, e.g. [0.8, 0.1, 0.1]",
        )
    return train, val, test


def linked(molecules: Sequence[str], keys: Sequence[str]) -> dict[str, str]:
    """Molecule → group, such that neither a molecule nor a key is in two groups.

    One InChIKey-14 can carry two formulae (charge states) or two scaffolds (tautomers), so groups are the connected
    components of the bipartite graph of molecules and keys. A group is named by its first key in sorted order.
    Args: parallel sequences, one entry a (molecule, key) pair.
    """
    names, left = np.unique(np.asarray(molecules, dtype=object).astype(str), return_inverse=True)
    marks, right = np.unique(np.asarray(keys, dtype=object).astype(str), return_inverse=True)
    size = len(names) + len(marks)
    edges = coo_array((np.ones(len(left), np.int8), (left, right + len(names))), shape=(size, size))
    _, component = connected_components(edges, directed=False)
    name_of: dict[int, str] = {}
    for mark, where in zip(marks, component[len(names) :], strict=True):  # marks are sorted: the first one names it
        name_of.setdefault(int(where), str(mark))
    return {str(name): name_of[int(where)] for name, where in zip(names, component[: len(names)], strict=True)}
