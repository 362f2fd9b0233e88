"""The base of every part of a study file."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Strict(BaseModel):
    """No unknown keys, no silent coercion, frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True)
