"""structure-blend: the answers of several models in one list, places and order chosen on validation.

A look-up hands in molecules that somebody measured and that resemble the truth, a generator writes ones that nobody
has: neither has what the other has, and small molecules are the generator's, large ones the look-up's. Two things are
learned from the answers to validation queries:

- **places** in each stratum of precursor m/z (quantiles of those queries): one after the other to the member whose next
  answer raises the best similarity in the list most (greedy selection, bagged, as of Caruana et al., ICML 2004, of
  places instead of weights). A member that has nothing left, or nothing new, leaves its place to the others.
- **trust**: the Tanimoto similarity to the truth that is expected of a member's first answers, and of its others, by
  their score and the precursor m/z (ridge regression). It orders the list and is the score handed out.

What validation says of it is told out of fold: learned from four fifths of the molecules, judged on the last.

With `start_from` the fitted generator of another row is the first member as it is, so nothing is trained twice.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import polars as pl
from pydantic import Field

from ...errors import ConfigError, ModelError
from ...provenance import write_json
from ...tasks import TASKS
from ...tasks.measured import MEASURED, with_structure
from .. import MODELS
from ..fingerprint.blend import Member
from ..inner import inputs_of
from ..options import Options, parse_options
from ..protocol import FitContext, FitReport, Kind
from .blend_places import FEWEST, Places, judged, ranked
from .saved import BLEND, GENERATORS, registered

_FOLDS = 5


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
    strata: int = Field(4, ge=1, le=20, description=f"of precursor m/z, of {FEWEST} validation queries or more")
    val_limit: int = Field(500, ge=10, description="validation queries that members answer at most")
    formula: Literal["given", "hidden"] = Field("given", description="whether members are shown the task's formula")


class StructureBlend:
    """Fits its members one after the other, then learns whom to trust."""

    task = "generation"
    name = "structure-blend"
    learns_beside = True  # also where it starts from a fitted row: nothing of it is there without `fit`

    def __init__(self, **options: Any) -> None:
        where = f"model {self.name!r}"
        self.options = parse_options(StructureBlendOptions, options, where=where)
        self.names = [each.model for each in self.options.members]
        self.members: list[Any] = [MODELS[each.model](**each.options) for each in self.options.members]
        for name, model in zip(self.names, self.members, strict=True):
            if model.task != self.task or model.kind == "oracle" or isinstance(model, StructureBlend):
                what = f"member {name!r} is of the task {model.task!r}, of kind {model.kind!r}"
                raise ConfigError(what, where=where, remedy="name look-ups and generators of the task generation")
            self._check_member(model, where)
        self.taken = 0  # first members that another row has fitted
        self.places: Places | None = None

    def _check_member(self, model: Any, where: str) -> None:
        """Raises ConfigError for one that cannot answer as it will be asked."""
        if getattr(model, "transductive", False):
            what = "a member is tuned on all queries together: its answers to some of them are others"
            raise ConfigError(what, where=where, remedy="take the network before tuning, or tune per sample")
        source = getattr(getattr(model, "options", None), "formula", None)
        if (source, self.options.formula) in (("given", "hidden"), ("predicted", "given")):
            what = f"a member takes the formula as {source}, and the blend has it {self.options.formula}"
            raise ConfigError(what, where=where, remedy="formula: given in both; or hidden here and predicted there")

    @property
    def kind(self) -> Kind:
        """That of the member that knows most."""
        order: Sequence[Kind] = ("blind", "neighbour", "trained", "oracle")
        return max((model.kind for model in self.members), key=order.index)

    @classmethod
    def inputs(cls, options: Mapping[str, Any]) -> dict[str, str]:
        """Hashes of the files that members answer from, where they say so."""
        chosen: Any = parse_options(StructureBlendOptions, options, where=f"model {cls.name!r}")
        found = [inputs_of(each.model, each.options) for each in chosen.members]
        return {f"member {n}: {key}": value for n, each in enumerate(found) for key, value in each.items()}

    def check_task(self, task: Any) -> None:
        """Raises ConfigError where the formula is to be shown and the task hides it, and what members say."""
        if self.options.formula == "given" and "formula" not in task.visible:
            remedy = "formula: hidden in the options of the blend"
            raise ConfigError("the task hides the formula", where=f"model {self.name!r}", remedy=remedy)
        shown = task if self.options.formula == "given" else TASKS["generation"](formula="hidden")
        for model in self.members:
            check: Callable[[Any], None] | None = getattr(model, "check_task", None)
            if check is not None:
                check(shown)

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
        self._check_member(parent, where)

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
        seconds, told = time.perf_counter() - started, self.places.named() if self.places is not None else {}
        notes = {"members": list(self.names), "places": {name: list(places) for name, places in told.items()}}
        return FitReport(seconds, self.parameters(), "weighed on validation", best_score=best, notes=notes)

    def _learn(self, val: pl.DataFrame, context: FitContext) -> float:
        """Sets the places; returns the validation score, out of fold."""
        queries, options = self._shown(val), self.options
        answered = [judged(ranked(model.predict(queries)), val) for model in self.members]

        def learned(rows: pl.DataFrame) -> Places:
            return Places.of(answered, rows, options.structures, options.strata)

        self.places = learned(val)
        for name, places in self.places.named().items():
            shares = [f"{member} {places.count(number)}" for number, member in enumerate(self.names)]
            context.progress(f"places, m/z {name}: {', '.join(shares)}")
        keys = val["inchikey14"].unique().sort().shuffle(seed=context.seed)
        fold = pl.DataFrame({"inchikey14": keys, "fold": np.arange(keys.len()) % _FOLDS})
        folds = val.select("inchikey14").join(fold, on="inchikey14", how="left", maintain_order="left")["fold"]
        if keys.len() < 2 * _FOLDS:
            return context.score(self.places.merged(queries, answered), val)
        parts = [(learned(val.filter(folds != n)), queries.filter(folds == n)) for n in range(_FOLDS)]
        return context.score(pl.concat([places.merged(part, answered) for places, part in parts]), val)

    # -- prediction --------------------------------------------------------------------------------------------------

    def predict(self, queries: pl.DataFrame) -> pl.DataFrame:
        """PREDICTED_STRUCTURES, best first; the score is the similarity to the truth to expect."""
        if self.places is None:
            raise ModelError(f"{self.name} was not fitted", remedy="call fit, or load a saved one")
        shown = self._shown(queries)
        return self.places.merged(shown, [ranked(model.predict(shown)) for model in self.members])

    def _shown(self, frame: pl.DataFrame) -> pl.DataFrame:
        wanted = (*MEASURED, "formula") if self.options.formula == "given" else MEASURED
        return frame.select(name for name in wanted if name in frame.columns)

    def parameters(self) -> int:
        return sum(int(model.parameters()) for model in self.members)

    # -- files -------------------------------------------------------------------------------------------------------

    def save(self, folder: Path) -> None:
        """options.json, blend.json and a folder a member."""
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "options.json", self.options.model_dump(mode="json"))
        places = None if self.places is None else self.places.record()
        write_json(folder / BLEND, {"names": self.names, "places": places})
        for number, model in enumerate(self.members):
            model.save(folder / f"member-{number}")

    @classmethod
    def load(cls, folder: Path) -> Self:
        model = cls(**json.loads((folder / "options.json").read_text(encoding="utf-8")))
        record = json.loads((folder / BLEND).read_text(encoding="utf-8"))
        model.names = record["names"]
        model.places = None if record["places"] is None else Places.read(record["places"])
        model.members = [MODELS[name].load(folder / f"member-{n}") for n, name in enumerate(model.names)]
        return model
