"""Sessions over the real `ssh` to the SSH servers of lab nodes, with every way to become root."""

from __future__ import annotations

import asyncio
import hashlib
import subprocess
import tempfile
import time
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from cni_provision.errors import Denied, NodeError, Unreachable, UserError
from cni_provision.fleet import converse
from cni_provision.inventory.model import Connection
from cni_provision.lab import Lab
from cni_provision.lab.state import BLACK_HOLE, DEAD
from cni_provision.lab.users import PASSWORD
from cni_provision.node.protocol import Reply, Request
from cni_provision.transport.base import Secrets, Settings
from cni_provision.transport.ssh import Configuration, Transport, control_folder, options
from tests import echo_program
from tests.lab_fixture import by_ssh, on

PROGRAM = ("/usr/bin/python3", "-I", "-S", "-c", Path(echo_program.__file__).read_text())
NO_SECRETS = Secrets()


class Blobs(dict[str, bytes]):
    def compressed(self, digest: str) -> bytes:
        return self[digest]


def ask(
    connection: Connection,
    secrets: Secrets = NO_SECRETS,
    settings: Settings | None = None,
    work: dict[str, object] | None = None,
    blobs: Blobs | None = None,
) -> Reply:
    async def talk() -> Reply:
        session = await Transport(settings or Settings()).open("one", connection, PROGRAM, secrets)
        try:
            return await converse(session, Request("apply", work=work or {}), blobs, program=b"unused")
        finally:
            await session.close()

    return asyncio.run(talk())


def refused(connection: Connection, secrets: Secrets = NO_SECRETS, settings: Settings | None = None) -> NodeError:
    with pytest.raises(NodeError) as caught:
        ask(connection, secrets, settings)
    assert caught.value.node == "one"
    return caught.value


@pytest.fixture
def short_path() -> Iterator[Path]:
    """Sockets need short paths."""
    with tempfile.TemporaryDirectory(prefix="c", dir="/tmp") as path:
        yield Path(path)


@pytest.mark.lab
class TestSession:
    def test_answers_as_root_on_the_node(self, shared_lab: Lab) -> None:
        reply = ask(by_ssh(shared_lab, "10.200.1.2"))
        assert reply.facts["uid"] == 0
        assert reply.facts["host"] == "node-2"

    def test_sends_the_blobs_that_the_node_lacks(self, shared_lab: Lab) -> None:
        data = [bytes([n]) * 3_000_000 for n in range(3)]
        blobs = Blobs({hashlib.sha256(blob).hexdigest(): zlib.compress(blob, 0) for blob in data})
        reply = ask(by_ssh(shared_lab, "10.200.1.1"), work={"need": sorted(blobs)}, blobs=blobs)
        assert reply.facts["blobs"] == sorted(blobs)

    def test_the_nodes_own_error_wins_over_the_broken_pipe(self, shared_lab: Lab) -> None:
        blobs = Blobs({f"{n:064x}": bytes(5_000_000) for n in range(8)})
        with pytest.raises(NodeError, match="no space left"):
            ask(by_ssh(shared_lab, "10.200.1.1"), work={"need": sorted(blobs), "fail_early": True}, blobs=blobs)

    def test_what_the_program_says_last_is_the_error(self, shared_lab: Lab) -> None:
        with pytest.raises(NodeError, match="out of luck"):
            ask(by_ssh(shared_lab, "10.200.1.1"), work={"die": "out of luck"})

    def test_name_and_port_of_the_users_configuration(self, shared_lab: Lab) -> None:
        assert ask(by_ssh(shared_lab, "node-3", port=22)).facts["host"] == "node-3"


@pytest.mark.lab
class TestBecomingRoot:
    @pytest.mark.parametrize(
        ("user", "method", "password"),
        [
            ("deploy", "sudo", None),
            ("deploy", "sudo", PASSWORD),
            ("deploy", "doas", None),
            ("deploy", "doas", PASSWORD),
            ("ops", "sudo", PASSWORD),
            ("ops", "doas", PASSWORD),
            ("noisy", "sudo", None),
            ("noisy", "sudo", PASSWORD),
        ],
    )
    def test_works(self, shared_lab: Lab, user: str, method: str, password: str | None) -> None:
        connection = by_ssh(shared_lab, "10.200.1.1", user, become_method=method)
        blobs = Blobs({hashlib.sha256(b"\r\n\4\3").hexdigest(): zlib.compress(b"\r\n\4\3", 0)})
        reply = ask(connection, Secrets(become_password=password), work={"need": sorted(blobs)}, blobs=blobs)
        assert reply.facts["uid"] == 0
        assert reply.facts["blobs"] == sorted(blobs)

    @pytest.mark.parametrize(
        ("user", "method", "password", "message"),
        [
            ("ops", "sudo", None, "a password is required"),
            ("ops", "sudo", "wrong", "password is wrong"),
            ("ops", "doas", None, "Authentication required"),
            ("ops", "doas", "wrong", "Authentication failed"),
            ("guest", "sudo", PASSWORD, "not in the sudoers file"),
            ("guest", "doas", None, "Operation not permitted"),
            ("typist", "sudo", None, "must have a tty"),
            ("ops", "su", None, "`ansible_become_method: su` is not supported"),
        ],
    )
    def test_is_refused(self, shared_lab: Lab, user: str, method: str, password: str | None, message: str) -> None:
        error = refused(by_ssh(shared_lab, "10.200.1.1", user, become_method=method), Secrets(password))
        assert isinstance(error, Denied)
        assert message in error.message
        assert error.hint

    def test_a_wrong_password_is_tried_once(self, shared_lab: Lab) -> None:
        began = time.monotonic()
        refused(by_ssh(shared_lab, "10.200.1.1", "ops"), Secrets("wrong"))
        assert time.monotonic() - began < 6  # PAM waits about 2 s after each failure

    def test_passwords_are_in_no_command_line_or_environment(self, shared_lab: Lab) -> None:
        found = asyncio.run(_processes_during(by_ssh(shared_lab, "10.200.1.1", "ops", private_key="/dev/null")))
        assert b"ssh" in found
        assert PASSWORD.encode() not in found


async def _processes_during(connection: Connection) -> bytes:
    """Command lines and environments of all processes of this machine (the nodes' too) while a session is open."""
    # no key may help: the login password is asked for as well
    connection = replace(connection, ssh_args=(*connection.ssh_args, "-oPubkeyAuthentication=no"))
    session = await Transport(Settings()).open("one", connection, PROGRAM, Secrets(PASSWORD, PASSWORD))
    talking = asyncio.create_task(converse(session, Request("apply", work={"sleep": 0.5}), program=b""))
    await asyncio.sleep(0.2)
    script = "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null || true"
    found = subprocess.run(["sh", "-c", script], capture_output=True, check=False).stdout
    assert (await talking).facts["uid"] == 0
    await session.close()
    return found


@pytest.mark.lab
class TestLoginPassword:
    def test_is_given_when_ssh_asks(self, shared_lab: Lab) -> None:
        connection = self._without_key(shared_lab, "ops")
        assert ask(connection, Secrets(PASSWORD, PASSWORD)).facts["uid"] == 0

    def test_a_wrong_one_is_unreachable(self, shared_lab: Lab) -> None:
        error = refused(self._without_key(shared_lab, "deploy"), Secrets(login_password="wrong"))
        assert isinstance(error, Unreachable)
        assert "Permission denied" in error.message

    def test_without_one_nothing_is_asked(self, shared_lab: Lab) -> None:
        error = refused(self._without_key(shared_lab, "deploy"))
        assert "Permission denied" in error.message
        assert "`-k`" in str(error.hint)

    def _without_key(self, there: Lab, user: str) -> Connection:
        connection = by_ssh(there, "10.200.1.1", user)
        return replace(connection, ssh_args=(*connection.ssh_args, "-oPubkeyAuthentication=no"))


@pytest.mark.lab
class TestUnreachable:
    def test_a_host_that_does_not_exist(self, shared_lab: Lab) -> None:
        error = refused(by_ssh(shared_lab, DEAD))
        assert isinstance(error, Unreachable)
        assert "No route to host" in error.message

    def test_a_black_hole_costs_the_connect_time_out(self, shared_lab: Lab) -> None:
        began = time.monotonic()
        error = refused(by_ssh(shared_lab, BLACK_HOLE), settings=Settings(connect_timeout=1))
        assert isinstance(error, Unreachable)
        assert "timed out" in error.message
        assert 0.9 < time.monotonic() - began < 4

    def test_a_changed_host_key_is_refused(self, shared_lab: Lab, tmp_path: Path) -> None:
        known = (shared_lab.folder / "known_hosts").read_text().splitlines()
        keys = [line.split(" ", 1)[1] for line in known]
        (tmp_path / "known_hosts").write_text(f"node-1,10.200.1.1 {keys[1]}\n")
        error = refused(self._knowing(shared_lab, tmp_path / "known_hosts"))
        assert isinstance(error, Unreachable)
        assert "has changed" in error.message
        assert "ssh-keygen -R" in str(error.hint)

    def test_an_unknown_host_key_is_refused(self, shared_lab: Lab, tmp_path: Path) -> None:
        error = refused(self._knowing(shared_lab, tmp_path / "none"))
        assert isinstance(error, Unreachable)
        assert "host key is known" in error.message

    def test_a_name_that_does_not_resolve(self) -> None:
        error = refused(Connection(host="name.invalid", ssh_args=("-F", "none")))
        assert isinstance(error, Unreachable)
        assert "Could not resolve hostname" in error.message

    def test_a_broken_configuration(self, tmp_path: Path) -> None:
        (tmp_path / "config").write_text("Nonsense yes\n")
        error = refused(Connection(host="a", ssh_args=("-F", str(tmp_path / "config"))))
        assert isinstance(error, Unreachable)
        assert "configuration option" in error.message

    def _knowing(self, there: Lab, known_hosts: Path) -> Connection:
        connection = by_ssh(there, "10.200.1.1")
        return replace(connection, ssh_args=(f"-oUserKnownHostsFile={known_hosts}", *connection.ssh_args))


@pytest.mark.lab
class TestMultiplexing:
    def test_the_second_session_shares_the_connection(
        self, shared_lab: Lab, short_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(short_path))
        connection = by_ssh(shared_lab, "10.200.1.3")
        for _ in range(2):
            assert ask(connection, settings=Settings(mux=True)).facts["host"] == "node-3"
        sockets = list(short_path.glob("cni-provision-ssh/*"))
        servers = on(shared_lab, "node-3", "sh", "-c", "ps ax | grep -c '[s]shd: root@notty'")
        for socket in sockets:
            subprocess.run(["ssh", "-O", "exit", "-S", str(socket), "x"], capture_output=True, check=False)
        assert len(sockets) == 1
        assert int(servers) == 1

    def test_nodes_that_differ_in_options_only_are_not_mixed_up(self) -> None:
        here, there = (Connection(host="10.0.0.1", ssh_args=("-F", name)) for name in ("a", "b"))
        settings = Settings(mux=True)
        assert options(here, Configuration(), settings, asks=False) != options(
            there, Configuration(), settings, asks=False
        )


class TestOptions:
    def test_nothing_is_weakened(self) -> None:
        given = " ".join(options(Connection(host="a"), Configuration(), Settings(), asks=False))
        assert given == "-T -oBatchMode=yes -oConnectTimeout=10"

    def test_the_users_connect_timeout_stays(self) -> None:
        given = options(Connection(host="a"), Configuration(has_connect_timeout=True), Settings(), asks=False)
        assert given == ("-T", "-oBatchMode=yes")

    def test_the_inventorys_timeout_wins(self) -> None:
        connection = Connection(host="a", timeout=3)
        given = options(connection, Configuration(has_connect_timeout=True), Settings(), asks=False)
        assert "-oConnectTimeout=3" in given

    def test_connection_variables(self) -> None:
        connection = Connection(host="a", port=2222, user="ops", private_key="k", ssh_args=("-oCompression=yes",))
        given = options(connection, Configuration(), Settings(), asks=True)
        assert given[1:3] == ("-oBatchMode=no", "-oNumberOfPasswordPrompts=1")
        assert given[-7:] == ("-p", "2222", "-l", "ops", "-i", "k", "-oCompression=yes")

    def test_the_users_own_multiplexing_stays(self) -> None:
        given = options(Connection(host="a"), Configuration(has_control=True), Settings(mux=True), asks=False)
        assert not any("Control" in word for word in given)

    def test_a_control_folder_that_others_can_write_to_is_refused(self, short_path: Path) -> None:
        (short_path / "cni-provision-ssh").mkdir()
        (short_path / "cni-provision-ssh").chmod(0o777)
        with pytest.raises(UserError, match="not a folder of yours alone"):
            control_folder({"XDG_RUNTIME_DIR": str(short_path)})

    def test_a_control_folder_with_a_long_path_is_not_used(self) -> None:
        folder = control_folder({"XDG_RUNTIME_DIR": "/run/" + "long" * 20})
        assert len(f"{folder}/") + 8 + 40 + 17 < 104
