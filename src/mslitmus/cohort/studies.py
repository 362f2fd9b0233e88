"""A published cohort made ready: its mwTab files read, its archives unpacked, its sheet written."""

from __future__ import annotations

import shutil
import tarfile
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..data.catalogue import SourceFile
from ..data.cohorts import Analysis, CohortStudy
from ..data.cohorts.workbench import BASE, MwTab, analyses_of, archives_of, get, mwtab_url, parse, sheet
from ..data.download import fetch
from ..data.store import home
from ..errors import DataError
from .files import DAMAGED, extract

Say = Callable[[str], None]
_DONE = ".unpacked"


@dataclass(frozen=True)
class Ready:
    """What `mslitmus cohort` is called with."""

    sheet: Path
    data: Path
    settings: dict[str, Any]


def prepare(
    study: CohortStudy, data: Path | None = None, factor: str = "", base: str = BASE, say: Say | None = None
) -> Ready:
    """Fetch what is not there yet, and write `samples.tsv` beside it.

    Args:
        data: a folder of the runs with the study's mwTab text files; nothing is fetched then.
        factor: what is to be predicted, in place of the catalogue's.

    Raises DataError: no connection, an archive that cannot be unpacked, a factor that is not there.
    """
    say = say or (lambda _: None)
    folder = home() / "cohorts" / study.name
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        remedy = "set MSLITMUS_HOME to a folder of yours"
        raise DataError(f"cannot be written: {error}", where=str(folder), remedy=remedy) from error
    if data is not None:
        tabs = _tabs_in(data)
    else:
        pairs = _analyses(study, base)
        tabs = [_fetched(analysis, base, say) for _, analysis in pairs]
    path = folder / "samples.tsv"
    sheet(_named(tabs), study.sheet, factor).write_csv(path, separator="\t")
    if data is None:
        data = folder / "runs"
        for source in _files(study, list(dict.fromkeys(name for name, _ in pairs)), base):
            say(f"fetching {source.name}")
            unpack(fetch(source), data)
    return Ready(path, data, dict(study.settings))


def _analyses(study: CohortStudy, base: str) -> list[tuple[str, Analysis]]:
    if study.analyses:
        return [(study.studies[0], analysis) for analysis in study.analyses]
    return [(name, Analysis(id=analysis)) for name, analysis in analyses_of(study.project, base)]


def _fetched(analysis: Analysis, base: str, say: Say) -> tuple[str, MwTab]:
    say(f"fetching {analysis.id}")
    url = mwtab_url(analysis.id, base)
    return analysis.acquisition, parse(get(url), url)


def _tabs_in(folder: Path) -> list[tuple[str, MwTab]]:
    """The mwTab text files of a folder. Raises DataError where there is none."""
    found = []
    for path in sorted(folder.rglob("*.txt")):
        text = path.read_text(encoding="utf-8", errors="replace")
        if "SUBJECT_SAMPLE_FACTORS" in text:
            found.append(("", parse(text, str(path))))
    if not found:
        remedy = "save the mwTab text of each analysis (its page has a link) beside the runs"
        raise DataError("no mwTab text file", where=str(folder), remedy=remedy)
    return found


def _named(tabs: Sequence[tuple[str, MwTab]]) -> list[tuple[str, MwTab]]:
    """With a name for each acquisition: the catalogue's, else what the file says of column and mode, else a number."""
    names = [name or tab.described or f"analysis {k}" for k, (name, tab) in enumerate(tabs, 1)]
    twice = {name for name in names if names.count(name) > 1}
    numbered = [f"{name} ({k})" if name in twice else name for k, name in enumerate(names, 1)]
    return [(name, tab) for name, (_, tab) in zip(numbered, tabs, strict=True)]


def _files(study: CohortStudy, studies: Sequence[str], base: str) -> list[SourceFile]:
    if study.files:
        return [file.model_copy(update={"url": file.url.replace("{base}", base)}) for file in study.files]
    return [SourceFile(name=name, url=url) for each in studies for name, url in archives_of(each, base)]


def unpack(archive: Path, folder: Path) -> Path:
    """The archive's files in a folder of its name, once; a kill leaves no half of it. Raises DataError."""
    target = folder / archive.name.split(".")[0]
    if (target / _DONE).is_file():
        return target
    partial = folder / f".{target.name}.part"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        if not (zipfile.is_zipfile(archive) or tarfile.is_tarfile(archive)):
            remedy = "unpack it (7z x FILE) and give the folder, with the mwTab text files, as --data"
            raise DataError("neither zip nor tar", where=str(archive), remedy=remedy)
        extract(archive, partial)
    except DAMAGED as error:
        raise DataError(f"cannot be unpacked: {error}", where=str(archive), remedy="delete it and try again") from error
    (partial / _DONE).touch()
    shutil.rmtree(target, ignore_errors=True)
    partial.rename(target)
    return target
