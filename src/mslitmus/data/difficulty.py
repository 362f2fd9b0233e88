"""How hard a split is: what test shares with train, and how far it lies from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..chem import molecule as chem
from ..errors import ChemistryError, SplitError
from ..schemas import FOLD_NAMES
from .shift import cramers_v, ks_permutation, ks_weighted
from .splits.labels import ELECTRONVOLT_KINDS
from .splits.split import Split

#: The molecular properties whose distributions are compared.
PROPERTIES = ("mass", "logp", "rings", "heteroatoms", "fingerprint_density")
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
BINS = 20
#: Upper edges of the energy bins, eV.
ENERGY_EDGES = (10.0, 20.0, 30.0, 40.0, 60.0)
#: Levels of a condition listed by name; the rest are listed together, all of them count in Cramér's V.
LISTED = 12
_BLOCK = 256


@dataclass(frozen=True)
class MoleculeTable:
    """What the difficulty needs of each molecule; make it once and pass it for several splits of one dataset.

    Attributes:
        table: `inchikey14`, `formula`, `scaffold` (empty if acyclic) and the `PROPERTIES`, one row a molecule, sorted.
        fingerprints: (molecules, 2048) of 0/1, Morgan radius 2, packed to (molecules, 256) bytes.
    """

    table: pl.DataFrame
    fingerprints: NDArray[np.uint8]

    @classmethod
    def of(cls, frame: pl.DataFrame) -> MoleculeTable:
        """Of every InChIKey-14 in `frame` that has SMILES; the first SMILES in sorted order stands for the molecule.

        A molecule whose SMILES do not parse has no structure here, as if it had no SMILES. About 1 ms a molecule.
        """
        named = (
            frame.select("inchikey14", "smiles", "formula")
            .drop_nulls(["inchikey14", "smiles"])
            .group_by("inchikey14")
            .agg(pl.col("smiles").min(), pl.col("formula").min())
            .sort("inchikey14")
        )
        named = named.filter(pl.Series([_parses(smiles) for smiles in named["smiles"]], dtype=pl.Boolean))
        smiles = named["smiles"].to_list()
        properties = chem.properties(smiles)
        fingerprints = chem.morgan(smiles)
        density = fingerprints.sum(axis=1) / np.maximum(properties["heavy_atoms"].to_numpy(), 1)
        table = named.drop("smiles").with_columns(
            pl.Series("scaffold", [chem.scaffold(s) for s in smiles], dtype=pl.String),
            *(properties[name].cast(pl.Float64) for name in PROPERTIES if name in properties.columns),
            pl.Series("fingerprint_density", density, dtype=pl.Float64),
        )
        return cls(table, np.packbits(fingerprints, axis=1))


def difficulty(
    frame: pl.DataFrame,
    split: Split,
    *,
    max_molecules: int = 20_000,
    permutations: int = 1000,
    seed: int = 0,
    molecules: MoleculeTable | None = None,
) -> dict[str, Any]:
    """The difficulty table of one split, JSON values only (None where a figure is undefined).

    Keys:
        method, form, seed, dataset_hash;
        sizes: fold → {spectra, molecules};
        overlap: molecules, scaffolds, formulae → how much of test is in train: {count, of, share} counted in test
            molecules (acyclic molecules have no scaffold and do not count there) and {spectra, of_spectra,
            share_spectra}; val_molecules: the same of val;
        nearest_train: Tanimoto of each test molecule to its nearest train molecule (itself, where it is in train):
            {n, of, mean, identical (molecules with Tanimoto 1), quantiles {"0.05", …}, histogram {edges (21), counts
            (20)}, fingerprint};
        ks: property → {statistic, p, n_test, n_train, permutations, median_test, median_train}, over molecules, test
            against train; p by permuting the labels of the pooled molecules. A molecule in both folds counts in both.
            statistic_spectra: the same with every molecule counted once a spectrum;
        cramers_v: instrument_type, adduct, energy → {v, v_corrected, n, levels, shares}: association of the condition
            with the fold over spectra, unknown being a level; shares: level → fold → share.

    Args:
        max_molecules: at most so many test molecules are searched and so many a side enter the KS statistics, drawn
            with `seed`; `n` and `of` say how many of how many.
        molecules: `MoleculeTable.of(frame)`, to save time over several splits.
    """
    if max_molecules < 1 or permutations < 1:
        raise SplitError("max_molecules and permutations must be 1 or more", remedy="leave them at their defaults")
    parts = split.apply(frame)
    known = molecules or MoleculeTable.of(frame)
    rows = {
        name: np.flatnonzero(known.table["inchikey14"].is_in(part["inchikey14"].drop_nulls().unique().implode()))
        for name, part in parts.items()
    }
    rng = np.random.default_rng(seed)
    test, train = (_sample(rows[name], max_molecules, rng) for name in ("test", "train"))
    spectra = (_spectra_per_molecule(parts["test"], known.table), _spectra_per_molecule(parts["train"], known.table))
    return {
        "method": split.method,
        "form": split.form,
        "seed": split.seed,
        "dataset_hash": split.dataset_hash,
        "sizes": {
            name: {"spectra": part.height, "molecules": part["inchikey14"].drop_nulls().n_unique()}
            for name, part in parts.items()
        },
        "overlap": _overlaps(parts, known.table),
        "nearest_train": _nearest(known.fingerprints, test, rows["train"], len(rows["test"])),
        "ks": {
            name: _compare(known.table[name].to_numpy(), (test, train), spectra, permutations, seed)
            for name in PROPERTIES
        },
        "cramers_v": {name: _association(parts, name) for name in ("instrument_type", "adduct", "energy")},
    }


def _parses(smiles: str) -> bool:
    try:
        chem.parse(smiles)
    except ChemistryError:
        return False
    return True


def _sample(rows: NDArray[np.intp], most: int, rng: np.random.Generator) -> NDArray[np.intp]:
    return rows if len(rows) <= most else np.sort(rng.choice(rows, most, replace=False))


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _overlaps(parts: Mapping[str, pl.DataFrame], table: pl.DataFrame) -> dict[str, dict[str, Any]]:
    look = table.select("inchikey14", scaffold_=pl.col("scaffold").replace("", None))
    labelled = {
        name: part.select("inchikey14", "formula").join(look, on="inchikey14", how="left")
        for name, part in parts.items()
    }
    columns = {"molecules": "inchikey14", "scaffolds": "scaffold_", "formulae": "formula"}
    out = {name: _overlap(labelled["test"], labelled["train"], column) for name, column in columns.items()}
    return out | {"val_molecules": _overlap(labelled["val"], labelled["train"], "inchikey14")}


def _overlap(test: pl.DataFrame, train: pl.DataFrame, column: str) -> dict[str, Any]:
    counted = test.drop_nulls([column, "inchikey14"])
    shared = counted.join(train.select(column).drop_nulls().unique(), on=column, how="semi")
    molecules, of_molecules = shared["inchikey14"].n_unique(), counted["inchikey14"].n_unique()
    return {
        "count": molecules,
        "of": of_molecules,
        "share": _share(molecules, of_molecules),
        "spectra": shared.height,
        "of_spectra": counted.height,
        "share_spectra": _share(shared.height, counted.height),
    }


def nearest_similarity(queries: NDArray[np.uint8], library: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Largest Tanimoto of each query to the library: 0/1 fingerprints (n, bits), (m, bits) → (n,). Blocked matrix
    product; the reference is `chem.molecule.tanimoto(...).max(axis=1)`."""
    right = np.ascontiguousarray(library.astype(np.float32).T)
    size = right.sum(axis=0)
    best = np.zeros(len(queries), np.float32)
    for start in range(0, len(queries), _BLOCK):
        left = queries[start : start + _BLOCK].astype(np.float32)
        shared = left @ right
        union = left.sum(axis=1)[:, None] + size[None, :] - shared
        np.divide(shared, np.maximum(union, 1.0), out=shared)
        best[start : start + _BLOCK] = shared.max(axis=1, initial=0.0)
    return best


def nearest_train_similarity(
    train: pl.DataFrame, test: pl.DataFrame, molecules: MoleculeTable | None = None
) -> pl.DataFrame:
    """`inchikey14`, `similarity_to_train` (Tanimoto to the nearest train molecule, 0 to 1), one row a test molecule
    with a structure. Morgan radius 2, 2048 bits; 1 for a molecule that is in train. `molecules`: see `difficulty`."""
    both = (part.select("inchikey14", "smiles", "formula") for part in (train, test))
    known = molecules or MoleculeTable.of(pl.concat(both))
    keys = known.table["inchikey14"]
    rows = np.flatnonzero(keys.is_in(test["inchikey14"].drop_nulls().unique().implode()))
    library = np.flatnonzero(keys.is_in(train["inchikey14"].drop_nulls().unique().implode()))
    bits = np.unpackbits(known.fingerprints, axis=1)
    best = nearest_similarity(bits[rows], bits[library])
    return pl.DataFrame({"inchikey14": keys.gather(rows), "similarity_to_train": best.astype(np.float64)})


def _nearest(packed: NDArray[np.uint8], test: NDArray[np.intp], train: NDArray[np.intp], of: int) -> dict[str, Any]:
    best = nearest_similarity(np.unpackbits(packed[test], axis=1), np.unpackbits(packed[train], axis=1))
    counts, edges = np.histogram(best, bins=BINS, range=(0.0, 1.0))
    return {
        "n": len(best),
        "of": of,
        "mean": float(best.mean()) if len(best) else None,
        "identical": int((best > 1 - 1e-6).sum()),
        "quantiles": {str(q): float(np.quantile(best, q)) if len(best) else None for q in QUANTILES},
        "histogram": {"edges": [round(float(edge), 6) for edge in edges], "counts": [int(n) for n in counts]},
        "fingerprint": "Morgan radius 2, 2048 bits",
    }


def _compare(
    values: NDArray[np.float64],
    rows: tuple[NDArray[np.intp], NDArray[np.intp]],
    spectra: tuple[NDArray[np.float64], NDArray[np.float64]],
    permutations: int,
    seed: int,
) -> dict[str, Any]:
    """`rows`: of test and train molecules, sampled; `spectra`: of every molecule in test and in train."""
    a, b = (values[part][np.isfinite(values[part])] for part in rows)
    ks, p = ks_permutation(a, b, permutations, seed) if len(a) and len(b) else (None, None)
    return {
        "statistic": ks,
        "p": p,
        "statistic_spectra": ks_weighted(values, *spectra),
        "n_test": len(a),
        "n_train": len(b),
        "permutations": permutations,
        "median_test": float(np.median(a)) if len(a) else None,
        "median_train": float(np.median(b)) if len(b) else None,
    }


def _spectra_per_molecule(part: pl.DataFrame, table: pl.DataFrame) -> NDArray[np.float64]:
    counts = part.group_by("inchikey14").len()
    joined = table.select("inchikey14").join(counts, on="inchikey14", how="left", maintain_order="left")
    return joined["len"].fill_null(0).to_numpy().astype(np.float64)


def energy_bin(frame: pl.DataFrame) -> pl.Series:
    """`≤ 10 eV`, `10–20 eV`, …, `> 60 eV`; the kind where the number is not in eV, `unknown` where there is none."""
    energy = pl.col("collision_energy").cast(pl.Float64)
    bins = pl.when(energy > ENERGY_EDGES[-1]).then(pl.lit(f"> {ENERGY_EDGES[-1]:g} eV"))
    chain = bins.when(energy <= ENERGY_EDGES[0]).then(pl.lit(f"≤ {ENERGY_EDGES[0]:g} eV"))
    for low, high in pairwise(ENERGY_EDGES):
        chain = chain.when(energy <= high).then(pl.lit(f"{low:g}–{high:g} eV"))
    kind = pl.col("collision_energy_kind")
    known = pl.when(energy.is_finite() & kind.is_in(ELECTRONVOLT_KINDS)).then(chain)
    return frame.select(known.when(energy.is_finite()).then(kind).fill_null("unknown").alias("energy")).to_series()


def _association(parts: Mapping[str, pl.DataFrame], name: str) -> dict[str, Any]:
    long = pl.concat(
        [
            pl.DataFrame({"level": energy_bin(part) if name == "energy" else part[name].cast(pl.String)}).with_columns(
                fold=pl.lit(fold)
            )
            for fold, part in parts.items()
        ]
    ).with_columns(pl.col("level").fill_null("unknown"))
    counts = long.group_by("level", "fold").len().pivot("fold", index="level", values="len").fill_null(0)
    counts = counts.with_columns(total=pl.sum_horizontal(FOLD_NAMES)).sort(["total", "level"], descending=[True, False])
    table = counts.select(FOLD_NAMES).to_numpy().astype(np.float64)
    raw, corrected = cramers_v(table)
    of_fold = table / table.sum(axis=0, keepdims=True)
    shares = {
        level: {fold: float(x) for fold, x in zip(FOLD_NAMES, row, strict=True)}
        for level, row in zip(counts["level"][:LISTED], of_fold, strict=False)
    }
    if len(table) > LISTED:
        rest = of_fold[LISTED:].sum(axis=0)
        shares[f"{len(table) - LISTED} others"] = {f: float(x) for f, x in zip(FOLD_NAMES, rest, strict=True)}
    return {
        "v": raw,
        "v_corrected": corrected,
        "n": int(table.sum()),
        "levels": len(table),
        "shares": shares,
    }


def ks_ratio(a: Mapping[str, Any], random: Mapping[str, Any]) -> dict[str, Any]:
    """KS of split `a` over KS of a random split: {properties: name → {molecules, spectra, n_test, n_test_random},
    median_molecules, median_spectra}. FlexMS reports 4 to 7 for a scaffold split.

    `molecules` counts each molecule once, `spectra` once a spectrum. A random split draws molecules into test in
    proportion to their spectra, so over molecules its KS is not a null value, over spectra it is. The ratio grows
    with n (the KS of a random split falls as 1/√n while that of a shifted one does not): quote it with the n that
    stand beside it. None where the random KS is 0 or either is undefined.
    """
    units = {"molecules": "statistic", "spectra": "statistic_spectra"}
    out: dict[str, Any] = {}
    for name in PROPERTIES:
        mine, base = a["ks"][name], random["ks"][name]
        out[name] = {
            unit: mine[key] / base[key] if mine[key] is not None and base[key] else None for unit, key in units.items()
        } | {"n_test": mine["n_test"], "n_test_random": base["n_test"]}
    medians = {}
    for unit in units:
        ratios = [entry[unit] for entry in out.values() if entry[unit] is not None]
        medians[f"median_{unit}"] = float(np.median(ratios)) if ratios else None
    return {"properties": out, **medians}


def difficulty_table(difficulties: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """Difficulties side by side: `measure` and one Float64 column a split (`lab (new-molecules)`, …).

    Splits with the same title are told apart by their seed, then by a number.
    """
    columns: dict[str, list[float | None]] = {}
    measures: list[str] = []
    for entry in difficulties:
        title = f"{entry['method']} ({entry['form']})" if entry["form"] else str(entry["method"])
        title = f"{title} seed {entry['seed']}" if title in columns else title
        while title in columns:
            title += "'"
        values = _measures(entry)
        measures = list(values)
        columns[title] = list(values.values())
    schema = {"measure": pl.String, **dict.fromkeys(columns, pl.Float64)}
    return pl.DataFrame({"measure": measures, **columns}, schema=schema)


def _measures(entry: Mapping[str, Any]) -> dict[str, float | None]:
    out: dict[str, float | None] = {}
    for fold in FOLD_NAMES:
        out[f"{fold} spectra"] = entry["sizes"][fold]["spectra"]
        out[f"{fold} molecules"] = entry["sizes"][fold]["molecules"]
    for name, title in (("molecules", "molecule"), ("scaffolds", "scaffold"), ("formulae", "formula")):
        out[f"{title} overlap, share of test molecules"] = entry["overlap"][name]["share"]
    out["molecule overlap, share of test spectra"] = entry["overlap"]["molecules"]["share_spectra"]
    near = entry["nearest_train"]
    out["nearest-train Tanimoto, mean"] = near["mean"]
    out["nearest-train Tanimoto 1, share of test molecules"] = _share(near["identical"], near["n"])
    for q in QUANTILES:
        out[f"nearest-train Tanimoto, quantile {q}"] = near["quantiles"][str(q)]
    for name in PROPERTIES:
        out[f"KS {name}"] = entry["ks"][name]["statistic"]
        out[f"KS {name}, over spectra"] = entry["ks"][name]["statistic_spectra"]
        out[f"KS {name}, permutation p"] = entry["ks"][name]["p"]
    for name, value in entry["cramers_v"].items():
        out[f"Cramér's V {name}"] = value["v"]
        out[f"Cramér's V {name}, corrected"] = value["v_corrected"]
    return out
