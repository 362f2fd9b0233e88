"""`make_split`: look the method up, check what is asked, run it, and record what came out."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from numbers import Integral
from typing import Any

import polars as pl

from ...errors import SplitError, unknown_name
from ...provenance import table_hash
from ...registry import Registry
from ...schemas import FOLD_NAMES, FOLDS, conform
from .allocate import check_fractions
from .split import FORMS, Assignment, Split

SPLITS = Registry(
    "split",
    {
        "random": "mslitmus.data.splits.grouped:by_spectrum",
        "molecule": "mslitmus.data.splits.grouped:by_molecule",
        "scaffold": "mslitmus.data.splits.grouped:by_scaffold",
        "formula": "mslitmus.data.splits.grouped:by_formula",
        "mces": "mslitmus.data.splits.mces:by_mces",
        "lab": "mslitmus.data.splits.conditions:by_lab",
        "instrument": "mslitmus.data.splits.conditions:by_instrument",
        "adduct": "mslitmus.data.splits.conditions:by_adduct",
        "energy": "mslitmus.data.splits.conditions:by_energy",
        "class": "mslitmus.data.splits.classes:by_class",
        "massspecgym": "mslitmus.data.splits.published:massspecgym",
        "evaluation": "mslitmus.data.splits.evaluation:evaluation",
        "folds": "mslitmus.data.splits.published:from_file",
    },
)

#: Columns a splitter may read; all but the first are optional in SPECTRA and become null where absent.
_READ = (
    "identifier",
    "inchikey14",
    "smiles",
    "formula",
    "source",
    "instrument_type",
    "adduct",
    "collision_energy",
    "collision_energy_kind",
    "fold",
)
_LARGEST = 10


def make_split(
    frame: pl.DataFrame,
    method: str,
    *,
    seed: int = 0,
    form: str | None = None,
    dataset_hash: str | None = None,
    **params: Any,
) -> Split:
    """Split a SPECTRA frame. The result does not depend on the order of its rows.

    Args:
        method: a name in `SPLITS`.
        form: for lab, instrument, adduct and energy `new-molecules` (default) or `same-molecules`; None for others.
        dataset_hash: `Dataset.hash`; computed from the columns that splits read where it is not given.
        **params: of the method, see its docstring (`SPLITS[method]`), e.g. `fractions=(0.8, 0.1, 0.1)`.
    Raises SplitError if the split cannot be made on this dataset, ConfigError for an unknown method or parameter.
    """
    splitter = SPLITS[method]
    if "identifier" not in frame.columns or frame["identifier"].null_count():
        raise SplitError("spectra without identifier", remedy="every spectrum needs a unique identifier")
    if frame["identifier"].is_duplicated().any():
        twice = frame.filter(frame["identifier"].is_duplicated())["identifier"].min()
        raise SplitError(f"identifier {twice!r} occurs twice", remedy="identifiers must be unique in a dataset")
    if not isinstance(seed, Integral) or seed < 0:
        raise SplitError(f"seed {seed!r}", remedy="a seed is a whole number from 0 on")
    params = check_settings(method, form, params)
    rows = _readable(frame).sort("identifier")
    made: Assignment = splitter(rows, seed=seed, **params)
    return _record(made, rows, method, params.get("form"), seed, dataset_hash or table_hash(rows))


def check_settings(method: str, form: str | None, params: Mapping[str, Any]) -> dict[str, Any]:
    """The keywords to call the splitter with, before any data is read. Raises SplitError or ConfigError by name."""
    known = inspect.signature(SPLITS[method]).parameters
    for name in params:
        if name not in known or name in ("frame", "seed", "form"):
            raise unknown_name(f"parameter of split {method!r}", name, set(known) - {"frame", "seed", "form"})
    if "fractions" in params:
        check_fractions(params["fractions"])
    if "form" in known:
        return {**params, "form": check_form(form)}
    if form is not None:
        raise SplitError(
            f"split {method!r} has no form {form!r}",
            remedy="leave `form` out; lab, instrument, adduct and energy have two",
        )
    return dict(params)


def check_form(form: str | None) -> str:
    """The form, `new-molecules` where none is named. Raises SplitError for an unknown one."""
    if form is None:
        return FORMS[1]
    if form not in FORMS:
        raise SplitError(f"unknown form {form!r}", remedy=f"choose {' or '.join(FORMS)}")
    return form


def _readable(frame: pl.DataFrame) -> pl.DataFrame:
    """Only the columns that splitters read (a split must not see peaks), absent ones as null; "" counts as null."""
    columns = []
    for name in _READ:
        if name == "collision_energy":
            columns.append(
                pl.col(name).cast(pl.Float64) if name in frame.columns else pl.lit(None, pl.Float64).alias(name)
            )
        elif name in frame.columns:
            columns.append(pl.col(name).cast(pl.String).replace("", None))
        else:
            columns.append(pl.lit(None, pl.String).alias(name))
    return frame.select(columns)


def _record(made: Assignment, rows: pl.DataFrame, method: str, form: str | None, seed: int, dataset_hash: str) -> Split:
    joined = made.folds.join(rows.select("identifier", "inchikey14"), on="identifier")
    sizes = {
        name: {"spectra": part.height, "molecules": part["inchikey14"].drop_nulls().n_unique()}
        for name in FOLD_NAMES
        for part in [joined.filter(pl.col("fold") == name)]
    }
    if empty := [name for name, size in sizes.items() if not size["spectra"]]:
        raise SplitError(
            f"fold {', '.join(empty)} of split {method!r} is empty",
            remedy="use more data, other fractions or other conditions",
        )
    tally = joined.group_by("group", "fold").agg(spectra=pl.len())
    groups = {
        "count": {name: tally.filter(pl.col("fold") == name).height for name in FOLD_NAMES},
        "largest": tally.sort(["spectra", "group"], descending=[True, False]).head(_LARGEST).to_dicts(),
    }
    left_out = tuple(f"{n:,} spectra left out: {reason}." for reason, n in made.left_out.items())
    return Split(
        method=method,
        form=form,
        seed=seed,
        parameters=dict(made.parameters),
        folds=conform(made.folds, FOLDS).sort("identifier"),
        dataset_hash=dataset_hash,
        notes=left_out + made.notes,
        sizes=sizes,
        groups=groups,
        left_out=dict(made.left_out),
        disjoint=made.disjoint,
        shifted=made.shifted,
    )
