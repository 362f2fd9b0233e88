"""Strict options: every model, encoder and head states its options as one pydantic class; anything else is refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..errors import ConfigError, unknown_name


class Options(BaseModel):
    """Base of all option classes: frozen, no unknown key, no silent conversion of text to numbers."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class TrainingOptions(Options):
    """Options of the one training loop (`mslitmus.train`), the same for every trained model."""

    epochs: int = Field(30, ge=1, description="at most; the schedule is laid over all of them")
    batch_size: int = Field(256, ge=1, description="spectra")
    per_molecule: int = Field(8, ge=1, description="spectra of one molecule that stay together in a batch")
    learning_rate: float = Field(2e-3, gt=0)
    schedule: Literal["cosine", "plateau", "constant"] = "cosine"
    warmup: float = Field(0.05, ge=0, lt=1, description="share of the steps over which the rate rises")
    weight_decay: float = Field(0.01, ge=0)
    clip: float = Field(1.0, gt=0, description="largest gradient norm")
    patience: int = Field(8, ge=1, description="evaluations without a better validation score before stopping")
    evaluate_every: int = Field(1, ge=1, description="epochs; the last one is always evaluated")
    val_limit: int = Field(2000, ge=1, description="validation spectra scored each time (fixed by the seed)")
    precision: Literal["32", "bf16", "auto"] = Field(
        "32",
        description="bf16: matrix products in bfloat16, weights in 32 bits; auto: where hardware has it",
    )


O = TypeVar("O", bound=Options)  # noqa: E741


def parse_options(kind: type[O], values: Mapping[str, Any], *, where: str) -> O:
    """`values` as `kind`. `where` names the owner in messages, e.g. `encoder 'gin'`.

    Raises ConfigError: an unknown key with the nearest known ones, a bad value with its key and what is allowed.
    """
    for key in values:
        if key not in kind.model_fields:
            error = unknown_name("option", str(key), kind.model_fields)
            raise ConfigError(error.message, where=where, remedy=error.remedy)
    try:
        return kind.model_validate(_sequences_to_tuples(kind, values))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise ConfigError(
            f"option {key!r}: {first['msg']} (got {first['input']!r})",
            where=where,
            remedy=f"see docs/models.md for the options of {where}",
        ) from error


def _sequences_to_tuples(kind: type[Options], values: Mapping[str, Any]) -> dict[str, Any]:
    """YAML and JSON know lists only; frozen options hold tuples."""
    return {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
