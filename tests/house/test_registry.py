from __future__ import annotations

from importlib.metadata import EntryPoint

import pytest

from mslitmus import registry as module
from mslitmus.cli.parts import REGISTRIES
from mslitmus.errors import ConfigError, MissingExtraError
from mslitmus.registry import Registry


def test_lazy_and_helpful():
    r = Registry("encoder", {"gin": "no_such_module:GIN", "path": "pathlib:Path"})
    assert list(r) == ["gin", "path"]
    assert r["path"].__name__ == "Path"
    with pytest.raises(ConfigError, match="unknown encoder 'gni'") as caught:
        r["gni"]
    assert "did you mean 'gin'" in str(caught.value)


def test_a_taken_name_is_refused():
    r = Registry("head", {"binned": "a:b"})
    with pytest.raises(ConfigError, match="registered already"):
        r.register("binned", "c:d")


def test_a_missing_package_says_what_to_install():
    with pytest.raises(MissingExtraError, match="no_such_module") as caught:
        Registry("encoder", {"gin": "no_such_module:GIN"})["gin"]
    assert caught.value.remedy == "pip install no_such_module"


def test_plugins_join(monkeypatch):
    entry = EntryPoint("encoder.mine", "pathlib:PurePath", module.PLUGIN_GROUP)
    monkeypatch.setattr(module, "entry_points", lambda group: [entry])
    assert Registry("encoder", {})["mine"].__name__ == "PurePath"
    assert len(Registry("head", {})) == 0


@pytest.mark.parametrize("kind", REGISTRIES)
def test_every_listed_name_exists(kind):
    """No stub behind a listed name: each one imports (those of the models extra only where torch is)."""
    r = REGISTRIES[kind]
    assert len(r)
    for name in r:
        try:
            assert r[name] is not None
        except MissingExtraError:
            if kind not in ("models", "encoders", "heads"):
                raise
