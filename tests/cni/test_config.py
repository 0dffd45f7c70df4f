from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cni_provision.cni import config
from cni_provision.cni.types import CNIError

AsBytes = Callable[[Any], bytes]


def test_load(case: dict[str, Any], as_bytes: AsBytes) -> None:
    network = config.load(as_bytes(case["content"]))
    assert (network.name, network.cni_version) == ("n", case["version"])
    assert [plugin.type for plugin in network.plugins] == case["types"]
    assert [plugin.ipam_type for plugin in network.plugins] == case["ipam"]
    assert sorted(name for plugin in network.plugins for name in plugin.capabilities) == case["capabilities"]
    assert config.load(network.content) == network


def test_switch(case: dict[str, Any], as_bytes: AsBytes) -> None:
    content = as_bytes({"name": "n", "plugins": [{"type": "a"}], **case["raw"]})
    if "code" in case:
        with pytest.raises(CNIError, match="`disableCheck` must be") as caught:
            config.load_conflist(content)
        assert caught.value.code == case["code"]
    else:
        assert config.load_conflist(content).disable_check is case["value"]


def test_refused(case: dict[str, Any], as_bytes: AsBytes) -> None:
    with pytest.raises(CNIError) as caught:
        config.load(as_bytes(case["content"]))
    assert caught.value.code == case["code"]
    assert case["msg"] in caught.value.msg


def test_find(case: dict[str, Any], as_bytes: AsBytes, tmp_path: Path) -> None:
    for name, content in case["files"].items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(as_bytes(content))
    if "code" in case:
        with pytest.raises(CNIError) as caught:
            config.find(str(tmp_path), case["find"])
        assert caught.value.code == case["code"]
        assert case["msg"] in caught.value.msg
    else:
        found = config.find(str(tmp_path), case["find"])
        assert [plugin.type for plugin in found.plugins] == case["types"]


def test_a_folder_that_does_not_exist_is_empty(tmp_path: Path) -> None:
    with pytest.raises(config.NotFound) as caught:
        config.find(str(tmp_path / "absent"), "n")
    assert caught.value.empty


def test_folders_are_no_configuration(tmp_path: Path) -> None:
    (tmp_path / "a.conflist").mkdir()
    (tmp_path / "b.conflist").symlink_to(tmp_path)
    assert config.files(str(tmp_path), [".conflist"]) == []


def test_single_files_alone(tmp_path: Path) -> None:
    (tmp_path / "a.conflist").write_text('{"name":"n","plugins":[{"type":"a"}]}')
    with pytest.raises(config.NotFound, match="no net configurations found in") as caught:
        config.find_conf(str(tmp_path), "n")
    assert caught.value.empty
    (tmp_path / "b.json").write_text('{"name":"n","type":"b"}')
    assert [plugin.type for plugin in config.find_conf(str(tmp_path), "n").plugins] == ["b"]
    assert [plugin.type for plugin in config.find(str(tmp_path), "n").plugins] == ["a"]
    with pytest.raises(config.NotFound, match='no net configuration with name "m" in'):
        config.find(str(tmp_path), "m")


def test_inject() -> None:
    plugin = config.load_plugin(b'{"type":"a","mtu":1500}')
    injected = config.inject(plugin, {"mtu": 9000, "capabilities": {"mac": True}})
    assert (injected.raw["mtu"], injected.capabilities, plugin.raw["mtu"]) == (9000, {"mac"}, 1500)
    for values in ({"": 1}, {"mtu": None}, {"type": ""}, {"type": "a/b"}):
        with pytest.raises(CNIError) as caught:
            config.inject(plugin, values)
        assert caught.value.code == 7


def test_a_plugin_keeps_what_was_written() -> None:
    network = config.load(b'{"name":"n","plugins":[{"type":"a","Odd":{"KEY":null}}]}')
    assert network.plugins[0].raw == {"type": "a", "Odd": {"KEY": None}}
