from __future__ import annotations

import pytest

from cni_provision.dhcp import daemon
from cni_provision.dhcp.daemon import Options, Wrong
from cni_provision.dhcp.lease import Patience

READ = {
    "": Options(),
    "-pidfile /run/p -hostprefix=/host --socketpath /s": Options("/run/p", "/host", "/s"),
    "-broadcast": Options(broadcast=True),
    "-broadcast=false": Options(),
    "-broadcast=true -timeout 500ms -resendmax 1m30s -resendtimeout=1h": Options(
        broadcast=True, patience=Patience(0.5, 90.0, 3600.0)
    ),
    "-timeout 1.5s": Options(patience=Patience(1.5)),
}
WRONG = {
    "-verbose": "`verbose` is no option",
    "-timeout": "`-timeout` needs a value",
    "-timeout 10": "`10` is no duration",
    "-timeout s": "`s` is no duration",
    "-timeout 3days": "`3days` is no duration",
    "-pidfile run/p": "`-pidfile` must be an absolute path, not `run/p`",
}


@pytest.mark.parametrize(("line", "wanted"), READ.items(), ids=lambda value: str(value)[:40])
def test_options(line: str, wanted: Options) -> None:
    assert daemon.options_of(line.split()) == wanted


@pytest.mark.parametrize(("line", "said"), WRONG.items())
def test_wrong_options(line: str, said: str) -> None:
    with pytest.raises(Wrong, match=said):
        daemon.options_of(line.split())


def test_a_prefix_is_before_every_path() -> None:
    options = daemon.options_of(["-hostprefix", "/host"])
    assert options.socket == "/host/run/cni/dhcp.sock"
    assert options.folder == "/host/run/cni-provision/dhcp"
