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
from ...metrics.rates import Isotonic, molecule_weights
from ...schemas import PREDICTED_STRUCTURES, conform

FEWEST = 40  # validation queries of a stratum
_STEP = 1e-6  # between answers of like trust: the order of their member stays


@dataclass(frozen=True)
class Curve:
    """Score → expected similarity, linear between knots."""

    x: tuple[float, ...] = (0.0,)
    y: tuple[float, ...] = (0.0,)  # nobody trusts a member that gave no answer

    @classmethod
    def of(cls, answers: pl.DataFrame) -> Curve:
        """From `score`, `likeness` and `weight`; the answers of a query share its weight."""
        if answers.is_empty():
            return cls()
        count = answers.select(pl.len().over("identifier")).to_series().to_numpy()
        score, likeness, weight = (answers[name].to_numpy().astype(float) for name in ("score", "likeness", "weight"))
        found = Isotonic(score, likeness, weight / count)
        return cls(tuple(found.x.tolist()), tuple(found.y.tolist()))


@dataclass(frozen=True)
class Trust:
    """In a member: its first answers and the others."""

    first: Curve
    others: Curve

    def expected(self, score: float, rank: int) -> float:
        """Similarity to the truth; between answers of like trust the member's order stays."""
        curve = self.others if rank else self.first
        return float(np.interp(score, curve.x, curve.y)) - _STEP * rank


@dataclass(frozen=True)
class Stratum:
    """Queries of like precursor m/z: whose each place of the list is, and the trust in each member."""

    places: tuple[int, ...]
    trust: tuple[Trust, ...]

    @classmethod
    def of(cls, judged: Sequence[pl.DataFrame], queries: pl.DataFrame, structures: int) -> Stratum:
        """From the judged answers of each member to `queries` (`identifier`, `weight`)."""
        trust = [Trust(Curve.of(a.filter(pl.col("rank") == 0)), Curve.of(a.filter(pl.col("rank") > 0))) for a in judged]
        numbered, best = queries.with_row_index("query"), np.zeros((len(judged), queries.height, structures + 1))
        for member, answers in enumerate(judged):
            part = answers.filter(pl.col("rank") < structures).join(numbered, on="identifier", how="left")
            best[member, part["query"].to_numpy(), part["rank"].to_numpy() + 1] = part["likeness"].to_numpy()
        places = places_of(np.maximum.accumulate(best, axis=2), queries["weight"].to_numpy(), structures)
        return cls(places, tuple(trust))


@dataclass(frozen=True)
class Places:
    """Strata of precursor m/z, between `edges`, the lightest first."""

    edges: tuple[float, ...]
    strata: tuple[Stratum, ...]

    @classmethod
    def of(cls, answered: Sequence[pl.DataFrame], val: pl.DataFrame, structures: int, strata: int) -> Places:
        """From `ranked` answers of each member to validation queries.

        Args:
            val: rows with `identifier`, `inchikey14`, `smiles`, `precursor_mz`; only these queries count.
            structures: places of a list.
            strata: at most; each has 40 queries or more.
        """
        count = max(1, min(strata, val.height // FEWEST))
        mzs, weight = val["precursor_mz"].to_numpy(), molecule_weights(val["inchikey14"].to_numpy())[1]
        edges = np.quantile(mzs, np.linspace(0, 1, count + 1)[1:-1]) if count > 1 else np.zeros(0)
        truth = val.select("identifier", truth="smiles", weight=pl.Series(weight, dtype=pl.Float64))
        judged = []
        for answers in answered:
            joined = answers.join(truth, on="identifier", how="inner", maintain_order="left")
            likeness = tanimoto_pairs(joined["truth"].to_list(), joined["smiles"].to_list())
            judged.append(joined.with_columns(likeness=pl.Series(likeness, dtype=pl.Float64)))
        made, stratum = [], np.searchsorted(edges, mzs)
        for number in range(count):
            part = truth.filter(stratum == number)
            own = [each.join(part, on="identifier", how="semi", maintain_order="left") for each in judged]
            made.append(Stratum.of(own, part, structures))
        return cls(tuple(edges.tolist()), tuple(made))

    def named(self) -> dict[str, tuple[int, ...]]:
        """`201–297` → the member of each place."""
        ends = ["", *(f"{edge:.0f}" for edge in self.edges), ""]
        return {f"{ends[n]}–{ends[n + 1]}": stratum.places for n, stratum in enumerate(self.strata)}

    def merged(self, queries: pl.DataFrame, answered: Sequence[pl.DataFrame]) -> pl.DataFrame:
        """PREDICTED_STRUCTURES from `ranked` answers of each member; a row without SMILES where nobody answers.

        A query without a precursor counts among the lightest.
        """
        mzs = queries["precursor_mz"].fill_null(0.0).to_numpy()
        stratum = [self.strata[number] for number in np.searchsorted(np.array(self.edges), mzs)]
        strata = dict(zip(queries["identifier"].to_list(), stratum, strict=True))
        lists: dict[str, list[list[tuple[str, float]]]] = {name: [[] for _ in answered] for name in strata}
        for number, answers in enumerate(answered):
            told = answers.filter(pl.col("identifier").is_in(list(strata)))
            for identifier, smiles, score, rank in told.select("identifier", "smiles", "score", "rank").iter_rows():
                expected = strata[identifier].trust[number].expected(score, rank)
                lists[identifier][number].append((smiles, expected))
        rows: list[tuple[str, str | None, float | None]] = []
        for identifier, its in strata.items():
            found = merge(lists[identifier], its.places)
            rows += [(identifier, smiles, value) for smiles, value in found] or [(identifier, None, None)]
        return conform(pl.DataFrame(rows, list(PREDICTED_STRUCTURES), orient="row"), PREDICTED_STRUCTURES)

    def record(self) -> dict[str, Any]:
        """As JSON holds it."""
        return asdict(self)

    @classmethod
    def read(cls, record: Mapping[str, Any]) -> Places:
        """From `record`."""
        strata = []
        for each in record["strata"]:
            kinds = [(one["first"], one["others"]) for one in each["trust"]]
            trust = [Trust(*(Curve(tuple(c["x"]), tuple(c["y"])) for c in curves)) for curves in kinds]
            strata.append(Stratum(tuple(each["places"]), tuple(trust)))
        return cls(tuple(record["edges"]), tuple(strata))


def ranked(answers: pl.DataFrame) -> pl.DataFrame:
    """Answers with SMILES, best first, and their `rank` from 0 within the query."""
    found = answers.drop_nulls("smiles").sort("score", descending=True, maintain_order=True)
    return found.with_columns(rank=pl.int_range(pl.len()).over("identifier"))


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
