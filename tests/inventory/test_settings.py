"""`ansible.cfg`: which file counts, what it sets, what is refused, and that host keys are always checked."""

from __future__ import annotations

from pathlib import Path

import pytest

from cni_provision.errors import NeedsAnsible
from cni_provision.inventory.complaints import Complaints
from cni_provision.inventory.load import Sources, load
from cni_provision.inventory.settings import Settings, read_settings

CONFIGURATION = """
[defaults]
inventory = hosts.yaml
remote_user = admin ; not root
private_key_file = keys/fleet
timeout = 7
host_key_checking = False
[ssh_connection]
ssh_args = -o ControlMaster=no
ssh_common_args = -J jump
ssh_extra_args = -v
[privilege_escalation]
become = yes
become_method = doas
become_user = root
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    here = tmp_path / "here"
    here.mkdir(mode=0o755)
    (here / "hosts.yaml").write_text("all: {hosts: {a: {}, b: {ansible_user: own, ansible_become: no}}}")
    monkeypatch.chdir(here)
    monkeypatch.setenv("HOME", str(tmp_path))
    return here


def settings(environment: dict[str, str], home: Path) -> tuple[Settings, Complaints]:
    complaints = Complaints()
    return read_settings({"HOME": str(home), **environment}, complaints), complaints


def test_the_first_file_counts(folder: Path) -> None:
    home = folder.parent
    (home / ".ansible.cfg").write_text("[defaults]\nremote_user = home")
    assert settings({}, home)[0].found["ansible_user"].text == "home"
    (folder / "ansible.cfg").write_text("[defaults]\nremote_user = here")
    assert settings({}, home)[0].found["ansible_user"].text == "here"
    (home / "named.cfg").write_text("[defaults]\nremote_user = named")
    assert settings({"ANSIBLE_CONFIG": str(home / "named.cfg")}, home)[0].found["ansible_user"].text == "named"
    assert settings({"ANSIBLE_REMOTE_USER": "variable"}, home)[0].found["ansible_user"].text == "variable"


def test_a_folder_that_anybody_may_write_to_is_not_trusted(folder: Path) -> None:
    (folder / "ansible.cfg").write_text("[defaults]\nremote_user = here")
    folder.chmod(0o777)
    found, complaints = settings({}, folder.parent)
    assert not found.found
    (warning,) = complaints.told_warnings()
    assert warning.message == "`ansible.cfg` is not read: anybody may write to this folder"


def test_it_says_how_nodes_are_reached(folder: Path) -> None:
    (folder / "ansible.cfg").write_text(CONFIGURATION)
    inventory = load(Sources())
    first, second = (node.connection for node in inventory.nodes)
    assert (first.user, first.timeout, first.become, first.become_method) == ("admin", 7, True, "doas")
    assert first.private_key == str(folder / "keys" / "fleet")
    assert first.ssh_args == ("-o", "ControlMaster=no", "-J", "jump", "-v")
    assert (second.user, second.become) == ("own", False)
    assert ["`host_key_checking` is not followed" in warning.message for warning in inventory.warnings] == [True]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[defaults]\nhash_behaviour = merge\n", 2),
        ("[defaults]\njinja2_native = True\n", 2),
        ("[defaults]\n\njinja2_extensions = jinja2.ext.do\n", 3),
        ("[inventory]\nenable_plugins = ini\n", 2),
        ("[defaults]\nprecedence = all_inventory\n", 2),
    ],
)
def test_what_changes_values_is_refused_by_name(folder: Path, text: str, line: int) -> None:
    (folder / "ansible.cfg").write_text(text)
    with pytest.raises(NeedsAnsible) as caught:
        load(Sources(("hosts.yaml",)))
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.place is not None
    assert (diagnostic.place.file, diagnostic.place.line) == (str(folder / "ansible.cfg"), line)
