"""Command lines of sudo and doas; how they behave on a node is in test_ssh.py."""

from __future__ import annotations

import pytest

from cni_provision.errors import Denied
from cni_provision.inventory.model import Connection
from cni_provision.transport.become import OPEN_GATE, PROMPT, elevate

ARGV = ("sh", "-c", "true")


def test_without_become_nothing_is_added() -> None:
    assert elevate("one", Connection(), ARGV, "secret").argv == ARGV


def test_sudo_without_a_password_never_asks() -> None:
    elevated = elevate("one", Connection(become=True), ARGV, None)
    assert elevated.argv == ("sudo", "-n", "-u", "root", "--", *ARGV)


def test_sudo_with_a_password_asks_always() -> None:
    elevated = elevate("one", Connection(become=True), ARGV, "secret")
    assert elevated.argv == ("sudo", "-k", "-S", "-p", PROMPT, "-u", "root", "--", *OPEN_GATE, *ARGV)
    assert "secret" not in repr(elevated)


def test_flags_and_user_of_the_inventory() -> None:
    connection = Connection(become=True, become_flags="-H -g 'my group'", become_user="admin")
    assert elevate("one", connection, ARGV, None).argv[:7] == ("sudo", "-n", "-H", "-g", "my group", "-u", "admin")


def test_doas_without_a_password() -> None:
    connection = Connection(become=True, become_method="doas")
    assert elevate("one", connection, ARGV, None).argv == ("doas", "-n", "-u", "root", "--", *ARGV)


def test_doas_with_a_password_runs_below_a_terminal() -> None:
    connection = Connection(become=True, become_method="doas", python="/usr/bin/python3.11")
    argv = elevate("one", connection, ARGV, "secret").argv
    assert argv[0] == "/usr/bin/python3.11"
    assert argv[5:9] == ("doas", "-u", "root", "--")


@pytest.mark.parametrize("method", ["su", "pbrun", "runas"])
def test_other_methods_are_refused_by_name(method: str) -> None:
    with pytest.raises(Denied, match=f"`ansible_become_method: {method}` is not supported"):
        elevate("one", Connection(become=True, become_method=method), ARGV, None)
