"""multi: several networks for one container, each with an interface of its own (a plugin that only delegates).

The smallest configuration, two networks that every container gets:

    {"type": "multi", "delegates": [{"name": "pods", "type": "bridge"}, {"name": "lab", "type": "macvlan"}]}

key        default                   meaning
delegates  none                      networks: configurations, conflists, or names of those in `confDir`
choose     all                       `one`: the delegates are on offer, and the first is taken where nobody chooses
confDir    /etc/cni/multus/net.d     where networks are looked for by their names
default    the first of `delegates`  the name of the network whose result is this plugin's, and whose interface has
                                     the name that the runtime asks for; the others are net1, net2, …

Further networks (with `one`: which of those on offer) are named by the annotations of a pod, for the capability
`io.kubernetes.cri.pod-annotations`: `k8s.v1.cni.cncf.io/networks`, `v1.multus-cni.io/default-network` and `cni`; else
by `networks` in `args.cni`, else by NETWORKS in CNI_ARGS. They are `lab, other/wifi@wlan0` or JSON: a list of objects
with name, interface, ips, mac, portMappings, bandwidth, deviceID, cni-args, default-route.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from ipaddress import ip_address, ip_network
from typing import Any, Optional

from cni_provision.attach.chain import previous
from cni_provision.attach.interface import attachment
from cni_provision.cni import config as networks
from cni_provision.cni import jsontext, names, skel
from cni_provision.cni.config import NetworkConfig
from cni_provision.cni.results import decode_previous, encode_result
from cni_provision.cni.skel import Call, Config
from cni_provision.cni.types import INVALID_CONFIG, CNIError, IPAddress, Result
from cni_provision.cni.values import decode_object, encode
from cni_provision.net import link, record, route, rtnl
from cni_provision.net.link import Link
from cni_provision.net.record import Attachment, Made
from cni_provision.net.route import Route
from cni_provision.net.rtnl import Socket
from cni_provision.net.undo import Undo

ANNOTATIONS = "io.kubernetes.cri.pod-annotations"
ADDITIONAL, DEFAULT, CHOSEN = "k8s.v1.cni.cncf.io/networks", "v1.multus-cni.io/default-network", "cni"
FOLDER = "/etc/cni/multus/net.d"
ALL, ONE = "all", "one"
EVERYWHERE = {4: ip_network("0.0.0.0/0"), 6: ip_network("::/0")}
OWN_KEYS = ("ips", "mac", "portMappings", "bandwidth", "deviceID", "infinibandGUID")


@dataclass(frozen=True)
class Part:
    """One network of a container. `capabilities` is what its plugins get as `runtimeConfig`, `gateways` those of the
    default route that is to be here, None where nobody asks for that."""

    network: NetworkConfig
    ifname: str
    capabilities: Mapping[str, Any]
    args: Mapping[str, Any]
    gateways: Optional[tuple[IPAddress, ...]] = None
    result: Optional[Mapping[str, Any]] = None

    def note(self) -> dict[str, Any]:
        """What `cni_provision.net.record` keeps."""
        return {
            "config": decode_object(self.network.content),
            "ifname": self.ifname,
            "args": dict(self.args),
            "capabilities": dict(self.capabilities),
            "result": self.result,
        }


def noted(mine: Attachment) -> list[Part]:
    """What an ADD has noted; nothing where that is broken."""
    made = record.read(mine) or record.NOTHING
    try:
        return [
            Part(
                networks.load(encode(one["config"])),
                str(one["ifname"]),
                one["capabilities"],
                one["args"],
                None,
                one["result"],
            )
            for one in made.rules.get("multi", ())
        ]
    except (CNIError, KeyError, TypeError):
        return []


def parts(call: Call) -> list[Part]:
    """The container's networks, the default one first."""
    offered, wishes = offers(call), wishes_of(call)
    if call.config.text("choose", ALL) == ONE:
        chosen = [find(call, offered, wish) for wish in wishes] or offered[:1]
        wishes = wishes or [Config({})]
    else:
        chosen = offered + [find(call, [], wish) for wish in wishes]
        wishes = [Config({})] * len(offered) + wishes
    chosen, wishes = with_default_first(call, chosen, wishes)
    if not chosen:
        raise CNIError(INVALID_CONFIG, "`delegates` names no network, and nobody else does")
    return [part(call, number, *pair) for number, pair in enumerate(zip(chosen, wishes))]


def part(call: Call, number: int, network: NetworkConfig, wish: Config) -> Part:
    ifname = wish.text("interface") or (f"net{number}" if number else call.ifname)
    names.check_ifname(ifname)
    own = {key: wish[key] for key in OWN_KEYS if key in wish}
    capabilities = own if number else {**call.runtime_config.raw, **own}
    gateways = tuple(map(address_of, wish.texts("default-route"))) if "default-route" in wish else None
    return Part(network, ifname, capabilities, wish.mapping("cni-args").raw, gateways)


def address_of(text: str) -> IPAddress:
    try:
        return ip_address(text)
    except ValueError:
        raise CNIError(INVALID_CONFIG, f"`default-route` must be a list of addresses, not `{text}`") from None


def offers(call: Call) -> list[NetworkConfig]:
    """`delegates`, in their order."""
    if call.config.text("choose", ALL) not in (ALL, ONE):
        raise call.config.error("choose", "must be all or one")
    return [offer(call, one) for one in call.config.sequence("delegates")]


def offer(call: Call, one: object) -> NetworkConfig:
    if isinstance(one, str):
        return named(call, one)
    if not isinstance(one, dict):
        raise call.config.error("delegates", "must be a list of networks or of their names")
    whole = {"name": call.config.text("name"), "cniVersion": call.version, **one}
    return checked(networks.load(encode(whole)))


def named(call: Call, name: str) -> NetworkConfig:
    try:
        return checked(networks.find(call.absolute(call.config.text("confDir") or FOLDER), name))
    except networks.NotFound as error:
        raise CNIError(INVALID_CONFIG, f"there is no network `{name}`: {error.msg}") from error


def checked(network: NetworkConfig) -> NetworkConfig:
    if any(plugin.type == "multi" for plugin in network.plugins):
        raise CNIError(INVALID_CONFIG, f"network `{network.name}` delegates to this plugin itself")
    return network


def find(call: Call, offered: Iterable[NetworkConfig], wish: Config) -> NetworkConfig:
    name = wish.text("name")
    return next((one for one in offered if one.name == name), None) or named(call, name)


def with_default_first(
    call: Call, chosen: list[NetworkConfig], wishes: list[Config]
) -> tuple[list[NetworkConfig], list[Config]]:
    wanted = annotations_of(call).get(DEFAULT) or call.config.text("default")
    if not wanted:
        return chosen, wishes
    name = wanted.rpartition("/")[2]
    at = next((number for number, one in enumerate(chosen) if one.name == name), None)
    if at is None:
        rest = chosen[1:] if call.config.text("choose", ALL) == ALL else []
        return [named(call, name), *rest], [Config({}), *wishes[1 : 1 + len(rest)]]
    order = [at, *(number for number in range(len(chosen)) if number != at)]
    return [chosen[number] for number in order], [wishes[number] for number in order]


def annotations_of(call: Call) -> Mapping[str, str]:
    found = call.runtime_config.mapping(ANNOTATIONS)
    return {key: found.text(key) for key in found}


def wishes_of(call: Call) -> list[Config]:
    """The networks that somebody names for this container, as objects with `name`."""
    told = annotations_of(call)
    for value in (
        told.get(CHOSEN) if call.config.text("choose", ALL) == ONE else None,
        told.get(ADDITIONAL),
        call.config.mapping("args").mapping("cni").get("networks"),
        call.args.get("NETWORKS") if "NETWORKS" in call.environment.get("CNI_ARGS", "") else None,
    ):
        if value:
            return list(wishes_in(value))
    return []


def wishes_in(value: Any) -> Iterator[Config]:
    """`[namespace/]name[@interface], …`, or a list of these and of objects, or such a list as JSON."""
    if isinstance(value, str) and value.lstrip().startswith(("[", "{")):
        try:
            value = jsontext.Decoder(float, float).decode(value)
        except ValueError as error:
            raise CNIError(INVALID_CONFIG, f"the networks of the container are no JSON: {error}") from error
    for one in value.split(",") if isinstance(value, str) else [value] if isinstance(value, dict) else value:
        wish = Config(one, "networks") if isinstance(one, dict) else Config(short(str(one)), "networks")
        if not wish.text("name"):
            raise CNIError(INVALID_CONFIG, f"`{one}` names no network")
        yield wish


def short(text: str) -> dict[str, str]:
    name, _, ifname = text.strip().partition("@")
    return {"name": name.rpartition("/")[2], "interface": ifname}


def each_call(call: Call, one: Part, *, backwards: bool = False) -> Iterator[tuple[Call, str]]:
    """The call and the type of each plugin of a network."""
    environment = {**call.environment, "CNI_IFNAME": one.ifname}
    result = decode_previous(one.result, one.network.cni_version or call.version) if one.result else None
    for plugin in reversed(one.network.plugins) if backwards else one.network.plugins:
        runtime = {key: value for key, value in one.capabilities.items() if key in plugin.capabilities}
        raw = {**plugin.raw, "name": one.network.name, "cniVersion": one.network.cni_version or call.version}
        raw.update({"runtimeConfig": runtime} if runtime else {})
        raw.update({"args": {"cni": dict(one.args)}} if one.args else {})
        whole = replace(
            call,
            environment=environment,
            ifname=one.ifname,
            version=raw["cniVersion"],
            runtime_config=Config(runtime, "runtimeConfig"),
        )
        yield with_previous(whole, raw, result), plugin.type


def with_previous(call: Call, raw: Mapping[str, Any], result: Optional[Result]) -> Call:
    told = {**raw, "prevResult": encode_result(result, call.version)} if result else raw
    return replace(call, config=Config(told), stdin=encode(told), prev_result=result)


def add_part(call: Call, one: Part) -> Part:
    result: Optional[Result] = None
    for own, plugin in each_call(call, one):
        result = with_previous(own, own.config.raw, result).delegate(plugin).add()
    assert result
    return replace(one, result=encode_result(result, one.network.cni_version or call.version))


def delete_part(call: Call, one: Part) -> None:
    """Each plugin's DEL, also when another's fails."""
    with ExitStack() as steps:
        for own, plugin in each_call(call, one):  # the last one is done first
            steps.callback(own.delegate(plugin).delete)


def add(call: Call) -> Result:
    wanted, mine = parts(call), attachment(call, "multi")
    if len({one.ifname for one in wanted}) < len(wanted):
        raise CNIError(INVALID_CONFIG, "two networks of the container want the same interface name")
    with record.held(mine), Undo() as undo:
        undo.later(record.remove, mine)
        made = list(wanted)
        for number, one in enumerate(wanted):
            record.write(mine, note(made))
            undo.later(delete_part, call, one)
            made[number] = add_part(call, one)
        record.write(mine, note(made))
        choose_default_route(call, made)
        undo.keep()
    result = decode_previous(made[0].result, made[0].network.cni_version or call.version)
    assert result
    return replace(result, cni_version=call.version)


def note(made: list[Part]) -> Made:
    return Made(rules={"multi": [one.note() for one in made]})


def choose_default_route(call: Call, made: list[Part]) -> None:
    """Where a network is to have it, the others lose theirs."""
    chosen = next((one for one in made if one.gateways is not None), None)
    if chosen is None:
        return
    with Socket(call.netns_fd) as inside:
        for one in made:
            if one is not chosen:
                remove_default_routes(inside, link.get(inside, one.ifname))
        own = link.get(inside, chosen.ifname)
        for gateway in chosen.gateways or ():
            with rtnl.tolerating(errno.EEXIST):
                route.add(inside, Route(EVERYWHERE[gateway.version], gateway, own.index), own.name)


def remove_default_routes(inside: Socket, found: Link) -> None:
    """Also the one of several ways that the kernel shows as one route: until there is none any more."""
    for everywhere in EVERYWHERE.values():
        unwanted = route.encode(Route(everywhere, index=found.index, scope=route.SCOPE_ANY, protocol=0))
        with rtnl.tolerating(errno.ESRCH):
            while True:
                inside.request(rtnl.RTM_DELROUTE, unwanted, "delete the default route of", found.name)


def delete(call: Call) -> None:
    """What the record names; without one what the configuration would give. The last network goes first."""
    mine = attachment(call, "multi")
    with record.held(mine):
        known = noted(mine)
        with ExitStack() as steps:
            for one in known or parts(call):
                steps.callback(delete_part, call, one)
        record.remove(mine)


def check(call: Call) -> None:
    previous(call)
    for one in noted(attachment(call, "multi")) or parts(call):
        for own, plugin in each_call(call, one):
            own.delegate(plugin).check()


def status(call: Call) -> None:
    """Of the networks that all containers get, or may choose."""
    for network in offers(call):
        for own, plugin in each_call(call, Part(network, "", {}, {})):
            own.delegate(plugin).status()


def gc(call: Call) -> None:
    """What is left of containers, network by network; then each network's own GC with what is valid in it."""
    name, valid = call.config.text("name"), call.valid_attachments
    keep: dict[str, set[tuple[str, str]]] = {}
    with ExitStack() as steps:
        for network in offers(call):
            steps.callback(collect, call, network, keep.setdefault(network.name, set(valid)))
        for mine, _ in record.of_network("multi", name):
            if (mine.container_id, mine.ifname) in valid:
                for one in noted(mine):
                    keep.setdefault(one.network.name, set()).add((mine.container_id, one.ifname))
            else:
                steps.callback(delete_stale, call, mine)


def delete_stale(call: Call, mine: Attachment) -> None:
    environment = {**call.environment, "CNI_CONTAINERID": mine.container_id, "CNI_NETNS": ""}
    own = replace(call, command="DEL", container_id=mine.container_id, environment=environment)
    with record.held_if_free(mine) as free, ExitStack() as steps:
        if free:
            steps.callback(record.remove, mine)
            for one in noted(mine):
                steps.callback(delete_part, own, one)


def collect(call: Call, network: NetworkConfig, keep: Iterable[tuple[str, str]]) -> None:
    attachments = frozenset(keep)
    told = [{"containerID": container_id, "ifname": ifname} for container_id, ifname in sorted(attachments)]
    for own, plugin in each_call(call, Part(network, "", {}, {})):
        raw = {**own.config.raw, "cni.dev/valid-attachments": told, "cni.dev/attachments": told}
        own = replace(own, config=Config(raw), stdin=encode(raw), valid_attachments=attachments)
        own.delegate(plugin).gc()


PLUGIN = skel.Plugin(
    "multi", add, delete, check, status, gc, about="CNI multi plugin: several networks for a container"
)
