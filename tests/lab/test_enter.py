"""Commands in a node, without SSH."""

from __future__ import annotations

import pytest

from cni_provision import lab
from cni_provision.errors import UserError

pytestmark = pytest.mark.lab


def test_runs_on_this_terminal_and_answers_the_exit_code(
    shared_lab: lab.Lab, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OUTSIDE", "1")
    code = lab.execute(shared_lab, "node-1", ["sh", "-c", "pwd; echo $HOME$OUTSIDE; exit 7"])
    assert (code, capfd.readouterr().out) == (7, "/\n/root\n")


def test_an_unknown_node_names_the_known_ones(shared_lab: lab.Lab) -> None:
    with pytest.raises(UserError, match="has no node `node-9`") as caught:
        lab.execute(shared_lab, "node-9", ["true"])
    assert caught.value.hint == "it has node-1, node-2, node-3"
