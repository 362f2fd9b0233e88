"""The data contract: column names and types of every table that lies between two stages.

`SPECTRA` is a true superset of MassSpecGym's 14 columns (its `inchikey` is our `inchikey14`). Only `REQUIRED` columns
must hold a value in every row; an unknown straight from an instrument fits too.
"""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from .errors import SchemaError

Schema = Mapping[str, pl.DataType]

SPECTRA: Schema = {
    "identifier": pl.String(),  # unique in the dataset, stable
    "mzs": pl.List(pl.Float64),  # Da, ascending
    "intensities": pl.List(pl.Float32),  # relative, base peak = 1
    "base_peak_intensity": pl.Float32(),  # as recorded
    "precursor_mz": pl.Float64(),  # Da
    "charge": pl.Int8(),  # signed
    "ms_level": pl.Int8(),  # 2 for MS/MS
    "retention_time": pl.Float32(),  # seconds
    "adduct": pl.String(),  # canonical, [M+H]+
    "ion_mode": pl.String(),  # positive, negative
    "instrument_type": pl.String(),  # Orbitrap, QTOF, FTICR, IonTrap, QqQ, other
    "instrument": pl.String(),  # as the source wrote it
    "fragmentation": pl.String(),  # HCD, CID, ...
    "collision_energy": pl.Float32(),  # eV, or the raw number where its kind is not convertible
    "collision_energy_kind": pl.String(),  # eV, NCE, resonant-%, ramp, stepped, unitless
    "collision_energy_origin": pl.String(),  # stated, inferred, unknown: where the unit comes from
    "collision_energy_steps": pl.List(pl.Float32),  # of a stepped or ramped energy
    "collision_energy_raw": pl.String(),  # as the source wrote it
    "parent_mass": pl.Float64(),  # Da, neutral molecule
    "precursor_formula": pl.String(),
    "simulation_challenge": pl.Boolean(),
    "smiles": pl.String(),  # RDKit-canonical
    "inchikey14": pl.String(),
    "formula": pl.String(),  # of the neutral molecule
    "name": pl.String(),
    "source": pl.String(),  # contributor or library
    "license": pl.String(),
    "fold": pl.String(),  # where the source ships one
    "flags": pl.List(pl.String),  # marks of curation: unit-resolution, duplicate, conflicting-label, simulated, ...
}
REQUIRED = ("identifier", "mzs", "intensities", "precursor_mz")

#: Predictions of the task spectrum-prediction: one row a query.
PREDICTED_SPECTRA: Schema = {
    "identifier": pl.String(),
    "mzs": pl.List(pl.Float64),
    "intensities": pl.List(pl.Float32),
}
#: Explained predictions: one row a predicted peak. Null where the model gives no explanation.
PEAK_ORIGINS: Schema = {
    "identifier": pl.String(),
    "mz": pl.Float64(),
    "intensity": pl.Float32(),  # base peak = 1
    "formula": pl.String(),  # of the ion, without charge
    "atoms": pl.List(pl.UInt16),  # that the ion holds, as numbered in the query's SMILES
    "shift": pl.Int8(),  # hydrogens more (or fewer) than these atoms carry in the molecule
}

#: Predictions of the task fingerprint: one row a query; the probability of each bit of a Morgan fingerprint.
PREDICTED_FINGERPRINTS: Schema = {
    "identifier": pl.String(),
    "fingerprint": pl.List(pl.Float32),  # 2048 values from 0 to 1
}
#: Predictions of the task retrieval: one row a candidate of a query; a higher score ranks higher.
PREDICTED_SCORES: Schema = {
    "identifier": pl.String(),
    "candidate": pl.String(),  # its InChIKey-14
    "score": pl.Float64(),
}
#: Predictions of the task generation: one row a structure of a query, a higher score before a lower one. A row without
#: SMILES says that there is no confident structure.
PREDICTED_STRUCTURES: Schema = {
    "identifier": pl.String(),
    "smiles": pl.String(),
    "score": pl.Float64(),
}
#: Candidate sets: one row a candidate of a molecule's pool. Only `candidate` and `smiles` are ever shown to a model.
CANDIDATES: Schema = {
    "molecule": pl.String(),  # InChIKey-14 of the molecule that the pool is for
    "candidate": pl.String(),  # InChIKey-14, unique in the pool
    "smiles": pl.String(),  # RDKit-canonical, without stereo
    "formula": pl.String(),
    "origin": pl.String(),  # the list it comes from: dataset, pubchem-100k, ..., decoy
}
#: Hits of a library search: one row a hit, best first within a query. What a query or library does not say is null.
HITS: Schema = {
    "identifier": pl.String(),  # of the query
    "rank": pl.Int32(),  # from 1
    "library": pl.String(),  # name of the library
    "library_identifier": pl.String(),
    "score": pl.Float64(),  # 0 to 1
    "matched_peaks": pl.Int32(),
    "explained": pl.Float64(),  # share of the query's intensity in matched peaks
    "explained_library": pl.Float64(),  # share of the library spectrum's
    "precursor_difference": pl.Float64(),  # query − library, Da
    "probability": pl.Float64(),  # that the molecule is right; null where nothing was calibrated
    "q_value": pl.Float64(),  # smallest estimated false discovery rate at which this hit is accepted
    "name": pl.String(),
    "smiles": pl.String(),
    "inchikey14": pl.String(),
    "formula": pl.String(),
    "adduct": pl.String(),
}

#: One row a spectrum. Rows that a split leaves out have no row here.
FOLDS: Schema = {"identifier": pl.String(), "fold": pl.String()}
FOLD_NAMES = ("train", "val", "test")

INSTRUMENT_TYPES = ("Orbitrap", "QTOF", "FTICR", "IonTrap", "QqQ", "other")
ION_MODES = ("positive", "negative")
ENERGY_KINDS = ("eV", "NCE", "resonant-%", "ramp", "stepped", "unitless")
ENERGY_ORIGINS = ("stated", "inferred", "unknown")

#: What the metrics report, long form: one row a (split, model, seed, fold, metric, average).
SUMMARY: Schema = {
    "split": pl.String(),
    "model": pl.String(),
    "seed": pl.Int64(),
    "fold": pl.String(),
    "metric": pl.String(),
    "average": pl.String(),  # spectrum or molecule
    "mean": pl.Float64(),
    "low": pl.Float64(),
    "high": pl.Float64(),
    "n_queries": pl.Int64(),
    "n_molecules": pl.Int64(),
    "coverage": pl.Float64(),
    "bound": pl.Float64(),
    "skill_blind": pl.Float64(),
    "skill_neighbour": pl.Float64(),
    "n_clusters": pl.Int64(),  # what was resampled: molecules, or groups of them
    "n_effective": pl.Float64(),  # independent queries (molecules) with the same standard error
}
COMPARISONS: Schema = {
    "split": pl.String(),
    "metric": pl.String(),
    "model_a": pl.String(),
    "model_b": pl.String(),
    "difference": pl.Float64(),  # mean(a) - mean(b), paired per molecule
    "low": pl.Float64(),
    "high": pl.Float64(),
    "p": pl.Float64(),
    "p_holm": pl.Float64(),
    "effect_size": pl.Float64(),  # mean / sd of the per-molecule differences (Cohen's d_z)
    "n_queries": pl.Int64(),
    "n_molecules": pl.Int64(),
    "n_clusters": pl.Int64(),
    "n_effective": pl.Float64(),
    "p_mcnemar": pl.Float64(),  # only of right or wrong answers, one query a cluster
}
STRATA: Schema = {
    "split": pl.String(),
    "model": pl.String(),
    "metric": pl.String(),
    "stratum": pl.String(),  # energy, adduct, instrument, precursor mass, similarity to train, heavy atoms, ...
    "level": pl.String(),
    "order": pl.Int64(),  # of the levels within the stratum
    "mean": pl.Float64(),
    "low": pl.Float64(),
    "high": pl.Float64(),
    "n_queries": pl.Int64(),
    "n_molecules": pl.Int64(),
}
EXAMPLES: Schema = {
    "split": pl.String(),
    "model": pl.String(),
    "rank": pl.String(),  # best, median, worst
    "metric": pl.String(),
    "score": pl.Float64(),
    "identifier": pl.String(),
    "smiles": pl.String(),
    "name": pl.String(),
    "adduct": pl.String(),
    "instrument_type": pl.String(),
    "collision_energy": pl.Float32(),
    "collision_energy_kind": pl.String(),
    "precursor_mz": pl.Float64(),
    "mzs": pl.List(pl.Float64),
    "intensities": pl.List(pl.Float32),
    "predicted_mzs": pl.List(pl.Float64),  # of a predicted spectrum
    "predicted_intensities": pl.List(pl.Float32),
    "candidates": pl.List(pl.String),  # of a ranking: SMILES of the best few
    "candidate_scores": pl.List(pl.Float64),
    "truth_rank": pl.Float64(),  # expected rank of the truth, ties shared
    "pool_size": pl.Int64(),
}
#: What a pool's size makes of a ranking: the same predictions over nested smaller pools.
POOL_SIZES: Schema = {
    "split": pl.String(),
    "model": pl.String(),
    "metric": pl.String(),
    "size": pl.Int64(),  # at most so many candidates
    "mean": pl.Float64(),  # per molecule, over seeds
    "chance": pl.Float64(),  # of a constant scorer on the same pools
    "n_queries": pl.Int64(),
}

#: Where a model stands over metrics and splits: 0 is the first place, 1 the last.
NORMALISED_RANKS: Schema = {
    "split": pl.String(),  # null over all splits
    "model": pl.String(),
    "mean": pl.Float64(),
    "best": pl.Float64(),
    "worst": pl.Float64(),
    "n_rankings": pl.Int64(),  # metrics, or splits × metrics
    "n_models": pl.Int64(),
}
#: Marginal means of a grid of models, "encoder × head".
FACTORS: Schema = {
    "split": pl.String(),
    "metric": pl.String(),
    "factor": pl.String(),  # the option that varies: encoder, head
    "place": pl.Int64(),  # 0 for the first part of a name, 1 for the second
    "level": pl.String(),
    "mean": pl.Float64(),  # over the levels of the other factor, each weighing the same
    "low": pl.Float64(),
    "high": pl.Float64(),
    "n_cells": pl.Int64(),
    "n_molecules": pl.Int64(),
}
#: Every two models of a split, the better one first, on the reported metric per molecule: how firm is their order?
ORDERINGS: Schema = {
    "split": pl.String(),
    "metric": pl.String(),
    "model_a": pl.String(),  # better on test
    "model_b": pl.String(),
    "place": pl.Int64(),  # of model_a, 1 the first
    "apart": pl.Int64(),  # places between the two, 1 for neighbours
    "difference": pl.Float64(),  # how much better a is, 0 or more
    "resamples_kept": pl.Float64(),  # share of resamples of molecules with a before b
    "p_holm": pl.Float64(),  # of the paired comparison
    "trainings_kept": pl.Float64(),  # share of pairs of trainings (seed of a, seed of b) with a before b
    "n_trainings": pl.Int64(),
    "settled": pl.Float64(),  # share of the budget from which on validation has a before b; null: not at its end
    "splits_kept": pl.Int64(),  # other splits with a before b
    "n_splits": pl.Int64(),
}
#: How alike a ranking made in another way is to the reported one.
AGREEMENT: Schema = {
    "split": pl.String(),
    "against": pl.String(),  # budget, seed, resamples, split
    "setting": pl.String(),  # 25 %, seed 1, all, the other split's name
    "tau": pl.Float64(),  # Kendall's tau-b
    "n_kept": pl.Int64(),  # pairs in the same order; null for resamples
    "n_pairs": pl.Int64(),
}
#: Validation score of a trained model at shares of the budget.
BUDGET_SCORES: Schema = {
    "split": pl.String(),
    "model": pl.String(),
    "share": pl.Float64(),  # 0.25, 0.5, 0.75, 1
    "seconds": pl.Float64(),  # of training until then, mean over seeds
    "score": pl.Float64(),  # the best so far, mean over seeds; null before the first
    "rank": pl.Float64(),  # 1 the first; ties share; models without a score come last
    "n_seeds": pl.Int64(),
}
OPERATING_POINTS: Schema = {
    "split": pl.String(),
    "model": pl.String(),
    "kind": pl.String(),
    "metric": pl.String(),
    "mean": pl.Float64(),  # per molecule on test
    "low": pl.Float64(),
    "high": pl.Float64(),
    "parameters": pl.Float64(),
    "seconds_fit": pl.Float64(),  # mean over seeds, with those of the row it started from
    "queries_per_second": pl.Float64(),
    "threads": pl.Int64(),
    "device": pl.String(),
    "front_parameters": pl.Boolean(),  # nothing is at least as good for no more
    "front_seconds_fit": pl.Boolean(),
    "front_queries_per_second": pl.Boolean(),
}
#: What each test query is like: made once a run, and what strata are made of.
TEST_QUERIES: Schema = {
    "split": pl.String(),
    "identifier": pl.String(),
    "inchikey14": pl.String(),
    "adduct": pl.String(),
    "instrument_type": pl.String(),
    "collision_energy": pl.Float32(),
    "collision_energy_kind": pl.String(),
    "precursor_mz": pl.Float64(),
    "similarity_to_train": pl.Float64(),  # Tanimoto to the nearest training molecule; null where not computed
    "heavy_atoms": pl.Int64(),
    "rotatable_bonds": pl.Int64(),
    "peaks": pl.Int64(),  # measured
    "survival": pl.Float64(),  # share of the intensity in the precursor peak
    "library_answer": pl.String(),  # of library-search: absent, the only candidate, among others
    "library_rivals": pl.String(),  # of library-search: how many of the wrong candidates a model was trained on
}
#: Mean and rank of each model under each protocol of scoring the same predictions.
SENSITIVITY: Schema = {
    "split": pl.String(),
    "metric": pl.String(),
    "energies": pl.String(),  # single, merged
    "pool": pl.Int64(),  # candidates at most; null where there are none
    "average": pl.String(),  # molecule, spectrum
    "headline": pl.Boolean(),  # the protocol that the study reports
    "model": pl.String(),
    "mean": pl.Float64(),
    "rank": pl.Int64(),
}
#: Pairs of models whose order under a protocol is not that of the headline.
FLIPS: Schema = {
    "split": pl.String(),
    "metric": pl.String(),
    "energies": pl.String(),
    "pool": pl.Int64(),
    "average": pl.String(),
    "model_a": pl.String(),  # before b under the headline
    "model_b": pl.String(),
    "headline_difference": pl.Float64(),  # how much better a is
    "headline_p": pl.Float64(),  # sign flips over molecules, Holm over the pairs of the protocol
    "difference": pl.Float64(),  # how much better b is under this protocol
    "p": pl.Float64(),
}


#: Columns that tables of earlier runs lack: null where absent.
ADDED = frozenset(
    {
        "n_clusters",
        "n_effective",
        "p_mcnemar",
        "candidates",
        "candidate_scores",
        "truth_rank",
        "pool_size",
        "library_answer",
        "library_rivals",
    }
)


def conform(frame: pl.DataFrame, schema: Schema = SPECTRA, *, where: str | None = None) -> pl.DataFrame:
    """`frame` with exactly the schema's columns, in order and cast; absent optional columns become null.

    Columns that the schema does not know are dropped. Raises SchemaError for an absent required column (all columns
    of a schema other than SPECTRA are required, but for those in `ADDED`) or a value that does not cast, naming the
    column.
    """
    required = REQUIRED if schema is SPECTRA else [name for name in schema if name not in ADDED]
    if absent := [name for name in required if name not in frame.columns]:
        raise SchemaError(
            f"columns absent: {', '.join(absent)}", where=where, remedy="see docs/schema.md for the columns"
        )
    columns = []
    for name, dtype in schema.items():
        if name not in frame.columns:
            columns.append(pl.lit(None, dtype=dtype).alias(name))
        elif frame.schema[name] != dtype:
            columns.append(pl.col(name).cast(dtype))
        else:
            columns.append(pl.col(name))
    try:
        return frame.select(columns)
    except pl.exceptions.PolarsError as error:
        raise SchemaError(
            f"a column does not cast: {error}", where=where, remedy="see docs/schema.md for the types"
        ) from error
