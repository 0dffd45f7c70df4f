"""Labs by name."""

from __future__ import annotations

import os
import subprocess

import pytest

from cni_provision.errors import UserError
from cni_provision.lab import state


@pytest.mark.parametrize("name", ["", "..", "a/b", "-", "a b"])
def test_names_that_cannot_be(name: str) -> None:
    with pytest.raises(UserError, match="cannot be the name of a lab"):
        state.folder(name)


def test_a_lab_that_is_not_there() -> None:
    with pytest.raises(UserError, match="there is no lab `nowhere`") as caught:
        state.find("nowhere")
    assert "cni-provision lab up 3 --name nowhere" in str(caught.value.hint)


def test_a_process_is_known_by_its_birth() -> None:
    assert state.birth(os.getpid()) == state.birth(os.getpid()) != ""
    assert state.birth(os.getpid()) != state.birth(1)


def test_an_ended_process_has_none() -> None:
    with subprocess.Popen(["true"]) as process:
        process.wait()
    assert state.birth(process.pid) == ""
