"""firewall: the host forwards what a container sends, and the answers (a chained plugin).

The smallest configuration, after the plugin that makes the interface:

    {"type": "firewall"}

key                    default    meaning
backend                chosen     nftables, iptables or firewalld
ingressPolicy          open       same-bridge: nothing from other bridges with a policy; isolated: nor from its own
iptablesAdminChainName CNI-ADMIN  the chain in which whoever runs the node can say no; chooses iptables
firewalldZone          trusted    the zone whose sources the addresses become

Without `backend` it is firewalld where that runs, iptables where a chain of iptables drops what nobody accepts (what
nftables accepts elsewhere would be lost there) or `nft` is missing, else nftables: `chain inet cni_firewall admin`
is then the node's own. With iptables the chains and rules are the reference's. Between containers of one bridge
`isolated` drops only what the host routes, or all where br_netfilter is on.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from ipaddress import ip_interface
from typing import Any

from cni_provision.attach.chain import previous
from cni_provision.attach.interface import addresses, attachment, refuse
from cni_provision.cni import skel
from cni_provision.cni.skel import Call, Config
from cni_provision.cni.types import INVALID_CONFIG, NOT_AVAILABLE, TRY_AGAIN_LATER, CNIError, IPInterface, Result
from cni_provision.net import firewall, firewall_iptables, firewalld, iptables, nft, record
from cni_provision.net.errors import NetError
from cni_provision.net.firewall import ISOLATED, SAME_BRIDGE
from cni_provision.net.record import Attachment, Made
from cni_provision.net.undo import Undo

NFTABLES, IPTABLES, FIREWALLD = "nftables", "iptables", "firewalld"
OPEN = "open"
LONGEST_CHAIN = 28


@dataclass(frozen=True)
class Wanted:
    """What an attachment is to have. `bridge` is empty where the policy is open."""

    backend: str
    addresses: tuple[IPInterface, ...] = ()
    policy: str = OPEN
    bridge: str = ""
    zone: str = ""
    admin: str = ""

    @property
    def policy_backend(self) -> str:
        """firewalld knows no such policies."""
        return IPTABLES if self.backend == IPTABLES or not nft.program() else NFTABLES

    def note(self) -> dict[str, Any]:
        """What `cni_provision.net.record` keeps."""
        texts = {key: getattr(self, key) for key in ("backend", "policy", "bridge", "zone", "admin")}
        return {**texts, "addresses": list(map(str, self.addresses))}


def of_note(note: object) -> Wanted | None:
    """What a record names; None where it is not as `note` made it."""
    try:
        assert isinstance(note, dict)
        texts = [str(note[key]) for key in ("policy", "bridge", "zone", "admin")]
        return Wanted(str(note["backend"]), tuple(map(ip_interface, note["addresses"])), *texts)
    except (AssertionError, KeyError, ValueError, TypeError):
        return None


def options(config: Config) -> Wanted:
    """The configuration, checked; without what only a result knows."""
    policy, admin = config.text("ingressPolicy") or OPEN, config.text("iptablesAdminChainName")
    if policy not in (OPEN, SAME_BRIDGE, ISOLATED):
        raise CNIError(INVALID_CONFIG, f'unknown ingress policy: "{policy}"')
    if config.text("backend") not in ("", NFTABLES, IPTABLES, FIREWALLD):
        raise config.error("backend", "must be nftables, iptables or firewalld")
    if admin and config.text("backend") == NFTABLES:
        raise config.error("iptablesAdminChainName", "needs the backend iptables")
    if len(admin) > LONGEST_CHAIN or not all(each.isalnum() or each in "-_." for each in admin):
        raise config.error("iptablesAdminChainName", f"must be a name of at most {LONGEST_CHAIN} letters")
    zone = config.text("firewalldZone") or "trusted"
    return Wanted(backend(config), (), policy, "", zone, admin or firewall_iptables.ADMIN)


def backend(config: Config) -> str:
    if config.text("backend"):
        return config.text("backend")
    if firewalld.runs():
        return FIREWALLD
    if config.text("iptablesAdminChainName") or not nft.program():
        return IPTABLES
    return IPTABLES if iptables.available() and iptables.drops_forwarded() else NFTABLES


def wanted_by(call: Call) -> Wanted:
    before, found = previous(call), options(call.config)
    return replace(found, addresses=tuple(addresses(before)), bridge=bridge_of(before, found.policy))


def bridge_of(before: Result, policy: str) -> str:
    if policy == OPEN:
        return ""
    if not before.interfaces or not before.interfaces[0].name:
        problem = f'interface needs to be set for ingress policy "{policy}", '
        raise CNIError(INVALID_CONFIG, problem + 'make sure to chain "firewall" plugin with "bridge"')
    return before.interfaces[0].name


def add(call: Call) -> Result:
    wanted, mine = wanted_by(call), attachment(call, "firewall")
    with record.held(mine), Undo() as undo:
        before = record.read(mine)
        undo.later(record.restore, mine, before)
        left = of_note((before or record.NOTHING).rules.get("firewall"))
        if left and left != wanted:
            take_off(mine, left)  # of an ADD that was killed
        record.write(mine, Made(rules={"firewall": wanted.note()}))
        undo.later(take_off, mine, wanted)
        put_on(mine, wanted)
        undo.keep()
    return previous(call)


def put_on(mine: Attachment, wanted: Wanted) -> None:
    try:
        if wanted.backend == NFTABLES:
            firewall.admit(mine.owner, wanted.addresses)
        elif wanted.backend == IPTABLES:
            firewall_iptables.admit(wanted.addresses, wanted.admin)
        else:
            firewalld.admit(wanted.zone, wanted.addresses)
        if wanted.bridge and wanted.policy_backend == NFTABLES:
            firewall.police(mine.network, wanted.bridge, wanted.policy)
        elif wanted.bridge:
            families = firewall_iptables.versions(wanted.addresses)
            firewall_iptables.police(wanted.bridge, wanted.policy, families)
    except BlockingIOError as error:
        raise CNIError(TRY_AGAIN_LATER, str(error)) from error


def take_off(mine: Attachment, wanted: Wanted) -> None:
    """What is gone already is fine; a bridge keeps its policy as long as another attachment wants one."""
    if wanted.backend == NFTABLES:
        firewall.dismiss(mine.owner, wanted.addresses)
    elif wanted.backend == IPTABLES:
        firewall_iptables.dismiss(wanted.addresses)
    else:
        firewalld.dismiss(wanted.zone, wanted.addresses)
    if wanted.bridge and wanted.policy_backend == NFTABLES:
        firewall.unpolice(mine, wanted.bridge)
    elif wanted.bridge and not firewall.policed_by_another(mine, wanted.bridge):
        firewall_iptables.unpolice(wanted.bridge)


def delete(call: Call) -> None:
    """Without a record it is the reference's, or somebody has emptied /run: all that may be there is taken off."""
    mine = attachment(call, "firewall")
    with record.held(mine):
        noted = of_note((record.read(mine) or record.NOTHING).rules.get("firewall"))
        if noted:
            take_off(mine, noted)
        else:
            own = addresses(call.prev_result or Result())
            firewall.dismiss(mine.owner, own)
            firewall_iptables.dismiss(own)
            if own and call.config.text("backend") in ("", FIREWALLD):
                firewalld.dismiss(call.config.text("firewalldZone") or "trusted", own)
        record.remove(mine)


def check(call: Call) -> None:
    wanted, mine = wanted_by(call), attachment(call, "firewall")
    noted = of_note((record.read(mine) or record.NOTHING).rules.get("firewall"))
    if noted:  # the choice of ADD; firewalld may have come since
        wanted = replace(wanted, backend=noted.backend)
    refuse(call, missing(mine, wanted))


def missing(mine: Attachment, wanted: Wanted) -> list[str]:
    bridge = wanted.bridge if wanted.policy_backend == NFTABLES else ""
    policed = firewall.policed(mine.network, bridge, wanted.policy) if bridge else []
    if wanted.backend == NFTABLES:
        return firewall.missing([*firewall.elements(mine.owner, wanted.addresses), *policed])
    if wanted.backend == FIREWALLD:
        return firewalld.missing(wanted.zone, wanted.addresses) + firewall.missing(policed)
    return firewall_iptables.missing(wanted.addresses, wanted.admin, wanted.bridge, wanted.policy)


def status(call: Call) -> None:
    """The backend is there, and takes our rules."""
    wanted = options(call.config)
    try:
        if wanted.backend == FIREWALLD and not firewalld.runs():
            raise CNIError(NOT_AVAILABLE, "firewalld is not running")
        if wanted.backend == NFTABLES or (wanted.policy != OPEN and wanted.policy_backend == NFTABLES):
            nft.run(firewall.SCRIPT, dry=True)
        if wanted.backend == IPTABLES:
            for version in iptables.NAMES:
                iptables.restore(version, f"*{firewall_iptables.TABLE}\nCOMMIT\n", dry=True)
    except (nft.NftError, NetError) as error:
        raise CNIError(NOT_AVAILABLE, f"cannot admit containers: {error.strerror}") from error


def gc(call: Call) -> None:
    options(call.config)
    network = call.config.text("name")
    valid = {nft.owner(network, *each) for each in call.valid_attachments}
    for stale, made in record.of_network("firewall", network):
        noted = of_note(made.rules.get("firewall"))
        if stale.owner not in valid and noted:
            with record.held_if_free(stale) as free:
                if free:
                    take_off(stale, noted)
                    record.remove(stale)
    firewall.gc(network, valid)
    record.gc("firewall", network, valid)


PLUGIN = skel.Plugin(
    "firewall", add, delete, check, status, gc, skel.ALL_VERSIONS[4:], "CNI firewall plugin (cni-provision)"
)
