"""Secret values on a node: right in the kernel and in files for root alone, and in no record, journal or answer."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace

import pytest

from cni_provision.node.protocol import Reply, Request, to_json
from cni_provision.plan import Live, hidden
from tests.node.conftest import Bytes, Node, request

pytestmark = pytest.mark.root

NAME = "net.ipv4.tcp_fastopen_key"
FOUND = "0badf00d-11111111-22222222-33333333"
FIRST, SECOND = "c0ffee01-5eed5eed-0badcafe-7f3a91c2", "facade02-12345678-9abcdef0-11223344"
STATE = "/var/lib/cni-provision"


def declared(value: str, **more: object) -> Request:
    """A secret sysctl, and a conflist with the same secret, proved by the checks that look at them."""
    text = f'{{"cniVersion": "1.0.0", "name": "pods", "plugins": [{{"type": "keeper", "secret": "{value}"}}]}}'
    what = Bytes().conflist("10-pods.conflist", text.encode()).live(Live("sysctl", NAME, hidden(value)))
    texts = {hashlib.sha256(each.encode()).hexdigest(): each for each in (text, value)}
    network = {"name": "pods", "file": "10-pods.conflist", "text": text, "types": [], "cni_version": "1.0.0"}
    verify = {
        "bin_dir": "/opt/cni/bin", "cache_dir": "/var/lib/cni", "networks": [network],
        "sysctl": [[NAME, hidden(value)]], "checks": ["prerequisites"],
    }  # fmt: skip
    secret = ("/etc/cni/net.d/10-pods.conflist", f"sysctl:{NAME}")
    return request(what, texts=texts, secret=secret, verify=verify, **more)


def value(node: Node) -> str:
    return node.shell(f"sysctl -n {NAME}").strip()


def leaks(node: Node, reply: Reply) -> Iterator[str]:
    """Where a secret stands: in the answer, and in what is kept but the blobs."""
    files = [path for path in node.path(STATE).rglob("*.json") if path.is_file()]
    assert files or reply.generation == 0
    for where, text in [("answer", to_json(reply)), *((str(path), path.read_bytes()) for path in files)]:
        yield from (f"{secret} in {where}" for secret in (FOUND, FIRST, SECOND) if secret.encode() in text)


@pytest.fixture
def sown(node: Node) -> Node:
    """A node with a value of its own; skips where this kernel has none."""
    node.python(f"open('/proc/sys/{NAME.replace('.', '/')}', 'w').write({FOUND!r})")
    if value(node) != FOUND:
        pytest.skip("this kernel has no keys for TCP Fast Open")
    return node


def test_a_secret_value_comes_and_goes_by_its_digest(sown: Node) -> None:
    steps = [
        (declared(FIRST), FIRST),
        (declared(SECOND), SECOND),
        (Request("rollback", by="tester@here", time="2026-01-01"), FIRST),
        (Request("remove", by="tester@here", time="2026-01-01"), FOUND),
    ]
    for asked, wanted in steps:
        assert list(leaks(sown, sown.ask(replace(asked, verb="plan", work={"of": asked.verb})).reply)) == []
        reply = sown.ask(asked).reply
        assert reply.error is None
        assert all(outcome.outcome == "pass" for outcome in reply.outcomes)
        assert value(sown) == wanted
        assert list(leaks(sown, reply)) == []
        again = replace(asked, verb="plan", work={"of": asked.verb}, generation=reply.generation)
        assert sown.ask(again).reply.changes == ()


def test_kept_bytes_are_for_root_alone(sown: Node) -> None:
    sown.ask(declared(FIRST))
    sown.ask(declared(SECOND))
    modes = sown.shell(f"find {STATE} -type f -printf '%m\\n'; find {STATE} -type d -printf '%m\\n'").split()
    assert set(modes) == {"600", "700"}


def test_drift_and_refusals_do_not_tell_it(sown: Node) -> None:
    sown.ask(declared(FIRST))
    sown.shell(f"sysctl -qw {NAME}={SECOND}")
    told = sown.ask(Request("status")).reply
    assert [change.key for change in told.changes] == [f"sysctl:{NAME}"]
    assert list(leaks(sown, told)) == []
    failed = sown.ask(declared("no key at all")).reply
    assert failed.error
    assert failed.error["message"].startswith(f"cannot set sysctl `{NAME}` to what is declared: Invalid argument")
    assert value(sown) == SECOND
    verified = sown.ask(replace(declared(FIRST), verb="verify")).reply
    assert [each.message for each in verified.outcomes] == [f"sysctl `{NAME}` is not what is declared"]


def test_a_value_that_becomes_secret_returns_to_what_was_found(sown: Node) -> None:
    plain = Bytes().live(Live("sysctl", NAME, FIRST))
    assert sown.ask(request(plain)).reply.applied
    assert sown.ask(declared(SECOND)).reply.applied
    reply = sown.ask(Request("remove")).reply
    assert SECOND not in to_json(reply).decode()
    assert value(sown) == FOUND
