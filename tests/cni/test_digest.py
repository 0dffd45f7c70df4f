"""SHA-2 as `hashlib` has it, which is not loaded for it."""

from __future__ import annotations

import hashlib
import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st

from cni_provision.cni.digest import sha256, sha512


@given(st.binary(max_size=300))
def test_they_are_what_they_are_called(content: bytes) -> None:
    assert sha256(content) == hashlib.sha256(content).hexdigest()
    assert sha512(content) == hashlib.sha512(content).hexdigest()


def test_without_hashlib_and_with_it_where_there_is_nothing_else() -> None:
    code = (
        "import sys; from cni_provision.cni.digest import built_in, sha256 as digest;"
        "print(digest(b'')[:8], 'hashlib' in sys.modules); sys.modules[built_in('sha256')] = None;"
        "print(digest(b'')[:8], 'hashlib' in sys.modules)"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.split() == ["e3b0c442", "False", "e3b0c442", "True"]
