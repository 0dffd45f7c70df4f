from __future__ import annotations

from pathlib import Path

import pytest

from cni_provision.net import netns, nft, reference

RULESET = Path(__file__).resolve().parents[1] / "cases" / "reference" / "ruleset.nft"


def test_chains_are_named_as_the_reference_names_them() -> None:
    """The name that `bridge` 1.1.1 gave to network `pods`, container `container-1`."""
    assert "CNI-" + reference.digest("pods" + "container-1", 24) == "CNI-e679a1ef4b6b9f1781a5006f"


@pytest.mark.root
def test_only_what_one_attachment_had_is_removed(netns_fd: int) -> None:
    names = {
        "CHAIN": "CNI-" + reference.digest("pods" + "abc", 24),
        "HASH": f"{reference.digest('pods', 16)}-{reference.digest('eth0:abc', 16)}",
        "OTHER": f"{reference.digest('pods', 16)}-{reference.digest('net1:abc', 16)}",
    }
    script = RULESET.read_text()
    for name, value in names.items():
        script = script.replace(name, value)
    with netns.inside(netns_fd):
        nft.run(script)
        for _ in range(2):
            reference.remove_masquerade("pods", "abc", "eth0")
            reference.remove_spoofcheck("abc", "eth0")
        left = nft.run("list ruleset\n")
    for gone in (names["CHAIN"], names["HASH"], "cni-br-iface-abc-eth0 ", "cni-br-iface-abc-eth0-mac"):
        assert gone not in left
    for kept in ("jump CNI-other", "chain CNI-other", names["OTHER"], "jump cni-br-iface-abc-eth0b"):
        assert kept in left


@pytest.mark.root
def test_nothing_of_the_reference_is_fine(netns_fd: int) -> None:
    with netns.inside(netns_fd):
        reference.remove_masquerade("pods", "abc", "eth0")
        reference.remove_spoofcheck("abc", "eth0")
        assert nft.run("list ruleset\n") == ""
