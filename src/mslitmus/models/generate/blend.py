"""structure-blend: the answers of several models in one list, places and order chosen on validation.

A look-up hands in molecules that somebody measured and that resemble the truth, a generator writes ones that nobody
has: neither has what the other has, and small molecules are the generator's, large ones the look-up's. Two things are
learned in each stratum of precursor m/z (quantiles of the validation queries), both from the answers to those queries:

- **trust**: the Tanimoto similarity to the truth that answers of a member have at such a score of its own (isotonic,
  pool adjacent violators), of its first answers and of the others. It orders the list and is the score handed out.
- **places**: of the list, one after the other to the member whose next answer raises the best similarity in the list
  most (greedy selection as of Caruana et al., ICML 2004, of places instead of weights). A member that has nothing left,
  or nothing new, leaves its place to the others.

With `start_from` the fitted generator of another row is the first member as it is, so nothing is trained twice.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from ...chem.molecule import inchikey14
from ...errors import ChemistryError, ConfigError, ModelError
from ...metrics.molecule import tanimoto_pairs
from ...metrics.rates import Isotonic, molecule_weights
from ...provenance import write_json
from ...schemas import PREDICTED_STRUCTURES, conform
from ...tasks.measured import MEASURED, with_structure
from .. import MODELS
from ..fingerprint.blend import Member
from ..inner import inputs_of
from ..options import Options, parse_options
from ..protocol import FitContext, FitReport, Kind
from .saved import GENERATORS, registered

_RECORD = "blend.json"
_FEWEST = 40  # validation queries of a stratum
_STEP = 1e-6  # between answers of like trust: the order of their member stays


@dataclass(frozen=True)
class Curve:
    """Score → expected similarity, linear between knots."""

    x: tuple[float, ...] = (0.0,)
    y: tuple[float, ...] = (0.0,)  # nobody trusts a member that gave no answer

    @classmethod
    def of(cls, answers: pl.DataFrame) -> Curve:
        if answers.is_empty():
            return cls()
        count = answers.select(pl.len().over("identifier")).to_series().to_numpy()
        found = Isotonic(answers["score"].to_numpy().astype(np.float64), answers["likeness"].to_numpy(), 1 / count)
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
        """From the ranked answers of each member with their `likeness` to the truth."""
        trust = [Trust(Curve.of(a.filter(pl.col("rank") == 0)), Curve.of(a.filter(pl.col("rank") > 0))) for a in judged]
        numbered, best = queries.with_row_index("query"), np.zeros((len(judged), queries.height, structures + 1))
        for member, answers in enumerate(judged):
            part = answers.filter(pl.col("rank") < structures).join(numbered, on="identifier", how="left")
            best[member, part["query"].to_numpy(), part["rank"].to_numpy() + 1] = part["likeness"].to_numpy()
        weight = molecule_weights(queries["inchikey14"].to_numpy())[1]
        return cls(places_of(np.maximum.accumulate(best, axis=2), weight, structures), tuple(trust))

    @classmethod
    def read(cls, record: Mapping[str, Any]) -> Stratum:
        """From what `asdict` made."""
        curves = [(Curve(**each["first"]), Curve(**each["others"])) for each in record["trust"]]
        return cls(tuple(record["places"]), tuple(Trust(*each) for each in curves))


class StructureBlendOptions(Options):
    """Options of `structure-blend`."""

    members: tuple[Member, ...] = Field(
        (
            Member(model="nearest-structure", options={"tiers": ["all"]}),
            Member(model="nearest-structure"),
        ),
        min_length=1,
        max_length=20,
    )
    structures: int = Field(10, ge=1, le=1000, description="of a query at most")
    strata: int = Field(4, ge=1, le=20, description=f"of precursor m/z, of {_FEWEST} validation queries or more")
    val_limit: int = Field(500, ge=10, description="validation queries that members answer at most")
    formula: Literal["given", "hidden"] = Field("given", description="whether members are shown the task's formula")


class StructureBlend:
    """Fits its members one after the other, then learns whom to trust."""

    task = "generation"
    name = "structure-blend"

    def __init__(self, **options: Any) -> None:
        where = f"model {self.name!r}"
        self.options = parse_options(StructureBlendOptions, options, where=where)
        self.names = [each.model for each in self.options.members]
        self.members: list[Any] = [MODELS[each.model](**each.options) for each in self.options.members]
        for name, model in zip(self.names, self.members, strict=True):
            if model.task != self.task or model.kind == "oracle":
                what = f"member {name!r} is of the task {model.task!r}, of kind {model.kind!r}"
                raise ConfigError(what, where=where, remedy="name models of the task generation")
        self.taken = 0  # first members that another row has fitted
        self.edges: NDArray[np.float64] = np.zeros(0)  # of precursor m/z, between strata
        self.strata: list[Stratum] = []

    @property
    def kind(self) -> Kind:
        """That of the member that knows most."""
        order: Sequence[Kind] = ("blind", "neighbour", "trained", "oracle")
        return max((model.kind for model in self.members), key=order.index)

    @classmethod
    def inputs(cls, options: Mapping[str, Any]) -> dict[str, str]:
        """Hashes of the files that members answer from, where they say so."""
        chosen: Any = parse_options(StructureBlendOptions, options, where=f"model {cls.name!r}")
        return {k: v for each in chosen.members for k, v in inputs_of(each.model, each.options).items()}

    def check_task(self, task: Any) -> None:
        """Raises ConfigError where the formula is to be shown and the task hides it, and what members say."""
        if self.options.formula == "given" and "formula" not in task.visible:
            remedy = "formula: hidden in the options of the blend"
            raise ConfigError("the task hides the formula", where=f"model {self.name!r}", remedy=remedy)
        for model in self.members:
            check: Callable[[Any], None] | None = getattr(model, "check_task", None)
            if check is not None:
                check(task)

    def report_to(self, progress: Callable[[str], None]) -> None:
        """Where members tell what they do."""
        for model in self.members:
            if (told := getattr(model, "report_to", None)) is not None:
                told(progress)

    def check_start(self, parent: Any, head: str = "keep") -> None:
        """Raises ConfigError where the other row is no generator, or one whose answers depend on which are asked."""
        where = f"model {self.name!r}"
        if getattr(parent, "name", "") not in GENERATORS or head != "keep":
            what = "it starts from a row that writes structures, which it takes as it is"
            raise ConfigError(what, where=where, remedy=f"name a row of {', '.join(GENERATORS)}, and leave out head")
        if getattr(parent, "transductive", False):
            what = "that row is tuned on all queries together: its answers to some of them are others"
            raise ConfigError(what, where=where, remedy="name the row before tuning, or tune per sample")

    def start_from(self, folder: Path, head: str = "keep") -> None:
        """Take a fitted generator as the first member; it is not trained again."""
        name = registered(folder)
        self.names, self.members = [name, *self.names], [MODELS[name].load(folder), *self.members]
        self.taken = 1

    # -- for one's own spectra: what the member that writes knows of formulae -----------------------------------------

    @property
    def formulas(self) -> tuple[str, ...] | None:
        """Of the training molecules, where a member writes structures of its own; else None."""
        return next((model.formulas for model in self.members if hasattr(model, "formulas")), None)

    @property
    def formulae(self) -> Any:
        """How that member comes by formulae."""
        return next(model.formulae for model in self.members if hasattr(model, "formulae"))

    def to(self, device: Any) -> None:
        """Networks onto a device."""
        for model in self.members:
            if hasattr(model, "to"):
                model.to(device)

    # -- fitting -----------------------------------------------------------------------------------------------------

    def fit(self, train: pl.DataFrame, val: pl.DataFrame, context: FitContext) -> FitReport:
        started = time.perf_counter()
        if context.fitted is not None:
            known = type(self).load(context.fitted)
            self.names, self.members, self.taken = known.names, known.members, known.taken
            self.edges, self.strata = known.edges, known.strata
            return FitReport(0.0, self.parameters(), "fitted before", notes=self._notes())
        asked = with_structure(val).sample(fraction=1.0, shuffle=True, seed=context.seed).head(self.options.val_limit)
        if asked.is_empty():
            raise ModelError("no validation spectrum has a structure to compare answers with", remedy="check the split")
        for number, (name, model) in enumerate(zip(self.names, self.members, strict=True)):
            if number >= self.taken:
                context.progress(f"member {number + 1} of {len(self.members)}: {name}")
                own = replace(context, folder=context.folder / f"member-{number}")
                own.folder.mkdir(parents=True, exist_ok=True)
                model.fit(train, val, own)
        context.progress(f"members answer {asked.height:,} validation queries")
        best = self._learn(asked, context)
        seconds = time.perf_counter() - started
        return FitReport(seconds, self.parameters(), "weighed on validation", best_score=best, notes=self._notes())

    def _notes(self) -> dict[str, Any]:
        places = {self._range(n): list(stratum.places) for n, stratum in enumerate(self.strata)}
        return {"members": list(self.names), "places": places}

    def _learn(self, val: pl.DataFrame, context: FitContext) -> float:
        """Sets edges and strata; returns the validation score."""
        count = max(1, min(self.options.strata, val.height // _FEWEST))
        mzs = val["precursor_mz"].to_numpy()
        self.edges = np.quantile(mzs, np.linspace(0, 1, count + 1)[1:-1]) if count > 1 else np.zeros(0)
        queries, truth = self._shown(val), val.select("identifier", truth="smiles")
        answered = [ranked(model.predict(queries)) for model in self.members]
        judged = []
        for answers in answered:
            joined = answers.join(truth, on="identifier", how="left", maintain_order="left")
            likeness = tanimoto_pairs(joined["truth"].to_list(), joined["smiles"].to_list())
            judged.append(answers.with_columns(likeness=pl.Series(likeness, dtype=pl.Float64)))
        stratum = np.searchsorted(self.edges, mzs)
        self.strata = []
        for number in range(count):
            part = val.filter(stratum == number).select("identifier", "inchikey14")
            own = [each.join(part, on="identifier", how="semi", maintain_order="left") for each in judged]
            self.strata.append(Stratum.of(own, part, self.options.structures))
            shares = [f"{name} {self.strata[-1].places.count(m)}" for m, name in enumerate(self.names)]
            context.progress(f"places, m/z {self._range(number)}: {', '.join(shares)}")
        return context.score(self._merged(queries, answered), val)

    def _range(self, number: int) -> str:
        edges = ["", *(f"{edge:.0f}" for edge in self.edges), ""]
        return f"{edges[number]}–{edges[number + 1]}"

    # -- prediction --------------------------------------------------------------------------------------------------

    def predict(self, queries: pl.DataFrame) -> pl.DataFrame:
        """PREDICTED_STRUCTURES, best first; the score is the similarity to the truth to expect."""
        if not self.strata:
            raise ModelError(f"{self.name} was not fitted", remedy="call fit, or load a saved one")
        shown = self._shown(queries)
        return self._merged(shown, [ranked(model.predict(shown)) for model in self.members])

    def _shown(self, frame: pl.DataFrame) -> pl.DataFrame:
        wanted = (*MEASURED, "formula") if self.options.formula == "given" else MEASURED
        return frame.select(name for name in wanted if name in frame.columns)

    def _merged(self, queries: pl.DataFrame, answered: Sequence[pl.DataFrame]) -> pl.DataFrame:
        """One list a query from `ranked` answers of each member; a row without SMILES where nobody answers."""
        strata = dict(zip(queries["identifier"].to_list(), self._strata_of(queries), strict=True))
        lists: dict[str, list[list[tuple[str, float]]]] = {name: [[] for _ in self.members] for name in strata}
        for number, answers in enumerate(answered):
            told = answers.select("identifier", "smiles", "score", "rank").iter_rows()
            for identifier, smiles, score, rank in told:
                expected = strata[identifier].trust[number].expected(score, rank)
                lists[identifier][number].append((smiles, expected))
        rows: list[tuple[str, str | None, float | None]] = []
        for identifier, stratum in strata.items():
            found = merge(lists[identifier], stratum.places)
            rows += [(identifier, smiles, value) for smiles, value in found] or [(identifier, None, None)]
        return conform(pl.DataFrame(rows, list(PREDICTED_STRUCTURES), orient="row"), PREDICTED_STRUCTURES)

    def _strata_of(self, queries: pl.DataFrame) -> list[Stratum]:
        """Of each query; one without a precursor counts among the lightest."""
        mzs = queries["precursor_mz"].fill_null(0.0).to_numpy()
        return [self.strata[number] for number in np.searchsorted(self.edges, mzs)]

    def parameters(self) -> int:
        return sum(int(model.parameters()) for model in self.members)

    # -- files -------------------------------------------------------------------------------------------------------

    def save(self, folder: Path) -> None:
        """options.json, blend.json and a folder a member."""
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "options.json", self.options.model_dump(mode="json"))
        strata = [asdict(stratum) for stratum in self.strata]
        record = {"names": self.names, "taken": self.taken, "edges": self.edges.tolist(), "strata": strata}
        write_json(folder / _RECORD, record)
        for number, model in enumerate(self.members):
            model.save(folder / f"member-{number}")

    @classmethod
    def load(cls, folder: Path) -> Self:
        model = cls(**json.loads((folder / "options.json").read_text(encoding="utf-8")))
        record = json.loads((folder / _RECORD).read_text(encoding="utf-8"))
        model.names, model.taken = record["names"], record["taken"]
        model.edges, model.strata = np.array(record["edges"]), [Stratum.read(each) for each in record["strata"]]
        model.members = [MODELS[name].load(folder / f"member-{n}") for n, name in enumerate(model.names)]
        return model


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
