"""Starting from another trained network: what is taken over, and which networks fit.

Taken over are all weights and the vocabulary of the head (bins, formulae, fragments: what can be predicted at all), so
that a peak which the parent had no entry for has none in the child. `head: anew` gives the child a head of its own,
built on its own training set, on the parent's body. Adducts that the parent did not know join its vocabulary; each
starts from the parent's state "unknown".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import ConfigError, ModelError
from ...provenance import file_hash
from .conditioning import ConditionVocabulary

_ADDUCTS = "conditioning.parts.adduct.weight"
_HEAD = "head."
#: Options that may differ: they change no weight and no meaning of one. So may any dropout, and all of `training`.
_FREE = {"weights", "freeze", "reinitialise", "mask", "hide", "loss", "threshold", "max_peaks"}
_FREE |= {"cut", "sharpness", "at_most"}
_FREE |= {"blind", "top", "formula", "random_spelling", "fingerprint_weight"}  # of generation: what is learned and read
_FREE |= {"constraint", "beams", "temperature", "structures", "chunk", "longest"}  # and how it is decoded
_FREE |= {"learn", "guesses"}
_FREE_SECTIONS = {"training", "rerank", "tuning", "fingerprint", "guess"}


@dataclass(frozen=True)
class Start:
    """What a network starts with.

    Attributes:
        conditions: the parent's vocabulary of adducts.
        keep_head: whether the head is taken over too.
        weights: the parent's state dict.
        hash: SHA-256 of the parent's file of weights.
    """

    conditions: ConditionVocabulary
    keep_head: bool
    weights: Mapping[str, Tensor]
    hash: str

    @classmethod
    def of(cls, network: nn.Module, conditions: ConditionVocabulary, folder: Path, head: str) -> Start:
        """Of a loaded network and the folder it was loaded from."""
        weights = {name: value.detach().cpu().clone() for name, value in network.state_dict().items()}
        return cls(conditions, head == "keep", weights, file_hash(folder / "weights.pt"))

    def vocabulary(self, own: ConditionVocabulary) -> ConditionVocabulary:
        """The parent's adducts, then those of `own` that it does not know."""
        new = sorted(set(own.adducts) - set(self.conditions.adducts))
        return ConditionVocabulary((*self.conditions.adducts, *new))

    def fill(self, network: nn.Module) -> None:
        """Put the parent's weights into a network built with `vocabulary`. Raises ModelError where they do not fit."""
        own = network.state_dict()
        taken = {name: value for name, value in self.weights.items() if self.keep_head or not name.startswith(_HEAD)}
        if _ADDUCTS in taken and _ADDUCTS in own:
            known = taken[_ADDUCTS]
            new = known[:1].expand(len(own[_ADDUCTS]) - len(known), -1)
            taken[_ADDUCTS] = torch.cat([known, new])
        absent = [name for name in own if name not in taken and (self.keep_head or not name.startswith(_HEAD))]
        wrong = [name for name, value in taken.items() if name not in own or own[name].shape != value.shape]
        if absent or wrong:
            what = f"the weights it starts from do not fit, e.g. {(absent + wrong)[0]!r}"
            raise ModelError(what, remedy="give both rows the same encoder, trunk, conditioning and head")
        network.load_state_dict({**own, **taken})


def check_same(child: Any, parent: Any, head: str) -> None:
    """Raises ConfigError where an option that shapes the network differs between two models (`TrainedModel`s).

    Args:
        head: `keep`, or `anew`: then the head's options may differ.
    """
    if head == "anew" and "head" not in child.described():
        raise ConfigError("this model has no head that could be put anew", remedy="leave out head: anew")
    described = getattr(parent, "described", None)
    if described is None or type(parent).task != type(child).task:
        raise ConfigError("the row it starts from is of another kind of model", remedy="start from a row of this model")
    theirs, mine = dict(_flat(described())), dict(_flat(child.described()))
    for key in [*mine, *(key for key in theirs if key not in mine)]:
        section, leaf = key.split(".")[0], key.rpartition(".")[2]
        free = section in _FREE_SECTIONS or (section == "head" and head == "anew") or leaf in _FREE or "dropout" in leaf
        if not free and mine.get(key) != theirs.get(key):
            also = ", or head: anew" if section == "head" else ""
            raise ConfigError(
                f"it has {key} {mine.get(key)!r}, the row it starts from {theirs.get(key)!r}",
                remedy=f"set {key}: {theirs.get(key)}{also}",
            )


def _flat(options: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in options.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", list(value) if isinstance(value, tuple) else value
