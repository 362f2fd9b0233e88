"""The command as it is started from a shell, for every test of it."""

from __future__ import annotations

import io
import sys

import pytest

from mslitmus.cli import main


@pytest.fixture
def call(monkeypatch, capsys):
    """`mslitmus` with these arguments: exit code, standard output, standard error."""

    def started(*arguments: object, stdin: str = "") -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["mslitmus", *map(str, arguments)])
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        with pytest.raises(SystemExit) as done:
            main()
        out, err = capsys.readouterr()
        return int(done.value.code or 0), out, err

    return started
