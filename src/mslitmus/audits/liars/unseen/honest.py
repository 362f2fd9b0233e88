"""Honest models that the audits were not written beside: odd in their scores, their inputs or their strength."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..liar import Honest
from .honest_fingerprints import ElementRegression, Ensemble, InstrumentWise
from .honest_rankers import Abstainer, HeavyTailed, Undecided
from .honest_spectra import BlendedNeighbours, LossRules

_RETRIEVAL: Mapping[str, Any] = {"task": "retrieval", "task_options": {"kind": "formula"}}
_FINGERPRINT: Mapping[str, Any] = {"task": "fingerprint", "task_options": {"formula": "given"}}
_SPECTRUM: Mapping[str, Any] = {"task": "spectrum-prediction", "task_options": {}}

UNSEEN_HONEST: tuple[Honest, ...] = (
    Honest(
        "abstaining ranking", row={"model": Abstainer.name, "options": {"unsure": 0.1}, "allow_missing": True},
        about="leaves out its least sure tenth, which the study allows and counts as failed; claims nothing",
        **_RETRIEVAL,
    ),
    Honest(
        "undecided ranking", row={"model": Undecided.name},
        about="one score for all candidates of queries that it is unsure of", **_RETRIEVAL,
    ),
    Honest(
        "heavy-tailed ranking", row={"model": HeavyTailed.name},
        about="the look-up's ranks, scores over seven orders of magnitude and on another scale for every query",
        **_RETRIEVAL,
    ),
    Honest(
        "look-up ensemble", row={"model": Ensemble.name},
        about="three look-ups and the mean, weighed on validation", **_FINGERPRINT,
    ),
    Honest(
        "instrument-wise look-up", row={"model": InstrumentWise.name},
        about="looks among spectra of the query's instrument type: metadata, used for what it is good for",
        **_FINGERPRINT,
    ),
    Honest(
        "element regression", row={"model": ElementRegression.name},
        about="weak: a ridge regression on the given formula, blind to peaks", **_FINGERPRINT,
    ),
    Honest(
        "blended neighbours", row={"model": BlendedNeighbours.name},
        about="the mean of three copied spectra: many peaks", **_SPECTRUM,
    ),
    Honest(
        "loss rules", row={"model": LossRules.name},
        about="weak: the precursor and up to six neutral losses that the structure offers", **_SPECTRUM,
    ),
)  # fmt: skip
