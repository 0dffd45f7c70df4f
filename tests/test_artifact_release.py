"""Releases: local and over https, checksums, and archives that try to leave their folder."""

from __future__ import annotations

import hashlib
import http.server
import io
import shutil
import ssl
import subprocess
import tarfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cni_provision.artifact import Blobs, collect
from cni_provision.artifact_release import executables
from cni_provision.errors import UserError
from cni_provision.inventory.model import PluginSource

Member = tuple[tarfile.TarInfo, bytes]


def regular(name: str, content: bytes = b"elf", mode: int = 0o755) -> Member:
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(content), mode
    return info, content


def special(name: str, kind: bytes, target: str = "") -> Member:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info, b""


def tarball(*members: Member, mode: str = "w:gz") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:  # type: ignore[call-overload]
        for info, content in members:
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def released(folder: Path, content: bytes, *plugins: str, checksum: str = "", url: str = "") -> PluginSource:
    (folder / "plugins-amd64.tgz").write_bytes(content)
    digest = checksum or "sha256:" + hashlib.sha256(content).hexdigest()
    address = url or str(folder / "plugins-{arch}.tgz")
    return PluginSource("reference", "release", plugins, url=address, checksums={"amd64": digest})


TYPICAL = tarball(
    special(".", tarfile.DIRTYPE),
    regular("./bridge", b"B"),
    regular("./vlan", b"V"),
    regular("./LICENSE", b"words", 0o644),
    special("./doc", tarfile.DIRTYPE),
    regular("./doc/example", b"E"),
)


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:xz", "w:bz2"])
def test_executables_at_the_top_are_taken(tmp_path: Path, mode: str) -> None:
    content = tarball(regular("bridge", b"B"), regular("./README.md", b"words", 0o644), mode=mode)
    assert executables(released(tmp_path, content), "amd64", tmp_path) == {"bridge": b"B"}


def test_a_typical_release(tmp_path: Path) -> None:
    assert executables(released(tmp_path, TYPICAL), "amd64", tmp_path) == {"bridge": b"B", "vlan": b"V"}


def test_narrowed_by_plugins(tmp_path: Path) -> None:
    assert executables(released(tmp_path, TYPICAL, "vlan"), "amd64", tmp_path) == {"vlan": b"V"}
    with pytest.raises(UserError) as caught:
        executables(released(tmp_path, TYPICAL, "vlan", "sriov"), "amd64", tmp_path)
    assert caught.value.message == "release `reference` for amd64 has no executable `sriov`"
    assert caught.value.hint == "it has `bridge`, `vlan`"


def test_artifacts_carry_their_architecture(tmp_path: Path) -> None:
    content = {arch: tarball(regular("vlan", arch.encode())) for arch in ("amd64", "arm64")}
    for arch, data in content.items():
        (tmp_path / f"x-{arch}.tgz").write_bytes(data)
    checksums = {arch: hashlib.sha256(data).hexdigest() for arch, data in content.items()}
    source = PluginSource("reference", "release", url=str(tmp_path / "x-{arch}.tgz"), checksums=checksums)
    blobs = Blobs()
    found = collect(source, blobs, tmp_path)
    assert [(one.name, one.architecture, blobs.get(one.digest)) for one in found] == [
        ("vlan", "amd64", b"amd64"),
        ("vlan", "arm64", b"arm64"),
    ]


@pytest.mark.parametrize(
    ("member", "reason"),
    [
        (regular("/etc/passwd"), "holds `/etc/passwd`, which leaves the archive"),
        (regular("../bridge"), "holds `../bridge`, which leaves the archive"),
        (regular("a/../../bridge"), "which leaves the archive"),
        (special("bridge", tarfile.SYMTYPE, "/bin/sh"), "holds `bridge`, which is a link"),
        (special("bridge", tarfile.LNKTYPE, "vlan"), "holds `bridge`, which is a link"),
        (special("null", tarfile.CHRTYPE), "holds `null`, which is a device"),
        (special("sda", tarfile.BLKTYPE), "holds `sda`, which is a device"),
        (special("pipe", tarfile.FIFOTYPE), "holds `pipe`, which is a device"),
        (regular("./vlan"), "holds `vlan` twice"),
    ],
)
def test_what_is_not_a_plain_file_refuses_the_archive(tmp_path: Path, member: Member, reason: str) -> None:
    source = released(tmp_path, tarball(regular("vlan"), member), "vlan")
    with pytest.raises(UserError) as caught:
        executables(source, "amd64", tmp_path)
    assert reason in caught.value.message


def test_a_wrong_checksum_is_refused(tmp_path: Path) -> None:
    source = released(tmp_path, TYPICAL, checksum="sha256:" + "0" * 64)
    with pytest.raises(UserError, match=r"plugins-amd64.tgz` has the checksum sha256:\w{64}, not sha256:0000"):
        executables(source, "amd64", tmp_path)


@pytest.mark.parametrize("content", [b"", b"words", TYPICAL[: len(TYPICAL) // 2]])
def test_what_is_no_tarball_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(UserError, match="release `reference` for amd64 is not a tarball"):
        executables(released(tmp_path, content), "amd64", tmp_path)


def test_no_executable_at_all(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has no executable"):
        executables(released(tmp_path, tarball(regular("LICENSE", mode=0o644))), "amd64", tmp_path)


@pytest.mark.parametrize("url", ["http://example.org/x.tgz", "ftp://example.org/x.tgz"])
def test_only_https_and_local_paths(tmp_path: Path, url: str) -> None:
    with pytest.raises(UserError, match="is neither https nor a local path"):
        executables(released(tmp_path, TYPICAL, url=url), "amd64", tmp_path)


def test_a_missing_tarball_is_told(tmp_path: Path) -> None:
    source = released(tmp_path, TYPICAL, url=str(tmp_path / "absent-{arch}.tgz"))
    with pytest.raises(UserError, match=r"cannot read .*absent-amd64.tgz`: No such file"):
        executables(source, "amd64", tmp_path)


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves `TYPICAL` at /x-amd64.tgz, a redirect without TLS at /away-amd64.tgz."""

    def do_GET(self) -> None:
        if self.path.startswith("/away"):
            self.send_response(302)
            self.send_header("Location", "http://127.0.0.1/x-amd64.tgz")
            self.end_headers()
        elif self.path == "/x-amd64.tgz":
            self.send_response(200)
            self.end_headers()
            self.wfile.write(TYPICAL)
        else:
            self.send_error(404)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing on stderr."""


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], str]]:
    """The address of an https server with a certificate of its own, which the environment trusts; stops on a call."""
    if not shutil.which("openssl"):
        pytest.skip("openssl not installed")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    argv = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    argv += ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out"]
    subprocess.run([*argv, str(certificate)], check=True, capture_output=True)
    listening = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    listening.socket = context.wrap_socket(listening.socket, server_side=True)
    thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    for name in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    try:
        yield lambda: f"https://localhost:{listening.server_address[1]}"
    finally:
        listening.shutdown()
        listening.server_close()
        thread.join()


def test_a_download_is_kept_by_its_checksum(server: Callable[[], str], tmp_path: Path) -> None:
    source = released(tmp_path, TYPICAL, url=server() + "/x-{arch}.tgz")
    assert set(executables(source, "amd64", tmp_path / "cache")) == {"bridge", "vlan"}
    digest = hashlib.sha256(TYPICAL).hexdigest()
    kept = tmp_path / "cache" / "releases" / digest
    assert kept.read_bytes() == TYPICAL
    elsewhere = released(tmp_path, TYPICAL, url="https://localhost:1/x-{arch}.tgz")
    assert set(executables(elsewhere, "amd64", tmp_path / "cache")) == {"bridge", "vlan"}
    kept.write_bytes(b"torn")
    assert set(executables(source, "amd64", tmp_path / "cache")) == {"bridge", "vlan"}
    assert kept.read_bytes() == TYPICAL


@pytest.mark.parametrize(
    ("path", "reason"),
    [("/absent-{arch}.tgz", "HTTP Error 404|Not Found"), ("/away-{arch}.tgz", "redirected to .*which is not https")],
)
def test_a_failed_download_is_told(server: Callable[[], str], tmp_path: Path, path: str, reason: str) -> None:
    with pytest.raises(UserError, match=f"cannot download .*: ({reason})"):
        executables(released(tmp_path, TYPICAL, url=server() + path), "amd64", tmp_path / "cache")


def test_a_certificate_that_nobody_vouches_for_is_refused(
    server: Callable[[], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(UserError, match=r"cannot download .*CERTIFICATE_VERIFY_FAILED"):
        executables(released(tmp_path, TYPICAL, url=server() + "/x-{arch}.tgz"), "amd64", tmp_path / "cache")
