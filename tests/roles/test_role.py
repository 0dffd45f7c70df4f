"""The role on lab nodes over real SSH: the same nodes as by the command line, and all that plays do with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from cni_provision import lab
from cni_provision.lab.users import PASSWORD
from tests.roles.playbooks import NETWORKS, QUIET, ROOT, VERSIONS, Ran, Site, clean, shell, tree

pytestmark = pytest.mark.lab
Apply = Callable[..., Ran]
NODES = ("node-1", "node-2", "node-3")
DECLARED = {
    "cni_networks": NETWORKS,
    "cni_networks__extra": [{"name": "lo", "order": 90, "template": "loopback"}],
    "cni_kernel": {"sysctl": {"net.ipv4.ip_forward": 1}},
    **QUIET,
}
UNVERIFIED = {"cni_verify": {"enabled": False}}  # where it is about something else: a probe takes a second


@pytest.fixture
def there(shared_lab: lab.Lab, site: Site) -> Iterator[lab.Lab]:
    """Nodes without a trace of ours, also afterwards; the inventory of the site names them."""
    clean(shared_lab)
    site.inventory(shared_lab)
    yield shared_lab
    clean(shared_lab)


def changed(ran: Ran) -> dict[str, int]:
    return {name: recap.changed for name, recap in ran.recap.items()}


@pytest.mark.parametrize("version", VERSIONS)
def test_role_and_command_line_agree(version: str, there: lab.Lab, site: Site, apply: Apply) -> None:
    site.write({"group_vars/lab.yaml": DECLARED})
    before = [tree(there, node) for node in NODES]
    shown = apply("play.yaml", "--check", "--diff", version=version)
    assert '+  "name": "pods",' in shown.output
    assert changed(shown) == dict.fromkeys(NODES, 1)
    assert [tree(there, node) for node in NODES] == before

    assert changed(apply(version=version)) == dict.fromkeys(NODES, 1)
    by_role = [tree(there, node) for node in NODES]
    assert len(set(by_role)) == len(NODES)  # each its own subnet
    assert changed(apply(version=version)) == dict.fromkeys(NODES, 0)
    planned = site.command_line("plan", "--exit-code")
    assert planned.code == 0, planned.output

    clean(there)
    assert site.command_line("apply", "--yes").code == 0
    assert [tree(there, node) for node in NODES] == by_role
    assert changed(apply(version=version)) == dict.fromkeys(NODES, 0)


@pytest.mark.parametrize("how", ["strategy: free", "serial: 50%"])
def test_how_hosts_take_turns(how: str, there: lab.Lab, site: Site, apply: Apply) -> None:
    site.write({"group_vars/lab.yaml": {**DECLARED, **UNVERIFIED}, "play.yaml": PLAY_WITH.format(how)})
    assert changed(apply("play.yaml", "--limit", "node-1,node-3")) == {"node-1": 1, "node-3": 1}
    assert changed(apply()) == {"node-1": 0, "node-2": 1, "node-3": 0}


PLAY_WITH = """\
- hosts: lab
  gather_facts: false
  {}
  roles: [cni_provision]
"""
DELEGATED = """\
- hosts: node-1
  gather_facts: false
  tasks:
  - include_role: {name: cni_provision, apply: {delegate_to: node-2}}
"""


def test_a_task_may_be_delegated(there: lab.Lab, site: Site, apply: Apply) -> None:
    site.write({"group_vars/lab.yaml": DECLARED, "play.yaml": DELEGATED})
    empty = tree(there, "node-1")
    apply()
    assert tree(there, "node-1") == empty
    assert "opt/cni/bin/bridge" in tree(there, "node-2")


ASYNC = """\
- hosts: node-1
  gather_facts: false
  tasks:
  - cni_provision:
    async: 60
    poll: {}
    register: done
  - async_status: {{jid: "{{{{ done.ansible_job_id }}}}"}}
    when: done is not finished
    register: waited
    until: waited is finished
  - debug: {{msg: "first {{{{ (waited.changes | default(done.changes))[0].path }}}}"}}
"""


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("poll", [0, 1])
def test_async_is_a_job_that_has_ended(poll: int, version: str, there: lab.Lab, site: Site) -> None:
    """The action alone, since a role has no `async`."""
    site.write({"group_vars/lab.yaml": {**DECLARED, **UNVERIFIED}, "play.yaml": ASYNC.format(poll)})
    ran = site.run(version=version, ANSIBLE_ACTION_PLUGINS=str(ROOT / "roles/cni_provision/action_plugins"))
    assert ran.code == 0, ran.output
    assert "first /etc/cni/net.d" in ran.output
    assert ran.recap["node-1"].changed


ENTRIES = """\
- hosts: node-1
  gather_facts: false
  tasks:
  - include_role: {name: cni_provision}
  - include_role: {name: cni_provision, tasks_from: verify}
  - debug: {var: cni_provision_result.checks}
  - include_role: {name: cni_provision, tasks_from: facts}
  - debug: {var: cni_provision}
  - include_role: {name: cni_provision}
    vars: {cni_networks__extra: []}
  - debug: {var: cni_provision_result.findings}
  - include_role: {name: cni_provision, tasks_from: rollback}
  - debug: {var: cni_provision_result}
"""


def test_entry_points_give_structured_facts(there: lab.Lab, site: Site, apply: Apply) -> None:
    site.write({"group_vars/lab.yaml": DECLARED, "play.yaml": ENTRIES})
    shown = {name: value for result in apply().results for name, value in result.items()}
    checks = shown["cni_provision_result.checks"]
    assert {check["outcome"] for check in checks} <= {"pass", "skip"}
    assert "containers" in {check["check"] for check in checks}
    facts = shown["cni_provision"]
    assert [network["name"] for network in facts["networks"]] == ["pods", "lo"]
    assert {plugin["name"]: plugin["owner"] for plugin in facts["plugins"]}["bridge"] == "cni-provision"
    assert facts["attachments"] == facts["leases"] == []
    (finding,) = shown["cni_provision_result.findings"]
    assert finding["message"].startswith("`cni_networks__extra` does not stand in the inventory but in `")
    rolled = shown["cni_provision_result"]
    assert rolled["changed"] is True
    assert [(change["sign"], change["path"]) for change in rolled["changes"]] == [
        ("+", "/etc/cni/net.d/90-lo.conflist")
    ]


def test_tags_leave_parts(there: lab.Lab, site: Site, apply: Apply) -> None:
    site.write({"group_vars/lab.yaml": DECLARED})
    apply("play.yaml", "-l", "node-1", "--tags", "plugins")
    assert "etc/cni/net.d/10-pods.conflist" not in tree(there, "node-1")
    assert "opt/cni/bin/bridge" in tree(there, "node-1")
    apply("play.yaml", "-l", "node-1", "--tags", "conflists,plugins,kernel", "--skip-tags", "verify")
    assert "etc/cni/net.d/10-pods.conflist" in tree(there, "node-1")
    assert "Prove that the node works" in apply("play.yaml", "-l", "node-1", "--tags", "verify").output


@pytest.mark.parametrize("user", ["ops", "noisy"])
def test_become_with_a_password_and_a_login_that_talks(
    user: str, shared_lab: lab.Lab, there: lab.Lab, site: Site, apply: Apply
) -> None:
    site.inventory(shared_lab, "node-1", user=user)
    site.write({"group_vars/lab.yaml": DECLARED, "password": PASSWORD})
    assert changed(apply("play.yaml", "--become-password-file", "password")) == {"node-1": 1}


CONNECTION = """\
# GNU General Public License v3.0 or later (https://www.gnu.org/licenses/gpl-3.0.txt)
from ansible.plugins.connection.ssh import DOCUMENTATION as SSH
from ansible.plugins.connection.ssh import Connection as Ssh

DOCUMENTATION = SSH.replace("name: ssh", "name: without_stdin")


class Connection(Ssh):
    transport = "without_stdin"
    has_pipelining = False

    def exec_command(self, cmd, in_data=None, sudoable=True):
        assert not in_data
        return super().exec_command(cmd, None, sudoable)
"""


@pytest.mark.parametrize("version", VERSIONS)
def test_a_connection_without_stdin(version: str, there: lab.Lab, site: Site, apply: Apply) -> None:
    """The request is a file of root's alone, for as long as the node reads it."""
    site.write(
        {
            "group_vars/lab.yaml": {**DECLARED, "ansible_connection": "without_stdin"},
            "connection_plugins/without_stdin.py": CONNECTION,
        }
    )
    assert changed(apply("play.yaml", "-l", "node-1", version=version)) == {"node-1": 1}
    assert shell(there, "node-1", "ls -A /root/.ansible/tmp 2>/dev/null || true") == ""


def test_nodes_that_fail_do_not_stop_the_others(there: lab.Lab, site: Site) -> None:
    site.write({"group_vars/lab.yaml": DECLARED})
    shell(there, "node-2", "mkdir -p /opt/cni/bin && mount -t tmpfs -o size=64k none /opt/cni/bin")
    try:
        ran = site.run()
    finally:
        shell(there, "node-2", "umount /opt/cni/bin")
    assert ran.code == 2
    assert {name: (recap.changed, recap.failed) for name, recap in ran.recap.items()} == {
        "node-1": (1, 0),
        "node-2": (0, 1),
        "node-3": (1, 0),
    }
