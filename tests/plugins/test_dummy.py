"""What is special to dummy; the rest is in test_drop_in."""

from __future__ import annotations

import pytest

from tests.plugins.attachments import KINDS, config, interface, nothing_left
from tests.plugins.attachments import way as way
from tests.plugins.conftest import WAYS

pytestmark = pytest.mark.root


@pytest.mark.parametrize("verb", ["ADD", "CHECK", "STATUS"])
def test_it_needs_addresses(host, container, network, verb: str) -> None:
    wanted = {"cniVersion": "1.1.0", "name": network, "type": "dummy"}
    outcome = host.call(verb, wanted, netns=container.path)
    assert (outcome.result["code"], outcome.result["msg"]) == (7, "dummy interface requires an IPAM configuration")
    host.delete(wanted, container)
    nothing_left(host, container, network)


def test_a_kernel_without_says_so(host, network) -> None:
    if host.namespace.succeeds("ip", "link", "add", "probe", "type", "dummy"):
        pytest.skip("this kernel has dummy interfaces")
    outcome = host.call("STATUS", config(host, network, KINDS["dummy"], cniVersion="1.1.0"))
    assert (outcome.result["code"], outcome.result["msg"]) == (50, "this kernel has no dummy interfaces")


@pytest.mark.parametrize("way", WAYS)
def test_what_it_is(host, container, network) -> None:
    KINDS["dummy"].require()
    result = host.add(config(host, network, KINDS["dummy"]), container)
    shown = interface(container)
    assert (shown["kind"], shown["flags"]) == ("dummy", ["NOARP", "UP"])
    assert shown["addresses"] == ["10.42.0.2/24", "fd42::2/64"]
    assert result["interfaces"] == [
        {"name": "eth0", "mac": container.link("eth0")["address"], "sandbox": container.path}
    ]
    assert container.pings("10.42.0.2")
