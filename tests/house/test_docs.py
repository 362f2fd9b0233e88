"""What the README promises: its Python runs, its links and commands exist, and every page is in the index."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from mslitmus.cli.app import app
from mslitmus.data import store
from mslitmus.data.ledger import Ledger, LedgerEntry

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def test_the_example_of_the_readme_runs(tiny, capsys):
    [code] = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.S)
    store.save("massbank", tiny, Ledger((LedgerEntry("made", tiny.height),)), {"title": "few"})
    truth = tiny.select("identifier", "mzs", "intensities")
    exec(code, {"my_model": lambda queries: queries.select("identifier").join(truth, on="identifier")})
    assert "1.0" in capsys.readouterr().out  # the truth predicts itself


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\((?!https?:)([\w./-]+)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), f"{page.name}: {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_commands_exist(page):
    groups = {g.name for g in app.registered_groups}
    known = {c.name for c in app.registered_commands} | groups
    for name in re.findall(r"^\s{4}mslitmus ([a-z-]+)", page.read_text(encoding="utf-8"), re.M):
        assert name in known, f"{page.name}: mslitmus {name}"


def test_every_page_is_in_the_index():
    listed = re.findall(r"[\w-]+\.md", yaml.safe_dump(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]))
    assert {p.name for p in (ROOT / "docs").rglob("*.md")} == set(listed)
