"""MassSpecGym at its real size, generated: 231,104 spectra, 17,556 test queries × 256 candidates, `mslitmus score`.

    python benchmarks/massspecgym.py FOLDER            # all steps; each is kept in FOLDER and not repeated
    python benchmarks/massspecgym.py FOLDER --rows 5000

Molecules are tetrapeptides of eighteen residues and spectra their b and y ions with some noise, so that nothing has to
be downloaded; sizes, columns and folds are those of the published data. What is timed: import, candidates (both once),
then the bare metric and the whole command in a process of its own, with its peak memory.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

#: Residue → side chain in SMILES, monoisotopic mass (Da), elemental composition (C, H, N, O, S).
RESIDUES: dict[str, tuple[str, float, tuple[int, int, int, int, int]]] = {
    "G": ("", 57.021464, (2, 3, 1, 1, 0)),
    "A": ("C", 71.037114, (3, 5, 1, 1, 0)),
    "B": ("CC", 85.052764, (4, 7, 1, 1, 0)),
    "J": ("CCC", 99.068414, (5, 9, 1, 1, 0)),
    "S": ("CO", 87.032028, (3, 5, 1, 2, 0)),
    "V": ("C(C)C", 99.068414, (5, 9, 1, 1, 0)),
    "T": ("C(C)O", 101.047679, (4, 7, 1, 2, 0)),
    "C": ("CS", 103.009185, (3, 5, 1, 1, 1)),
    "L": ("CC(C)C", 113.084064, (6, 11, 1, 1, 0)),
    "I": ("C(C)CC", 113.084064, (6, 11, 1, 1, 0)),
    "N": ("CC(N)=O", 114.042927, (4, 6, 2, 2, 0)),
    "D": ("CC(=O)O", 115.026943, (4, 5, 1, 3, 0)),
    "Q": ("CCC(N)=O", 128.058578, (5, 8, 2, 2, 0)),
    "K": ("CCCCN", 128.094963, (6, 12, 2, 1, 0)),
    "E": ("CCC(=O)O", 129.042593, (5, 7, 1, 3, 0)),
    "M": ("CCSC", 131.040485, (5, 9, 1, 1, 1)),
    "F": ("Cc1ccccc1", 147.068414, (9, 9, 1, 1, 0)),
    "Y": ("Cc1ccc(O)cc1", 163.063329, (9, 9, 1, 2, 0)),
}
WATER, PROTON = 18.010565, 1.007276
#: MassSpecGym 1.0: spectra and molecules of each fold.
FOLDS = {"train": (194_119, 22_746), "val": (19_429, 3_185), "test": (17_556, 2_998)}
CANDIDATES = 256
RESAMPLES = 10_000
METRICS = ("hit@1", "hit@5", "hit@20", "mrr")
NAME = "massspecgym-generated"
COLUMNS = (
    *("identifier", "mzs", "intensities", "smiles", "inchikey", "formula", "precursor_formula", "parent_mass"),
    *("precursor_mz", "adduct", "instrument_type", "collision_energy", "fold", "simulation_challenge"),
)


@dataclass(frozen=True)
class Molecule:
    smiles: str
    formula: str
    ion_formula: str
    masses: tuple[float, ...]

    @property
    def mass(self) -> float:
        return sum(self.masses) + WATER


def molecules(count: int) -> list[Molecule]:
    """The first `count` tetrapeptides in an order drawn by seed 0."""
    names = list(RESIDUES)
    order = np.random.default_rng(0).permutation(len(names) ** 4)[:count]
    words = list(itertools.product(names, repeat=4))
    return [peptide(words[i]) for i in order]


def peptide(word: tuple[str, ...]) -> Molecule:
    parts = [RESIDUES[r] for r in word]
    smiles = "".join(f"NC({side})C(=O)" if side else "NCC(=O)" for side, _, _ in parts) + "O"
    atoms = np.sum([composition for _, _, composition in parts], axis=0) + np.array([0, 2, 0, 1, 0])
    ion = atoms + np.array([0, 1, 0, 0, 0])
    return Molecule(smiles, hill(atoms), hill(ion), tuple(mass for _, mass, _ in parts))


def hill(atoms: NDArray[np.int64]) -> str:
    return "".join(f"{e}{n if n > 1 else ''}" for e, n in zip("CHNOS", atoms.tolist(), strict=True) if n)


def peaks(molecule: Molecule, rng: np.random.Generator) -> tuple[str, str]:
    """b and y ions within 3 ppm, and six peaks of noise, as MassSpecGym's comma lists."""
    ladder = np.cumsum(molecule.masses)
    ions = np.concatenate([ladder[:3] + PROTON, molecule.mass - ladder[:3] + PROTON, [molecule.mass + PROTON]])
    mzs = np.concatenate([ions * (1 + rng.normal(0, 1e-6, ions.size)), rng.uniform(50, molecule.mass - 2, 6)])
    heights = np.concatenate([rng.uniform(0.1, 1, ions.size), rng.uniform(0.005, 0.05, 6)])
    order = np.argsort(mzs)
    return (
        ",".join(f"{v:.6f}" for v in mzs[order]),
        ",".join(f"{v:.6f}" for v in heights[order] / heights.max()),
    )


def write_tsv(path: Path, sizes: dict[str, tuple[int, int]]) -> None:
    """The table with the published columns. A molecule has one fold, and as many spectra as the fold's mean gives."""
    rng = np.random.default_rng(1)
    pool = iter(molecules(sum(n for _, n in sizes.values())))
    number = itertools.count()
    with path.open("w", encoding="utf-8") as file:
        file.write("\t".join(COLUMNS) + "\n")
        for fold, (spectra, count) in sizes.items():
            own = list(itertools.islice(pool, count))
            for k in range(spectra):
                m = own[k % count]
                mzs, heights = peaks(m, rng)
                row = [
                    f"MassSpecGymID{next(number):07d}", mzs, heights, m.smiles, "", m.formula, m.ion_formula,
                    f"{m.mass:.6f}", f"{m.mass + PROTON:.6f}", "[M+H]+", ("Orbitrap", "QTOF")[k % 2],
                    f"{20 + 10 * (k // count % 4):.1f}", fold, str(k % 3 > 0),
                ]  # fmt: skip
                file.write("\t".join(row) + "\n")


def write_candidates(path: Path, sizes: dict[str, tuple[int, int]]) -> None:
    """SMILES → candidates for val and test molecules, as published: the truth first."""
    everything = [m.smiles for m in molecules(len(RESIDUES) ** 4)]
    rng = np.random.default_rng(2)
    train = sizes["train"][1]
    asked = everything[train : train + sizes["val"][1] + sizes["test"][1]]
    pools = {}
    for smiles in asked:
        drawn = (everything[i] for i in rng.integers(0, len(everything), CANDIDATES + 8))
        pools[smiles] = [smiles, *dict.fromkeys(s for s in drawn if s != smiles)][:CANDIDATES]
    path.write_text(json.dumps(pools), encoding="utf-8")


def prepare(folder: Path, sizes: dict[str, tuple[int, int]]) -> None:
    """Generate, import, standardise candidates, predict: what is done once, outside the time of scoring."""
    from mslitmus.data import importer, store
    from mslitmus.data.candidates import from_json
    from mslitmus.data.candidates.sets import names

    tsv, pools, answers = folder / "MassSpecGym.tsv", folder / "candidates_mass.json", folder / "predictions.parquet"
    if not tsv.exists():
        with timed(f"generate {tsv.name}"):
            write_tsv(tsv, sizes)
    if not pools.exists():
        with timed(f"generate {pools.name}"):
            write_candidates(pools, sizes)
    if NAME not in store.names():
        with timed("import and curate"):
            importer.add("massspecgym", [tsv], as_name=NAME, say=None)
    if NAME not in names():
        with timed("candidates: read and standardise"):
            from_json(pools, name=NAME, processes=2).save()
    if not answers.exists():
        with timed("write predictions"):
            predict(answers)


def predict(path: Path) -> None:
    """Random scores of every candidate of every test query, the truth helped a little. Long form."""
    from mslitmus.data import store
    from mslitmus.data.candidates import candidate_set

    test = store.load(NAME).frame().filter(pl.col("fold") == "test").select("identifier", molecule="inchikey14")
    pools = candidate_set(NAME).pools.select("molecule", "candidate")
    rows = test.join(pools, on="molecule", maintain_order="left")
    noise = np.random.default_rng(3).random(rows.height)
    score = pl.Series("score", noise) + pl.when(pl.col("candidate") == pl.col("molecule")).then(0.5).otherwise(0.0)
    rows.select("identifier", "candidate", score=score).write_parquet(path)


def bare(folder: Path) -> None:
    """The metrics alone, from the file on disk to one value a query, and their intervals."""
    from mslitmus.data import store
    from mslitmus.data.candidates import candidate_set
    from mslitmus.metrics.ranking import score
    from mslitmus.metrics.summary import summarise

    test = store.load(NAME).frame().filter(pl.col("fold") == "test").select("identifier", "inchikey14")
    pools = candidate_set(NAME).of(test["inchikey14"])
    truth = test.with_columns(pools["candidates"])
    with timed(f"bare metrics: {test.height:,} queries × {CANDIDATES}, {', '.join(METRICS)}"):
        values = score(pl.read_parquet(folder / "predictions.parquet"), truth, METRICS)
    keys = [pl.lit(v).alias(k) for k, v in {"split": "massspecgym", "model": "made", "fold": "test"}.items()]
    table = truth.select("identifier", "inchikey14").join(values, on="identifier").select(*keys, pl.all(), seed=0)
    with timed(f"intervals of {len(METRICS)} metrics, {RESAMPLES:,} resamples"):
        summary = summarise(table, METRICS, resamples=RESAMPLES)
    rows = (
        summary.filter((pl.col("average") == "spectrum") & pl.col("seed").is_null())
        .select("metric", "mean", "low", "high")
        .rows()
    )
    print("  " + "; ".join(f"{m} {v:.4f} [{a:.4f}, {b:.4f}]" for m, v, a, b in rows))


def whole(folder: Path, metrics: tuple[str, ...]) -> None:
    """`mslitmus score` in a process of its own: wall time and peak memory."""
    command = [
        sys.executable, "-m", "mslitmus.cli", "score", str(folder / "predictions.parquet"), "--task", "retrieval",
        "--dataset", NAME, "--split", "massspecgym", "--task-options", f"{{candidates: {NAME}, min_candidates: 1}}",
        *itertools.chain.from_iterable(("--metric", m) for m in metrics), "--controls", "none", "--no-difficulty",
        "--resamples", str(RESAMPLES), "--out", str(folder / "runs"), "--fresh",
    ]  # fmt: skip
    started = time.perf_counter()
    process = subprocess.Popen(command, stderr=subprocess.STDOUT)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    seconds, memory = time.perf_counter() - started, usage.ru_maxrss / 2**20
    if process.returncode:
        raise SystemExit(f"`mslitmus score` ended with {process.returncode}")
    print(
        f"whole command, {', '.join(metrics)}: {seconds:.1f} s wall, {usage.ru_utime:.1f} s CPU, {memory:.2f} GiB peak"
    )
    within = seconds < 60 and memory * 2**30 < 4e9
    print(f"  target 60 s and 4 GB: {'met' if within else 'MISSED'}")


@contextmanager
def timed(what: str) -> Iterator[None]:
    started = time.perf_counter()
    yield
    print(f"{what}: {time.perf_counter() - started:.1f} s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int, default=sum(n for n, _ in FOLDS.values()), help="spectra; default all")
    asked = parser.parse_args()
    share = asked.rows / sum(n for n, _ in FOLDS.values())
    sizes = {fold: (max(6, round(n * share)), max(3, round(m * share))) for fold, (n, m) in FOLDS.items()}
    asked.folder.mkdir(parents=True, exist_ok=True)
    os.environ["MSLITMUS_HOME"] = str(asked.folder / "home")
    prepare(asked.folder, sizes)
    bare(asked.folder)
    whole(asked.folder, METRICS)


if __name__ == "__main__":
    main()
