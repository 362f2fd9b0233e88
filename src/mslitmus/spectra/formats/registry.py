"""The formats by name. Each module offers `looks_like(head)` and `read(sources, problems, batch, **options)`."""

from __future__ import annotations

from ...registry import Registry

#: Name → module; sniffed in this order.
MODULES = {
    "massbank": "MassBank record",
}
FORMATS = Registry("format", {name: f"mslitmus.spectra.formats.{name}:FORMAT" for name in MODULES})
