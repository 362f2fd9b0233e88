"""Freeze a benchmark, and verify on another machine that it comes out the same."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import polars as pl

from ..data.splits.mces import molecule_clusters
from ..data.store import Dataset
from ..errors import ConfigError, DataError
from ..metrics.names import parse_metric
from ..provenance import environment, now, table_hash
from ..studies.folder import digest
from ..studies.stage import Stage, dataset_of, stage
from ..tasks.retrieval import Retrieval
from .golden import golden
from .manifest import FORMAT, Manifest, known, place_of
from .recipe import Recipe, TrackConfig

Progress = Callable[[str], None]
#: Packages whose version can change molecules, folds or candidates.
DECISIVE = ("mslitmus", "rdkit", "numpy", "polars", "scipy")
#: Of a part, in the order in which one follows from another.
PIECES = ("records", "folds", "queries of val", "queries of test", "candidates", "clusters")


@dataclass(frozen=True)
class Finding:
    """One piece of a benchmark: what it was when it was frozen, what it is here, and why the two may differ."""

    piece: str
    frozen: str
    here: str
    why: str = ""

    @property
    def same(self) -> bool:
        return self.frozen == self.here


def freeze(recipe: Recipe, progress: Progress, out: Path | None = None) -> Path:
    """Compute and write the manifest. Raises ConfigError where the id is taken, or the file is there."""
    place = out or place_of(recipe)
    if (taken := known().get(recipe.id)) is not None or place.exists():
        where, remedy = str(taken or place), "give the recipe a new version: what is frozen is superseded, never edited"
        raise ConfigError(f"{recipe.id} is frozen already", where=where, remedy=remedy)
    made = {**environment(), "date": now()}
    return Manifest(identity(recipe, progress), made).save(place)


def identity(recipe: Recipe, progress: Progress) -> dict[str, Any]:
    """All that decides a number: recipe, dataset, curation, metrics, and the contents of every track on every split."""
    parts: dict[str, dict[str, Any]] = {}
    for track, split in recipe.pairs():
        parts.setdefault(track.name, {})[split.name] = part(recipe, track.name, split.name, progress)
    for split in recipe.splits:
        _require_one_assignment(split.name, {name: own[split.name] for name, own in parts.items()})
    return {
        "format": FORMAT,
        "recipe": recipe.model_dump(mode="json", exclude={"title"}),
        **common(recipe),
        "parts": parts,
    }


def common(recipe: Recipe) -> dict[str, Any]:
    """What all parts share."""
    unit = recipe.statistics.unit
    metrics = {track.name: measures(track, unit) for track in recipe.tracks}
    track, split = recipe.pairs()[0]
    dataset = dataset_of(recipe.study(track.name, split.name))
    return {
        "dataset": {"name": recipe.data.name, "hash": dataset.hash},
        "curation": curation(dataset),
        "metrics": {name: parts[0] for name, parts in metrics.items()},
        "statistics": {name: parts[1] for name, parts in metrics.items()},
        "unit": unit,  # what the bootstrap draws
    }


def curation(dataset: Dataset) -> dict[str, Any]:
    """The rules that ran, and a hash of what each did to how many rows."""
    entries = [[e.rule, e.rows_in, e.dropped, e.changed, e.marked] for e in dataset.ledger]
    return {"rules": [entry[0] for entry in entries], "ledger": digest(entries)}


def measures(track: TrackConfig, unit: str) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """Metric → every parameter (those that its name leaves to a default included) and a hash of its golden values;
    metric → hash of the statistics of these values, with `unit` as what is resampled."""
    values, statistics = golden(track.metrics, unit)
    named = {name: _plain(asdict(cast(Any, parse_metric(name)))) for name in track.metrics}
    return {name: {"parameters": named[name], "values": values[name]} for name in named}, statistics


def part(recipe: Recipe, track: str, split: str, progress: Progress) -> dict[str, Any]:
    """Hashes of records, folds, queries and candidates, with the sizes that a reader wants to see."""
    progress(f"{track} · {split}")
    set_out = stage(recipe.study(track, split), progress)
    described = _describe(set_out, split)
    if recipe.statistics.unit == "mces":
        described["clusters"] = _clusters(set_out.asked[split])
    return described


def _clusters(asked: Mapping[str, pl.DataFrame]) -> dict[str, Any]:
    """What a run of this part resamples: the clusters of all molecules that are asked about."""
    table = molecule_clusters(pl.concat(asked[fold].select("inchikey14", "smiles") for fold in ("val", "test"))).table
    return {"hash": table_hash(table), "molecules": table.height, "clusters": table["cluster"].n_unique()}


def _require_one_assignment(split: str, parts: Mapping[str, Mapping[str, Any]]) -> None:
    """Raise DataError unless all tracks have the same folds: else what one track trains on, another may ask about."""
    if len({part["folds"]["hash"] for part in parts.values()}) > 1:
        sizes = ", ".join(f"{name} {part['records']['spectra']:,} records" for name, part in parts.items())
        remedy = "narrow `data` until every track takes the same records: `adducts` drops those without an adduct"
        raise DataError(f"the tracks have different folds ({sizes})", where=f"split {split}", remedy=remedy)


def _describe(set_out: Stage, split: str) -> dict[str, Any]:
    folds, task, asked = set_out.splits[split].folds, set_out.task, set_out.asked[split]
    frame = set_out.frame
    sizes = {"spectra": frame.height, "molecules": frame["inchikey14"].n_unique()}
    described: dict[str, Any] = {
        "records": {"hash": set_out.data_hash, **sizes},
        "folds": {"hash": table_hash(folds.sort("identifier"), ["identifier", "fold"]), "spectra": folds.height},
    }
    for fold in ("val", "test"):
        keys = asked[fold].select("identifier", "inchikey14").sort("identifier")
        described[f"queries of {fold}"] = {
            "hash": table_hash(keys),
            "spectra": keys.height,
            "molecules": keys["inchikey14"].n_unique(),
        }
    if isinstance(task, Retrieval):  # of the contents: other code that makes the same pools asks the same question
        pools = task.pools.pools
        described["candidates"] = {
            "hash": table_hash(pools),
            "molecules": pools["molecule"].n_unique(),
            "candidates": pools.height,
        }
    return described


def verify(manifest: Manifest, progress: Progress, track: str | None = None, split: str | None = None) -> list[Finding]:
    """Make everything again from this machine's store, and compare.

    Args:
        track, split: only this part (with what all parts share).

    Raises DataError where the dataset, a molecule list or another ingredient is not here.
    """
    recipe = manifest.recipe
    here = common(recipe)
    frozen = manifest.identity
    versions = other_versions(manifest.made)
    findings = [
        _compare("dataset", frozen["dataset"]["hash"], here["dataset"]["hash"], _other_dataset(manifest)),
        _compare(
            "curation", frozen["curation"], here["curation"], "it was imported by other rules, or from other files"
        ),
    ]
    dataset_same = findings[0].same
    for each in [recipe.track(track)] if track else recipe.tracks:
        findings += _definitions(each.name, frozen, here, versions)
        for name in [recipe.split(split).name] if split else [s.name for s in recipe.splits]:
            made = part(recipe, each.name, name, progress)
            why = "it follows from the dataset" if not dataset_same else f"other code makes it{versions}"
            findings += _pieces(f"{each.name} · {name}", manifest.part(each.name, name), made, why)
    return findings


def check(manifest: Manifest, track: str, split: str, progress: Progress) -> None:
    """Raise DataError, naming each piece, unless this machine holds what was frozen."""
    if differ := [f for f in verify(manifest, progress, track, split) if not f.same]:
        listed = "; ".join(f"{f.piece} ({f.why})" for f in differ)
        remedy = (
            f"import what it was frozen on, or score without --bench; `mslitmus bench verify {manifest.id}` says more"
        )
        raise DataError(f"this is not {manifest.id}: {listed} differ", where=str(manifest.place), remedy=remedy)


def other_versions(made: Mapping[str, Any]) -> str:
    """`: rdkit 2025.3 when it was frozen, 2026.9 here`, or nothing where the decisive versions agree."""
    then, current = made.get("versions", {}), environment()["versions"]
    pairs = [(name, then.get(name), current.get(name)) for name in DECISIVE]
    told = [f"{name} {a or 'absent'} when it was frozen, {b or 'absent'} here" for name, a, b in pairs if a != b]
    return f": {'; '.join(told)}" if told else ", though the versions are those of the freezing"


def _pieces(name: str, frozen: Mapping[str, Any], here: Mapping[str, Any], why: str) -> Iterator[Finding]:
    cause = why
    for piece in PIECES:
        if piece in frozen or piece in here:
            found = _compare(f"{name} · {piece}", frozen.get(piece), here.get(piece), cause)
            if not found.same and piece in ("records", "folds"):
                cause = f"it follows from the {piece}"
            yield found


def _definitions(track: str, frozen: Mapping[str, Any], here: Mapping[str, Any], versions: str) -> Iterator[Finding]:
    """Metrics, and the statistics of their values: where only these differ, it is they that are made otherwise."""
    why = f"this version makes % otherwise{versions}"
    for piece in ("metrics", "statistics"):
        then, now_ = frozen[piece][track], here[piece][track]
        changed = ", ".join(name for name in {**then, **now_} if then.get(name) != now_.get(name))
        found = _compare(f"{track} · {piece}", then, now_, why.replace("%", f"the {piece} of {changed}"))
        why = why if found.same else "it follows from the metrics"
        yield found


def _compare(piece: str, frozen: Any, here: Any, why: str) -> Finding:
    a, b = _short(frozen), _short(here)
    return Finding(piece, a, b, "" if a == b else why)


def _short(value: Any) -> str:
    if isinstance(value, Mapping) and "hash" in value:
        return str(value["hash"])
    return value if isinstance(value, str) else digest(value)


def _other_dataset(manifest: Manifest) -> str:
    name = manifest.identity["dataset"]["name"]
    return f"another release or revision of {name!r}, or imported by other code{other_versions(manifest.made)}"


def _plain(value: Any) -> Any:
    """JSON has no infinity."""
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    return "unlimited" if isinstance(value, float) and math.isinf(value) else value
