"""Which configurations need `ssh -G`: never one fewer than those that could matter."""

from __future__ import annotations

from pathlib import Path

import pytest

from cni_provision.transport.ssh_files import silent


@pytest.mark.parametrize(
    ("text", "quiet"),
    [
        ("Host web*\n  User ops\n  IdentityFile ~/.ssh/key\n", True),
        ("# ProxyCommand ssh -q gateway nc %h %p\n", True),
        ("Host *\n  ProxyJump bastion\n", False),
        ("Match exec true\n\tproxycommand=nc %h %p\n", False),
        ("ConnectTimeout 5\n", False),
        ("Host *\n controlpath ~/.ssh/%C\n", False),
        ("Include missing.conf\n", True),
        ('Include "a folder/x.conf"\n', False),
    ],
)
def test_text(tmp_path: Path, text: str, quiet: bool) -> None:
    file = tmp_path / "config"
    file.write_text(text)
    assert silent(("-p", "22", "-l", "root", "-F", str(file))) is quiet


def test_included_files_are_read(tmp_path: Path) -> None:
    (tmp_path / "jump.conf").write_text("Host *\n  ProxyJump bastion\n")
    (tmp_path / "config").write_text(f"Include {tmp_path}/*.conf\n")
    assert not silent((f"-F{tmp_path / 'config'}",))


def test_an_include_of_itself_ends(tmp_path: Path) -> None:
    (tmp_path / "config").write_text(f"Include {tmp_path}/config\n")
    assert not silent(("-F", str(tmp_path / "config")))


@pytest.mark.parametrize("options", [("-oProxyJump=x",), ("-J", "bastion"), ("-o", "ConnectTimeout=3")])
def test_options_are_left_to_ssh(options: tuple[str, ...]) -> None:
    assert not silent(("-F", "/dev/null", *options))


def test_no_file_is_silent(tmp_path: Path) -> None:
    assert silent(("-F", str(tmp_path / "none")))


def test_a_file_that_cannot_be_read_is_not(tmp_path: Path) -> None:
    assert not silent(("-F", str(tmp_path)))
