"""JSON as Go's decoder reads it, because runtimes rely on that: keys without regard to case, `null` as absent.

containerd prints `HostPort` where the conventions say `hostPort`. Types are strict, as in Go: no text for a
number, no `1.0` for an integer. Failures are CNIError and name the key and the value.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NoReturn, TypeVar, Union, overload

from cni_provision.cni import jsontext
from cni_provision.cni.types import INVALID_CONFIG, UNDECODABLE, UNSUPPORTED_FIELD, CNIError

_D = TypeVar("_D")
_INT64 = range(-(2**63), 2**63)


def decode(content: bytes) -> Any:
    """Any JSON value; code 6 when it is none. Bytes that are not UTF-8 become U+FFFD."""
    text = content.decode("utf-8", "replace")
    try:
        value = _DECODER.decode(text)
        return _without_surrogates(value) if "\\ud" in text.lower() else value
    except (ValueError, RecursionError) as error:
        raise CNIError(UNDECODABLE, f"cannot decode JSON: {error}") from None


def decode_object(content: bytes) -> dict[str, Any]:
    value = decode(content)
    if not isinstance(value, dict):
        raise CNIError(UNDECODABLE, f"cannot decode JSON: {brief(value)} is not an object")
    return value


def encode(value: object) -> bytes:
    """Pure ASCII, so that nothing that a name contains can break it."""
    return jsontext.encode(value).encode("ascii")


def pretty(value: object) -> bytes:
    """The same with each key and item on a line of its own, as the reference prints it."""
    return _pretty(value, "\n").encode("ascii")


def _pretty(value: object, margin: str) -> str:
    """`json` does this in Python too where there is an indent, four times as slowly."""
    inner = f"{margin}    "
    if isinstance(value, dict) and value:
        pairs = (f"{inner}{jsontext.encode(key)}: {_pretty(each, inner)}" for key, each in value.items())
        return f"{{{','.join(pairs)}{margin}}}"
    if isinstance(value, list) and value:
        return f"[{','.join(inner + _pretty(each, inner) for each in value)}{margin}]"
    return jsontext.encode(value)


def brief(value: object) -> str:
    """A value in an error message: backticks, and not a whole configuration."""
    import json

    text = json.dumps(value, default=str)
    return f"`{text}`" if len(text) <= 60 else f"`{text[:57]}...`"


class Config(Mapping[str, Any]):
    """A JSON object with typed access: an absent key and `null` give the default, a wrong type is an error.

    `where` is the key under which the object stands (`ipam.ranges[0]`), for messages; `code` is the error's.
    """

    def __init__(self, raw: Mapping[str, Any] | None = None, where: str = "", code: int = INVALID_CONFIG) -> None:
        self.raw: Mapping[str, Any] = raw or {}
        self.where = where
        self.code = code
        self._folded: dict[str, str] | None = None

    def __getitem__(self, key: str) -> Any:
        value = self._value(key)
        if value is None:
            raise KeyError(key)
        return value

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and self._value(key) is not None

    def __iter__(self) -> Iterator[str]:
        return (key for key, value in self.raw.items() if value is not None)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __repr__(self) -> str:
        return f"Config({self.raw!r}, {self.where!r})"

    @overload
    def text(self, key: str) -> str: ...
    @overload
    def text(self, key: str, default: _D) -> Union[str, _D]: ...
    def text(self, key: str, default: object = "") -> object:
        return self._typed(key, str, "text", default)

    @overload
    def boolean(self, key: str) -> bool: ...
    @overload
    def boolean(self, key: str, default: _D) -> Union[bool, _D]: ...
    def boolean(self, key: str, default: object = False) -> object:
        return self._typed(key, bool, "true or false", default)

    @overload
    def integer(self, key: str) -> int: ...
    @overload
    def integer(self, key: str, default: _D) -> Union[int, _D]: ...
    def integer(self, key: str, default: object = 0) -> object:
        value = self._typed(key, int, "an integer", default)
        if value is not default and (isinstance(value, bool) or value not in _INT64):
            raise self.error(key, "must be an integer")
        return value

    def mapping(self, key: str) -> Config:
        """The object under `key`; an empty one where there is none."""
        return Config(self._typed(key, dict, "an object", None), self.path(key), self.code)

    def sequence(self, key: str) -> tuple[Any, ...]:
        return tuple(self._typed(key, list, "a list", ()))

    def texts(self, key: str) -> tuple[str, ...]:
        values = self.sequence(key)
        if not all(isinstance(value, str) for value in values):
            raise self.error(key, "must be a list of texts")
        return values

    def mappings(self, key: str) -> tuple[Config, ...]:
        values = self.sequence(key)
        if not all(isinstance(value, dict) for value in values):
            raise self.error(key, "must be a list of objects")
        return tuple(Config(value, f"{self.path(key)}[{i}]", self.code) for i, value in enumerate(values))

    def parsed(self, key: str, parse: Callable[[str], _D], kind: str) -> _D | None:
        """The text under `key` through `parse`, whose ValueError becomes ours; None where absent or empty."""
        value = self.text(key)
        try:
            return parse(value) if value else None
        except ValueError:
            raise self.error(key, f"must be {kind}") from None

    def error(self, key: str, problem: str) -> CNIError:
        """For the caller's own rules: ``raise config.error("mtu", "must not be negative")``."""
        return CNIError(self.code, f"`{self.path(key)}` {problem}, not {brief(self._value(key))}")

    def unsupported(self, key: str) -> CNIError:
        """For a key that a plugin knows and does not do; the specification wants key and value in the message."""
        return CNIError(UNSUPPORTED_FIELD, f"unsupported field `{self.path(key)}`: {brief(self._value(key))}")

    def path(self, key: str) -> str:
        return f"{self.where}.{key}" if self.where else key

    def _value(self, key: str) -> Any:
        """Under this very key, else under the last one that is it in another case; None where there is none."""
        if key in self.raw:
            return self.raw[key]
        if self._folded is None:
            self._folded = {name.lower(): name for name in self.raw}
        name = self._folded.get(key.lower())
        return None if name is None else self.raw[name]

    def _typed(self, key: str, kind: type, name: str, default: Any) -> Any:
        value = self._value(key)
        if value is None:
            return default
        if not isinstance(value, kind):
            raise self.error(key, f"must be {name}")
        return value


def _number(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"number {text} is out of range")
    return value


def _refuse(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON")


_DECODER = jsontext.Decoder(parse_float=_number, parse_constant=_refuse)


def _without_surrogates(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, dict):
        return {_without_surrogates(key): _without_surrogates(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_without_surrogates(inner) for inner in value]
    return value
