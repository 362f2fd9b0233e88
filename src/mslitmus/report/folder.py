"""What a run folder holds, read once. An absent file is None; a damaged one is a RunError that names it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import yaml

from ..audits.denominators import answered_only
from ..errors import RunError, SchemaError
from ..metrics.groups import WORST_GROUPS
from ..metrics.repeated import REPEATED
from ..provenance import file_hash
from ..schemas import (
    AGREEMENT,
    BUDGET_SCORES,
    COMPARISONS,
    EXAMPLES,
    FACTORS,
    FLIPS,
    NORMALISED_RANKS,
    OPERATING_POINTS,
    ORDERINGS,
    POOL_SIZES,
    SENSITIVITY,
    STRATA,
    SUMMARY,
    Schema,
    conform,
)
from .numbers import usable

REMEDY = "delete it and repeat `mslitmus run CONFIG.yaml`: a run resumes and writes again what is absent"
#: Kinds of model that learn nothing from the spectra they are judged on: what a trained model is compared with. The
#: oracle, which knows the truth, is a rung of the same ladder but nothing to beat.
CONTROL_KINDS = ("blind", "neighbour")
ORACLE = "oracle"


@dataclass(frozen=True)
class RunFiles:
    """The contents of a run folder. `cells` are the cell.json files, `splits` the split records by name: once there is
    a summary only those that it names, so that a model or split taken out of the study leaves the page too."""

    folder: Path
    config_text: str | None
    config: Mapping[str, Any]
    provenance: Mapping[str, Any] | None
    dataset: Mapping[str, Any] | None
    ledger: list[Mapping[str, Any]] | None
    findings: list[Mapping[str, Any]] | None
    audit: Mapping[str, Any] | None
    scores_hash: str | None
    summary: pl.DataFrame | None
    comparisons: pl.DataFrame | None
    strata: pl.DataFrame | None
    worst_groups: pl.DataFrame | None
    repeated: pl.DataFrame | None
    examples: pl.DataFrame | None
    disagreements: pl.DataFrame | None
    candidates: Mapping[str, Any] | None
    pool_sizes: pl.DataFrame | None
    normalised_ranks: pl.DataFrame | None
    factors: pl.DataFrame | None
    orderings: pl.DataFrame | None
    agreement: pl.DataFrame | None
    budget_scores: pl.DataFrame | None
    operating_points: pl.DataFrame | None
    sensitivity: pl.DataFrame | None
    flips: pl.DataFrame | None
    answered: pl.DataFrame | None
    bounds: Mapping[str, Any] | None
    splits: Mapping[str, Mapping[str, Any]]
    cells: tuple[Mapping[str, Any], ...]

    @property
    def name(self) -> str:
        """The study's name: as configured, else the folder's."""
        return str(self.config.get("name") or self.folder.name)

    @property
    def title(self) -> str:
        """The study's headline; its name where none is configured."""
        return str(self.config.get("title") or self.name)

    @property
    def task(self) -> str:
        """The study's task; a study file that names none is of the first there was."""
        return str(self.config.get("task") or "spectrum-prediction")

    @property
    def simulated(self) -> bool:
        """True as soon as one file says so: simulated data must never pass for real ones."""
        said = [self.dataset or {}, self.provenance or {}, *self.cells]
        return any(record.get("simulated") is True for record in said)

    @property
    def split_names(self) -> list[str]:
        """Splits in the order of the configuration, then as the summary lists them."""
        listed = self.config.get("splits")
        names = [_entry_name(entry) for entry in listed] if isinstance(listed, list | dict) else []
        found = self.summary["split"].unique(maintain_order=True).to_list() if self.summary is not None else []
        known = {*found, *self.splits}
        return list(dict.fromkeys(name for name in (*names, *found, *self.splits) if name in known))

    @property
    def metrics(self) -> list[str]:
        """Metric names, the reported one first, then in the order of the configuration."""
        if self.summary is None:
            return []
        found = self.summary["metric"].unique(maintain_order=True).to_list()
        listed = self.config.get("metrics")
        ordered = [str(name) for name in listed] if isinstance(listed, list) else []
        return list(dict.fromkeys(name for name in (self.primary, *ordered, *found) if name in found))

    @property
    def primary(self) -> str:
        """The metric that checkpoints are chosen by and the headline states: `primary_metric`, else the first."""
        found = self.summary["metric"].unique(maintain_order=True).to_list() if self.summary is not None else []
        listed = self.config.get("metrics")
        wanted = [self.config.get("primary_metric"), *(listed if isinstance(listed, list) else [])]
        return next((str(name) for name in wanted if name in found), str(found[0]) if found else "")

    def kind(self, model: str) -> str:
        """blind, neighbour, oracle or trained; unknown models count as trained, so that no claim is hidden."""
        return next((str(c.get("kind", "trained")) for c in self.cells if c.get("model") == model), "trained")

    def cells_of(self, split: str, model: str) -> list[Mapping[str, Any]]:
        return [cell for cell in self.cells if cell.get("split") == split and cell.get("model") == model]


def _entry_name(entry: Any) -> str:
    if isinstance(entry, Mapping):
        return str(entry.get("name") or entry.get("method") or "")
    return str(entry)


def read_run(folder: Path) -> RunFiles:
    """Read a run folder. Raises RunError if it is none, or if a file in it is damaged."""
    if not folder.is_dir():
        raise RunError("no such run folder", where=str(folder), remedy="`mslitmus run CONFIG.yaml` makes one")
    config_text, config = _config(folder / "config.yaml")
    summary = _table(folder / "summary.parquet", SUMMARY)
    cells = [_record(path) for path in sorted(folder.glob("cells/*/*/seed*/cell.json"))]
    splits = {path.stem: _record(path) for path in sorted(folder.glob("splits/*.json"))}
    if summary is not None and summary.height:
        judged = set(summary.select("split", "model").iter_rows())
        cells = [cell for cell in cells if (cell.get("split"), cell.get("model")) in judged]
        splits = {name: record for name, record in splits.items() if name in {split for split, _ in judged}}
    files = RunFiles(
        folder=folder,
        config_text=config_text,
        config=config,
        provenance=_optional(folder / "provenance.json"),
        dataset=_optional(folder / "dataset.json"),
        ledger=_records(folder / "ledger.json", "entries"),
        findings=_records(folder / "findings.json", "findings"),
        audit=(audit := _optional(folder / "audit.json")),
        scores_hash=_hash(folder / "scores.parquet") if audit else None,
        summary=summary,
        comparisons=_table(folder / "comparisons.parquet", COMPARISONS),
        strata=_table(folder / "strata.parquet", STRATA),
        worst_groups=_table(folder / "worst_groups.parquet", WORST_GROUPS),
        repeated=_table(folder / "repeated.parquet", REPEATED),
        examples=_table(folder / "examples.parquet", EXAMPLES),
        disagreements=_table(folder / "disagreements.parquet", EXAMPLES),
        candidates=_optional(folder / "candidates.json"),
        pool_sizes=_table(folder / "pool_sizes.parquet", POOL_SIZES),
        normalised_ranks=_table(folder / "normalised_ranks.parquet", NORMALISED_RANKS),
        factors=_table(folder / "factors.parquet", FACTORS),
        orderings=_table(folder / "orderings.parquet", ORDERINGS),
        agreement=_table(folder / "agreement.parquet", AGREEMENT),
        budget_scores=_table(folder / "budget_scores.parquet", BUDGET_SCORES),
        operating_points=_table(folder / "operating_points.parquet", OPERATING_POINTS),
        sensitivity=_table(folder / "sensitivity.parquet", SENSITIVITY),
        flips=_table(folder / "flips.parquet", FLIPS),
        answered=_answered(folder / "scores.parquet", summary),
        bounds=_optional(folder / "bounds.json"),
        splits=splits,
        cells=tuple(sorted(cells, key=_cell_key)),
    )
    if config_text is None and files.summary is None and files.provenance is None and not files.cells:
        raise RunError(
            "not a run folder: it holds neither config.yaml, provenance.json, summary.parquet nor cells/",
            where=str(folder),
            remedy="give the folder that `mslitmus run CONFIG.yaml` names at its end",
        )
    return files


def _hash(path: Path) -> str | None:
    """Which state of the scores this is, as audit.json names it."""
    return file_hash(path)[:16] if path.exists() else None


def _cell_key(cell: Mapping[str, Any]) -> tuple[str, str, float]:
    seed = cell.get("seed")
    return str(cell.get("split")), str(cell.get("model")), float(seed) if usable(seed) and seed is not None else -1.0


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RunError(f"cannot be read: {error}", where=str(path), remedy=REMEDY) from error


def _config(path: Path) -> tuple[str | None, Mapping[str, Any]]:
    if not path.exists():
        return None, {}
    text = _text(path)
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise RunError(f"not YAML: {error}", where=str(path), remedy="copy the study file here again") from error
    if value is not None and not isinstance(value, Mapping):
        raise RunError("not a mapping of keys", where=str(path), remedy="copy the study file here again")
    return text, value or {}


def _json(path: Path) -> Any:
    text = _text(path)
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        place = f"{path}:{error.lineno}"
        raise RunError(f"not JSON: {error.msg}", where=place, remedy=REMEDY) from error


def _record(path: Path) -> Mapping[str, Any]:
    value = _json(path)
    if not isinstance(value, Mapping):
        raise RunError("expected a JSON object", where=str(path), remedy=REMEDY)
    return value


def _optional(path: Path) -> Mapping[str, Any] | None:
    return _record(path) if path.exists() else None


def _records(path: Path, key: str) -> list[Mapping[str, Any]] | None:
    if not path.exists():
        return None
    value = _json(path)
    value = value.get(key) if isinstance(value, Mapping) else value
    if not isinstance(value, list) or not all(isinstance(entry, Mapping) for entry in value):
        raise RunError("expected a JSON list of objects", where=str(path), remedy=REMEDY)
    return value


def _table(path: Path, schema: Schema) -> pl.DataFrame | None:
    return _parquet(path, lambda: conform(pl.read_parquet(path), schema))


def _answered(path: Path, summary: pl.DataFrame | None) -> pl.DataFrame | None:
    """What models that skip queries reach on those that they answer; the large table is read for them alone."""
    if summary is None:
        return None
    skipping = summary.filter(pl.col("coverage") < 1)["model"].unique().to_list()
    metrics = summary["metric"].unique(maintain_order=True).to_list()
    if not skipping:
        return None
    keys = ("split", "model", "seed", "fold", "inchikey14", "predicted")
    wanted = pl.col("model").is_in(skipping) & (pl.col("fold") == "test")

    def read() -> pl.DataFrame:
        found = pl.scan_parquet(path)
        here = [metric for metric in metrics if metric in found.collect_schema()]
        return answered_only(found.filter(wanted).select(*keys, *here).collect(), here)

    return _parquet(path, read)


def _parquet(path: Path, read: Callable[[], pl.DataFrame]) -> pl.DataFrame | None:
    """What `read` makes of a file that may be absent. Raises RunError for a damaged one."""
    if not path.exists():
        return None
    try:
        return read()
    except SchemaError as error:
        raise RunError(error.message, where=str(path), remedy=REMEDY) from error
    except (pl.exceptions.PolarsError, OSError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise RunError(f"not a readable Parquet table: {first}", where=str(path), remedy=REMEDY) from error
