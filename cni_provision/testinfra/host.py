"""`host.cni`: what one node told of its networks, in the words of a test."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cni_provision.fleet_job import Outcome
from cni_provision.node.protocol import CheckOutcome, Reply


@dataclass(frozen=True)
class Network:
    """A conflist as runtimes find it; `plugins` are the types of the chain, IPAM included."""

    name: str
    exists: bool = True
    file: str = ""
    cni_version: str = ""
    plugins: tuple[str, ...] = ()


@dataclass(frozen=True)
class Plugin:
    """An executable in the plugin folder; `versions` of the specification, `owner` None where it is not ours."""

    name: str
    exists: bool = True
    digest: str = ""
    size: int = 0
    versions: tuple[str, ...] = ()
    owner: str | None = None


@dataclass(frozen=True)
class Lease:
    """An address that host-local has given out."""

    network: str
    address: str
    container_id: str
    ifname: str


@dataclass(frozen=True)
class Attachment:
    """An interface of a container, by the runtime's cache; `alive`: its network namespace is there."""

    network: str
    container_id: str
    ifname: str
    netns: str
    alive: bool
    addresses: tuple[str, ...] = ()


class CNI:
    """What a node answered, once; raises its `NodeError` where it did not."""

    def __init__(self, outcome: Outcome) -> None:
        self._outcome = outcome

    def __repr__(self) -> str:
        return f"<cni of {self._outcome.node.name}>"

    @property
    def _reply(self) -> Reply:
        if self._outcome.error:
            raise self._outcome.error
        assert self._outcome.reply
        return self._outcome.reply

    def _told(self, name: str) -> list[dict[str, Any]]:
        return list(self._reply.facts[name])

    @property
    def generation(self) -> int:
        """The node's generation; 0 where nothing of ours is there."""
        return self._reply.generation

    @property
    def checks(self) -> tuple[CheckOutcome, ...]:
        """Every check's judgement, those of the probe included."""
        return self._reply.outcomes

    def probe(self, network: str) -> tuple[CheckOutcome, ...]:
        """What came of throwaway containers on a network: traffic between them, to the gateway, by a mapped port."""
        return tuple(one for one in self.checks if one.network == network and one.check not in ("status", "versions"))

    @property
    def networks(self) -> tuple[Network, ...]:
        """In the order in which runtimes see them."""
        return tuple(Network(**{**each, "plugins": tuple(each["plugins"])}) for each in self._told("networks"))

    def network(self, name: str) -> Network:
        """One network; `exists` is False where there is none of that name."""
        return next((each for each in self.networks if each.name == name), Network(name, exists=False))

    @property
    def plugins(self) -> tuple[Plugin, ...]:
        """Every executable in the plugin folder."""
        return tuple(Plugin(**{**each, "versions": tuple(each["versions"])}) for each in self._told("plugins"))

    def plugin(self, name: str) -> Plugin:
        """One plugin; `exists` is False where there is none of that name."""
        return next((each for each in self.plugins if each.name == name), Plugin(name, exists=False))

    @property
    def leases(self) -> tuple[Lease, ...]:
        return tuple(Lease(**each) for each in self._told("leases"))

    @property
    def attachments(self) -> tuple[Attachment, ...]:
        return tuple(
            Attachment(**{**each, "addresses": tuple(each["addresses"])}) for each in self._told("attachments")
        )
