"""Run somebody's program for a model: no shell, a process group of its own, everything it says in a log."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..errors import ConfigError, ModelError, unknown_name

_PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")
_GRACE = 3.0  # s between asking a process to end and killing it
_LOOK = 0.2  # s between two looks at a process: a signal that another thread took is acted on no later
_TAIL = 20  # lines of the log in an error


def parse_command(text: str, known: Sequence[str], *, where: str) -> list[str]:
    """Arguments of a command line, by the rules of a POSIX shell for quotes, with `{name}` placeholders checked.

    Nothing else of a shell works: no pipes, variables or wildcards. Raises ConfigError.
    """
    try:
        arguments = shlex.split(text)
    except ValueError as error:
        raise ConfigError(f"{text!r} is no command: {error}", where=where, remedy="close the quotes") from error
    if not arguments:
        raise ConfigError("the command is empty", where=where, remedy="e.g. python my_model.py --out {out}")
    for argument in arguments:
        if argument in ("|", ">", "<", "&&", "||", "&", ";"):
            remedy = "put the line into a script and name the script"
            raise ConfigError(f"{argument!r} needs a shell, and none is used", where=where, remedy=remedy)
        for name in _PLACEHOLDER.findall(argument):
            if name not in known:
                unknown = unknown_name("placeholder", name, known)
                raise ConfigError(unknown.message, where=where, remedy=unknown.remedy)
    return arguments


def placeholders(arguments: Sequence[str]) -> set[str]:
    """Names of the placeholders that are used."""
    return {name for argument in arguments for name in _PLACEHOLDER.findall(argument)}


def fill(arguments: Sequence[str], values: Mapping[str, object]) -> list[str]:
    """Arguments with placeholders replaced; a path with blanks stays one argument."""
    return [_PLACEHOLDER.sub(lambda m: str(values.get(m[1], m[0])), argument) for argument in arguments]


def run(arguments: Sequence[str], *, cwd: Path, log: Path, timeout: float | None = None) -> float:
    """Run to the end; returns seconds. Output goes to `log`, whose tail is in every error.

    Whatever ends the wait (timeout, Ctrl-C, any exception) ends the whole process group. Raises ModelError for a
    program that is not found, fails, is killed or takes longer than `timeout` seconds.
    """
    shown = shlex.join(arguments)
    started = time.perf_counter()
    with log.open("ab") as output:
        output.write(f"$ {shown}\n".encode())
        output.flush()
        try:
            process = subprocess.Popen(
                list(arguments), cwd=cwd, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                env=os.environ.copy(), start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            remedy = "check the name of the program and the folder (`cwd`) that it is started in"
            raise ModelError(
                f"{arguments[0]!r} cannot be started: {error.strerror}", where=shown, remedy=remedy
            ) from error
        try:
            code = _awaited(process, None if timeout is None else started + timeout)
        except subprocess.TimeoutExpired as error:
            _end(process)
            remedy = "raise the option timeout"
            raise ModelError(
                f"not done after {timeout:g} s, stopped{_tail(log)}", where=shown, remedy=remedy
            ) from error
        except BaseException:  # Ctrl-C among them
            _end(process)
            raise
    if code < 0:
        name = signal.Signals(-code).name if -code in {s.value for s in signal.Signals} else str(-code)
        hint = "it may have used too much memory" if -code == signal.SIGKILL else "run it by hand to see why"
        raise ModelError(f"killed by {name}{_tail(log)}", where=shown, remedy=f"{hint}; the log is {log}")
    if code:
        raise ModelError(f"ended with exit code {code}{_tail(log)}", where=shown, remedy=f"the whole log is {log}")
    return time.perf_counter() - started


def _awaited(process: subprocess.Popen[bytes], end: float | None) -> int:
    """The exit code. Raises TimeoutExpired once `time.perf_counter()` has passed `end`."""
    while True:
        try:
            return process.wait(_LOOK)
        except subprocess.TimeoutExpired:
            if end is not None and time.perf_counter() >= end:
                raise


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the process group: ask, wait, kill. A second Ctrl-C while waiting kills at once."""
    try:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE)
    finally:
        with contextlib.suppress(ProcessLookupError):  # it, or children of it, did not listen
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def named_files(arguments: Sequence[str], cwd: Path) -> dict[str, Path]:
    """Files that the arguments name (`run.py`, `--config=a.yaml`), as written → path. Placeholders name none."""
    found: dict[str, Path] = {}
    for argument in arguments:
        for text in dict.fromkeys((argument, argument.partition("=")[2])):
            if text and not _PLACEHOLDER.search(text) and _is_file(path := cwd / Path(text).expanduser()):
                found[text] = path
    return found


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # text that is too long for a path, or holds a null
        return False


def _tail(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    last = max((n for n, line in enumerate(lines) if line.startswith("$ ")), default=-1)
    said = [line for line in lines[last + 1 :] if line.strip()][-_TAIL:]
    return "; it said:\n    " + "\n    ".join(said) if said else "; it said nothing"
