"""What the owner of a model declares: lists of molecules that it met before training, and claims about its results."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import yaml

from ..audits.claim import Claim, Printed
from ..audits.evidence import Pretraining
from ..chem.molecule import inchikey14
from ..chem.standardise import standardise
from ..data.candidates import workers
from ..data.candidates.lists import read_smiles
from ..errors import ChemistryError, ConfigError, DataError, unknown_name
from ..metrics.names import parse_metric

_CHUNK = 500
_KEYS = ("model", "split", "metric", "average", "value", "interval", "level", "n", "unit", "better_than", "p")
_AVERAGES = ("spectrum", "molecule")
_UNITS = ("spectrum", "molecule", "threshold", "seed", "other")


# --- pretraining ----------------------------------------------------------------------------------------------------


def pretraining_list(text: str, models: Sequence[str]) -> tuple[Pretraining, str]:
    """A declared list from `PATH` or `PATH:MODEL`, and a line about what was read.

    Args:
        text: a list as `mslitmus candidates import` takes it: `.smi` (first word of a line), `.tsv`, `.csv`, with or
            without header and names, also `.gz`; `.parquet`. Of PATH alone every trained model is taken to have met it.
        models: rows of the run.
    A molecule counts under its own InChIKey-14 and under that of its neutral form, so that a salt meets its acid.
    Raises DataError for a file without a molecule, ConfigError for a model that the run lacks.
    """
    path, model = _parted(text)
    if model is not None and model not in models:
        raise unknown_name("model", model, models)
    texts = [each for each in read_smiles(path) if each]
    texts = texts[1:] if texts and "smiles" in texts[0].lower() else texts  # the header of a .smi
    distinct = list(dict.fromkeys(texts))
    chunks = [distinct[i : i + _CHUNK] for i in range(0, len(distinct), _CHUNK)]
    made = workers.apply(f"{__name__}:keyed", chunks, 2 if len(distinct) > 4 * _CHUNK else 1)
    rows, bad = [], []
    for chunk, answers in zip(chunks, made, strict=True):
        for smiles, found in zip(chunk, answers, strict=True):
            rows += found
            if not found:
                bad.append(smiles)
    if not rows:
        remedy = "give a list of SMILES, one a line, or a table with a column smiles"
        raise DataError(f"no molecule is readable among {len(texts):,} lines", where=str(path), remedy=remedy)
    frame = pl.DataFrame(rows, schema={"smiles": pl.String, "inchikey14": pl.String}, orient="row")
    molecules = frame.unique("inchikey14", keep="first", maintain_order=True)
    said = f"{path.name}: {len(distinct) - len(bad):,} molecules, met by {model or 'every trained model'}"
    if bad:
        said += f"; {len(bad):,} lines are no SMILES, e.g. {', '.join(repr(text[:40]) for text in bad[:3])}"
    return Pretraining(path.name, molecules, None if model is None else (model,)), said


def keyed(smiles: list[str]) -> list[list[tuple[str, str]]]:
    """(SMILES, InChIKey-14) of each as it stands and in neutral form; nothing for what does not parse."""
    out = []
    for text in smiles:
        found: dict[str, str] = {}
        try:
            found.setdefault(inchikey14(text), text)
            form = standardise(text)
            found.setdefault(form.inchikey14, form.smiles)
        except ChemistryError:
            pass  # a molecule without a neutral form counts as it stands; none at all is reported as unreadable
        out.append([(spelling, key) for key, spelling in found.items()])
    return out


def _parted(text: str) -> tuple[Path, str | None]:
    """PATH[:MODEL]; a path that holds a colon itself wins."""
    whole = Path(text).expanduser()
    if whole.is_file():
        return whole, None
    head, colon, model = text.partition(":")
    path = Path(head).expanduser()
    if not (colon and path.is_file()):
        shown = head if colon else text
        raise DataError("no such list", where=shown, remedy="give PATH or PATH:MODEL of a list of SMILES")
    return path, model


# --- claims ---------------------------------------------------------------------------------------------------------


def read_claims(path: Path, models: Sequence[str], splits: Sequence[str]) -> tuple[Claim, ...]:
    """Claims of a YAML file: a list, or a mapping with the key `claims`.

    Numbers are read as they are written, since their last digit says how they were rounded. A claim without a split is
    of the run's only one. Raises ConfigError naming file, entry and key.
    """
    try:
        value = yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.BaseLoader)  # every scalar stays text
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"cannot be read: {error}", where=str(path), remedy="give a UTF-8 YAML file") from error
    entries = value.get("claims") if isinstance(value, Mapping) else value
    if not isinstance(entries, list) or not all(isinstance(entry, Mapping) for entry in entries) or not entries:
        raise ConfigError("no list of claims", where=str(path), remedy="see docs/audits/confidence.md for an example")
    return tuple(
        _claim(entry, f"{path.name}, claim {number}", models, splits) for number, entry in enumerate(entries, 1)
    )


def _claim(entry: Mapping[str, Any], where: str, models: Sequence[str], splits: Sequence[str]) -> Claim:
    for key in entry:
        if key not in _KEYS:
            wrong = unknown_name("key", key, _KEYS)
            raise ConfigError(wrong.message, where=where, remedy=wrong.remedy)
    if absent := [key for key in ("model", "metric", "value") if key not in entry]:
        raise ConfigError(f"no {absent[0]}", where=where, remedy="a claim needs model, metric and value")
    split = entry.get("split") or (splits[0] if len(splits) == 1 else None)
    if split is None:
        raise ConfigError("no split", where=where, remedy=f"one of {', '.join(splits)}")
    named = (("model", entry["model"], models), ("split", split, splits), *_choices(entry, models))
    for kind, name, known in named:
        if name not in known:
            wrong = unknown_name(kind, name, known)
            raise ConfigError(wrong.message, where=where, remedy=wrong.remedy)
    parse_metric(entry["metric"])  # raises with the nearest name
    low, high = _interval(entry.get("interval"), where)
    return Claim(
        where=where,
        model=entry["model"],
        split=split,
        metric=entry["metric"],
        average=entry.get("average", "spectrum"),
        value=printed(entry["value"], f"{where}, value"),
        low=low,
        high=high,
        level=_level(entry, where),
        n=_whole(entry.get("n"), where),
        unit=entry.get("unit"),
        better_than=entry.get("better_than"),
        p=None if "p" not in entry else _fraction(entry["p"].lstrip("<= "), f"{where}, p"),
    )


def _choices(entry: Mapping[str, Any], models: Sequence[str]) -> Iterator[tuple[str, str, Sequence[str]]]:
    for key, known in (("average", _AVERAGES), ("unit", _UNITS), ("better_than", models)):
        if key in entry:
            yield key, entry[key], known


def printed(text: Any, where: str) -> Printed:
    """A number as printed: `0.353`, `.353`, `35.3 %`, `35.3%`, `1,234`. Raises ConfigError."""
    plain = str(text).replace(",", "").replace("\u2212", "-").strip()
    percent = plain.endswith("%")
    plain = plain.removesuffix("%").strip()
    try:
        value = float(plain)
    except ValueError as error:
        raise ConfigError(f"{text!r} is no number", where=where, remedy="write it as printed, e.g. 0.353") from error
    mantissa, _, exponent = plain.lower().partition("e")
    decimals = len(mantissa.partition(".")[2])
    unit = 10.0 ** (int(exponent or 0) - decimals)
    return Printed(value / 100, unit / 100) if percent else Printed(value, unit)


def _interval(value: Any, where: str) -> tuple[Printed | None, Printed | None]:
    if value is None:
        return None, None
    if not isinstance(value, list) or len(value) != 2:
        raise ConfigError("an interval is two numbers", where=where, remedy="write interval: [0.331, 0.375]")
    low, high = (printed(each, f"{where}, interval") for each in value)
    if low.value > high.value:
        raise ConfigError("the interval ends below where it begins", where=where, remedy="write [low, high]")
    return low, high


def _level(entry: Mapping[str, Any], where: str) -> float:
    level = _fraction(entry.get("level", "0.95"), f"{where}, level")
    if not 0 < level < 1:
        raise ConfigError(f"level {level:g}", where=where, remedy="a fraction, e.g. 0.95, or 95 %")
    return level


def _fraction(text: str, where: str) -> float:
    return printed(text, where).value


def _whole(text: Any, where: str) -> int | None:
    if text is None:
        return None
    number = printed(text, f"{where}, n").value
    if number < 1 or number != int(number):
        raise ConfigError(f"n {text!r} is no count", where=where, remedy="a whole number of queries or molecules")
    return int(number)
