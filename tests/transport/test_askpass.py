"""Which prompts get the login password, and how it travels."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Mapping

import pytest

from cni_provision.transport.askpass import answering, asks_for


@pytest.mark.parametrize(
    ("prompt", "direct", "meant"),
    [
        ("ops@10.0.0.9's password: ", True, True),
        ("ops@10.0.0.9's password: ", False, True),
        ("(ops@10.0.0.9) Password: ", False, True),
        ("Password: ", True, True),
        ("Password: ", False, False),
        ("ops@bastion's password: ", False, False),
        ("(ops@bastion) Password: ", True, False),
        ("(ops@10.0.0.9) Verification code: ", True, False),
        ("Enter passphrase for key '/root/.ssh/id_ed25519': ", True, False),
        ("Are you sure you want to continue connecting (yes/no/[fingerprint])? ", True, False),
    ],
)
def test_only_the_login_that_is_meant(prompt: str, direct: bool, meant: bool) -> None:
    assert asks_for(prompt, "ops@10.0.0.9", direct=direct) is meant


def answers(*prompts: str) -> list[tuple[int, bytes]]:
    """Exit code and stdout of the program that `ssh` would run, for one prompt after the other."""

    async def ask(environment: Mapping[str, str], prompt: str) -> tuple[int, bytes]:
        process = await asyncio.create_subprocess_exec(
            environment["SSH_ASKPASS"], prompt, stdout=subprocess.PIPE, env={"PATH": os.defpath}
        )
        printed, _ = await process.communicate()
        return process.returncode or 0, printed

    async def all_of_them() -> list[tuple[int, bytes]]:
        async with answering("s3cret", lambda prompt: "password" in prompt) as environment:
            assert "s3cret" not in "".join(environment.values())
            return [await ask(environment, prompt) for prompt in prompts]

    return asyncio.run(all_of_them())


def test_a_password_is_answered() -> None:
    assert answers("password: ") == [(0, b"s3cret\n")]


def test_once() -> None:
    assert answers("password: ", "password: ") == [(0, b"s3cret\n"), (1, b"")]


def test_anything_else_is_not() -> None:
    assert answers("yes/no? ") == [(1, b"")]
