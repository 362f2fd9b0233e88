"""A cohort from its sheet to the tables of its run folder: what the command does, as a function."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from ..errors import ConfigError, RunError
from ..lock import exclusive
from ..provenance import environment, file_hash, now, write_json, write_parquet
from . import REPRESENTATIONS
from .asking import Vectors, answer, grouped, unasked, views
from .comparing import compare
from .embedding import Embedding
from .intake import COUNTS, Say, read_runs, summaries
from .leading import leaders
from .library_hits import LibraryHits
from .pooled import OF_BAGS, OF_EMBEDDINGS, Pooled, fits
from .representation import Representation
from .samples import Sheet, read_sheet
from .settings import BASELINE, CohortSettings, need_extra
from .tables import COMPARISONS, DERIVED, LEADERS, SHUFFLED, TABLES, table


@dataclass(frozen=True)
class Finished:
    """What a run of a cohort left behind.

    Attributes:
        root: the run folder.
        results: schema RESULTS.
        comparisons, leaders: schemas COMPARISONS and LEADERS.
        notes: what was assumed or left out, in words.
        seconds: of this call.
    """

    root: Path
    results: pl.DataFrame
    comparisons: pl.DataFrame
    leaders: pl.DataFrame
    notes: tuple[str, ...]
    seconds: float


def build(name: str, how: CohortSettings) -> Representation:
    """A representation by name; a path, or `name=path`, is the folder of an embedder.

    Raises ConfigError for an unknown name, with the nearest known ones.
    """
    if name == "library-hits":
        return LibraryHits(how.library)
    if name in REPRESENTATIONS and name != "embedding":
        made: Representation = REPRESENTATIONS[name]()
        return made
    called, _, path = name.rpartition("=")
    if Path(path).expanduser().exists():
        if called in REPRESENTATIONS or "/" in called or called.endswith(SHUFFLED):
            raise ConfigError(f"a model cannot be called {called!r}", where=name, remedy="another name before the =")
        return Embedding(Path(path).expanduser(), called or None)
    return REPRESENTATIONS[name]()  # type: ignore[no-any-return]  # the registry's own word on what is wrong


def run(sheet: Path, data: Path, root: Path, how: CohortSettings, *, jobs: int = 1, say: Say) -> Finished:
    """Read, represent, ask, write. What an earlier call finished with the same settings is taken as it is.

    Args:
        sheet: TSV; data: folder or archive of its files; root: the run folder.

    Raises MslitmusError of every kind, before long work where it can be known.
    """
    need_extra()
    started, at = now(), time.perf_counter()
    asked = read_sheet(sheet, columns=how.columns, targets=how.targets, classes=how.classes)
    made = _representations(how)
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(
            f"cannot be written: {error.strerror or error}", where=str(root), remedy="another --out"
        ) from error
    with exclusive(root):
        groups = grouped(asked, how)
        counts = read_runs(asked, data, root, how, jobs, say)
        samples = _samples(asked, counts, root)
        vectors = [_vectors(each, samples, root, how, say) for each in made]
        tables = _tables(asked, vectors, how, root, say)
        numbers = {
            name: dict(zip(_names(asked, name), grouping.of.tolist(), strict=True)) for name, grouping in groups.items()
        }
        tables["comparisons"] = table(compare(tables["predictions"], numbers, how), COMPARISONS)
        units = dict(asked.rows.select("sample", "unit").iter_rows())
        tables["leaders"] = table(leaders(tables["predictions"], tables["results"], numbers, units, how), LEADERS)
        for name, frame in tables.items():
            write_parquet(root / f"{name}.parquet", frame)
        notes = _notes(asked, counts, groups, how)
        write_json(root / "config.json", {
            **how.model_dump(mode="json"), "sheet": str(sheet), "data": str(data),
            "classes_found": list(asked.classes), "numbers_found": list(asked.numbers),
            "acquisitions": [view.acquisition for view in views(asked)],
            "kept_together": {name: list(each.columns) for name, each in groups.items()},
            "representations_made": {each.name: _plain(each.identity()) for each in made},
            "notes": notes,
        })  # fmt: skip
        seconds = time.perf_counter() - at
        write_json(root / "provenance.json", {
            **environment(), "started": started, "finished": now(), "seconds": round(seconds, 1), "jobs": jobs,
            "sheet_hash": file_hash(sheet), "files": dict(counts.select("sample", "hash").iter_rows()),
        })  # fmt: skip
    return Finished(root, tables["results"], tables["comparisons"], tables["leaders"], tuple(notes), seconds)


def _representations(how: CohortSettings) -> list[Representation]:
    """In the order asked for, each name once, with what is asked of them checked."""
    made: dict[str, Representation] = {}
    for name in how.representations:
        each = build(name, how)
        if each.name in made:
            raise ConfigError(f"two representations called {each.name!r}", remedy="name one of them: other=PATH")
        if how.blanks == "subtract" and not each.bag:
            remedy = "blanks: remove, which takes whole spectra, or keep"
            raise ConfigError(f"blanks cannot be subtracted from {each.name!r}, which has no words", remedy=remedy)
        each.identity()  # opens libraries and reads files: what is absent is said before any run is read
        made[each.name] = each
    for name in how.aggregations:
        if not any(fits(name, each.bag) for each in made.values()):
            remedy = f"of bags: {', '.join(OF_BAGS)}; of embeddings: {', '.join(OF_EMBEDDINGS)}"
            raise ConfigError(f"aggregation {name!r} fits none of {', '.join(made)}", remedy=remedy)
    return list(made.values())


def _aggregations(each: Representation, how: CohortSettings) -> tuple[str, ...]:
    """Those asked for that fit, else the representation's own."""
    return tuple(name for name in how.aggregations if fits(name, each.bag)) or each.aggregations


def _samples(sheet: Sheet, counts: pl.DataFrame, root: Path) -> pl.DataFrame:
    """Writes `samples.parquet`; returns it with `key`, which tells what was kept of a run."""
    rows = sheet.rows.join(counts.select("sample", "key", *COUNTS), on="sample", how="left", maintain_order="left")
    write_parquet(root / "samples.parquet", rows.drop("key"))
    return rows


def _vectors(made: Representation, samples: pl.DataFrame, root: Path, how: CohortSettings, say: Say) -> Vectors:
    """Also writes `vectors/<name>.parquet`, the mean over spectra, and what its dimensions mean."""
    found, key = summaries(made, samples, root, how, say)
    blank = samples["role"] == "blank"
    away = [s for s, b in zip(found, blank, strict=True) if b] if how.blanks == "subtract" and made.bag else []
    pooled = Pooled(found, made.bag, away, how.seed)
    folder = root / "vectors"
    folder.mkdir(exist_ok=True)
    values = pl.Series("vector", pooled.vectors()).cast(pl.List(pl.Float32))
    write_parquet(folder / f"{made.name}.parquet", samples.select("sample").with_columns(values))
    words = made.words(pooled.index).with_columns(index=pl.int_range(pl.len(), dtype=pl.Int64))
    write_parquet(folder / f"{made.name}.words.parquet", words)
    by_run = dict(zip(samples["sample"].to_list(), found, strict=True))
    return Vectors(made.name, made.bag, _aggregations(made, how), by_run, key)


def _tables(sheet: Sheet, vectors: list[Vectors], how: CohortSettings, root: Path, say: Say) -> dict[str, pl.DataFrame]:
    """The answers of all acquisitions and representations, below each other."""
    parts: dict[str, list[pl.DataFrame]] = {name: [] for name in TABLES if name not in DERIVED}
    for view in views(sheet):
        for each in vectors:
            say(f"asking {each.name}" + (f", acquisition {view.acquisition}" if sheet.acquisitions else ""))
            for name, frame in answer(view, each, sheet, how, root).items():
                parts[name].append(frame)
    return {name: pl.concat(frames) for name, frames in parts.items()}


def _names(sheet: Sheet, acquisition: str) -> list[str]:
    [view] = [v for v in views(sheet) if v.acquisition == acquisition]
    return view.rows.filter(pl.col("role") == "sample")["sample"].to_list()


def _notes(sheet: Sheet, counts: pl.DataFrame, groups: dict[str, Any], how: CohortSettings) -> list[str]:
    notes = [*sheet.notes, *unasked(sheet, how), *dict.fromkeys(each.note for each in groups.values() if each.note)]
    told = counts.filter(pl.col("notes").list.len() > 0)
    notes += [f"{sample}: {'; '.join(some)}" for sample, some in told.select("sample", "notes").iter_rows()]
    if in_blank := int(counts["in_blank"].fill_null(0).sum()):
        notes.append(f"{in_blank:,} spectra of samples are seen in a blank too, and left out")
    if BASELINE not in how.representations:
        notes.append(f"nothing is compared with {BASELINE}, which was not asked for")
    return notes


def _plain(value: Any) -> Any:
    """JSON has no tuples."""
    return {k: list(v) if isinstance(v, tuple) else v for k, v in value.items()}
