"""Fixtures of the whole suite: a home of its own for every test, a small simulated frame, the real data if there."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import hypothesis
import polars as pl
import pytest

# Where the extra `models` is not installed, tests that import torch are left out, and the header says so.
HERE = Path(__file__).parent
NEURAL = sorted(str(p.relative_to(HERE)) for p in HERE.rglob("test_*.py") if "\nimport torch" in p.read_text("utf-8"))
collect_ignore = NEURAL if find_spec("torch") is None else []

# Nothing here asserts speed: on a busy machine a single example may take any time.
hypothesis.settings.register_profile("mslitmus", deadline=None)
hypothesis.settings.load_profile("mslitmus")

REAL_DATA = Path(__file__).resolve().parents[1].parent / "shared" / "data"


def pytest_report_header() -> str:
    return f"torch is not installed: without {', '.join(NEURAL)}" if collect_ignore else "torch is installed"


@pytest.fixture(autouse=True)
def _own_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or writes the user's store."""
    monkeypatch.setenv("MSLITMUS_HOME", str(tmp_path_factory.mktemp("home")))


@pytest.fixture
def real_data() -> Callable[[str], Path]:
    """`real_data("readers/golm.msp")` → the path in ../shared/data, else the test is skipped with the reason."""

    def find(name: str) -> Path:
        path = REAL_DATA / name
        if not path.exists():
            pytest.skip(f"real data absent: {path}")
        return path

    return find


@pytest.fixture(scope="session")
def _tiny_once() -> pl.DataFrame:
    from mslitmus.data.molecules import MOLECULES
    from mslitmus.data.simulate import simulate

    return simulate(molecules=MOLECULES[:: len(MOLECULES) // 20][:20], replicate_share=0.2, sodium_share=0.1)


@pytest.fixture
def tiny(_tiny_once: pl.DataFrame) -> pl.DataFrame:
    """Some 90 simulated spectra of 20 molecules: three energies, two laboratories, both ion modes."""
    return _tiny_once.clone()
