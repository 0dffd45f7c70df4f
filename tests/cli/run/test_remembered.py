"""Which attachment CHECK and DEL mean, from what the cache knows and the options say."""

from __future__ import annotations

import json
from pathlib import Path

import click
import pytest

from cni_provision.cli.run.attaching import Container, Place, container_id
from cni_provision.cli.run.operating import Session
from cni_provision.cli.run.remembered import meant
from cni_provision.cni.cache import ResultCache
from cni_provision.cni.config import load
from cni_provision.cni.runtime import Attachment, Runtime
from cni_provision.cni.types import CNIError, Result

BLUE = "/run/netns/blue"


def conflist(plugin: str, name: str = "pods") -> bytes:
    return json.dumps({"cniVersion": "1.0.0", "name": name, "plugins": [{"type": plugin}]}).encode()


@pytest.fixture
def session(tmp_path: Path) -> Session:
    """A folder whose `pods` has the plugin `now`."""
    (tmp_path / "net").mkdir()
    (tmp_path / "net/10-pods.conflist").write_bytes(conflist("now"))
    place = Place(str(tmp_path / "net"), ("/none",), str(tmp_path / "cache"))
    return Session(lambda event: None, place, Runtime(place.path, place.cache_dir))


def remember(session: Session, *attachments: Attachment) -> None:
    """As an ADD with the plugin `then` leaves them."""
    folder = Path(session.place.cache_dir)
    cache = ResultCache(str(folder / "results"), str(folder / "scratch"))
    for one in attachments:
        cache.write(load(conflist("then")), one, Result("1.0.0"))


def test_the_only_one(session: Session) -> None:
    made = Attachment("c", BLUE, "net1", (("K", "v"),), {"mac": "aa"})
    remember(session, made)
    network, attachment = meant(session, "pods", Container(), None)
    assert attachment == made
    assert network.plugins[0].type == "then"


def test_options_go_before(session: Session) -> None:
    remember(session, Attachment("c", BLUE, "net1", (("K", "v"),), {"mac": "aa"}))
    _, attachment = meant(session, "pods", Container(args="K=w", cap=("x=1",), container_id="c"), "/proc/1/ns/net")
    assert attachment == Attachment("c", "/proc/1/ns/net", "net1", (("K", "w"),), {"x": 1})


def test_by_namespace_as_cnitool_made_it(session: Session) -> None:
    mine, other = Attachment(container_id(BLUE), BLUE), Attachment(container_id("/other"), "/other")
    remember(session, mine, other)
    assert meant(session, "pods", Container(), BLUE)[1] == mine


def test_the_usual_interface_of_one_container(session: Session) -> None:
    remember(session, Attachment("c", BLUE, "net1"), Attachment("c", BLUE, "eth0"))
    assert meant(session, "pods", Container(), None)[1].ifname == "eth0"
    assert meant(session, "pods", Container(ifname="net1"), None)[1].ifname == "net1"


def test_several_are_named(session: Session) -> None:
    remember(session, Attachment("c", BLUE), Attachment("d", BLUE))
    with pytest.raises(click.UsageError, match="has 2 attachments, c/eth0, d/eth0"):
        meant(session, "pods", Container(), None)
    assert meant(session, "pods", Container(container_id="d"), None)[1].container_id == "d"


def test_nothing_is_known(session: Session) -> None:
    network, attachment = meant(session, "pods", Container(), BLUE)
    assert (network.plugins[0].type, attachment) == ("now", Attachment(container_id(BLUE), BLUE))
    assert meant(session, "pods", Container(container_id="c"), None)[1] == Attachment("c", "")
    with pytest.raises(click.UsageError, match="name its namespace"):
        meant(session, "pods", Container(), None)
    with pytest.raises(CNIError, match="no network `none`"):
        meant(session, "none", Container(), BLUE)


def test_a_file_is_taken_as_it_is(session: Session, tmp_path: Path) -> None:
    remember(session, Attachment("c", BLUE))
    network, _ = meant(session, f"{tmp_path}/net/10-pods.conflist", Container(), None)
    assert network.plugins[0].type == "now"


def test_the_folders_configuration_where_a_side_folder_adds_to_it(session: Session, tmp_path: Path) -> None:
    remember(session, Attachment("c", BLUE))
    (tmp_path / "net/pods").mkdir()
    (tmp_path / "net/pods/more.conf").write_text('{"type": "more"}')
    network, _ = meant(session, "pods", Container(), None)
    assert [plugin.type for plugin in network.plugins] == ["now", "more"]


def test_the_caches_configuration_where_the_folder_has_none(session: Session, tmp_path: Path) -> None:
    remember(session, Attachment("c", BLUE))
    (tmp_path / "net/10-pods.conflist").unlink()
    assert meant(session, "pods", Container(), None)[0].plugins[0].type == "then"
