"""The house rules that keep data moving one way."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "mslitmus"
# A room may import rooms of the lines above its own only. Metrics lie below tasks: a task names and computes its own.
LAYERS = (
    ["errors"],
    ["registry", "schemas", "provenance", "lock", "rays"],
    ["lineage"],
    ["chem"],
    ["spectra"],
    ["data"],
    ["metrics"],
    ["search"],
    ["tasks"],
    ["models"],
    ["train"],
    ["cohort"],
    ["audits"],
    ["studies"],
    ["referee"],
    ["report"],
    ["cli"],
)
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
TORCH_FREE = ("chem", "spectra", "data", "search", "tasks", "metrics", "cohort", "audits", "referee", "report")


def room(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imports(path: Path) -> list[tuple[int, str]]:
    """(line, absolute dotted name) of every import in a file, those inside functions included."""
    package = ["mslitmus", *path.relative_to(SOURCE).parts[:-1]]
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            prefix = ".".join([*base, node.module] if node.module else base)
            found += [(node.lineno, f"{prefix}.{alias.name}") for alias in node.names]
    return found


FILES = sorted(p for p in SOURCE.rglob("*.py") if p.name != "__init__.py" or p.parent != SOURCE)


def test_every_room_has_a_level():
    assert {room(p) for p in FILES} <= set(LEVEL)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_imports_go_one_way(path: Path):
    mine = room(path)
    for line, name in imports(path):
        parts = name.split(".")
        if parts[0] == "mslitmus" and len(parts) > 1 and parts[1] in LEVEL and parts[1] != mine:
            assert LEVEL[parts[1]] < LEVEL[mine], f"{path}:{line}: {mine} may not import {parts[1]}"
        if mine in TORCH_FREE:
            assert parts[0] not in ("torch", "lightning", "torch_geometric"), f"{path}:{line}: {mine} is torch-free"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_a_file_is_one_idea(path: Path):
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= 400
    assert "raise NotImplementedError" not in text
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            length = (node.end_lineno or 0) - node.lineno + 1
            assert length <= 60, f"{path}:{node.lineno}: {node.name} has {length} lines"


def test_only_one_door_to_rdkit():
    for path in FILES:
        if any(name.split(".")[0] == "rdkit" for _, name in imports(path)):
            assert room(path) == "chem", f"{path} imports rdkit: use mslitmus.chem"


def test_import_is_cheap():
    """Neither torch nor RDKit nor polars comes in with the bare package."""
    code = "import sys, mslitmus; print([m for m in ('torch', 'rdkit', 'polars', 'numpy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
