"""Options of a generator, and how those of a model are read that an earlier version saved."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, field_validator

from ...errors import ModelError
from ..options import Options
from .formulae import Source
from .transformer import MOST_TOKENS

TRAINING = {"epochs": 30, "batch_size": 64, "learning_rate": 5e-4, "evaluate_every": 5, "val_limit": 100}


class SpectrumToSmilesOptions(Options):
    """Options of `spectrum-to-smiles`."""

    network: dict[str, Any] = Field(default_factory=dict)
    weights: str = Field("random", description="random, or a folder of `mslitmus pretrain decoder`")
    conditioning: tuple[str, ...] = ("adduct", "instrument", "energy", "precursor_mz")
    conditions: dict[str, Any] = Field(default_factory=dict)
    formula: Source = Field("given", description="given by the task; predicted from the spectrum; absent")
    guess: dict[str, Any] = Field(default_factory=dict, description="of `formula: predicted`")
    guesses: int = Field(1, ge=1, le=100, description="predicted formulae of a query, which share the beams")
    constraint: bool = Field(True, description="write only what can end with the formula")
    blind: bool = Field(False, description="mask the spectrum: what the formula alone is worth")
    top: int = Field(64, ge=1, le=256, description="most intense peaks that are read")
    hide: float = Field(0.1, ge=0, lt=1, description="probability of hiding a peak in training")
    random_spelling: float = Field(0.0, ge=0, le=1, description="share of targets spelled at random, anew each epoch")
    at_most: int | None = Field(None, ge=1, description="spectra of a molecule in an epoch, drawn anew each time")
    stereo: bool = Field(False, description="whether targets carry stereo marks")
    fingerprint_weight: float = Field(1.0, ge=0, description="λ of the fingerprint's cross-entropy")
    beams: int = Field(10, ge=1, le=1000)
    temperature: float = Field(0.0, ge=0, description="0: beam search; above it samples")
    structures: int = Field(10, ge=1, le=1000, description="of a query at most")
    chunk: int = Field(16, ge=1, description="queries decoded together")
    longest: int = Field(200, ge=8, lt=MOST_TOKENS, description="tokens of a string at most")
    rerank: dict[str, Any] = Field(default_factory=dict)
    training: dict[str, Any] = Field(default_factory=dict)

    @field_validator("formula", mode="before")
    @classmethod
    def _older(cls, value: Any) -> Any:
        """Models saved before formulae could be predicted say true or false."""
        return {True: "given", False: "absent"}[value] if isinstance(value, bool) else value


def of_saved(options: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """`options.json` of a saved model, without what only earlier versions knew.

    Raises ModelError for a network that encoded twice (`second_look`): the states it learned to read are no more.
    """
    network = dict(options.get("network", {}))
    if network.pop("second_look", False):
        what = "the network encodes each spectrum twice (network.second_look), which this version does not"
        raise ModelError(what, where=str(folder), remedy="train it again without second_look")
    return {**options, "network": network}
