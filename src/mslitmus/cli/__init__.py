"""The command `mslitmus`: a thin shell over importable functions."""

from __future__ import annotations

import sys

from ..errors import MslitmusError

INTERRUPTED = 130  # exit code of a process that Ctrl-C ended, by shell convention


def main() -> None:
    """Entry point. A known error ends in its message and exit code 1; Ctrl-C in 130 with a word on how to resume."""
    from .app import app
    from .terminal import errors

    try:
        code = app(standalone_mode=False)  # an Exit comes back as its code; typer turns Ctrl-C into 130
        if code == INTERRUPTED:
            raise KeyboardInterrupt
        sys.exit(code if isinstance(code, int) else 0)
    except MslitmusError as error:
        errors.print(f"[bold red]error[/] {_escape(str(error))}", highlight=False, soft_wrap=True)
        sys.exit(1)
    except KeyboardInterrupt:
        errors.print("\ninterrupted: what was finished is kept; the same command continues from there")
        sys.exit(INTERRUPTED)
    except BrokenPipeError:  # `mslitmus … | head`
        sys.exit(0)
    except OSError as error:  # a folder that is absent or not ours, a full disk
        what = _escape(f"cannot read or write: {error}")
        remedy = "check the path, its permissions and the space left on the disk"
        errors.print(f"[bold red]error[/] {what}\n  → {remedy}", highlight=False, soft_wrap=True)
        sys.exit(1)
    except Exception as error:
        sys.exit(_click_exit(error))


def _click_exit(error: Exception) -> int:
    """Usage errors and exits as typer itself would end them; anything else is a bug and keeps its traceback."""
    show, code = getattr(error, "show", None), getattr(error, "exit_code", None)
    if code is None:
        raise error
    if callable(show):
        show()
    return int(code)


def _escape(text: str) -> str:
    return text.replace("[", r"\[")
