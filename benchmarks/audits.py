"""Every audit that files allow, timed one by one on a retrieval run as large as MassSpecGym's, made up in minutes.

    python benchmarks/audits.py OUT [--queries 17556] [--candidates 256] [--train 194119] [--val 19429] [--only NAME …]

Structures are edits of the simulated dataset's molecules, so pools hold isomers; spectra are random sub-formulae of
them; scores of two trained models (one of them with two seeds), a neighbour and four blind controls are random numbers
with more or less of the truth in them. Nothing is trained, so what is timed is the audits. OUT keeps what was made.
Processor seconds (all threads, and processes that an audit starts) and seconds by the clock; progress goes to standard
error.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from random import Random

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mslitmus.audits import AUDITS, Evidence, RunTables
from mslitmus.audits.evidence import CellKey
from mslitmus.audits.examination import examined, names_of
from mslitmus.audits.liars.structure_prior import walk
from mslitmus.chem.formula import parse_adduct, parse_formula
from mslitmus.data.candidates import CandidateSet
from mslitmus.data.molecules import MOLECULES
from mslitmus.metrics.comparisons import compare
from mslitmus.metrics.summary import summarise
from mslitmus.schemas import CANDIDATES, SPECTRA, conform
from mslitmus.tasks.retrieval import Retrieval

SPLIT = "molecule"
#: model → (kind, seeds, how far the truth's score stands above the others', in standard deviations).
MODELS: Mapping[str, tuple[str, int, float]] = {
    "net": ("trained", 2, 2.0),
    "linear": ("trained", 1, 1.4),
    "nearest-spectrum": ("neighbour", 1, 1.2),
    "random-ranking": ("blind", 1, 0.0),
    "candidate-popularity": ("blind", 1, 0.0),
    "smiles-style": ("blind", 1, 0.1),
    "structure-only": ("blind", 1, 0.3),
}
#: Spectra of a molecule, on average; peaks of a spectrum, drawn from the fragments of its molecule.
SPECTRA_EACH, PEAKS, FRAGMENTS = 5.5, 25, 40
#: A pool is drawn from so many times its size of the molecules that are nearest by mass.
NEIGHBOURHOOD = 3
Floats = NDArray[np.float64]


def structures(out: Path, count: int) -> pl.DataFrame:
    """inchikey14, smiles, formula, mass, ascending by mass: two formula-preserving edits a step, from known ones."""
    path = out / f"structures-{count}.parquet"
    if path.exists():
        return pl.read_parquet(path)
    random, found = Random(0), {}
    starts = [smiles for _, smiles in MOLECULES]
    while len(found) < count:
        made = walk(random.choice(starts), random, steps=2)
        if made is not None and made.inchikey14 not in found:
            found[made.inchikey14] = (made.smiles, made.formula)
            starts.append(made.smiles)
    rows = [(key, smiles, formula, parse_formula(formula).mass) for key, (smiles, formula) in found.items()]
    table = pl.DataFrame(rows, schema=["inchikey14", "smiles", "formula", "mass"], orient="row").sort("mass")
    table.write_parquet(path)
    return table


def fragments(formula: str, rng: np.random.Generator) -> Floats:
    """m/z of `FRAGMENTS` random sub-formulae (cations), ascending."""
    whole = parse_formula(formula)
    names, counts = zip(*whole.counts, strict=True)
    each = np.array([parse_formula(name).mass for name in names])
    share = rng.uniform(0.15, 0.95, (FRAGMENTS, 1))
    kept = rng.binomial(np.array(counts), np.broadcast_to(share, (FRAGMENTS, len(counts))))
    return np.unique(np.maximum(kept @ each, 30.0) - 0.00054858)


def spectra(molecules: pl.DataFrame, count: int, name: str, rng: np.random.Generator) -> pl.DataFrame:
    """`count` spectra of these molecules in the schema SPECTRA."""
    of = np.sort(rng.integers(0, molecules.height, count))
    parts = {row: fragments(molecules["formula"][row], rng) for row in np.unique(of).tolist()}
    mzs, heights = [], []
    for row in of.tolist():
        own = parts[row]
        mzs.append(np.sort(rng.choice(own, min(PEAKS, len(own)), replace=False)) * (1 + rng.normal(0, 2e-6)))
        heights.append((lambda h: h / h.max())(rng.exponential(1.0, len(mzs[-1]))).astype(np.float32))
    adducts = np.where(rng.random(count) < 0.8, "[M+H]+", "[M+Na]+")
    shift = {text: parse_adduct(text).mz(0.0) for text in ("[M+H]+", "[M+Na]+")}
    own = molecules[of]
    mass = own["mass"].to_numpy() + np.array([shift[text] for text in adducts])
    frame = own.select("inchikey14", "smiles", "formula").with_columns(
        identifier=pl.Series([f"{name}{k:07d}" for k in range(count)]),
        mzs=pl.Series(mzs), intensities=pl.Series(heights), precursor_mz=pl.Series(mass), adduct=pl.Series(adducts),
        charge=pl.lit(1), ms_level=pl.lit(2), ion_mode=pl.lit("positive"),
        instrument_type=pl.Series(rng.choice(["Orbitrap", "QTOF"], count)),
        collision_energy=pl.Series(rng.choice([10.0, 20.0, 30.0, 45.0, 60.0], count)),
        collision_energy_kind=pl.lit("eV"), source=pl.Series(rng.choice([f"lab {k}" for k in range(6)], count)),
    )  # fmt: skip
    absent = {column: pl.lit(None, dtype=kind) for column, kind in SPECTRA.items() if column not in frame.columns}
    return conform(frame.with_columns(**absent), SPECTRA)


def pools_of(known: pl.DataFrame, wanted: NDArray[np.int64], size: int, rng: np.random.Generator) -> pl.DataFrame:
    """Pools of the molecules in rows `wanted` of `known` (ascending by mass): themselves and others of nearly the same
    mass."""
    rows = []
    for row in wanted.tolist():
        low = min(max(row - NEIGHBOURHOOD * size // 2, 0), max(known.height - NEIGHBOURHOOD * size, 0))
        near = np.setdiff1d(np.arange(low, min(low + NEIGHBOURHOOD * size, known.height)), [row])
        rows.append(np.concatenate(([row], rng.choice(near, size - 1, replace=False))))
    flat = np.concatenate(rows)
    return known[flat].select(
        molecule=known["inchikey14"].gather(np.repeat(wanted, size)), candidate="inchikey14", smiles="smiles",
        formula="formula", origin=pl.lit("list"),
    ).select(list(CANDIDATES))  # fmt: skip


def answers(
    asked: pl.DataFrame, pools: pl.DataFrame, size: int, kind: str, signal: float, rng: np.random.Generator
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Predictions of the queries' pools (all of one size), and their scores (hit@1, mrr). A blind control knows the
    candidate alone."""
    first = pools.with_row_index("row").group_by("molecule").agg(pl.col("row").min())
    start = asked.join(first, left_on="inchikey14", right_on="molecule", maintain_order="left")["row"].to_numpy()
    row = (start[:, None] + np.arange(size)).ravel()
    truth = (pools["candidate"] == pools["molecule"]).to_numpy()[row].reshape(-1, size)
    score = rng.normal(0, 1, truth.shape).astype(np.float32)
    if kind == "blind":
        code = pools["candidate"].cast(pl.Categorical).to_physical().to_numpy()
        score = rng.normal(0, 1, int(code.max()) + 1).astype(np.float32)[code[row]].reshape(-1, size)
    score = score + np.float32(signal) * truth
    rank = 1 + (score > score[truth][:, None]).sum(axis=1)
    scores = asked.select("identifier", "inchikey14").with_columns(
        pl.Series("hit@1", (rank == 1).astype(np.float64)), mrr=pl.Series(1 / rank)
    )
    given = pl.DataFrame(
        {
            "identifier": asked["identifier"].gather(np.repeat(np.arange(asked.height), size)),
            "candidate": pools["candidate"].gather(row),
            "score": score.ravel().astype(np.float64),
        }
    )
    return given, scores


def make(out: Path, options: argparse.Namespace) -> Evidence:
    """The run, made once, and the evidence of it."""
    known = structures(out, options.structures)
    run = out / f"run-{options.queries}-{options.candidates}-{options.train}-{options.val}"
    if not (run / "scores.parquet").exists():
        run.mkdir(parents=True, exist_ok=True)
        _make_run(run, known, options)
    folds = {fold: pl.read_parquet(run / f"{fold}.parquet") for fold in ("train", "val", "test")}
    pools = pl.read_parquet(run / "pools.parquet")
    scores = pl.read_parquet(run / "scores.parquet")
    tables = RunTables(
        summary=summarise(scores, resamples=200), comparisons=compare(scores, resamples=200, flips=999),
        kinds={model: kind for model, (kind, _, _) in MODELS.items()},
        splits={SPLIT: {"method": "molecule", "form": None, "seed": 0, "dataset_hash": "made up"}},
        primary="mrr", scores=scores,
    )  # fmt: skip
    cells: dict[CellKey, dict[str, object]] = {
        CellKey(SPLIT, model, seed): {} for model, (_, seeds, _) in MODELS.items() for seed in range(seeds)
    }
    return Evidence(
        tables, Retrieval(kind="mass").with_pools(CandidateSet("made-up", "mass", {}, pools)), cells,
        lambda split: folds, lambda key: pl.read_parquet(run / f"{key.model}-{key.seed}.parquet"),
        progress=lambda line: print(f"    {line}", file=sys.stderr, flush=True),
    )  # fmt: skip


def _make_run(run: Path, known: pl.DataFrame, options: argparse.Namespace) -> None:
    rng = np.random.default_rng(0)
    sizes = {"test": options.queries, "val": options.val, "train": options.train}
    order, start, rows, folds = rng.permutation(known.height), 0, {}, {}
    for fold, size in sizes.items():
        count = min(max(round(size / SPECTRA_EACH), 2), known.height - start)
        rows[fold] = np.sort(order[start : start + count])
        start += count
        folds[fold] = spectra(known[rows[fold]], size, fold, rng)
        folds[fold].write_parquet(run / f"{fold}.parquet")
    asked = np.concatenate([rows["test"], rows["val"], rows["train"][:500]])
    pools = CandidateSet.make("made-up", "mass", {}, pools_of(known, asked, options.candidates, rng)).pools
    pools.write_parquet(run / "pools.parquet")
    scored = []
    for model, (kind, seeds, signal) in MODELS.items():
        for seed in range(seeds):
            parts = []
            for fold in ("val", "test"):
                given, scores = answers(folds[fold], pools, options.candidates, kind, signal, rng)
                parts.append(given)
                marks = {"split": SPLIT, "model": model, "fold": fold}
                scored.append(
                    scores.with_columns(
                        **{name: pl.lit(value) for name, value in marks.items()},
                        seed=pl.lit(seed, dtype=pl.Int64), predicted=pl.lit(True),
                    )
                )  # fmt: skip
            pl.concat(parts).write_parquet(run / f"{model}-{seed}.parquet")
    pl.concat(scored).write_parquet(run / "scores.parquet")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    for name, default in (
        ("queries", 17_556), ("candidates", 256), ("train", 194_119), ("val", 19_429), ("structures", 12_000),
    ):  # fmt: skip
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--only", nargs="*", default=[])
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    evidence = make(options.out, options)
    names = options.only or [*names_of(AUDITS, ("quick",)), *names_of(AUDITS, ("files",))]
    whole, clock = processor(), time.perf_counter()
    print("| audit | processor s | clock s | findings |\n|---|---:|---:|---|", flush=True)
    begun = whole
    for outcome in examined(AUDITS, evidence, names):
        spent, begun = processor() - begun, processor()
        told = outcome.not_run or repr(outcome.error) if not outcome.findings else _counts(outcome.findings)
        print(f"| {outcome.name} | {spent:.1f} | {outcome.seconds:.1f} | {told} |", flush=True)
        if outcome.trace:
            print(outcome.trace, file=sys.stderr)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"| all | {processor() - whole:.1f} | {time.perf_counter() - clock:.1f} | {peak:.1f} GB |")


def processor() -> float:
    """Seconds of all threads, and of processes that have ended."""
    return sum(os.times()[:4])


def _counts(findings: tuple) -> str:
    severities = [finding.severity for finding in findings]
    return ", ".join(f"{severities.count(each)} {each}" for each in sorted(set(severities)))


if __name__ == "__main__":
    main()
