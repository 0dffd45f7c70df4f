"""JSON by the C code alone is what `json` reads and writes, and fails with the same words."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cni_provision.cni.jsontext import Decoder, encode

LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4), max_leaves=12
)


def outcome(do: Callable[[], Any]) -> object:
    try:
        return repr(do())
    except (ValueError, TypeError, RecursionError) as error:
        return type(error), str(error)


def same(text: str) -> None:
    expected = outcome(lambda: json.loads(text, parse_float=float, parse_constant=str))
    assert outcome(lambda: Decoder(float, str).decode(text)) == expected


@given(VALUES)
def test_values_are_written_and_read_the_same(value: Any) -> None:
    text = encode(value)
    assert text == json.dumps(value, separators=(",", ":"), allow_nan=False)
    same(text)
    same(f" \n{json.dumps(value, indent=4)}\t\r")


@given(st.text('[]{}",:0123456789.eE+-truefalsn \\\n\x00\ufeff') | VALUES.map(json.dumps).map(lambda text: text[:-1]))
def test_what_is_no_json_is_refused_in_the_same_words(text: str) -> None:
    same(text)


@pytest.mark.parametrize(
    "text", ["", " ", "{}x", "\ufeff{}", "NaN", "[NaN, -Infinity]", "[" * 100_000, "01", "{'a': 1}"]
)
def test_corners(text: str) -> None:
    same(text)


@pytest.mark.parametrize("value", [float("nan"), [float("inf")], {"a": object()}, {(1,): 2}, b""])
def test_what_cannot_be_written(value: object) -> None:
    assert outcome(lambda: encode(value)) == outcome(lambda: json.dumps(value, allow_nan=False))


def test_an_error_does_not_spoil_the_next_text() -> None:
    decoder, broken = Decoder(float, str), {"a": [object()]}
    for _ in range(3):
        assert isinstance(outcome(lambda: decoder.decode('{"a": [1, ')), tuple)
        assert isinstance(outcome(lambda: encode(broken)), tuple)
        assert (decoder.decode('{"a": [1]}'), encode({"a": [1]})) == ({"a": [1]}, '{"a":[1]}')


def test_the_package_is_not_loaded() -> None:
    code = (
        "import sys; from cni_provision.cni import jsontext; jsontext.encode({'a': 1}); print('json' in sys.modules)"
    )
    printed = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "False"


@pytest.mark.parametrize("text", ["", "{", '{"a" 1}', '"', '"\\x"', "[1,]", "1 2"])
def test_it_is_loaded_to_say_what_is_wrong(text: str) -> None:
    code = (
        "import sys; from cni_provision.cni.jsontext import Decoder\n"
        f"try:\n    Decoder(float, str).decode({text!r})\nexcept ValueError as error:\n    print(error)"
    )
    printed = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, check=True).stdout
    with pytest.raises(ValueError) as expected:
        json.loads(text)
    assert printed.strip() == str(expected.value)
