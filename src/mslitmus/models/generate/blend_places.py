"""What `structure-blend` learns from validation: whose each place of a list is, and how far to trust an answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...chem.molecule import inchikey14
from ...errors import ChemistryError
from ...metrics.molecule import tanimoto_pairs
from ...metrics.rates import molecule_weights
from ...schemas import PREDICTED_STRUCTURES, conform

FEWEST = 40  # validation queries of a stratum
_HELD = (0.02, 0.98)  # quantiles of score and m/z beyond which nothing is extrapolated
_PENALTIES = 10.0 ** np.arange(-4, 3)  # of ridge, on standardised columns, a unit of weight
_BAGS = 25  # bootstrap samples of the validation queries by which places are shared out
_STEP = 1e-6  # between answers of like trust: the order of their member stays


@dataclass(frozen=True)
class Line:
    """Expected similarity of an answer, linear in score and precursor m/z, both held within what validation has."""

    ranges: tuple[tuple[float, float], ...] = ((0.0, 0.0), (0.0, 0.0))
    slopes: tuple[float, ...] = (0.0, 0.0)
    offset: float = 0.0  # nobody trusts a member that gave no answer

    @classmethod
    def of(cls, answers: pl.DataFrame) -> Line:
        """Ridge on `score` and `precursor_mz` → `likeness`, its penalty chosen by leaving answers out.

        The answers of a query share its `weight`. A line, since a few hundred answers of members that know little of
        their own worth do not carry more: steps (isotonic) in strata chose worse first answers on unseen scaffolds.
        """
        if answers.is_empty():
            return cls()
        names = ("score", "precursor_mz", "likeness", "weight")
        score, mz, likeness, weight = (answers[name].to_numpy().astype(float) for name in names)
        weight = weight / answers.select(pl.len().over("identifier")).to_series().to_numpy()
        ranges = [tuple(np.quantile(each, _HELD).tolist()) for each in (score, mz)]
        held = np.column_stack([np.clip(each, *ends) for each, ends in zip((score, mz), ranges, strict=True)])
        mean = np.average(held, axis=0, weights=weight)
        spread = np.sqrt(np.average((held - mean) ** 2, axis=0, weights=weight))
        slopes = _ridge((held - mean) / np.where(spread > 0, spread, 1.0), likeness, weight)
        slopes = slopes / np.where(spread > 0, spread, np.inf)
        offset = float(np.average(likeness, weights=weight) - slopes @ mean)
        return cls(tuple(ranges), tuple(slopes.tolist()), offset)

    def __call__(self, score: float, mz: float) -> float:
        held = [min(max(x, low), high) for x, (low, high) in zip((score, mz), self.ranges, strict=True)]
        return min(max(self.offset + sum(x * slope for x, slope in zip(held, self.slopes, strict=True)), 0.0), 1.0)


def _ridge(x: NDArray[np.float64], y: NDArray[np.float64], weight: NDArray[np.float64]) -> NDArray[np.float64]:
    """Slopes on standardised columns, penalty by the weighted squares of errors when each row is left out."""
    x = x - np.average(x, axis=0, weights=weight)
    y, total = y - np.average(y, weights=weight), weight.sum()
    best, chosen = np.inf, np.zeros(x.shape[1])
    for penalty in _PENALTIES:
        inverse = np.linalg.inv((x * weight[:, None]).T @ x + penalty * total * np.eye(x.shape[1]))
        slopes = inverse @ (x * weight[:, None]).T @ y
        leverage = np.minimum(weight * np.einsum("ij,jk,ik->i", x, inverse, x) + weight / total, 1 - 1e-9)
        error = float((weight * ((y - x @ slopes) / (1 - leverage)) ** 2).sum())
        if error < best:
            best, chosen = error, slopes
    return chosen


@dataclass(frozen=True)
class Trust:
    """In a member: its first answers and the others."""

    first: Line
    others: Line

    @classmethod
    def of(cls, answers: pl.DataFrame) -> Trust:
        return cls(Line.of(answers.filter(pl.col("rank") == 0)), Line.of(answers.filter(pl.col("rank") > 0)))

    def expected(self, score: float, rank: int, mz: float) -> float:
        """Similarity to the truth; between answers of like trust the member's order stays."""
        return (self.others if rank else self.first)(score, mz) - _STEP * rank


@dataclass(frozen=True)
class Places:
    """Of strata of precursor m/z, between `edges`, the lightest first: whose each place is. And trust in members."""

    edges: tuple[float, ...]
    strata: tuple[tuple[int, ...], ...]
    trust: tuple[Trust, ...]

    @classmethod
    def of(cls, answered: Sequence[pl.DataFrame], val: pl.DataFrame, structures: int, strata: int) -> Places:
        """From `judged` answers of each member to validation queries.

        Args:
            val: rows with `identifier`, `inchikey14`, `precursor_mz`; only these queries count.
            structures: places of a list.
            strata: at most; each has 40 queries or more.
        """
        count = max(1, min(strata, val.height // FEWEST))
        mzs, weight = val["precursor_mz"].to_numpy(), molecule_weights(val["inchikey14"].to_numpy())[1]
        edges = np.quantile(mzs, np.linspace(0, 1, count + 1)[1:-1]) if count > 1 else np.zeros(0)
        weighed = val.select("identifier", "precursor_mz", weight=pl.Series(weight, dtype=pl.Float64))
        own = [each.join(weighed, on="identifier", how="inner", maintain_order="left") for each in answered]
        stratum = np.searchsorted(edges, mzs)
        parts = [_places(own, weighed.filter(stratum == number), structures) for number in range(count)]
        return cls(tuple(edges.tolist()), tuple(parts), tuple(Trust.of(each) for each in own))

    def named(self) -> dict[str, tuple[int, ...]]:
        """`201–297` → the member of each place."""
        ends = ["", *(f"{edge:.0f}" for edge in self.edges), ""]
        return {f"{ends[n]}–{ends[n + 1]}": places for n, places in enumerate(self.strata)}

    def merged(self, queries: pl.DataFrame, answered: Sequence[pl.DataFrame]) -> pl.DataFrame:
        """PREDICTED_STRUCTURES from `ranked` answers of each member; a row without SMILES where nobody answers.

        A query without a precursor counts among the lightest.
        """
        mzs = queries["precursor_mz"].fill_null(0.0).to_numpy()
        names, numbers = queries["identifier"].to_list(), np.searchsorted(np.array(self.edges), mzs)
        heavy = dict(zip(names, mzs.tolist(), strict=True))
        lists: dict[str, list[list[tuple[str, float]]]] = {name: [[] for _ in answered] for name in names}
        for number, answers in enumerate(answered):
            told = answers.filter(pl.col("identifier").is_in(names))
            for identifier, smiles, score, rank in told.select("identifier", "smiles", "score", "rank").iter_rows():
                expected = self.trust[number].expected(score, rank, heavy[identifier])
                lists[identifier][number].append((smiles, expected))
        rows: list[tuple[str, str | None, float | None]] = []
        for identifier, number in zip(names, numbers, strict=True):
            found = merge(lists[identifier], self.strata[number])
            rows += [(identifier, smiles, value) for smiles, value in found] or [(identifier, None, None)]
        return conform(pl.DataFrame(rows, list(PREDICTED_STRUCTURES), orient="row"), PREDICTED_STRUCTURES)

    def record(self) -> dict[str, Any]:
        """As JSON holds it."""
        return asdict(self)

    @classmethod
    def read(cls, record: Mapping[str, Any]) -> Places:
        """From `record`."""
        trust = [Trust(*(_line(each[kind]) for kind in ("first", "others"))) for each in record["trust"]]
        return cls(tuple(record["edges"]), tuple(map(tuple, record["strata"])), tuple(trust))


def _line(record: Mapping[str, Any]) -> Line:
    return Line(tuple(map(tuple, record["ranges"])), tuple(record["slopes"]), record["offset"])


def _places(judged: Sequence[pl.DataFrame], queries: pl.DataFrame, structures: int) -> tuple[int, ...]:
    """Places of one stratum from the judged answers of each member to its `queries` (`identifier`, `weight`)."""
    numbered = queries.select("identifier").with_row_index("query")
    best = np.zeros((len(judged), queries.height, structures + 1))
    for member, answers in enumerate(judged):
        part = answers.filter(pl.col("rank") < structures).join(numbered, on="identifier", how="inner")
        best[member, part["query"].to_numpy(), part["rank"].to_numpy() + 1] = part["likeness"].to_numpy()
    return bagged(np.maximum.accumulate(best, axis=2), queries["weight"].to_numpy(), structures)


def ranked(answers: pl.DataFrame) -> pl.DataFrame:
    """Answers with SMILES, best first, and their `rank` from 0 within the query."""
    found = answers.drop_nulls("smiles").sort("score", descending=True, maintain_order=True)
    return found.with_columns(rank=pl.int_range(pl.len()).over("identifier"))


def judged(answers: pl.DataFrame, truth: pl.DataFrame) -> pl.DataFrame:
    """`ranked` answers with their `likeness` (Tanimoto) to the `smiles` that `truth` has for the query."""
    joined = answers.join(
        truth.select("identifier", truth="smiles"), on="identifier", how="inner", maintain_order="left"
    )
    likeness = tanimoto_pairs(joined["truth"].to_list(), joined["smiles"].to_list())
    return joined.drop("truth").with_columns(likeness=pl.Series(likeness, dtype=pl.Float64))


def bagged(best: NDArray[np.float64], weight: NDArray[np.float64], structures: int) -> tuple[int, ...]:
    """`places_of` on bootstrap samples of the queries, shares averaged (Caruana et al. 2004, 2.3).

    Of a few dozen queries one draw settles nothing: where members are close, each keeps places.
    """
    rng, shares = np.random.default_rng(0), np.zeros(len(best))
    for _ in range(_BAGS):
        drawn = rng.integers(0, len(weight), len(weight))
        shares += np.bincount(places_of(best[:, drawn], weight[drawn], structures), minlength=len(best))
    shares /= _BAGS * structures
    given, places = np.zeros(len(best)), []
    for place in range(1, structures + 1):
        member = int(np.argmax(shares * place - given))
        given[member] += 1
        places.append(member)
    return tuple(places)


def places_of(best: NDArray[np.float64], weight: NDArray[np.float64], structures: int) -> tuple[int, ...]:
    """To which member each place of the list goes.

    Args:
        best: (members, queries, structures + 1): the best similarity among so many first answers, 0 of none.
        weight: (queries,).
    """
    counts, places = np.zeros(len(best), np.int64), []
    for _ in range(structures):
        values = []
        for unit in np.eye(len(best), dtype=np.int64):
            reached = np.max([each[:, n] for each, n in zip(best, counts + unit, strict=True)], axis=0)
            values.append(float((weight * reached).sum()))
        member = max(range(len(best)), key=lambda m: (values[m], -counts[m]))
        counts[member] += 1
        places.append(member)
    return tuple(places)


def merge(lists: Sequence[Sequence[tuple[str, float]]], places: Sequence[int]) -> list[tuple[str, float]]:
    """Answers of one query by places, each molecule (InChIKey-14) once, most trusted first.

    lists: of each member, best first, (SMILES, expected similarity). What two members give has the higher trust.
    """
    left = [iter(each) for each in lists]
    found: dict[str, tuple[str, float]] = {}
    wanted = len(places)
    for member in (*places, *(m for _ in range(wanted) for m in range(len(left)))):
        if len(found) >= wanted or not left:
            break
        for smiles, value in left[member]:
            key = _key(smiles)
            known = found.get(key)
            found[key] = (smiles, value) if known is None else (known[0], max(known[1], value))
            if known is None:
                break
    return sorted(found.values(), key=lambda answer: -answer[1])


def _key(smiles: str) -> str:
    """InChIKey-14; of what does not parse the text itself."""
    try:
        return inchikey14(smiles)
    except ChemistryError:
        return smiles
