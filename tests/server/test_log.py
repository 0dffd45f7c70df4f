from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from cni_provision.server.log import words

ROOT = Path(__file__).resolve().parents[2]
SPEAK = """
import os, sys
sys.path.insert(0, sys.argv[1])
from cni_provision.server.log import INFORMATION, Log
if len(sys.argv) > 2:
    found = os.fstat(2)
    os.environ["JOURNAL_STREAM"] = f"{found.st_dev}:{found.st_ino}"
for number in range(int(sys.argv[-1]) if len(sys.argv) > 2 else 1):
    Log(os.environ).line(INFORMATION, "said")
"""


@pytest.mark.parametrize(
    ("pairs", "text"),
    [
        ({"plugin": "bridge", "code": 0}, "plugin=bridge code=0"),
        ({"network": "", "code": 0}, "code=0"),
        ({"msg": "two words"}, "msg='two words'"),
        ({"network": "a\nb"}, r"network='a\nb'"),
        ({"network": "a=b"}, "network='a=b'"),
    ],
)
def test_words(pairs: dict[str, object], text: str) -> None:
    assert words(**pairs) == text


def test_lines_go_to_stderr() -> None:
    done = subprocess.run([sys.executable, "-c", SPEAK, str(ROOT)], capture_output=True, text=True, timeout=30)
    assert done.stderr == "said\n"


def test_journald_is_told_the_level() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        subprocess.run([sys.executable, "-c", SPEAK, str(ROOT), "1"], stderr=theirs, check=True, timeout=30)
        assert ours.recv(100) == b"<6>said\n"


def test_nobody_reads_and_nothing_waits() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        subprocess.run([sys.executable, "-c", SPEAK, str(ROOT), "100000"], stderr=theirs, check=True, timeout=30)
