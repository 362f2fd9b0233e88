"""Metabolomics Workbench: mwTab files as sample sheets, and where a project's files are.

Addresses as its REST service and download pages had them in 2026: `/rest/study/study_id/ST/available/txt` (vertical
lists of project_id, study_id, analysis_id), `/rest/study/analysis_id/AN…/mwtab/txt`, and a download page a study that
links `/studydownload/…`. None of them could be asked while this was written; each has one function here.
"""

from __future__ import annotations

import re
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import polars as pl

from ...errors import DataError
from . import SheetRule

BASE = "https://www.metabolomicsworkbench.org"
TIMEOUT = 60.0
_ROW = "SUBJECT_SAMPLE_FACTORS"
_ARCHIVE = re.compile(r"/studydownload/([^\"'<>\s]+?\.(?:zip|7z|tar|tar\.gz|tgz))(?=[\"'<>\s])", re.IGNORECASE)
_DESCRIBED = ("CHROMATOGRAPHY_TYPE", "COLUMN_NAME", "ION_MODE")


@dataclass(frozen=True)
class MwTab:
    """One mwTab file: `rows` as (subject, sample, factors, additional data), and its `KEY` → value lines."""

    rows: tuple[tuple[str, str, Mapping[str, str], Mapping[str, str]], ...]
    told: Mapping[str, str]

    @property
    def described(self) -> str:
        """Chromatography and ion mode in a few words."""
        parts = [self.told[key] for key in _DESCRIBED if self.told.get(key)]
        return " ".join(parts[:1] + parts[-1:] if len(parts) > 1 else parts)


def parse(text: str, where: str) -> MwTab:
    """Read the lines of the samples and the described chromatography. Raises DataError where there are no samples."""
    rows, told = [], {}
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.split("\t")]
        if cells[0] == _ROW and len(cells) >= 4:
            more = _pairs(cells[4], ";", "=") if len(cells) > 4 else {}
            rows.append((cells[1], cells[2], _pairs(cells[3], "|", ":"), more))
        elif len(cells) == 2 and ":" in cells[0]:
            told[cells[0].rsplit(":", 1)[1]] = cells[1]
    if not rows:
        raise DataError("no SUBJECT_SAMPLE_FACTORS line", where=where, remedy="is it an mwTab text file?")
    return MwTab(tuple(rows), told)


def _pairs(text: str, between: str, equal: str) -> dict[str, str]:
    pairs = (part.partition(equal) for part in text.split(between))
    return {key.strip(): value.strip() for key, sign, value in pairs if sign}


def sheet(tabs: Sequence[tuple[str, MwTab]], rule: SheetRule, factor: str = "") -> pl.DataFrame:
    """A sample sheet, see docs/cohorts.md.

    Args:
        tabs: (acquisition, its mwTab file).
        factor: in place of the rule's.

    Raises DataError where the factor is not named or not there (its message lists the factors with their values), or
    where no raw file is named.
    """
    factor = factor or rule.factor
    known = _factors(tabs)
    if factor not in known:
        listed = "; ".join(f"{name}: {_listed(values)}" for name, values in known.items())
        what = f"no factor {factor!r}" if factor else "the catalogue does not say which factor is to be predicted"
        raise DataError(f"{what}; there are {listed}", remedy="name one with --factor")
    rows = []
    for acquisition, tab in tabs:
        for subject, sample, factors, more in tab.rows:
            file = next((v for k, v in {**more, **factors}.items() if k.startswith(rule.file)), "")
            if not file:
                continue
            rows.append({
                "file": PurePosixPath(file.replace("\\", "/")).name,
                "sample": sample,
                "subject": factors.get(rule.subject) or (subject if subject not in ("", "-") else None),
                "batch": factors.get(rule.batch),
                "acquisition": acquisition,
                "role": _role(rule, sample, factors),
                rule.target: factors.get(factor),
            })  # fmt: skip
    if not rows:
        what = f"no row names a raw file ({rule.file}…)"
        raise DataError(what, remedy="write the sheet by hand, with a column file: docs/cohorts.md")
    table = pl.DataFrame(rows, schema=dict.fromkeys(rows[0], pl.String)).unique(maintain_order=True)
    return table.with_columns(pl.when(pl.col("role") == "sample").then(pl.col(rule.target)).alias(rule.target))


def _factors(tabs: Sequence[tuple[str, MwTab]]) -> dict[str, Counter[str]]:
    out: dict[str, Counter[str]] = {}
    for _, tab in tabs:
        for _, _, factors, _ in tab.rows:
            for name, value in factors.items():
                out.setdefault(name, Counter())[value] += 1
    return out


def _listed(values: Counter[str]) -> str:
    shown = ", ".join(f"{value} ({n})" for value, n in values.most_common(4))
    return shown + (f" and {len(values) - 4} more" if len(values) > 4 else "")


def _role(rule: SheetRule, sample: str, factors: Mapping[str, str]) -> str:
    texts = [sample, *factors.values()]
    for role, pattern in (("blank", rule.blank), ("pool", rule.pool)):
        if pattern and any(re.search(pattern, text) for text in texts):
            return role
    return "sample"


def analyses_of(project: str, base: str = BASE) -> list[tuple[str, str]]:
    """(study, analysis) of a project. Raises DataError where the list has none of it."""
    url = f"{base}/rest/study/study_id/ST/available/txt"
    found, current = [], dict[str, str]()
    for line in get(url).splitlines():
        key, _, value = line.partition("\t")
        current[key.strip()] = value.strip()
        if key.strip() == "analysis_id" and current.get("project_id") == project:
            found.append((current["study_id"], value.strip()))
    if not found:
        raise DataError(f"no study of project {project} in the list", where=url, remedy="look at the project's page")
    return list(dict.fromkeys(found))


def mwtab_url(analysis: str, base: str = BASE) -> str:
    return f"{base}/rest/study/analysis_id/{analysis}/mwtab/txt"


def archives_of(study: str, base: str = BASE) -> list[tuple[str, str]]:
    """(name, address) of a study's archives. Raises DataError where its download page links none."""
    url = f"{base}/data/DRCCStudySummary.php?Mode=SetupRawDataDownload&StudyID={study}"
    names = list(dict.fromkeys(_ARCHIVE.findall(get(url))))
    if not names:
        remedy = "download the runs by hand and give their folder with --data"
        raise DataError("the download page links no archive", where=url, remedy=remedy)
    return [(name, f"{base}/studydownload/{name}") for name in names]


def get(url: str) -> str:
    """A small text. Raises DataError."""
    request = urllib.request.Request(url, headers={"User-Agent": "mslitmus"})
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
            text: str = response.read().decode("utf-8", "replace")
    except (urllib.error.URLError, OSError) as error:
        remedy = "check the connection; with the files at hand give --data FOLDER (runs and mwTab text files)"
        raise DataError(f"cannot be fetched: {error}", where=url, remedy=remedy) from error
    return text
