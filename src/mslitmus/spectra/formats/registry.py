"""The formats by name. Each module offers `looks_like(head)` and `read(sources, problems, batch, **options)`."""

from __future__ import annotations

from ...registry import Registry

#: Name → module; sniffed in this order.
MODULES = {
    "parquet": "mslitmus Parquet",
    "massbank": "MassBank record",
    "mgf": "Mascot generic format",
    "massspecgym": "MassSpecGym TSV",
    "mzml": "mzML",
    "mzxml": "mzXML",
    "gnps_json": "GNPS library JSON",
    "msp": "NIST MSP",
}
FORMATS = Registry("format", {name: f"mslitmus.spectra.formats.{name}:FORMAT" for name in MODULES})
