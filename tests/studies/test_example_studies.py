"""Every study file under configs/ loads, and those that ask FlexMS's questions stay short."""

from __future__ import annotations

from pathlib import Path

import pytest

from mslitmus.studies.files import load

CONFIGS = Path(__file__).parents[2] / "configs"
STUDIES = sorted(path for path in CONFIGS.rglob("*.yaml") if not path.name.startswith(("pretrain-", "cohort-")))


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: str(path.relative_to(CONFIGS)))
def test_a_study_file_loads(path):
    pytest.importorskip("torch", reason="these studies name neural models")
    assert load(path).name == path.stem


@pytest.mark.parametrize("path", sorted((CONFIGS / "studies").glob("*.yaml")), ids=lambda path: path.name)
def test_a_file_fits_on_a_page_and_states_its_budget(path):
    text = path.read_text(encoding="utf-8")
    assert text.startswith("#")
    assert f"mslitmus run configs/studies/{path.name}" in text
    assert text.count("\n") <= 40
    assert "budget: {max_" in text
