"""Pretrained weights of an encoder: one set of options, one loader, for every graph encoder.

`weights` is `random`, a folder that `mslitmus pretrain` wrote, or, for `molebert`, a file of published weights
(`Mole-BERT.pth`, or any checkpoint of the GIN of Hu et al., ICLR 2020: `x_embedding1`, `gnns.0.mlp.0.weight`,
`batch_norms.0.weight`, …).

Weights are read with `weights_only`. They start a training; a trained model keeps its own and needs them no more.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from ....chem.graph import ELEMENTS
from ....errors import ConfigError, ModelError
from ....provenance import file_hash
from ...options import Options
from ...trained import read_json

RANDOM = "random"
WEIGHTS = "weights.pt"
#: Options that may differ from those of pretraining, as any dropout may: they change no weight and no meaning of one.
_FREE = ("weights", "freeze", "reinitialise", "readout")
_ATOMIC_NUMBER = {
    "C": 6, "H": 1, "B": 5, "N": 7, "O": 8, "F": 9, "Na": 11, "Si": 14, "P": 15, "S": 16, "Cl": 17, "K": 19, "As": 33,
    "Se": 34, "Br": 35, "I": 53, "Li": 3, "Sn": 50, "Pt": 78,
}  # fmt: skip


class PretrainedOptions(Options):
    """Options of every encoder that can start from pretrained weights."""

    weights: str = Field(RANDOM, description="random, a folder of `mslitmus pretrain`, or a published .pth (molebert)")
    freeze: Literal["none", "embeddings", "all"] = Field("none", description="what training leaves as it is")
    reinitialise: int = Field(0, ge=0, description="so many last layers start from random weights, and are not frozen")


def load_pretrained(encoder: nn.Module, name: str, options: Any) -> None:
    """Put the weights that `options` name into a freshly built encoder, and freeze what they say.

    Does nothing for an encoder whose options are no `PretrainedOptions`. Raises ConfigError where the weights belong
    to another encoder or to other sizes, ModelError where they cannot be read.
    """
    if not isinstance(options, PretrainedOptions):
        return
    new = _last_layers(encoder, options.reinitialise, name)
    if options.weights != RANDOM:
        path = weights_path(options.weights)
        stored = _read(path)
        if path.name == WEIGHTS and (path.parent / "options.json").is_file():
            _check_options(path.parent, name, options)
        else:
            stored = published(stored, encoder, name, path)
        _fill(encoder, stored, new, path)
    _freeze(encoder, options.freeze, new)


def weights_path(weights: str) -> Path:
    """The file of weights. Raises ConfigError where there is none."""
    path = Path(weights)
    path = path / WEIGHTS if path.is_dir() else path
    if not path.is_file():
        remedy = f"give a folder that `mslitmus pretrain` finished, a published .pth, or {RANDOM}"
        raise ConfigError("no pretrained weights here", where=weights, remedy=remedy)
    return path


def weights_hash(options: Any) -> str:
    """SHA-256 of the file of weights that encoder options (parsed, or a plain mapping) name; empty for random ones."""
    weights = options.get("weights", RANDOM) if isinstance(options, Mapping) else getattr(options, "weights", RANDOM)
    return "" if weights == RANDOM else file_hash(weights_path(str(weights)))


def published(stored: Mapping[str, Tensor], encoder: nn.Module, name: str, path: Path) -> dict[str, Tensor]:
    """Weights of the published GIN under the names of `molebert`.

    Of its inputs it knows element and bond type; stereo tags enter as "none", codes of ours that it has not get
    vectors of 0. Code 0 everywhere, our mark of a masked atom or bond, gets its own mask's vectors, so that both
    networks compute the same. Raises ConfigError where the sizes do not fit.
    """
    if name != "molebert" or not {"x_embedding1.weight", "gnns.0.mlp.0.weight"} <= stored.keys():
        remedy = "published weights of the pretrain-gnns GIN fit the encoder molebert alone"
        raise ConfigError(f"not weights of the encoder {name!r}", where=str(path), remedy=remedy)
    own = encoder.state_dict()
    have, width = len({key.split(".")[1] for key in stored if key.startswith("gnns.")}), own["atoms.tables.0.weight"]
    wanted = len({key.split(".")[1] for key in own if key.startswith("layers.")})
    if stored["x_embedding1.weight"].shape[1] != width.shape[1] or have < wanted:
        sizes = f"width {stored['x_embedding1.weight'].shape[1]} and {have} layers"
        raise ConfigError(f"these weights have {sizes}", where=str(path), remedy=f"take {sizes} (or fewer layers)")
    out = {key: torch.zeros_like(value) for key, value in own.items() if ".tables." in key}
    element, tag = stored["x_embedding1.weight"], stored["x_embedding2.weight"][0]
    rows = [len(element) - 1, *(_ATOMIC_NUMBER[symbol] - 1 for symbol in ELEMENTS)]
    out["atoms.tables.0.weight"] = element[rows] + tag
    for k in range(wanted):
        bond, direction = (stored[f"gnns.{k}.edge_embedding{i}.weight"] for i in (1, 2))
        out[f"layers.{k}.bonds.tables.0.weight"] = bond[[5, 0, 1, 2, 3]] + direction[0]  # mask, single … aromatic
        out[f"layers.{k}.loop.weight"] = bond[4:5] + direction[0]
        for theirs, ours in ((f"gnns.{k}.mlp.", f"layers.{k}.mlp."), (f"batch_norms.{k}.", f"layers.{k}.norm.")):
            out |= {ours + key.removeprefix(theirs): v for key, v in stored.items() if key.startswith(theirs)}
    return out


def _read(path: Path) -> dict[str, Tensor]:
    try:
        stored = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, EOFError, RuntimeError, ValueError, pickle.UnpicklingError) as error:
        raise ModelError("cannot read the weights", where=str(path), remedy="pretrain or download again") from error
    if not isinstance(stored, Mapping) or not all(isinstance(value, Tensor) for value in stored.values()):
        raise ModelError("no table of weights", where=str(path), remedy="give the state_dict of an encoder")
    return dict(stored)


def _check_options(folder: Path, name: str, options: PretrainedOptions) -> None:
    """Same encoder, same sizes as in pretraining."""
    theirs = dict(read_json(folder / "options.json")["encoder"])
    if (other := theirs.pop("name")) != name:
        raise ConfigError(f"weights of the encoder {other!r}, not {name!r}", where=str(folder), remedy=f"take {other}")
    mine = options.model_dump(mode="json")
    counts = {key for key in theirs if key not in _FREE and "dropout" not in key}
    if apart := {key: theirs[key] for key in sorted(counts) if mine.get(key) != theirs[key]}:
        needed = ", ".join(f"{key}: {value}" for key, value in apart.items())
        raise ConfigError("pretrained with other options", where=str(folder), remedy=f"encoder {name!r}: set {needed}")


def _last_layers(encoder: nn.Module, count: int, name: str) -> tuple[str, ...]:
    """Prefixes of parameters of the last `count` layers: of every list of modules as long as `layers`."""
    lists = {key: part for key, part in encoder.named_children() if isinstance(part, nn.ModuleList)}
    depth = len(lists["layers"]) if "layers" in lists else max(map(len, lists.values()), default=0)
    if count > depth:
        remedy = f"at most {depth}"
        raise ConfigError(f"{count} layers to reinitialise", where=f"encoder {name!r}", remedy=remedy)
    same = [key for key, part in lists.items() if len(part) == depth]
    return tuple(f"{key}.{k}." for key in same for k in range(depth - count, depth))


def _fill(encoder: nn.Module, stored: Mapping[str, Tensor], new: tuple[str, ...], path: Path) -> None:
    own = encoder.state_dict()
    kept = {key: value for key, value in stored.items() if not key.startswith(new)} if new else dict(stored)
    absent = [key for key in own if key not in kept and not (new and key.startswith(new))]
    wrong = [key for key, value in kept.items() if key not in own or own[key].shape != value.shape]
    if absent or wrong:
        remedy = "give the encoder the options of its pretraining (options.json beside the weights)"
        what = f"weights do not fit the encoder, e.g. {(absent + wrong)[0]!r}"
        raise ConfigError(what, where=str(path), remedy=remedy)
    encoder.load_state_dict({**own, **kept})


def _freeze(encoder: nn.Module, what: str, new: tuple[str, ...]) -> None:
    if what == "none":
        return
    tables = {f"{key}.weight" for key, part in encoder.named_modules() if isinstance(part, nn.Embedding)}
    for key, parameter in encoder.named_parameters():
        if (what == "all" or key in tables) and not (new and key.startswith(new)):
            parameter.requires_grad_(False)
