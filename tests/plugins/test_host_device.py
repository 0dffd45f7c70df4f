"""What is special to host-device; the rest is in test_drop_in."""

from __future__ import annotations

import pytest

from tests.plugins.attachments import KINDS, anonymous, config, interface, nothing_left, prepare
from tests.plugins.attachments import way as way
from tests.plugins.conftest import WAYS, Namespace

pytestmark = pytest.mark.root
KIND = KINDS["host-device"]
PCI, DRIVEN = "0000:03:02.6", "0000:03:02.7"


@pytest.fixture
def container(make_quick) -> Namespace:
    return make_quick()


@pytest.fixture(autouse=True)
def masters(host, make_namespace) -> Namespace:
    return prepare(host, make_namespace)


@pytest.fixture
def sysfs(host) -> None:
    """A bus with devices: one has `dev0` (virtio: below its child), one has a driver of DPDK, one of another bus."""
    host.namespace.run("mount", "-t", "tmpfs", "tmpfs", "/sys/bus")
    host.namespace.run(
        "sh", "-ec",
        f"""cd /sys/bus; mkdir -p drivers/virtio-pci drivers/vfio-pci
        mkdir -p pci/devices/{PCI}/virtio0/net/dev0 pci/devices/{DRIVEN} auxiliary/devices/mlx5_core.sf.4/net/dev0
        ln -s /sys/bus/drivers/virtio-pci pci/devices/{PCI}/driver
        ln -s /sys/bus/drivers/vfio-pci pci/devices/{DRIVEN}/driver
        mkdir -p pci/devices/0000:03:02.8; ln -s /sys/bus/drivers/virtio-pci pci/devices/0000:03:02.8/driver""",
    )  # fmt: skip


def wanted(host, network: str, **more) -> dict:
    written = {**config(host, network, KIND), **more}
    return {key: value for key, value in written.items() if value is not None}


def by(network: str, **keys) -> dict:
    return {"cniVersion": "1.0.0", "name": network, "type": "host-device", **keys}


def is_back(host, container) -> None:
    found = host.namespace.link("dev0")
    assert found
    assert (found.get("ifalias"), "UP" in found["flags"], container.links()) == (None, False, {"lo"})


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({}, 'specify either "device", "hwaddr", "kernelpath" or "pciBusID"'),
        ({"device": "absent"}, "failed to find host device: there is no `absent`"),
        ({"hwaddr": "02:00"}, "`02:00` is not a MAC address"),
        ({"hwaddr": "02:00:00:00:00:77"}, "failed to find host device: there is no `02:00:00:00:00:77`"),
        ({"kernelpath": "/etc"}, 'kernel device path "/etc" must be absolute and begin with /sys/devices/'),
        ({"kernelpath": "/sys/devices/../../etc"}, "kernel device path"),
        ({"kernelpath": "/sys/devices/absent"}, "failed to find network device in path /sys/devices/absent"),
        ({"pciBusID": "0000:99:99.9"}, "PCI device 0000:99:99.9 has no driver"),
        ({"pciBusID": "../x"}, "`pciBusID` must be a PCI address"),
        ({"runtimeConfig": {"deviceID": "0000:99:99.9"}}, "runtime config DeviceID 0000:99:99.9 not found"),
        ({"runtimeConfig": {"deviceID": "../devices"}}, "runtime config DeviceID ../devices not found"),
    ],
)
def test_refused(host, container, network, keys: dict, message: str) -> None:
    outcome = host.call("ADD", by(network, **keys), netns=container.path)
    assert (outcome.code, outcome.result["msg"][: len(message)]) == (1, message)
    nothing_left(host, container, network)


@pytest.mark.parametrize("way", WAYS)
def test_without_addresses(host, container, network) -> None:
    mac = host.namespace.link("dev0")["address"]
    result = host.add(by(network, device="dev0"), container)
    own = {"name": "eth0", "mac": mac, "sandbox": container.path}
    assert result == {"cniVersion": "1.0.0", "interfaces": [own]}
    shown = interface(container)
    assert (shown["alias"], shown["flags"], shown["addresses"]) == ("dev0", ["UP"], [])
    assert "dev0" not in host.namespace.links()
    assert host.check(by(network, device="dev0"), container, result).code == 0
    for _ in range(2):
        host.delete(by(network, device="dev0"), container)
        is_back(host, container)


def test_by_mac_address(host, container, network) -> None:
    keys = {"hwaddr": host.namespace.link("dev0")["address"].upper()}
    host.add(by(network, **keys), container)
    host.delete(by(network, **keys), container)
    is_back(host, container)


@pytest.mark.parametrize(
    "keys",
    [
        {"pciBusID": PCI},
        {"runtimeConfig": {"deviceID": PCI}},
        {"runtimeConfig": {"deviceID": "mlx5_core.sf.4"}},
        {"pciBusID": "0000:03:02.8", "runtimeConfig": {"deviceID": PCI}},
    ],
)
@pytest.mark.parametrize("way", WAYS)
def test_by_its_place_on_a_bus(host, container, network, sysfs, keys: dict) -> None:
    result = host.add(by(network, **keys), container)
    assert interface(container)["alias"] == "dev0"
    assert host.check(by(network, **keys), container, result).code == 0
    host.delete(by(network, **keys), container)
    is_back(host, container)


def test_a_device_without_interface(host, container, network, sysfs) -> None:
    outcome = host.call("ADD", by(network, pciBusID="0000:03:02.8"), netns=container.path)
    assert outcome.result["msg"].startswith("failed to find network device in path /sys/bus/pci/devices/0000:03:02.8")
    nothing_left(host, container, network)


def test_a_device_of_programs_stays(host, container, network, sysfs) -> None:
    config = wanted(host, network, device=None, pciBusID=DRIVEN)
    result = host.add(config, container)
    shown = anonymous(result, container.path)
    assert shown["interfaces"] == [{"name": "eth0", "sandbox": "@NETNS"}]
    assert [one["address"] for one in shown["ips"]] == ["10.42.0.2/24", "fd42::2/64"]
    assert host.check(config, container, result).code == 0
    host.delete(config, container)
    nothing_left(host, container, network)
    assert host.add(by(network, pciBusID=DRIVEN), container)["interfaces"] == result["interfaces"]


@pytest.mark.parametrize("name", ["dev0", "up0"])
def test_names_that_are_taken(host, container, network, name: str) -> None:
    """In the container the device's own name, on the host the name that it has in the container."""
    container.run("ip", "link", "add", "dev0", "type", "bridge")
    host.namespace.run("ip", "link", "set", "up0", "down")
    config = wanted(host, network)
    host.add(config, container, ifname="up0")
    assert container.links() == {"lo", "dev0", "up0"}
    host.delete(config, container, ifname="up0")
    assert {"up0", "dev0"} <= host.namespace.links()


def test_the_host_has_another_one_of_that_name_by_now(host, container, network) -> None:
    config = wanted(host, network)
    host.add(config, container)
    host.namespace.run("ip", "link", "add", "dev0", "type", "bridge")
    outcome = host.call("DEL", config, netns=container.path)
    assert outcome.result["msg"] == "the host has an interface `dev0` already"
    assert "eth0" in container.links()
    assert host.leases(network) == {}
    host.namespace.run("ip", "link", "delete", "dev0")
    host.delete(config, container)
    is_back(host, container)


def test_a_device_that_the_kernel_has_put_back(host, container, network) -> None:
    """Hardware goes to the host when its namespace ends, under the name that it had there."""
    config = wanted(host, network, cniVersion="1.1.0")
    for command in ("DEL", "GC"):
        host.add(config, container)
        container.run("ip", "link", "set", "eth0", "netns", str(host.namespace.pid))
        more = {"cni.dev/valid-attachments": []} if command == "GC" else {}
        assert host.call(command, {**config, **more}).code == 0
        is_back(host, container)
        assert host.leases(network) == {}


def test_without_alias_the_record_knows_the_name(host, container, network) -> None:
    config = wanted(host, network)
    result = host.add(config, container)
    container.run("ip", "link", "set", "eth0", "alias", "")
    assert "has no alias" in host.check(config, container, result).result["msg"]
    host.delete(config, container)
    is_back(host, container)


def test_an_interface_that_nobody_knows_the_name_of(host, container, network) -> None:
    container.run("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "other")
    outcome = host.call("DEL", wanted(host, network), netns=container.path)
    assert outcome.result["msg"] == 'failed to find original ifname for "eth0" (alias is not set)'


def test_status(host, container, network) -> None:
    config = wanted(host, network, cniVersion="1.1.0")
    host.add(config, container)
    assert host.call("STATUS", config).code == 0, "the device is in use, which is what it is for"
    host.delete(config, container)
    outcome = host.call("STATUS", by(network, device="absent", cniVersion="1.1.0"))
    assert (outcome.result["code"], outcome.result["msg"]) == (50, "failed to find host device: there is no `absent`")
