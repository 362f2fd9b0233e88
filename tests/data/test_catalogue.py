"""The catalogue is complete and strict; downloads resume, retry, and are checked ever after."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from mslitmus.data import catalogue, download, store
from mslitmus.data.catalogue import SourceFile
from mslitmus.data.curate import RULES
from mslitmus.errors import ConfigError, DataError
from mslitmus.spectra.formats import FORMATS

BODY = bytes(range(256)) * 4000
SHA = "sha256:" + hashlib.sha256(BODY).hexdigest()
EXPECTED = {"massbank", "massspecgym", "nplib1", "gnps-cleaned", "mona", "msnlib", "casmi-2012", "casmi-2016", "file"}


def test_every_dataset_of_the_design_is_there() -> None:
    assert set(catalogue.entries()) >= EXPECTED


@pytest.mark.parametrize("name", sorted(catalogue.entries()))
def test_entries_are_complete(name: str) -> None:
    entry = catalogue.entry(name)
    assert entry.title
    assert entry.license
    assert entry.format is None or entry.format in FORMATS or entry.format == "sirius"
    assert all(rule in RULES for rule in entry.curation())
    if name != "file":
        assert entry.citation
        assert entry.revision
        assert entry.files
    for source in entry.files:
        assert source.url.startswith("https://")
        assert not source.checksum or source.checksum.partition(":")[0] in ("sha256", "md5")


def test_massspecgym_is_pinned() -> None:
    entry = catalogue.entry("massspecgym")
    assert len(entry.revision) == 40
    assert entry.revision in entry.files[0].url
    assert entry.files[0].checksum.startswith("sha256:")


def test_misspelt_name_and_misspelt_key() -> None:
    with pytest.raises(ConfigError, match="did you mean 'massbank'"):
        catalogue.entry("masbank")
    good = 'title="t"\nhomepage=""\nrevision=""\nlicense=""\ncitation=""\ndoi=""\n'
    assert catalogue.parse("x", good).title == "t"
    with pytest.raises(DataError, match="licens"):
        catalogue.parse("x", good + 'licens="CC0"\n')
    with pytest.raises(ConfigError, match="require_structure"):
        catalogue.parse("x", good + 'rules=["require_structures"]\n')


class Server(ThreadingHTTPServer):
    """Serves BODY; `faults` are met one a request: cut, 503, whole (ignores Range)."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.faults: list[str] = []
        self.ranges: list[str | None] = []
        self.body = BODY

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/lib.msp"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        fault = self.server.faults.pop(0) if self.server.faults else ""
        wanted = self.headers.get("Range")
        self.server.ranges.append(wanted)
        if fault.isdigit():
            self.send_error(int(fault))
            return
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and fault != "whole" else 0
        body = self.server.body[start:]
        if not body:
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body)))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(self.server.body) - 1}/{len(self.server.body)}")
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if fault == "cut" else body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def source(server: Server, checksum: str = "") -> SourceFile:
    return SourceFile(name="lib.msp", url=server.url, checksum=checksum)


def test_download_records_its_checksum_and_is_not_repeated(server: Server) -> None:
    seen: list[tuple[int, int | None]] = []
    path = download.fetch(source(server), lambda done, total: seen.append((done, total)))
    assert path.read_bytes() == BODY
    assert seen[-1] == (len(BODY), len(BODY))
    assert download.recorded() == {server.url: SHA}
    assert download.fetch(source(server)) == path
    assert len(server.ranges) == 1


def test_cut_connections_resume_where_they_stopped(server: Server) -> None:
    server.faults = ["cut", "503", "cut"]
    assert download.fetch(source(server, SHA), pause=0.001).read_bytes() == BODY
    half = len(BODY) // 2
    assert server.ranges == [None, f"bytes={half}-", f"bytes={half}-", f"bytes={half + half // 2}-"]


def test_a_server_without_range_begins_again(server: Server) -> None:
    server.faults = ["cut", "whole"]
    assert download.fetch(source(server, SHA), pause=0.001).read_bytes() == BODY


def test_a_part_that_is_whole_already(server: Server) -> None:
    part = store.home() / "downloads" / "lib.msp.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(BODY)
    assert download.fetch(source(server, SHA), pause=0.001).read_bytes() == BODY


@pytest.mark.parametrize(("code", "words"), [("404", "404"), ("403", "asks for a login"), ("401", "--from PATH")])
def test_refusals_are_not_retried(server: Server, code: str, words: str) -> None:
    server.faults = [code] * 9
    with pytest.raises(DataError, match=words):
        download.fetch(source(server), pause=0.001)
    assert len(server.ranges) == 1


def test_giving_up_keeps_the_part_for_next_time(server: Server) -> None:
    server.faults = ["cut", *["503"] * 3]
    with pytest.raises(DataError, match=f"continues at {len(BODY) // 2:,} bytes"):
        download.fetch(source(server), pause=0.001, attempts=3)
    assert download.fetch(source(server, SHA)).read_bytes() == BODY
    assert server.ranges[-1] == f"bytes={len(BODY) // 2}-"


def test_no_network_is_said_so() -> None:
    nowhere = SourceFile(name="x", url="http://127.0.0.1:9/x")
    with pytest.raises(DataError, match="check the connection"):
        download.fetch(nowhere, pause=0.001, attempts=2)


def test_a_wrong_checksum_is_refused_and_the_file_set_aside(server: Server) -> None:
    with pytest.raises(DataError, match="differs from the catalogue's"):
        download.fetch(source(server, "sha256:" + "0" * 64))
    folder = store.home() / "downloads"
    assert [p.name for p in folder.iterdir()] == ["lib.msp.wrong"]


def test_a_source_that_changes_later_is_noticed(server: Server) -> None:
    path = download.fetch(source(server))
    path.unlink()
    server.body = BODY + b"new"
    with pytest.raises(DataError, match="that of the first download"):
        download.fetch(source(server))


def test_md5_works_too(server: Server) -> None:
    assert download.fetch(source(server, "md5:" + hashlib.md5(BODY).hexdigest())).is_file()


def test_a_full_disk_is_named(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(download, "_continue", full)
    with pytest.raises(DataError, match="the disk is full"):
        download.fetch(source(server), pause=0.001)


def test_damaged_checksum_file_is_named(server: Server) -> None:
    (store.home() / "checksums.json").write_text("{", encoding="utf-8")
    with pytest.raises(DataError, match=r"checksums\.json is damaged"):
        download.fetch(source(server))


def test_unwritable_home_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, server: Server) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("MSLITMUS_HOME", str(blocked))
    with pytest.raises(DataError, match="MSLITMUS_HOME"):
        download.fetch(source(server))
