"""What every page shares: the templates, the style sheet, and a write that leaves the old page or the new one."""

from __future__ import annotations

import os
from importlib import resources
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from ..errors import RunError


def environment() -> Environment:
    """Templates of this package; everything that comes from files is escaped, and an unknown name is an error."""
    return Environment(
        loader=PackageLoader(__package__),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def static(name: str) -> Markup:
    """A style sheet or script of this package: ours, hence not escaped."""
    return Markup(resources.files(__package__).joinpath("templates", name).read_text(encoding="utf-8"))


def write(page: str, path: Path) -> Path:
    """Write a page and return its path. Raises RunError where the folder cannot be written to."""
    temporary = path.with_name(f".{path.name}.tmp{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(page, encoding="utf-8")
        os.replace(temporary, path)
    except OSError as error:
        raise RunError(
            f"the page cannot be written: {error}", where=str(path), remedy="free some space or mend the permissions"
        ) from error
    return path
