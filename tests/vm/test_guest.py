"""Tests that the kernel of a development machine often cannot run, in a guest whose kernel can.

Each test here is a run of pytest in the guest; its output is the failure's text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.vm import image, machine
from tests.vm.machine import Machine

pytestmark = pytest.mark.vm


@pytest.fixture(scope="module")
def guest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    built = image.ensure(image.folder())
    with machine.boot(built, tmp_path_factory.mktemp("guest")) as booted:
        yield booted


@pytest.mark.parametrize("kind", ["dummy", "vlan", "ipvlan", "macvlan", "vrf"])
def test_the_guest_has_what_the_tests_are_for(guest: Machine, kind: str) -> None:
    done = guest.run("modprobe", "8021q" if kind == "vlan" else kind)
    assert done.code == 0, done.output


@pytest.mark.parametrize(
    "selection",
    [
        pytest.param("tests/net/test_bridge.py -m root", id="VLANs of bridge ports"),
        pytest.param("tests/net/test_link.py -m root", id="kinds of interfaces"),
        pytest.param("tests/net/test_single.py -m root", id="interfaces above those of another namespace"),
        pytest.param(
            "tests/plugins/test_bridge.py -k vlans_of_the_port or two_vlans", id="VLANs of the bridge plugin"
        ),
        pytest.param("tests/plugins/test_templates.py -m root", id="attachments to a host's interface"),
        pytest.param("tests/plugins/test_vlan.py -m root", id="vlan"),
        pytest.param("tests/plugins/test_ipvlan.py -m root", id="ipvlan"),
        pytest.param("tests/plugins/test_dummy.py -k needs_addresses or what_it_is", id="dummy"),
        pytest.param("tests/plugins/test_vrf.py -k not without", id="vrf"),
        pytest.param(
            "tests/plugins/test_drop_in.py -k vlan and not macvlan and (reference or switching)",
            id="vlan and ipvlan in place of the reference's",
        ),
        pytest.param(
            "tests/plugins/test_drop_in.py -k (dummy or vlan and not macvlan) and (1.1.0 or something or status_and)",
            id="dummy, vlan and ipvlan from ADD to GC",
        ),
    ],
)
def test_passes_in_the_guest(guest: Machine, selection: str) -> None:
    file, option, expression = selection.split(" ", 2)
    done = guest.run("python3", "-m", "pytest", "-p", "no:cacheprovider", "--color=no", file, option, expression)
    assert done.code == 0, done.output
    assert not re.search(r"\d+ skipped", done.output), done.output
