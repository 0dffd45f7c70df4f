from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cni_provision.cni.types import CNIError
from cni_provision.cni.values import Config, decode, decode_object, encode

texts = st.text(st.characters(codec="utf-8"))
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner) | st.dictionaries(texts, inner),
    max_leaves=20,
)


def test_decode(case: dict[str, Any]) -> None:
    content = case["text"].encode()
    if "code" in case:
        with pytest.raises(CNIError, match="cannot decode JSON") as caught:
            decode(content)
        assert caught.value.code == case["code"]
    else:
        assert decode(content) == case["value"]


def test_object(case: dict[str, Any]) -> None:
    if case["code"]:
        with pytest.raises(CNIError) as caught:
            decode_object(case["text"].encode())
        assert caught.value.code == case["code"]
    else:
        assert decode_object(case["text"].encode()) == {}


def test_access(case: dict[str, Any]) -> None:
    read = getattr(Config(case["raw"]), case["as"])
    if "problem" in case:
        with pytest.raises(CNIError) as caught:
            read(case["key"])
        assert (caught.value.code, caught.value.msg) == (7, case["problem"])
    else:
        found = read(case["key"])
        assert (list(found) if isinstance(found, tuple) else found) == case["value"]


@given(values)
def test_what_is_written_is_read(value: object) -> None:
    assert decode(encode(value)) == value


@given(st.binary())
def test_any_bytes_decode_or_are_refused(content: bytes) -> None:
    with suppress(CNIError):
        encode(decode(content))


def test_deep_nesting_is_refused() -> None:
    with pytest.raises(CNIError, match="cannot decode"):
        decode(b"[" * 200_000)


def test_bytes_that_are_no_text_are_replaced() -> None:
    assert decode(b'"a\xff"') == "a�"


def test_large_numbers_pass_unchanged() -> None:
    assert encode(decode(b"[18446744073709551616]")) == b"[18446744073709551616]"


@given(st.dictionaries(texts, values))
def test_a_config_has_what_is_not_null(raw: dict[str, Any]) -> None:
    config = Config(raw)
    assert len(config) == len(list(config)) == sum(value is not None for value in raw.values())
    assert all(key in config and config[key] == raw[key] for key in config)


def test_defaults_are_given_as_they_are() -> None:
    config = Config({"a": None})
    assert (config.integer("a", None), config.text("b", None), config.boolean("c", True)) == (None, None, True)
    assert config.get("a", 5) == 5
    with pytest.raises(KeyError):
        config["a"]


def test_messages_name_the_whole_path() -> None:
    config = Config(json.loads('{"ipam": {"ranges": [{}, {"subnet": 4}]}}'))
    with pytest.raises(CNIError, match=r"`ipam\.ranges\[1\]\.subnet` must be text, not `4`"):
        config.mapping("ipam").mappings("ranges")[1].text("subnet")


def test_parsed() -> None:
    config = Config({"a": "12", "b": "x", "c": ""})
    assert config.parsed("a", int, "a number") == 12
    assert config.parsed("c", int, "a number") is None
    with pytest.raises(CNIError, match='`b` must be a number, not `"x"`'):
        config.parsed("b", int, "a number")
