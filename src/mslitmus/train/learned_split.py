"""Learning to Split (Bao & Barzilay 2022): the split of a dataset on which a predictor generalises worst.

A splitter proposes a split; a fresh predictor is trained on its train side, a third of it held out for validation; the
gap is validation minus test accuracy; the splitter learns which test items were predicted correctly; and so on until
the gap has not grown for some rounds. The widest gap wins. It is an adversarial bound, no headline: whoever looks for a
gap finds one, so the same search with shuffled answers stands beside it (`shuffled`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import SplitError
from .splitter import Splitter, SplitterOptions

#: Sets the draws of the search apart from those that made the data under the same seed.
_STREAM = 0x1EA2
#: Fewer items on a side measure nothing; nor does a side of less than this share of what was asked for.
LEAST, LEAST_SHARE = 3, 0.1
Rows = NDArray[np.int64]
#: (rows to learn from, rows to answer) → likeness of each answer to the truth, 0 to 1, shape (answered,).
Predictor = Callable[[Rows, Rows], NDArray[np.float64]]


@dataclass(frozen=True)
class Settings:
    """Of the search.

    ratio: target share of train (validation among it); held_out: share of the train side that validates;
    rounds, patience: at most so many rounds, and so many without a wider gap; threshold: likeness from which a
    prediction is correct, None: the median of validation in the first round, which is a random split.
    """

    ratio: float = 0.75
    held_out: float = 1 / 3
    rounds: int = 20
    patience: int = 4
    threshold: float | None = None
    seed: int = 0
    splitter: SplitterOptions = field(default_factory=SplitterOptions)


@dataclass(frozen=True)
class Round:
    """One round: accuracies, mean likeness, the size of the test side, and whether the sides were drawn by rank."""

    number: int
    validation: float
    test: float
    validation_likeness: float
    test_likeness: float
    test_items: int
    by_rank: bool = False

    @property
    def gap(self) -> float:
        return self.validation - self.test

    def to_json(self) -> dict[str, Any]:
        return {**self.__dict__, "gap": self.gap}


@dataclass(frozen=True)
class LearnedSplit:
    """The widest gap: fold of each item (0 train, 1 val, 2 test), all rounds, and the threshold of "correct"."""

    folds: NDArray[np.int8]
    rounds: tuple[Round, ...]
    chosen: int
    threshold: float

    @property
    def best(self) -> Round:
        return self.rounds[self.chosen]

    @property
    def first(self) -> Round:
        """The random split that the search starts from."""
        return self.rounds[0]


def learn_split(
    x: NDArray[np.float32],
    labels: NDArray[np.int64],
    predict: Predictor,
    settings: Settings | None = None,
    shuffled: bool = False,
    say: Callable[[str], None] = lambda line: None,
) -> LearnedSplit:
    """Search for the split with the widest gap.

    Args:
        x: (n, d) what the splitter sees of an item, label included; labels: (n,) classes whose marginals both sides
            keep.
        predict: trains a fresh predictor and answers.
        shuffled: the control: the splitter learns shuffled answers. Its widest gap is what searching alone finds.
    Where the splitter would leave a side next to empty, sides of the wanted size are drawn by rank instead, and the
    search goes on: nothing of what was found is lost. Raises SplitError for fewer than 20 items, or for a ratio that
    leaves a side empty by itself.
    """
    s = settings or Settings()
    if len(x) < 20:
        raise SplitError(f"{len(x)} items are too few to learn a split", remedy="use a dataset of 20 items or more")
    rng = np.random.default_rng([s.seed, _STREAM])
    splitter = Splitter(x.shape[1], s.seed, s.splitter)
    threshold, rounds, best, folds = s.threshold, [], 0, np.zeros(len(x), np.int8)
    for number in range(s.rounds):
        chance = np.full(len(x), s.ratio) if number == 0 else splitter.probabilities(x)
        sides, by_rank = _sides(chance, s, rng)
        train, val, test = sides
        likeness = predict(train, np.concatenate([val, test]))
        of_val, of_test = likeness[: len(val)], likeness[len(val) :]
        if threshold is None:
            threshold = float(np.median(of_val))
        right = [(part >= threshold).astype(np.float64) for part in (of_val, of_test)]
        made = Round(
            number, float(right[0].mean()), float(right[1].mean()), float(of_val.mean()), float(of_test.mean()),
            len(test), by_rank,
        )  # fmt: skip
        rounds.append(made)
        how = "; a side ran empty, drawn by rank" if by_rank else ""
        say(f"round {number}: gap {made.gap:+.3f} (validation {made.validation:.3f}, test {made.test:.3f}{how})")
        if number == 0 or made.gap > rounds[best].gap:
            best = number
            folds = np.zeros(len(x), np.int8)
            folds[val], folds[test] = 1, 2
        if number - best >= s.patience or number + 1 == s.rounds:
            break
        answers = rng.permutation(right[1]) if shuffled else right[1]
        splitter.train(x, labels, test, answers, s.ratio)
    return LearnedSplit(folds, tuple(rounds), best, float(threshold or 0.0))


def _sides(chance: NDArray[np.float64], s: Settings, rng: np.random.Generator) -> tuple[tuple[Rows, Rows, Rows], bool]:
    """Rows of train, validation and test, drawn by P(train) (n,); and whether by rank, since a side would be too small.

    By rank: each item's P(train) plus noise of the same size everywhere (Gumbel's, on the logit), the largest to train.
    Raises SplitError where the ratio itself leaves a side too small.
    """
    n = len(chance)
    drawn = _parted(np.flatnonzero(rng.random(n) < chance), n, s.held_out, rng)
    wanted = _parted(np.arange(round(s.ratio * n)), n, s.held_out, np.random.default_rng(0))
    least = [max(LEAST, round(LEAST_SHARE * len(side))) for side in wanted]
    if all(len(side) >= size for side, size in zip(drawn, least, strict=True)):
        return drawn, False
    if min(map(len, wanted)) < LEAST:
        remedy = "use more data, or a ratio nearer to 0.75 (--ratio)"
        raise SplitError("a side of the learned split is empty by its ratio", remedy=remedy)
    p = np.clip(chance, 1e-6, 1 - 1e-6)
    order = np.argsort(-(np.log(p / (1 - p)) + rng.gumbel(size=n)), kind="stable")
    return _parted(np.sort(order[: round(s.ratio * n)]), n, s.held_out, rng), True


def _parted(train: Rows, n: int, held_out: float, rng: np.random.Generator) -> tuple[Rows, Rows, Rows]:
    """Train rows without those held out for validation, these, and all others."""
    rows = rng.permutation(train)
    val = round(held_out * len(rows))
    return np.sort(rows[val:]), np.sort(rows[:val]), np.setdiff1d(np.arange(n), train)
