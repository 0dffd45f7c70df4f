from __future__ import annotations

import os
from pathlib import Path

import pytest

from cni_provision.cni import namespace
from cni_provision.cni.types import CNIError

pytestmark = pytest.mark.usefixtures("no_new_descriptors")


def refused(environment: dict[str, str], given: int | None = None) -> str:
    with pytest.raises(CNIError) as caught, namespace.opened(environment, given, may_be_gone=False):
        pass
    assert caught.value.code == 8
    return caught.value.msg


def test_no_path_is_no_namespace() -> None:
    with namespace.opened({}, None, may_be_gone=False) as descriptor:
        assert descriptor is None


@pytest.mark.parametrize("path", ["/absent", "/", "/dev/null", "/proc/self/ns/mnt", "a\0b"])
def test_what_is_no_namespace_is_refused_or_gone(path: str) -> None:
    environment = {"CNI_NETNS": path}
    assert path in refused(environment)
    with namespace.opened(environment, None, may_be_gone=True) as descriptor:
        assert descriptor is None


def test_a_given_descriptor_is_judged_like_a_path(tmp_path: Path) -> None:
    stale = os.open(tmp_path, os.O_RDONLY)
    for given in (namespace.ABSENT, stale):
        assert "/the/path" in refused({"CNI_NETNS": "/the/path"}, given)
        with namespace.opened({"CNI_NETNS": "/the/path"}, given, may_be_gone=True) as descriptor:
            assert descriptor is None
    os.close(stale)


def test_a_given_descriptor_stays_open() -> None:
    given = os.open("/proc/self/ns/net", os.O_RDONLY)
    environment = {"CNI_NETNS": "/the/path", "CNI_NETNS_OVERRIDE": "TRUE"}
    with namespace.opened(environment, given, may_be_gone=False) as descriptor:
        assert descriptor == given
    os.fstat(given)
    os.close(given)


@pytest.mark.parametrize("may_be_gone", [True, False])
def test_the_own_namespace_is_refused_even_where_it_may_be_gone(*, may_be_gone: bool) -> None:
    with (
        pytest.raises(CNIError, match="should not be the same"),
        namespace.opened({"CNI_NETNS": "/proc/self/ns/net"}, None, may_be_gone=may_be_gone),
    ):
        pass
