from __future__ import annotations

import ipaddress
import json
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from cni_provision.cni.results import decode_previous, decode_result, encode_result, read_result
from cni_provision.cni.types import DNS, CNIError, Interface, IPConfig, Result, Route
from cni_provision.cni.values import encode
from cni_provision.cni.versions import ALL_VERSIONS

words = st.text("abcxyz0189:./", min_size=1, max_size=8)
addresses = st.ip_addresses()
interfaces = st.builds(Interface, words, words, words, st.none() | st.integers(1, 9000), words, words)
ips = st.builds(
    lambda address, length, gateway, index: IPConfig(
        ipaddress.ip_interface(f"{address}/{length % (address.max_prefixlen + 1)}"), gateway, index
    ),
    addresses,
    st.integers(0, 128),
    st.none() | addresses,
    st.none() | st.integers(0, 3),
)
counts = st.none() | st.integers(1, 2**31)
routes = st.builds(
    lambda address, length, *rest: Route(
        ipaddress.ip_network(f"{address}/{length % (address.max_prefixlen + 1)}", strict=False), *rest
    ),
    addresses,
    st.integers(0, 128),
    st.none() | addresses,
    counts,
    counts,
    counts,
    st.none() | st.integers(0, 255),
    st.none() | st.integers(0, 255),
)
tuples = st.lists(words, max_size=2).map(tuple)
results = st.builds(
    Result,
    st.just("1.1.0"),
    st.lists(interfaces, max_size=3).map(tuple),
    st.lists(ips, max_size=3).map(tuple),
    st.lists(routes, max_size=3).map(tuple),
    st.builds(DNS, tuples, words, tuples, tuples),
)
modern = st.sampled_from(ALL_VERSIONS[2:])


def test_appendix(case: dict[str, Any]) -> None:
    assert encode_result(decode_result(case["wire"])) == case["wire"]


def test_decode(case: dict[str, Any]) -> None:
    assert encode_result(decode_result(case["wire"], case["version"])) == case["again"]


def test_refused(case: dict[str, Any]) -> None:
    with pytest.raises(CNIError) as caught:
        decode_result(case["wire"], case["version"])
    assert caught.value.code == case["code"]


def test_convert(case: dict[str, Any]) -> None:
    result = decode_result(case["wire"])
    if "code" in case:
        with pytest.raises(CNIError) as caught:
            encode_result(result, case["to"])
        assert caught.value.code == case["code"]
    else:
        assert encode_result(result, case["to"]) == case["converted"]


def test_previous(case: dict[str, Any]) -> None:
    if case["code"]:
        with pytest.raises(CNIError) as caught:
            decode_previous(case["wire"], case["version"])
        assert caught.value.code == case["code"]
    else:
        previous = decode_previous(case["wire"], case["version"])
        assert previous is None or previous.cni_version == case["version"]


@given(results)
def test_decode_after_encode_is_identity(result: Result) -> None:
    assert read_result(encode(encode_result(result))) == result


@given(results, modern)
def test_a_version_loses_only_what_it_cannot_hold(result: Result, version: str) -> None:
    back = decode_result(encode_result(result, version))
    kept = result if version == "1.1.0" else without_1_1(result)
    assert back == replace(kept, cni_version=version)


@given(results, st.sampled_from(ALL_VERSIONS[:2]))
def test_old_versions_keep_the_first_of_each_family(result: Result, version: str) -> None:
    firsts = [next((ip for ip in result.ips if ip.address.version == family), None) for family in (4, 6)]
    present = [ip for ip in firsts if ip]
    if not present:
        with pytest.raises(CNIError, match="no valid IP addresses"):
            encode_result(result, version)
        return
    back = decode_result(encode_result(result, version))
    families = {ip.address.version for ip in present}
    assert [ip.address for ip in back.ips] == [ip.address for ip in present]
    assert [route.dst for route in back.routes] == [
        route.dst
        for family in (4, 6)
        for route in result.routes
        if route.dst.version == family and family in families
    ]
    assert back.dns == result.dns


@given(results, st.sampled_from(ALL_VERSIONS), st.sampled_from(ALL_VERSIONS))
def test_a_second_conversion_there_and_back_changes_nothing(result: Result, one: str, other: str) -> None:
    assume(result.ips)
    there = encode_result(decode_result(encode_result(result, one)), other)
    once = encode_result(decode_result(there), one)
    assert encode_result(decode_result(encode_result(decode_result(once), other)), one) == once


@given(st.binary() | st.recursive(st.none() | st.integers() | words, st.lists).map(lambda x: json.dumps(x).encode()))
def test_nothing_but_a_cni_error_is_raised(content: bytes) -> None:
    with suppress(CNIError):
        read_result(content, "1.0.0")


def without_1_1(result: Result) -> Result:
    interfaces = tuple(replace(one, mtu=None, socket_path="", pci_id="") for one in result.interfaces)
    routes = tuple(Route(one.dst, one.gw) for one in result.routes)
    return replace(result, interfaces=interfaces, routes=routes)
