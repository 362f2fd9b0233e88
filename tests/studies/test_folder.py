from __future__ import annotations

import os

import pytest

from mslitmus.errors import RunError
from mslitmus.studies.folder import RunFolder, claim, read_json


def test_a_cell_keeps_its_identity(tmp_path):
    claim(tmp_path, {"model": "a", "seed": 0})
    claim(tmp_path, {"model": "a", "seed": 0})
    with pytest.raises(RunError, match=r"other settings: seed \(0 → 1\)") as caught:
        claim(tmp_path, {"model": "a", "seed": 1})
    assert "--fresh" in str(caught.value)


def test_what_changed_is_said_in_words(tmp_path):
    cell = RunFolder(tmp_path).cell("molecule", "mine", 0)
    before = {"inputs": {"run.py": "a", "old.txt": "b"}, "options": {"size": 64}, "task": {"candidates": "c"}}
    claim(cell, before)
    after = {"inputs": {"run.py": "x", "new.txt": "b"}, "options": {"size": 64, "k": 1}, "task": {"candidates": "d"}}
    with pytest.raises(RunError) as caught:
        claim(cell, after)
    assert caught.value.message == (
        "model 'mine' (split molecule, seed0) was computed with other settings: "
        "the file 'new.txt' of its command is new; the file 'old.txt' of its command is read no more; "
        "the file 'run.py' of its command has changed; options.k (not set → 1); the candidate pools changed"
    )
    assert f"delete {cell} to compute this part again" in caught.value.remedy


def test_one_writer_at_a_time(tmp_path):
    folder = RunFolder(tmp_path)
    folder.open()
    (tmp_path / ".lock").write_text(str(os.getppid()))
    with pytest.raises(RunError, match="another process"), folder.lock():
        pass
    (tmp_path / ".lock").write_text("999999999")  # a killed run's lock is taken over
    with folder.lock():
        assert (tmp_path / ".lock").read_text().split()[0] == str(os.getpid())
    assert not list(tmp_path.glob(".lock*"))


def test_a_disk_without_hard_links(tmp_path, monkeypatch):
    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "link", refuse)
    (tmp_path / ".lock").write_text(str(os.getppid()))
    with pytest.raises(RunError, match="another process"), RunFolder(tmp_path).lock():
        pass
    (tmp_path / ".lock").unlink()
    with RunFolder(tmp_path).lock():
        assert (tmp_path / ".lock").read_text().split()[0] == str(os.getpid())
    assert not list(tmp_path.glob(".lock*"))


def test_a_folder_that_is_a_file(tmp_path):
    (tmp_path / "run").touch()
    with pytest.raises(RunError, match="cannot be written"):
        RunFolder(tmp_path / "run").open()


def test_damaged_json_is_named(tmp_path):
    (tmp_path / "x.json").write_text("{")
    with pytest.raises(RunError, match=r"x\.json"):
        read_json(tmp_path / "x.json")
