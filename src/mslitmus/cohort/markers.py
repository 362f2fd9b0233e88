"""Why the samples differ: the spectral families that go with a target, each tested, weighed and looked up.

families.parquet, abundances.parquet   the families of the cohort and what each sample has of them (kept)
markers.parquet, markers.json          one row a family and target; how they were found
marker_hits.parquet                    the library spectra that they hit
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..errors import ConfigError, DataError, RunError
from ..lock import exclusive
from ..provenance import code_hash, file_hash, now, write_json, write_parquet
from ..schemas import HITS, conform
from ..search.libraries import Reference
from ..search.searching import Confidence, Search, stream
from ..search.settings import doubts, refuse_another_score
from .association import by_feature
from .design import Weighing, make
from .families import ABUNDANCES, FAMILIES, Likeness, group
from .linear import coefficients

Say = Callable[[str], None]
Array = NDArray[np.float64]
#: Families looked up a target: all discoveries up to `MOST`, and at least the best `LEAST`.
LEAST, MOST = 20, 200
ALPHA = 0.05
#: How families are looked up; a calibration must be of the same score.
_ASKED = Search(top_k=1, threads=1)
_HIT = {name: HITS[name] for name in (
    "library", "library_identifier", "name", "smiles", "inchikey14", "formula", "adduct", "score", "matched_peaks",
    "explained", "precursor_difference", "probability", "q_value",
)}  # fmt: skip

MARKERS: dict[str, Any] = {
    "acquisition": pl.String(),
    "target": pl.String(),
    "family": pl.String(),
    "precursor_mz": pl.Float64(),
    "retention_time": pl.Float64(),
    "n_spectra": pl.Int64(),
    "n_samples": pl.Int64(),  # runs that have it, blanks and pools included
    "n_units": pl.Int64(),  # tested
    "test": pl.String(),
    "effect": pl.Float64(),  # −1 to 1, see association.Univariate
    "p": pl.Float64(),
    "q": pl.Float64(),  # over all families of one target and acquisition
    "coefficient": pl.Float64(),  # of the ridge regression on all families
    "coefficient_of": pl.String(),  # the class that it speaks for
    "groups": pl.List(pl.String),
    "group_means": pl.List(pl.Float64),  # log₂ abundance
    "group_shares": pl.List(pl.Float64),  # of units that have it
    "direction": pl.String(),  # the class that has most of it; rises or falls with a number
    "difference": pl.Float64(),  # log₂: that class against the rest; a number: slope a standard deviation
    "blank_share": pl.Float64(),  # mean abundance in blanks / in samples, not log; null without blanks
    **_HIT,
}  # fmt: skip

HIT_SPECTRA: dict[str, Any] = {
    "library": pl.String(),
    "library_identifier": pl.String(),
    "mzs": pl.List(pl.Float64),
    "intensities": pl.List(pl.Float64),
    "instrument_type": pl.String(),
    "license": pl.String(),
}


@dataclass(frozen=True)
class MarkerSettings:
    """How markers are found.

    Args:
        least_share: families that fewer units have are not tested (they could not be significant); at least 3.
    """

    like: Likeness = field(default_factory=Likeness)
    weighing: Weighing = field(default_factory=Weighing)
    least_share: float = 0.1


def find(
    folder: Path,
    settings: MarkerSettings | None = None,
    libraries: Sequence[Reference] = (),
    confidence: Confidence | None = None,
    say: Say | None = None,
) -> pl.DataFrame:
    """Find the markers of a cohort's run folder and write them there; returns `MARKERS`, best first a target.

    Targets are the columns of samples.parquet that settings or results name; families are made once.
    Raises RunError where the folder is no cohort's, DataError where no sample has a spectrum, ConfigError where the
    calibration is of another score or there is no library to be sure of.
    """
    check_confidence(confidence, len(libraries))
    rows = read_samples(folder)
    with exclusive(folder):
        return _find(folder, rows, settings or MarkerSettings(), libraries, confidence, say or (lambda _: None))


def _find(
    folder: Path,
    rows: pl.DataFrame,
    settings: MarkerSettings,
    libraries: Sequence[Reference],
    confidence: Confidence | None,
    say: Say,
) -> pl.DataFrame:
    families, abundances = _families(folder, rows, settings.like, say)
    if families.is_empty():
        raise DataError("no MS/MS spectrum with a precursor m/z", where=str(folder), remedy="are the runs MS1 only?")
    parts = []
    for acquisition, mine in by_acquisition(rows):
        here = families.filter(pl.col("acquisition").eq_missing(pl.lit(acquisition, pl.String)))
        for target in targets_of(folder, rows):
            say(f"markers of {target}{'' if acquisition is None else f', {acquisition}'}")
            parts.append(_markers(here, abundances, mine, target, settings).with_columns(
                acquisition=pl.lit(acquisition, pl.String)))  # fmt: skip
    table = pl.concat([_empty(), *(p.select(pl.col(n).cast(t) for n, t in _TESTED.items()) for p in parts)])
    found = _looked_up(table, families, libraries, confidence)
    write_parquet(folder / "markers.parquet", found)
    write_parquet(folder / "marker_hits.parquet", _hit_spectra(found, libraries))
    told = {"made": now(), "settings": asdict(settings), "families": families.height, "tested": _tested(found)}
    told |= {"libraries": [{"name": r.name, "spectra": r.spectra, "hash": r.hash} for r in libraries]}
    modes = families["ion_mode"].drop_nulls().unique().to_list()
    told |= {"calibrated": confidence is not None, "doubts": _doubts(confidence, libraries, modes)}
    write_json(folder / "markers.json", told)
    return found


def check_confidence(confidence: Confidence | None, libraries: int) -> None:
    """Raises ConfigError where a calibration cannot speak for the hits of markers."""
    if confidence is None:
        return
    if not libraries:
        raise ConfigError("a calibration without a library", where="--confidence", remedy="--library NAME as well")
    refuse_another_score(_made(confidence), _ASKED, "--confidence")


def _made(confidence: Confidence) -> Mapping[str, Any]:
    """What a calibration records of the search that it was made with; another kind may record nothing."""
    return getattr(confidence, "search", {})


def _doubts(confidence: Confidence | None, libraries: Sequence[Reference], modes: Sequence[str]) -> list[str]:
    """What the calibration was made with and this search was not."""
    return [] if confidence is None else doubts(_made(confidence), _ASKED, libraries, modes)


def read_samples(folder: Path) -> pl.DataFrame:
    """samples.parquet. Raises RunError."""
    path = folder / "samples.parquet"
    if not path.is_file():
        raise RunError("not the run folder of a cohort: no samples.parquet", where=str(folder),
                       remedy="`mslitmus cohort SAMPLES.tsv --data DIR` makes one")  # fmt: skip
    return pl.read_parquet(path)


def by_acquisition(rows: pl.DataFrame) -> list[tuple[str | None, pl.DataFrame]]:
    """(acquisition, its rows), sorted; (None, all) where the sheet tells none apart."""
    names = rows["acquisition"].drop_nulls().unique().sort().to_list() if "acquisition" in rows.columns else []
    if len(names) < 2:
        return [(None, rows)]
    return [(name, rows.filter(pl.col("acquisition") == name)) for name in names]


def targets_of(folder: Path, rows: pl.DataFrame) -> list[str]:
    """Names of the targets: those that results.parquet answers, else every column beside the sheet's known ones."""
    path = folder / "results.parquet"
    if path.is_file():
        named = pl.read_parquet(path, columns=["target"]).to_series().drop_nulls().unique(maintain_order=True)
        found = [name for name in named.to_list() if name in rows.columns]
        if found:
            return found
    known = {"file", "sample", "unit", "role", "replicate", "batch", "subject", "order", "acquisition", "notes",
             "faults", "n_spectra", "n_peaks", "total_intensity", "in_blank"}  # fmt: skip
    kinds = (pl.String, pl.Float64)
    return [name for name in rows.columns if name not in known and rows.schema[name] in kinds]


def _families(folder: Path, rows: pl.DataFrame, like: Likeness, say: Say) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Of every acquisition; those on disk if they are of the same spectra and settings."""
    paths = {name: folder / "spectra" / f"{name}.parquet" for name in rows["sample"].to_list()}
    absent = [name for name, path in paths.items() if not path.is_file()]
    if absent:
        raise RunError(f"spectra of {len(absent)} samples are absent: {absent[0]}, …", where=str(folder / "spectra"),
                       remedy="the same `mslitmus cohort` command makes them again")  # fmt: skip
    files = [folder / name for name in ("families.parquet", "abundances.parquet")]
    state = {"like": asdict(like), "code": code_hash("cohort", "spectra"),
             "spectra": {name: file_hash(path) for name, path in paths.items()}}  # fmt: skip
    record = folder / "families.json"
    if record.is_file() and all(f.is_file() for f in files) and _read_json(record) == state:
        return pl.read_parquet(files[0]), pl.read_parquet(files[1])
    families, abundances = pl.DataFrame(schema=FAMILIES), pl.DataFrame(schema=ABUNDANCES)
    for acquisition, mine in by_acquisition(rows):
        say(f"families of {mine.height} runs{'' if acquisition is None else f', {acquisition}'}")
        made = group({name: paths[name] for name in mine["sample"].to_list()}, acquisition, like, families.height + 1)
        families, abundances = pl.concat([families, made[0]]), pl.concat([abundances, made[1]])
    record.unlink(missing_ok=True)
    write_parquet(files[0], families)
    write_parquet(files[1], abundances)
    write_json(record, state)
    return families, abundances


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return None


def _markers(
    families: pl.DataFrame, abundances: pl.DataFrame, rows: pl.DataFrame, target: str, settings: MarkerSettings
) -> pl.DataFrame:
    """`MARKERS` less the hits, of one target and acquisition."""
    mine = rows.filter((pl.col("role") == "sample") & pl.col(target).is_not_null())
    design = make(abundances, mine, families["family"], settings.weighing)
    values, truth, _ = design.of(mine, target)
    if len(set(truth.tolist())) < 2:
        return _empty()
    raw = make(abundances, mine, families["family"], Weighing(settings.weighing.abundance))
    there = raw.of(mine, target)[0] > 0
    keep = there.sum(axis=0) >= max(3, settings.least_share * len(there))
    if not keep.any():
        return _empty()
    values, there = values[:, keep], there[:, keep]
    truth = truth.astype(np.float64) if rows.schema[target].is_numeric() else truth.astype(str)
    tests = by_feature(values, truth, _lost(mine, settings.weighing))
    weight, of = coefficients(values, truth)
    told = families.filter(pl.Series(keep)).select("family", "precursor_mz", "retention_time", "n_spectra", "n_samples")
    told = told.with_columns(
        pl.lit(target).alias("target"), pl.lit(len(truth)).alias("n_units"), pl.lit(tests.name).alias("test"),
        pl.Series("effect", tests.effect), pl.Series("p", tests.p), pl.Series("q", tests.q),
        pl.Series("coefficient", weight),
        pl.Series("coefficient_of", [None] * told.height if of is None else of.tolist(), dtype=pl.String),
        *_by_group(values, there, truth),
    )  # fmt: skip
    told = told.join(_in_blanks(abundances, rows), on="family", how="left", maintain_order="left")
    return told.with_columns(acquisition=pl.lit(None, pl.String)).sort("p", "family").select(list(_TESTED))


def _lost(rows: pl.DataFrame, how: Weighing) -> int:
    """Degrees of freedom that the centring of batches takes."""
    return rows["batch"].n_unique() - 1 if how.adjust == "batch" and "batch" in rows.columns else 0


def _by_group(values: Array, there: NDArray[np.bool_], truth: NDArray[Any]) -> list[pl.Series]:
    """Means and shares of each class, and which way it goes."""
    p = values.shape[1]
    if truth.dtype.kind == "f":
        z = (truth - truth.mean()) / (truth.std() or 1.0)
        slope = z @ (values - values.mean(axis=0)) / len(z)
        direction = np.where(slope > 0, "rises", "falls").tolist()
        columns: dict[str, Any] = {"groups": [None] * p, "group_means": [None] * p, "group_shares": [None] * p}
        return [*(pl.Series(n, v, dtype=MARKERS[n]) for n, v in columns.items()),
                pl.Series("direction", direction), pl.Series("difference", slope)]  # fmt: skip
    classes = np.unique(truth)
    means = np.stack([values[truth == c].mean(axis=0) for c in classes], axis=1)  # (p, classes)
    shares = np.stack([there[truth == c].mean(axis=0) for c in classes], axis=1)
    rest = np.stack([values[truth != c].mean(axis=0) for c in classes], axis=1)
    top = means.argmax(axis=1)
    difference = means[np.arange(p), top] - rest[np.arange(p), top]
    return [
        pl.Series("groups", [classes.tolist()] * p, dtype=MARKERS["groups"]),
        pl.Series("group_means", means.tolist(), dtype=MARKERS["group_means"]),
        pl.Series("group_shares", shares.tolist(), dtype=MARKERS["group_shares"]),
        pl.Series("direction", classes[top].tolist(), dtype=pl.String),
        pl.Series("difference", difference),
    ]


def _in_blanks(abundances: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    """family → mean abundance in blanks / mean in samples; nothing where there are no blanks."""
    blanks, samples = (rows.filter(pl.col("role") == role).select("sample") for role in ("blank", "sample"))
    if not (blanks.height and samples.height):
        return pl.DataFrame(schema={"family": pl.String, "blank_share": pl.Float64})
    x = pl.coalesce("intensity", pl.col("n_spectra").cast(pl.Float64))
    sums = [
        abundances.join(some, on="sample", how="semi").group_by("family").agg((x.sum() / some.height).alias(name))
        for some, name in ((samples, "_s"), (blanks, "_b"))
    ]
    both = sums[0].join(sums[1], on="family", how="left").with_columns(pl.col("_b").fill_null(0.0))
    return both.select("family", blank_share=pl.col("_b") / pl.col("_s"))


def _looked_up(
    table: pl.DataFrame, families: pl.DataFrame, libraries: Sequence[Reference], confidence: Confidence | None
) -> pl.DataFrame:
    """With the best hit of each marker that is worth a look."""
    nth = pl.int_range(pl.len()).over("acquisition", "target")
    worth = table.filter(((pl.col("q") <= ALPHA) & (nth < MOST)) | (nth < LEAST))["family"].unique()
    hits = pl.DataFrame(schema={"family": pl.String(), **_HIT})
    if libraries and worth.len():
        spectra = families.filter(pl.col("family").is_in(worth.implode()))
        queries = conform(spectra.select(
            pl.col("family").alias("identifier"), "precursor_mz", "ion_mode", "mzs", "intensities",
            pl.col("retention_time").cast(pl.Float32)))  # fmt: skip
        answer = next(iter(stream([queries], libraries, _ASKED, confidence)))
        best = answer.hits.filter(pl.col("rank") == 1)
        hits = best.select(pl.col("identifier").alias("family"), *_HIT)
    found = table.join(hits, on="family", how="left", maintain_order="left")
    return found.select(pl.col(name).cast(dtype) for name, dtype in MARKERS.items())


def _hit_spectra(found: pl.DataFrame, libraries: Sequence[Reference]) -> pl.DataFrame:
    """The library spectra of the hits, `HIT_SPECTRA`, so that a page needs no library."""
    named = {reference.name: reference for reference in libraries}
    pairs = found.select("library", "library_identifier").drop_nulls().unique().sort(pl.all())
    rows = [
        {**named[library].spectrum(one), "library": library, "library_identifier": one}
        for library, one in pairs.iter_rows()
    ]
    return pl.DataFrame([{name: row.get(name) for name in HIT_SPECTRA} for row in rows], schema=HIT_SPECTRA)


def _tested(found: pl.DataFrame) -> list[dict[str, Any]]:
    told = found.group_by("acquisition", "target", maintain_order=True).agg(
        pl.len().alias("families"), units=pl.col("n_units").first(), discoveries=(pl.col("q") <= ALPHA).sum()
    )
    return [dict(row) for row in told.iter_rows(named=True)]


_TESTED = {name: dtype for name, dtype in MARKERS.items() if name not in _HIT}


def _empty() -> pl.DataFrame:
    return pl.DataFrame(schema=_TESTED)
