"""Tables for what the paper on test-time tuning leaves open (arXiv 2510.23746), from a finished run of `generation`.

    python benchmarks/generation.py RUN [--split NAME] [--row NAME] [--tuned NAME] [--tables strata noise …] [--limit N]

`strata`: scores by adduct, mass and similarity to train, of every trained row. `noise`: the told formula changed in a
share of the queries, and guessed. `constraint`: decoding under the constraint against rejection afterwards, at equal
beams. `costs`: seconds a spectrum of fine-tuning, of tuning on all together and per sample, of decoding alone.
`neighbours`: exact against approximate search for the nearest training spectra. `dark`: queries without a relevant
neighbour, and what tuning gains by similarity to train. The row is the first trained one that is neither masked nor
tuned, the tuned one the first that is tuned; test queries only, seed 0, means and 95 % intervals over molecules.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mslitmus.audits import Evidence
from mslitmus.audits.evidence import CellKey
from mslitmus.chem.compositions import VALENCE
from mslitmus.chem.formula import Formula, parse_formula
from mslitmus.chem.molecule import identify
from mslitmus.errors import ChemistryError
from mslitmus.metrics.intervals import cluster_bootstrap
from mslitmus.metrics.strata import SIMILARITY_EDGES, binned, most_frequent, ordered_levels
from mslitmus.models import MODELS
from mslitmus.models.formula_guess import guess
from mslitmus.studies.evidence import evidence_of
from mslitmus.studies.folder import read_json

HEAD = "mol-tanimoto@10"
METRICS = (HEAD, "mol-tanimoto@1", "mol-hit@1", "mol-hit@10", "mol-formula@10")
MASSES = (300.0, 500.0, 800.0)  # Da
ADDUCTS = 8
NEAREST = 32
#: What a wrong formula looks like: one step of the kinds that a measurement confuses or a chemist slips by.
CHANGES: dict[str, dict[str, int]] = {
    "+H2": {"H": 2}, "-H2": {"H": -2}, "+CH2": {"C": 1, "H": 2}, "-CH2": {"C": -1, "H": -2},
    "O for CH4": {"C": -1, "H": -4, "O": 1}, "CH4 for O": {"C": 1, "H": 4, "O": -1},
    "OH for NH3": {"N": -1, "H": -2, "O": 1}, "NH3 for OH": {"N": 1, "H": 2, "O": -1},
}  # fmt: skip
SHARES = (0.0, 0.1, 0.5, 1.0)


@dataclass(frozen=True)
class Run:
    """One split of a finished run.

    Args:
        limit: test queries that are asked anew, drawn by the seed; scores that lie in the run are not limited.
    """

    root: Path
    evidence: Evidence
    split: str
    limit: int | None = None
    seed: int = 0
    device: str = "cpu"

    @classmethod
    def of(cls, root: Path, split: str | None = None, **settings: Any) -> Run:
        evidence = evidence_of(root)
        return cls(root, evidence, split or next(iter(evidence.cells)).split, **settings)

    @cached_property
    def test(self) -> pl.DataFrame:
        """The test rows that are asked anew (schema SPECTRA)."""
        rows = self.evidence.folds(self.split)["test"]
        few = self.limit is not None and self.limit < rows.height
        return rows.sample(self.limit, seed=self.seed) if few else rows

    @property
    def queries(self) -> pl.DataFrame:
        """What a model sees of them, with their true formulae."""
        return self.evidence.task.queries(self.test).with_columns(formula=self.test["formula"])

    def record(self, row: str) -> dict[str, Any]:
        return dict(self.evidence.cells[CellKey(self.split, row, 0)])

    def rows(self, *names: str, blind: bool = False) -> list[str]:
        """Trained rows in the order of the study, of these models where any is named."""
        found = []
        for key, record in self.evidence.cells.items():
            masked = record["kind"] == "blind" or bool(record.get("options", {}).get("blind"))
            mine = (key.split, key.seed) == (self.split, 0) and record["kind"] in ("trained", "blind")
            if mine and (blind or not masked):
                model = read_json(self._cell(key.model) / "identity.json")["model"]
                found += [key.model] * (not names or model in names)
        return found

    def model(self, row: str) -> Any:
        """The fitted model, on the device."""
        cell = self._cell(row)
        model = MODELS[read_json(cell / "identity.json")["model"]].load(cell / "model")
        if self.device != "cpu":
            model.to(self.device)
        if getattr(model, "formulae", None) is not None:
            model.formulae.believes = True  # a row that predicts formulae takes those that are told here
        return model

    def scored(self, answers: pl.DataFrame) -> pl.DataFrame:
        """identifier, inchikey14 and METRICS of answers to `test`, in its order."""
        truth = self.evidence.task.truth(self.test)
        found = self.evidence.task.score(answers, truth, METRICS, missing="fail")
        return truth.select("identifier", "inchikey14").join(found, on="identifier", maintain_order="left")

    def stored(self, row: str) -> pl.DataFrame:
        """The run's own scores of a row on all test queries."""
        scores = self.evidence.tables.scores
        wanted = {"split": self.split, "model": row, "seed": 0, "fold": "test"}
        return scores.filter(pl.col(name) == value for name, value in wanted.items())

    def _cell(self, row: str) -> Path:
        return self.root / "cells" / self.split / row / "seed0"


def estimate(values: Sequence[float], molecules: Sequence[str]) -> dict[str, Any]:
    """Mean per molecule with its interval; nulls where there is nothing, or one molecule only."""
    n = len(set(molecules))
    if not n:
        return {"molecules": 0, "mean": None, "low": None, "high": None}
    found = cluster_bootstrap(np.asarray(values, np.float64), np.asarray(molecules), average="molecule")
    ends = (None, None) if n < 2 else (float(found.low[0]), float(found.high[0]))
    return {"molecules": n, "mean": float(found.mean[0]), "low": ends[0], "high": ends[1]}


def summary(scores: pl.DataFrame) -> dict[str, Any]:
    """The interval of the headline, and the plain means per molecule of the other metrics."""
    others = [name for name in METRICS if name != HEAD and name in scores.columns]
    each = scores.group_by("inchikey14", maintain_order=True).agg(pl.col(others).mean())
    return {**estimate(scores[HEAD], scores["inchikey14"].to_list()), **{name: each[name].mean() for name in others}}


def strata(run: Run, rows: Sequence[str]) -> pl.DataFrame:
    """The headline by adduct, mass of the molecule and similarity to train."""
    traits = _traits(run)
    mass = pl.Series("mass", [parse_formula(text).mass for text in traits["formula"]], dtype=pl.Float64)
    levels = {
        "adduct": most_frequent(traits, "adduct", ADDUCTS),
        "mass": binned(traits.with_columns(mass), "mass", MASSES, " Da"),
        "similarity to train": binned(traits, "similarity_to_train", SIMILARITY_EDGES, ""),
    }
    out = []
    for stratum, level in levels.items():
        named = traits.select("identifier", level=level)
        for row in rows:
            scores = run.stored(row).join(named, on="identifier", how="left", maintain_order="left")
            for name in ordered_levels(level):
                part = scores.filter(pl.col("level").cast(pl.String) == name)
                found = estimate(part[HEAD], part["inchikey14"].to_list())
                out.append({"stratum": stratum, "level": name, "row": row, "queries": part.height, **found})
    return pl.DataFrame(out)


def noise(run: Run, row: str) -> pl.DataFrame:
    """Scores with the formula changed in a share of the queries, each share within the next, and guessed."""
    model, rng, told = run.model(row), np.random.default_rng(run.seed), run.queries
    wrong = [changed(text, rng) for text in told["formula"]]
    guessed = guess(told.drop("formula"), model.formulae.prior, model.formulae.options)
    place = rng.permutation(told.height)
    true, false = (run.scored(model.predict(told.with_columns(formula=pl.Series(f)))) for f in (told["formula"], wrong))
    out = []
    for share in SHARES:
        struck = pl.Series(place < round(share * told.height))
        mixed = pl.concat([true.filter(~struck), false.filter(struck)])
        out.append({"formula": f"changed in {share:.0%}", "wrong": float(struck.mean() or 0.0), **summary(mixed)})
    right = float((guessed == told["formula"]).fill_null(False).mean() or 0.0)
    mixed = run.scored(model.predict(told.with_columns(formula=guessed)))
    return pl.DataFrame([*out, {"formula": "guessed from the spectrum", "wrong": 1 - right, **summary(mixed)}])


def constraint(run: Run, row: str) -> pl.DataFrame:
    """Decoding under the constraint, and without it with the same beams and strings of other formulae rejected."""
    out = []
    for held in (True, False):
        model = run.model(row)
        change = {"constraint": held, "formula": "given"}
        model.options = model.options.model_copy(update=change)
        model.formulae.source = "given"
        model.predict(run.queries.head(2))  # compiles
        strings = _watched(model)
        started = time.perf_counter()
        answers = model.predict(run.queries)
        seconds = time.perf_counter() - started
        valid, right = _judged(strings)
        named = answers.drop_nulls("smiles")
        out.append(
            {
                "decoding": "constraint" if held else "rejection",
                "beams": model.options.beams,
                "queries": run.test.height,
                "answered": named["identifier"].n_unique() / run.test.height,
                "molecules_each": named.height / run.test.height,
                "strings": len(valid),
                "valid": float(np.mean(valid)) if valid else 0.0,
                "right_formula": float(np.mean(right)) if right else 0.0,
                **summary(run.scored(answers)),
                "seconds_each": seconds / run.test.height,
            }
        )
    return pl.DataFrame(out)


def costs(run: Run, row: str, tuned: str | None) -> pl.DataFrame:
    """Seconds a test spectrum of each way to an answer."""
    record, queries = run.record(row), run.queries
    asked = run.stored(row).height
    out = [{"what": f"fine-tuning: training of {row!r} / test queries", "seconds": record["seconds"]["fit"] / asked}]
    out += [{"what": f"decoding alone: {row!r}", "seconds": _seconds(run.model(row).predict, queries)}]
    for name in [tuned] if tuned else []:
        for per_sample in (False, True):
            model = run.model(name)
            model.tuning = model.tuning.model_copy(update={"per_sample": per_sample})
            started = time.perf_counter()
            with model._predicting():
                model._base(model._ready())
            once = time.perf_counter() - started
            model.predict(queries.head(2))  # the first step is slow
            model.predict(queries)
            how = "per sample" if per_sample else "on all together"
            notes = model.inference_notes
            out.append({"what": f"tuning {how}", "seconds": notes["tuning_seconds_per_spectrum"]})
            out.append({"what": f"decoding after tuning {how}", "seconds": notes["decoding_seconds_per_spectrum"]})
        out.append({"what": "fingerprints of all training spectra, once for all", "seconds": once})
    return pl.DataFrame([{**each, "spectra": queries.height} for each in out])


def neighbours(run: Run, tuned: str) -> pl.DataFrame:
    """Agreement of the nearest training spectra with the exact ones, and seconds a query."""
    from mslitmus.models.generate.near import Approximate, Exact, scaled

    model = run.model(tuned)
    with model._predicting():
        pool = model._fingerprints(model._ready().table)
        asked = model._fingerprints(model._tabulate(model.formulae.asked(run.queries)))
    ways: list[Callable[[Any], Any]] = [Exact, *([Approximate] if find_spec("faiss") is not None else [])]
    out, exact = [], None
    for make in ways:
        started = time.perf_counter()
        near = make(scaled(pool))
        built = time.perf_counter()
        numbers, _ = near.nearest(asked, NEAREST)
        ended = time.perf_counter()
        exact = numbers if exact is None else exact
        out.append(
            {
                "search": near.name,
                "pool": len(pool),
                "queries": len(asked),
                f"agreement@{NEAREST}": _overlap(exact, numbers),
                "agreement@1": float((exact[:, 0] == numbers[:, 0]).mean()),
                "seconds_building": built - started,
                "ms_each": 1000 * (ended - built) / len(asked),
            }
        )
    return pl.DataFrame(out)


def dark(run: Run, row: str, tuned: str) -> pl.DataFrame:
    """Scores of the tuned row and its gain over the row that it starts from (else `row`): dark queries and others (by
    the model's limit, on all test queries), and by similarity to train."""
    row = (run.record(tuned).get("start_from") or {}).get("model", row)
    model, all_ = run.model(tuned), run.evidence.folds(run.split)["test"]
    asked = run.evidence.task.queries(all_).with_columns(formula=all_["formula"])
    with model._predicting():
        near = model._base(model._ready())
        cosines = near.nearest(model._fingerprints(model._tabulate(model.formulae.asked(asked))), 1)[1][:, 0]
    named = asked.select("identifier", dark=pl.Series(cosines) < (-1.0 if model.limit is None else model.limit))
    traits = _traits(run)
    level = binned(traits, "similarity_to_train", SIMILARITY_EDGES, "")
    scores = run.stored(tuned).join(named, on="identifier").join(traits.select("identifier", level=level), "identifier")
    scores = scores.join(run.stored(row).select("identifier", before=HEAD), on="identifier", maintain_order="left")
    parts = [("dark", scores.filter("dark")), ("not dark", scores.filter(~pl.col("dark")))]
    levels = scores["level"].cast(pl.String)
    parts += [(f"similarity {name}", scores.filter(levels == name)) for name in ordered_levels(level)]
    out = []
    for name, part in [("all", scores), *parts]:
        gain = estimate(part[HEAD] - part["before"], part["inchikey14"].to_list())
        ends = {f"gain_{key}": gain[key] for key in ("mean", "low", "high")}
        found = estimate(part[HEAD], part["inchikey14"].to_list())
        out.append({"queries": name, "share": part.height / max(scores.height, 1), **found, **ends})
    return pl.DataFrame(out)


def changed(formula: str, rng: np.random.Generator) -> str:
    """One of CHANGES that leaves a possible formula, drawn at random; the formula itself where none does."""
    counts = dict(parse_formula(formula).counts)
    made = [{e: counts.get(e, 0) + change.get(e, 0) for e in {*counts, *change}} for change in CHANGES.values()]
    able = [new for new in made if min(new.values()) >= 0 and new.get("C", 0) > 0 and _possible(new)]
    return str(Formula.of(able[rng.integers(len(able))].items())) if able else formula


def _possible(counts: dict[str, int]) -> bool:
    """Rings and double bonds at least 0."""
    return 2 + sum(n * (VALENCE.get(element, 2) - 2) for element, n in counts.items()) >= 0


def _traits(run: Run) -> pl.DataFrame:
    """identifier, adduct, formula, similarity_to_train of all test queries."""
    rows = run.evidence.folds(run.split)["test"].select("identifier", "adduct", "formula")
    path = run.root / "test_queries.parquet"
    blank = pl.DataFrame(schema={"identifier": pl.String, "similarity_to_train": pl.Float64})
    known = pl.read_parquet(path).filter(pl.col("split") == run.split) if path.is_file() else blank
    return rows.join(known.select(blank.columns), on="identifier", how="left", maintain_order="left")


def _watched(model: Any) -> list[tuple[str, Any]]:
    """(formula, Written) of every query that the model answers from now on."""
    seen: list[tuple[str, Any]] = []
    inner = model._decoded

    def decoded(states: Any, there: Any, part: pl.DataFrame, beams: int) -> Any:
        written = inner(states, there, part, beams)
        seen.extend(zip(part["formula"].to_list(), written, strict=True))
        return written

    model._decoded = decoded
    return seen


def _judged(strings: Sequence[tuple[str, Any]]) -> tuple[list[bool], list[bool]]:
    """Of each string whether it parses, and whether it has the formula asked for too."""
    from mslitmus.models.generate.smiles_tokens import SmilesTokens

    tokens, valid, right = SmilesTokens(), [], []
    for formula, written in strings:
        for row, ended in zip(written.tokens, written.ended, strict=True):
            try:
                found = identify(tokens.decode(row)).formula if ended else None
            except ChemistryError:
                found = None
            valid.append(found is not None)
            right.append(found == formula)
    return valid, right


def _seconds(call: Callable[[pl.DataFrame], Any], queries: pl.DataFrame) -> float:
    """A query, the first two asked beforehand: compiling is not counted."""
    call(queries.head(2))
    started = time.perf_counter()
    call(queries)
    return (time.perf_counter() - started) / queries.height


def _overlap(one: NDArray[np.int64], other: NDArray[np.int64]) -> float:
    return float(np.mean([len(np.intersect1d(a, b)) / max(len(a), 1) for a, b in zip(one, other, strict=True)]))


def show(title: str, table: pl.DataFrame) -> None:
    """Plain text, three decimals."""
    plain = {"tbl_hide_dataframe_shape": True, "tbl_hide_column_data_types": True, "tbl_formatting": "ASCII_MARKDOWN"}
    with pl.Config(tbl_rows=-1, tbl_cols=-1, tbl_width_chars=220, fmt_str_lengths=60, float_precision=3, **plain):
        print(f"\n{title}\n{table}", flush=True)


def main() -> None:
    given = (parser := arguments()).parse_args()
    run = Run.of(given.run, given.split, limit=given.limit, seed=given.seed, device=given.device)
    row = given.row or next(iter(run.rows("spectrum-to-smiles")), "")
    tuned = given.tuned or next(iter(run.rows("tuned-spectrum-to-smiles")), None)
    if not row:
        parser.error(f"no row of spectrum-to-smiles with seed 0 in the split {run.split!r}")
    asked = f"{run.test.height:,} test queries of the split {run.split}"
    tables: dict[str, Callable[[], pl.DataFrame]] = {
        "strata": lambda: strata(run, run.rows(blind=True)),
        "noise": lambda: noise(run, row),
        "constraint": lambda: constraint(run, row),
        "costs": lambda: costs(run, row, tuned),
        **({"neighbours": lambda: neighbours(run, tuned), "dark": lambda: dark(run, row, tuned)} if tuned else {}),
    }
    if set(given.tables or ()) - set(tables):
        parser.error(f"neighbours, dark: no tuned row in the split {run.split!r}")
    for name in given.tables or tables:
        show(f"{name}: {row!r}, tuned {tuned!r}, {asked}, mean of {HEAD}", tables[name]())


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    for name in ("--split", "--row", "--tuned"):
        parser.add_argument(name)
    parser.add_argument("--tables", nargs="+", choices=["strata", "noise", "constraint", "costs", "neighbours", "dark"])
    parser.add_argument("--limit", type=int, help="test queries asked anew")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    return parser


if __name__ == "__main__":
    main()
