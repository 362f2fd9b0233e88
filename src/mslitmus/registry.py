"""One lazy registry: a name → `module:attribute`, imported on first use, open to other packages.

Another package adds an entry through the entry-point group `mslitmus.plugins`, named `<kind>.<name>`, e.g.

    [project.entry-points."mslitmus.plugins"]
    "encoder.my-gnn" = "my_package.gnn:MyGNN"
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from .errors import ConfigError, MissingExtraError, unknown_name

PLUGIN_GROUP = "mslitmus.plugins"
_MODELS_EXTRA = ("torch", "lightning", "torch_geometric")


class Registry(Mapping[str, Any]):
    """Mapping from name to object. Listing names imports nothing; `registry[name]` imports that one.

    Args:
        kind: singular noun for error messages and plug-in names, e.g. `encoder`.
        entries: name → `"package.module:attribute"`.
    """

    def __init__(self, kind: str, entries: Mapping[str, str] | None = None) -> None:
        self.kind = kind
        self._targets: dict[str, Any] = dict(entries or {})
        self._plugins_read = False

    def register(self, name: str, target: Any) -> None:
        """Add an object, or a `module:attribute` string. A taken name is refused, never replaced in silence."""
        if name in self._targets and self._targets[name] != target:
            raise ConfigError(f"{self.kind} {name!r} is registered already", remedy="choose another name")
        self._targets[name] = target

    def _all(self) -> dict[str, Any]:
        if not self._plugins_read:
            self._plugins_read = True
            prefix = f"{self.kind}."
            for entry in entry_points(group=PLUGIN_GROUP):
                if entry.name.startswith(prefix):
                    self.register(entry.name.removeprefix(prefix), entry.value)
        return self._targets

    def __getitem__(self, name: str) -> Any:
        targets = self._all()
        if name not in targets:
            raise unknown_name(self.kind, name, targets)
        target = targets[name]
        if not isinstance(target, str):
            return target
        module, _, attribute = target.partition(":")
        try:
            return getattr(import_module(module), attribute)
        except ModuleNotFoundError as error:
            package = (error.name or "").split(".")[0]
            if package == "mslitmus":
                raise
            extra = "'mslitmus[models]'" if package in _MODELS_EXTRA else package
            needs = f"{self.kind} {name!r} needs the package {package!r}, which is not installed"
            raise MissingExtraError(needs, remedy=f"pip install {extra}") from error

    def __contains__(self, name: object) -> bool:
        return name in self._all()

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._all()))

    def __len__(self) -> int:
        return len(self._all())
