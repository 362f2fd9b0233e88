"""How the kernels of the index are compiled: on first use, cached on disk, without Python's lock."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba

_OPTIONS = {"cache": True, "nogil": True, "error_model": "numpy"}


def kernel(function: Callable[..., Any]) -> Any:
    """A kernel that Python calls."""
    return numba.njit(**_OPTIONS)(function)


def part(function: Callable[..., Any]) -> Any:
    """A part of a kernel, called from compiled code only: that halves the time to compile it."""
    return numba.njit(**_OPTIONS, no_cpython_wrapper=True, no_cfunc_wrapper=True)(function)
