"""The configuration of plugins that we know: their keys, as the reference plugins read them.

One table for each plugin, in the language of `conflist_shape`. `kind` is `interface` (makes or moves an interface),
`chained` (works on the result of the plugin before it) or `ipam`. `oldest` is the first specification version that
the reference plugin speaks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from cni_provision.conflist_shape import Field, Records, fields

RECORDS: Records = {
    name: fields(text)
    for name, text in {
        "dns": "nameservers: list of string?\ndomain: string?\nsearch: list of string?\noptions: list of string?",
        "range": "subnet: cidr\nrangeStart: address?\nrangeEnd: address?\ngateway: address?",
        "route": """
            dst: cidr
            gw: address?
            mtu: integer 0..4294967295?
            advmss: integer 0..4294967295?
            priority: integer 0..4294967295?
            table: integer 0..4294967295?
            scope: integer 0..255?""",
        "trunk": "id: integer 1..4094?\nminID: integer 1..4094?\nmaxID: integer 1..4094?",
        "static": "address: prefix\ngateway: address?",
        "request": "option: string or integer 0..255?\nskipDefault: boolean?",
        "provide": "option: string or integer 0..255\nvalue: string?\nfromArg: string?",
    }.items()
}

# every plugin may have these; `type` is looked at with the specification's own rules
COMMON = "type: string\ncapabilities: mapping?\nargs: mapping?\ndns: dns?\n"
MASQUERADE = 'ipMasq: boolean?\nipMasqBackend: "" or "iptables" or "nftables"?\n'
MTU = "mtu: integer 0..4294967295?\n"
IPAM = "ipam: mapping?\n"

TABLES: Mapping[str, tuple[str, str, str]] = {  # name → kind, oldest version, keys
    "bridge": ("interface", "0.1.0", MASQUERADE + MTU + IPAM + """
        bridge: "" or interface?
        isGateway: boolean?
        isDefaultGateway: boolean?
        forceAddress: boolean?
        hairpinMode: boolean?
        promiscMode: boolean?
        vlan: integer 0..4094?
        vlanTrunk: list of trunk?
        preserveDefaultVlan: boolean?
        macspoofchk: boolean?
        enabledad: boolean?
        disableContainerInterface: boolean?
        portIsolation: boolean?"""),
    "ptp": ("interface", "0.1.0", MASQUERADE + MTU + "ipam: mapping"),
    "ipvlan": ("interface", "0.1.0", MTU + IPAM + """
        master: interface?
        mode: "" or "l2" or "l3" or "l3s"?
        linkInContainer: boolean?"""),
    "macvlan": ("interface", "0.1.0", MTU + IPAM + """
        master: interface?
        mode: "" or "bridge" or "private" or "vepa" or "passthru"?
        mac: mac?
        linkInContainer: boolean?
        bcqueuelen: integer 0..4294967295?"""),
    "vlan": ("interface", "0.1.0", MTU + """
        ipam: mapping
        master: interface
        vlanId: integer 0..4094?
        linkInContainer: boolean?"""),
    "host-device": ("interface", "0.1.0", IPAM + """
        device: interface?
        hwaddr: mac?
        kernelpath: path?
        pciBusID: string?"""),
    "dummy": ("interface", "0.1.0", "ipam: mapping"),
    "tap": ("interface", "0.1.0", MTU + IPAM + """
        multiQueue: boolean?
        mac: mac?
        owner: integer 0..4294967295?
        group: integer 0..4294967295?
        selinuxContext: string?
        bridge: interface?"""),
    "loopback": ("interface", "0.1.0", IPAM),
    "portmap": ("chained", "0.1.0", """
        backend: "iptables" or "nftables"?
        snat: boolean?
        masqAll: boolean?
        markMasqBit: integer 0..31?
        externalSetMarkChain: string?
        conditionsV4: list of string?
        conditionsV6: list of string?"""),
    "firewall": ("chained", "0.4.0", """
        backend: "" or "iptables" or "firewalld" or "nftables"?
        iptablesAdminChainName: string?
        firewalldZone: string?
        ingressPolicy: "" or "open" or "same-bridge" or "isolated"?"""),
    "bandwidth": ("chained", "0.3.0", """
        ingressRate: integer 0..18446744073709551615?
        ingressBurst: integer 0..34359738367?
        egressRate: integer 0..18446744073709551615?
        egressBurst: integer 0..34359738367?
        shapedSubnets: list of cidr?
        unshapedSubnets: list of cidr?"""),
    "sriov": ("interface", "0.1.0", IPAM + """
        deviceID: string?
        vlan: integer 0..4094?
        vlanQoS: integer 0..7?
        vlanProto: string?
        mac: mac?
        spoofchk: "" or "on" or "off"?
        trust: "" or "on" or "off"?
        link_state: "" or "auto" or "enable" or "disable"?
        min_tx_rate: integer 0..4294967295?
        max_tx_rate: integer 0..4294967295?
        mtu: integer 0..4294967295?
        logLevel: string?
        logFile: path?"""),
    "tuning": ("chained", "0.1.0", MTU + """
        sysctl: mapping?
        mac: mac?
        promisc: boolean?
        txQLen: integer 0..4294967295?
        allmulti: boolean?
        dataDir: path?"""),
    "sbr": ("chained", "0.1.0", """
        table: integer 1..4294967295?
        gateways: list of address?
        addSourceHints: boolean?"""),
    "vrf": ("chained", "0.3.1", "vrfname: interface\ntable: integer 0..4294967295?"),
    "host-local": ("ipam", "0.1.0", """
        ranges: list of list of range?
        subnet: cidr?
        rangeStart: address?
        rangeEnd: address?
        gateway: address?
        routes: list of route?
        dataDir: path?
        resolvConf: path?"""),
    "dhcp": ("ipam", "0.1.0", """
        daemonSocketPath: path?
        request: list of request?
        provide: list of provide?
        priority: integer 0..4294967295?"""),
    "static": ("ipam", "0.1.0", "addresses: list of static?\nroutes: list of route?"),
}  # fmt: skip


@dataclass(frozen=True)
class KnownPlugin:
    """A plugin whose configuration we can check."""

    name: str
    kind: str
    oldest: str
    fields: Mapping[str, Field]


@cache
def plugin(name: str) -> KnownPlugin | None:
    """What is known of a plugin by its type, or None."""
    if name not in TABLES:
        return None
    kind, oldest, keys = TABLES[name]
    return KnownPlugin(name, kind, oldest, fields(COMMON + keys))
