from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cni_provision.cni import config
from cni_provision.cni.cache import ResultCache
from cni_provision.cni.protocol import Attachment
from cni_provision.cni.results import decode_result
from cni_provision.cni.types import CNIError, Result

NETWORK = config.load(b'{"cniVersion":"1.0.0","name":"n","plugins":[{"type":"a"}]}')
ATTACHMENT = Attachment("c1", "/ns", "eth0", (("A", "1"),), {"mac": "x"})
RESULT = decode_result({"cniVersion": "1.0.0", "ips": [{"address": "10.0.0.2/24"}]})


@pytest.fixture
def cache(tmp_path: Path) -> ResultCache:
    return ResultCache(str(tmp_path / "results"), str(tmp_path / "scratch"))


def test_read(case: dict[str, Any], cache: ResultCache, as_bytes: Callable[[Any], bytes]) -> None:
    os.mkdir(cache.folder)
    Path(cache.path("n", ("c1", "eth0"))).write_bytes(as_bytes(case["content"]))
    if case["ips"] is None:
        with pytest.raises(CNIError, match="is broken") as caught:
            cache.result("n", ("c1", "eth0"), "1.0.0")
        assert caught.value.code == 6
    else:
        result = cache.result("n", ("c1", "eth0"), "1.0.0")
        assert ([str(ip.address) for ip in result.ips] if result else "absent") == case["ips"]
    assert len(list(cache.attachments())) == case["listed"]


def test_the_file_is_libcnis(cache: ResultCache) -> None:
    cache.write(NETWORK, ATTACHMENT, RESULT)
    path = Path(cache.folder, "n-c1-eth0")
    assert json.loads(path.read_bytes()) == {
        "kind": "cniCacheV1",
        "containerId": "c1",
        "config": base64.b64encode(NETWORK.content).decode(),
        "ifName": "eth0",
        "networkName": "n",
        "netns": "/ns",
        "cniArgs": [["A", "1"]],
        "capabilityArgs": {"mac": "x"},
        "result": {"cniVersion": "1.0.0", "ips": [{"address": "10.0.0.2/24"}]},
    }
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert os.listdir(cache.scratch) == []


def test_what_is_written_is_read(cache: ResultCache) -> None:
    cache.write(NETWORK, ATTACHMENT, RESULT)
    assert cache.result("n", ATTACHMENT.key, "1.0.0") == RESULT
    (found,) = cache.attachments()
    assert (found.network, found.attachment, found.config) == ("n", ATTACHMENT, NETWORK.content)
    cache.remove("n", ATTACHMENT.key)
    cache.remove("n", ATTACHMENT.key)
    assert cache.result("n", ATTACHMENT.key, "1.0.0") is None
    assert list(cache.attachments()) == []


def test_everything_that_is_kept_of_one(cache: ResultCache) -> None:
    cache.write(NETWORK, ATTACHMENT, RESULT)
    found = cache.read("n", ATTACHMENT.key)
    assert found
    assert (found.network, found.attachment, found.config, found.result) == ("n", ATTACHMENT, NETWORK.content, RESULT)
    assert cache.read("n", ("c2", "eth0")) is None
    Path(cache.path("n", ATTACHMENT.key)).write_text('{"cniVersion":"1.0.0"}')
    with pytest.raises(CNIError, match="is broken; `kind` must be cniCacheV1") as caught:
        cache.read("n", ATTACHMENT.key)
    assert caught.value.code == 6


def test_a_write_that_fails_keeps_what_was_there(cache: ResultCache, tmp_path: Path) -> None:
    cache.write(NETWORK, ATTACHMENT, RESULT)
    broken = ResultCache(cache.folder, "/dev/null/scratch")
    with pytest.raises(CNIError, match="cannot write the result") as caught:
        broken.write(NETWORK, ATTACHMENT, Result("1.0.0"))
    assert caught.value.code == 5
    assert cache.result("n", ATTACHMENT.key, "1.0.0") == RESULT


def test_a_folder_that_cannot_be_read_is_not_an_empty_one(tmp_path: Path) -> None:
    (tmp_path / "results").touch()
    with pytest.raises(CNIError, match="cannot read") as caught:
        list(ResultCache(str(tmp_path / "results"), str(tmp_path)).attachments())
    assert caught.value.code == 5


def test_broken_files_are_collected_by_network_when_they_are_old(cache: ResultCache) -> None:
    cache.write(NETWORK, ATTACHMENT, RESULT)
    for name in ("n-c2-eth0", "m-c2-eth0"):
        Path(cache.folder, name).touch()
        os.utime(Path(cache.folder, name), (0, 0))
    Path(cache.folder, "n-c3-eth0").touch()
    cache.collect("n")
    assert sorted(os.listdir(cache.folder)) == ["m-c2-eth0", "n-c1-eth0", "n-c3-eth0"]


def test_two_attachments_may_share_a_name_and_none_takes_the_others(cache: ResultCache) -> None:
    cache.write(NETWORK, Attachment("c1-x", "/ns", "eth0"), RESULT)
    assert cache.path("n", ("c1-x", "eth0")) == cache.path("n", ("c1", "x-eth0"))
    assert cache.result("n", ("c1", "x-eth0"), "1.0.0") is None
    cache.remove("n", ("c1", "x-eth0"))
    assert cache.result("n", ("c1-x", "eth0"), "1.0.0") == RESULT
