"""What `json` does, by its C code alone: the package compiles regular expressions, 4 ms of every start."""

from __future__ import annotations

from _json import encode_basestring_ascii, make_encoder, make_scanner
from collections.abc import Callable
from typing import Any, NoReturn

BLANK = " \t\n\r"


class Decoder:
    """As `json.JSONDecoder`; its attributes are what the scanner asks it for."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_int = int

    def __init__(self, parse_float: Callable[[str], Any], parse_constant: Callable[[str], Any]) -> None:
        self.parse_float = parse_float
        self.parse_constant = parse_constant
        self._scan = make_scanner(self)  # type: ignore[arg-type]  # the stub wants itself

    def decode(self, text: str) -> Any:
        """The value of one JSON text; raises `ValueError` in the words of `json`."""
        try:
            value, end = self._scan(text, len(text) - len(text.lstrip(BLANK)))
        except (StopIteration, SystemError):  # the latter where it looks for the package's exception
            self._refuse(text)
        if text[end:].strip(BLANK):
            self._refuse(text)
        return value

    def _refuse(self, text: str) -> NoReturn:
        import json

        json.loads(text, parse_float=self.parse_float, parse_constant=self.parse_constant)
        raise AssertionError("`json` reads what its scanner does not")


def encode(value: object) -> str:
    """The shortest JSON text, in ASCII; raises `ValueError` and `TypeError` as `json`."""
    return "".join(_encode(value, 0))


def _unknown(value: object) -> NoReturn:
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")


# found circles, default, strings, indent, after a key, between items, sort_keys, skipkeys, allow_nan
_encode = make_encoder(None, _unknown, encode_basestring_ascii, None, ":", ",", False, False, False)
