"""Values of the section Candidates: what a ranking chose from, and what the size of a pool makes of a hit rate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
from markupsafe import Markup

from .board import board, chosen
from .folder import RunFiles
from .leaderboard import shape
from .lines import Line, size_chart
from .numbers import MISSING, count, interval, metric_label, percent, score, usable

_QUANTILES = (
    ("0.05", "5\u00a0%"),
    ("0.25", "25\u00a0%"),
    ("0.5", "median"),
    ("0.75", "75\u00a0%"),
    ("0.95", "95\u00a0%"),
)


@dataclass(frozen=True)
class Group:
    """Pool sizes of one set of molecules: the test queries of a split, or all pools of the run."""

    split: str
    name: str
    left_out: str  # what `min_candidates` left out; empty where the record does not say
    rows: tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(frozen=True)
class Pools:
    """The candidate set in words and numbers."""

    sentence: str
    facts: tuple[tuple[str, str], ...]
    asked: bool  # whether the groups are the test queries of each split; else the record knows all pools only
    headings: tuple[str, ...]
    groups: tuple[Group, ...]
    origins: tuple[tuple[str, tuple[tuple[str, str], ...]], ...]  # list, (share, candidates) in each group
    judge: str | None  # what a classifier of structures alone can tell


@dataclass(frozen=True)
class Curve:
    """Hit rate against pool size on one split."""

    split: str
    label: str
    n: str
    chart: Markup
    sizes: tuple[str, ...]
    rows: tuple[tuple[str, tuple[str, ...]], ...]  # model → value at each size; chance last


def pools(files: RunFiles) -> Pools | None:
    """From candidates.json; None where the run has none. What the record lacks shows as a dash."""
    record = files.candidates
    if record is None:
        return None
    settings = _mapping(record.get("settings"))
    asked = {str(split): _mapping(part) for split, part in _mapping(record.get("asked")).items()}
    parts = {split: asked[split] for split in files.split_names if split in asked} or {"": record}
    made_up = bool(settings.get("fill")) or any(part.get("real") != part.get("size") for part in parts.values())
    facts = [
        ("Set", str(record.get("name") or MISSING)),
        ("Hash", str(record.get("hash") or MISSING)),
        ("All pools", _all(record)),
    ]
    return Pools(
        sentence=_sentence(record, settings, _mapping(record.get("origins"))),
        facts=tuple(facts),
        asked=bool(asked),
        headings=(
            *(title for _, title in _QUANTILES),
            f"Pools of {count(record.get('at_least'))} or more",
            "Chance of a hit at 1",
        ),
        groups=tuple(_group(files, split, part, made_up=made_up) for split, part in parts.items()),
        origins=_origins(list(parts.values())),
        judge=_judge(record.get("structure_auc")),
    )


def _all(record: Mapping[str, Any]) -> str:
    """Every pool of the run: of validation and of training molecules too, from which controls learn."""
    return f"{count(record.get('candidates'))} candidates for {count(record.get('molecules'))} molecules"


def _group(files: RunFiles, split: str, part: Mapping[str, Any], *, made_up: bool) -> Group:
    rows = [_sizes(part, "all candidates", "size", "large_enough", "chance")]
    if made_up:
        rows.append(_sizes(part, "without decoys", "real", "large_enough_real", "chance_real"))
    if not split:
        return Group("", f"All {count(part.get('molecules'))} pools of the run", "", tuple(rows))
    queries = max((e.n_queries or 0 for e in board(files, split, files.primary, "molecule")), default=0)
    spectra = f"{count(queries)} spectra of " if queries else ""
    name = f"{split} split: {spectra}{count(part.get('molecules'))} molecules are asked"
    return Group(split, name, _left_out(part), tuple(rows))


def _left_out(part: Mapping[str, Any]) -> str:
    """`66 spectra of 11 molecules left out: fewer than 8 candidates`."""
    gone, least = _mapping(part.get("left_out")), part.get("min_candidates")
    if not (usable(gone.get("spectra")) and usable(least)):
        return ""
    if not gone["spectra"]:
        return f"none left out: every pool has {count(least)} candidates or more"
    lost = f"{count(gone['spectra'])} spectra of {count(gone.get('molecules'))} molecules"
    return f"{lost} left out: fewer than {count(least)} candidates"


def _origins(parts: Sequence[Mapping[str, Any]]) -> tuple[tuple[str, tuple[tuple[str, str], ...]], ...]:
    """One row a list, those that give most in the first group on top."""
    found = [_mapping(part.get("origins")) for part in parts]
    totals = [sum(n for n in own.values() if usable(n)) or 1 for own in found]
    names = sorted({str(name) for own in found for name in own}, key=lambda name: (-_number(found[0], name), name))
    return tuple(
        (
            _source(name),
            tuple(
                (percent(_number(own, name) / total), count(_number(own, name)))
                for own, total in zip(found, totals, strict=True)
            ),
        )
        for name in names
    )


def _number(own: Mapping[str, Any], name: str) -> float:
    value = own.get(name)
    return value if usable(value) and value is not None else 0


def _source(name: str) -> str:
    """Where a candidate comes from, in words."""
    if name == "dataset":
        return "the dataset’s own molecules"
    kind, _, way = name.partition(":")
    return f"decoys, {way}" if kind == "decoy" and way else "decoys" if kind == "decoy" else name


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _sizes(record: Mapping[str, Any], title: str, key: str, large: str, chance: str) -> tuple[str, tuple[str, ...]]:
    sizes, enough, molecules = _mapping(record.get(key)), record.get(large), record.get("molecules")
    share = percent(enough / molecules) if usable(enough) and usable(molecules) and molecules and enough else None
    cells = [count(sizes.get(q)) for q, _ in _QUANTILES]
    return title, (*cells, f"{count(enough)}{f' ({share})' if share else ''}", small(record.get(chance)))


def small(value: Any) -> str:
    """A probability that may be far below .01: two significant figures there."""
    return score(value) if not usable(value) or value >= 0.1 or value <= 0 else score(value, 3 if value >= 0.01 else 4)


def _sentence(record: Mapping[str, Any], settings: Mapping[str, Any], origins: Mapping[str, Any]) -> str:
    """What kind of pool it is and where its candidates come from."""
    size = settings.get("size")
    most = f"up to {count(size)} candidates" if usable(size) else "candidates"
    kind = {
        "mass": f"of the truth’s mass (within {settings.get('ppm', 10):g} ppm)"
        if usable(settings.get("ppm", 10))
        else "of the truth’s mass",
        "formula": "of the truth’s formula",
    }.get(str(record.get("kind")), f"of kind {record.get('kind')}")
    names = [str(name) for name in origins if not str(name).startswith("decoy")]
    source = f", from {_listed(names)}" if names else ""
    fill = (
        "; short pools are filled up with made-up molecules of the same formula (decoys)"
        if settings.get("fill")
        else ""
    )
    return (
        f"Each query ranks a pool of {most} {kind}{source}{fill}. The truth is in it once, candidates are unique by "
        "InChIKey-14, spelled alike and in the order of a hash. All spectra of a molecule share its pool."
    )


def _listed(names: list[str]) -> str:
    named = [_source(name) for name in names]
    return named[0] if len(named) == 1 else f"{', '.join(named[:-1])} and {named[-1]}"


def _judge(value: Any) -> str | None:
    """The AUC of truth against decoy for a classifier that sees structures alone: a number, or a record of it."""
    found = _mapping(value)
    auc = found.get("auc") if found else value
    if not usable(auc):
        return None
    span = interval(found.get("low"), found.get("high"))
    parts = [
        f"A classifier that sees structures and no spectrum tells truth from candidate with an AUC of {score(auc)}"
    ]
    if span != MISSING:
        parts.append(f" {span}")
    against = [
        f"{score(found.get(key))} against {name}"
        for key, name in (("auc_decoys", "decoys"), ("auc_real", "other real molecules"))
        if usable(found.get(key))
    ]
    parts.append(f" ({', '.join(against)})" if against else "")
    return "".join(parts) + "; .5 means that the candidates alone tell nothing."


def curves(files: RunFiles) -> list[Curve]:
    """One chart a split of pool_sizes.parquet, in the order of the splits."""
    if files.pool_sizes is None:
        return []
    return [
        _curve(files, split, table)
        for split in files.split_names
        if (table := files.pool_sizes.filter(pl.col("split") == split)).height
    ]


def _curve(files: RunFiles, split: str, table: pl.DataFrame) -> Curve:
    metric = str(table["metric"][0])
    table = table.filter(pl.col("metric") == metric).sort("size", maintain_order=True)
    sizes = table["size"].unique().sort().to_list()
    entries = {e.model: e for e in board(files, split, files.primary, "molecule")}
    found = table["model"].unique(maintain_order=True).to_list()
    models = [name for name in entries if name in found] + [name for name in found if name not in entries]
    named = [chosen(files, split, files.primary, "molecule", control=True)]
    spoken = {e.model for e in named if e}
    lines, rows = [], []
    for model in models:
        own = table.filter(pl.col("model") == model)
        values = dict(own.select("size", "mean").iter_rows())
        form = shape(entries.get(model))
        points = tuple((size, values[size]) for size in sizes if usable(values.get(size)))
        lines.append(Line(model, points, form, form != "control" or model in spoken))
        rows.append((model, tuple(score(values.get(size)) for size in sizes)))
    chance = dict(table.group_by("size").agg(pl.col("chance").first()).iter_rows())
    lines.append(Line("chance", tuple((s, chance[s]) for s in sizes if usable(chance[s])), "chance", True))
    rows.append(("chance", tuple(small(chance[size]) for size in sizes)))
    label = metric_label(metric)
    return Curve(
        split=split,
        label=label,
        n=count(table["n_queries"].max()),
        chart=size_chart(lines, label=f"{label} against pool size on the {split} split", title=label),
        sizes=tuple(count(size) for size in sizes),
        rows=tuple(rows),
    )
