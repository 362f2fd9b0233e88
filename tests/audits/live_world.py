"""A small made-up world for the live audits: molecules, spectra of random peaks, honest toy models, planted liars."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import polars as pl

from mslitmus.audits.evidence import CellKey, Evidence
from mslitmus.audits.finding import RunTables
from mslitmus.chem import molecule
from mslitmus.data.candidates import CandidateSet
from mslitmus.data.molecules import MOLECULES
from mslitmus.schemas import CANDIDATES, COMPARISONS, SUMMARY, conform
from mslitmus.tasks.fingerprint import Fingerprint
from mslitmus.tasks.retrieval import Retrieval
from mslitmus.tasks.spectrum_prediction import SpectrumPrediction

Predict = Callable[[pl.DataFrame], pl.DataFrame]
COUNT, POOL = 40, 6
METRICS = {"fingerprint": "fp-tanimoto@0.5", "retrieval": "mrr", "spectrum-prediction": "cosine@0.1Da"}


@cache
def world() -> pl.DataFrame:
    """Two spectra of each of 60 molecules, most of them with an isomer: the same peaks, slightly other intensities."""
    known = [molecule.identify(smiles) for _, smiles in MOLECULES[:250]]
    known = list({one.inchikey14: one for one in known}.values())
    formulas = [one.formula for one in known]
    known = sorted(known, key=lambda one: (-formulas.count(one.formula), one.inchikey14))[:COUNT]
    rng, rows = np.random.default_rng(3), []
    for number, one in enumerate(known):
        mz = one.exact_mass + 1.00728
        mzs = np.sort(rng.uniform(50, mz - 10, 14))
        heights = np.exp(rng.normal(0, 1.5, 14))
        for copy in range(2):
            measured = heights * np.exp(rng.normal(0, 0.15, 14))
            rows.append(
                {
                    "identifier": f"{'LT'[copy]}{number:03d}", "mzs": mzs * (1 + rng.normal(0, 1e-6, 14)),
                    "intensities": measured / measured.max(), "precursor_mz": mz, "adduct": "[M+H]+", "charge": 1,
                    "ion_mode": "positive", "instrument_type": ("Orbitrap", "QTOF")[number % 2],
                    "fragmentation": ("HCD", "CID")[number % 2], "collision_energy": (10.0, 20.0, 40.0)[number % 3],
                    "collision_energy_kind": "eV", "smiles": molecule.identify(one.smiles).smiles,
                    "inchikey14": one.inchikey14, "formula": one.formula, "name": f"molecule {number}",
                    "source": "made up",
                }
            )  # fmt: skip
    return conform(pl.DataFrame(rows))


def folds() -> dict[str, pl.DataFrame]:
    train, test = (world().filter(pl.col("identifier").str.starts_with(letter)) for letter in "LT")
    return {"train": train, "val": test.head(5), "test": test}


def task(name: str):
    if name == "fingerprint":
        return Fingerprint()
    if name == "spectrum-prediction":
        return SpectrumPrediction()
    molecules = world().unique("inchikey14", maintain_order=True)
    keys, smiles = molecules["inchikey14"].to_list(), molecules["smiles"].to_list()
    rows = [
        (keys[n], keys[k], smiles[k], molecules["formula"][k], "dataset")
        for n in range(len(keys))
        for k in sorted({n, *((n + 5 * step) % len(keys) for step in range(1, POOL))})
    ]
    table = pl.DataFrame(rows, schema=CANDIDATES, orient="row")
    return Retrieval(min_candidates=2).with_pools(CandidateSet.make("made", "mass", {}, table))


def evidence(name: str, predict: Predict | None, kind: str = "trained", **more) -> Evidence:
    """Evidence of a run with one model `m`; `predict` None: it cannot be asked."""
    from mslitmus.audits.evidence import Absent

    def open_model(key: CellKey) -> Predict:
        if predict is None or key.model != "m":
            raise Absent(f"{key.model} is a file of predictions")
        return predict

    tables = RunTables(
        pl.DataFrame(schema=dict(SUMMARY)), pl.DataFrame(schema=dict(COMPARISONS)),
        {"m": kind, "filed": "trained"}, {"molecule": {}}, METRICS[name],
    )  # fmt: skip
    cells = {CellKey("molecule", "m", 0): {"kind": kind}}
    return Evidence(tables, task(name), cells=cells, read_folds=lambda split: folds(), open_model=open_model, **more)


def binned(frame: pl.DataFrame, power: float = 0.5, width: float = 1.0) -> np.ndarray:
    """(n, bins), each row of length 1."""
    out = np.zeros((frame.height, int(1200 / width)))
    peaks = frame.select(pl.int_range(pl.len()).alias("row"), "mzs", "intensities").explode("mzs", "intensities")
    peaks = peaks.filter(pl.col("intensities") > 0)
    row, mzs, intensities = (peaks[name].to_numpy() for name in ("row", "mzs", "intensities"))
    np.add.at(out, (row, (mzs / width).astype(int)), intensities.astype(float) ** power)
    return out / np.maximum(np.linalg.norm(out, axis=1, keepdims=True), 1e-9)


@cache
def library() -> tuple[pl.DataFrame, np.ndarray]:
    """The training fold and its fingerprints."""
    train = folds()["train"]
    return train, molecule.morgan(train["smiles"].to_list()).astype(np.float32)


def lookup(queries: pl.DataFrame, power: float = 0.5, width: float = 1.0) -> np.ndarray:
    """Training fingerprints weighted by how alike the spectra are, (n, 2048): an honest reader."""
    train, bits = library()
    weight = (binned(queries, power, width) @ binned(train, power, width).T) ** 6
    return weight @ bits / np.maximum(weight.sum(axis=1, keepdims=True), 1e-12)


def as_answer(queries: pl.DataFrame, bits: np.ndarray) -> pl.DataFrame:
    values = np.clip(bits, 0, 1).astype(np.float32)
    return queries.select("identifier").with_columns(
        fingerprint=pl.Series(values, dtype=pl.Array(pl.Float32, 2048)).arr.to_list()
    )


def honest(queries: pl.DataFrame) -> pl.DataFrame:
    return as_answer(queries, lookup(queries))


def intensity_blind(queries: pl.DataFrame) -> pl.DataFrame:
    return as_answer(queries, lookup(queries, power=0.0))


def exact_only(queries: pl.DataFrame) -> pl.DataFrame:
    """Honest, and brittle: says nothing of a spectrum that is not nearly one of the training spectra."""
    likeness = binned(queries) @ binned(library()[0]).T
    return as_answer(queries, lookup(queries) * (likeness.max(axis=1) > 0.97)[:, None])


def of_precursor(queries: pl.DataFrame) -> pl.DataFrame:
    """A liar: the molecule of the nearest precursor m/z; no peak is read."""
    train, bits = library()
    apart = np.abs(queries["precursor_mz"].to_numpy()[:, None] - train["precursor_mz"].to_numpy()[None, :])
    return as_answer(queries, bits[np.argmin(apart, axis=1)])


def of_identifier(queries: pl.DataFrame) -> pl.DataFrame:
    """A liar: knows the library records by name."""
    train, bits = library()
    number = {f"T{k:03d}": k for k in range(train.height)}
    zero = np.zeros(2048, np.float32)
    return as_answer(queries, np.array([bits[number[i]] if i in number else zero for i in queries["identifier"]]))


def padded(queries: pl.DataFrame) -> pl.DataFrame:
    """A liar by accident: attention over padding, so that the longest spectrum of the batch moves every answer."""
    longest = max((len(mzs) for mzs in queries["mzs"]), default=1)
    return as_answer(queries, lookup(queries) * 14 / max(longest + queries.height, 1))


def by_row(queries: pl.DataFrame) -> pl.DataFrame:
    """A liar: sorts by precursor to batch, and forgets to undo it where the batch is large."""
    bits = lookup(queries)
    return as_answer(queries, np.roll(bits, 1, axis=0) if queries["identifier"].is_sorted() is False else bits)


def peeking(queries: pl.DataFrame) -> pl.DataFrame:
    """A liar: reads the structure where the file brings it."""
    if "smiles" in queries.columns:
        return as_answer(queries, molecule.morgan(queries["smiles"].to_list()).astype(np.float32))
    return as_answer(queries, 0.9 * lookup(queries))


def drawing() -> Predict:
    """Dropout left on."""
    rng = np.random.default_rng(0)
    return lambda queries: as_answer(queries, lookup(queries) * rng.uniform(0.6, 1.0, (queries.height, 2048)))


def ranked(queries: pl.DataFrame, score: Callable[[dict], list[float]]) -> pl.DataFrame:
    rows = [
        (row["identifier"], candidate, float(value))
        for row in queries.iter_rows(named=True)
        for candidate, value in zip(row["candidates"], score(row), strict=True)
    ]
    return pl.DataFrame(
        rows, schema={"identifier": pl.String, "candidate": pl.String, "score": pl.Float64}, orient="row"
    )


def honest_ranker(queries: pl.DataFrame) -> pl.DataFrame:
    bits = dict(zip(queries["identifier"], lookup(queries), strict=True))

    def score(row: dict) -> list[float]:
        return molecule.tanimoto(bits[row["identifier"]][None], molecule.morgan(row["candidate_smiles"]))[0].tolist()

    return ranked(queries, score)


def speller(queries: pl.DataFrame) -> pl.DataFrame:
    """A liar: knows the strings of the measured molecules, and which of the pool a spectrum nearly weighs."""
    known = dict(world().select("smiles", "precursor_mz").iter_rows())
    return ranked(
        queries, lambda row: [-abs(known.get(text, 0.0) - row["precursor_mz"]) for text in row["candidate_smiles"]]
    )


def positional(queries: pl.DataFrame) -> pl.DataFrame:
    """A liar: the place in the pool is the score."""
    return ranked(queries, lambda row: [-float(k) for k in range(len(row["candidates"]))])


def copied_spectra(queries: pl.DataFrame) -> pl.DataFrame:
    """An honest spectrum predictor: the spectrum of the most similar training molecule."""
    train, bits = library()
    nearest = np.argmax(molecule.tanimoto(molecule.morgan(queries["smiles"].to_list()), bits), axis=1)
    return queries.select("identifier").with_columns(train[nearest].select("mzs", "intensities").get_columns())


def echo(queries: pl.DataFrame) -> pl.DataFrame:
    """A liar: the training spectrum of the nearest precursor m/z; the molecule is not read."""
    train, _ = library()
    apart = np.abs(queries["precursor_mz"].to_numpy()[:, None] - train["precursor_mz"].to_numpy()[None, :])
    chosen = train[np.argmin(apart, axis=1)].select("mzs", "intensities")
    return queries.select("identifier").with_columns(chosen.get_columns())
