"""Accounts of a node's own."""

from __future__ import annotations

from cni_provision.lab import users


def test_the_machines_accounts_cannot_log_in() -> None:
    made = users.shadow("root:$y$secret:19000:0:99999:7:::\ndaemon:*:19000:0:99999:7:::\n")
    assert "secret" not in made
    assert made.startswith("root:*:19000:0:99999:7:::\ndaemon:*:")


def test_every_user_is_in_every_file() -> None:
    for user in users.USERS:
        for text in (users.passwd(""), users.group(""), users.shadow("")):
            assert f"{user.name}:" in text


def test_a_guest_is_in_no_rule() -> None:
    assert "guest" not in users.sudoers() + users.doas()
