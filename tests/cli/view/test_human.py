"""Event streams as data: `tests/cases/cli/view/NAME.ndjson` must be drawn as `NAME.stdout` and `NAME.stderr`.

`NAME.options`, where it is, holds further options; `CNI_PROVISION_ACCEPT=1` rewrites the expected texts.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from cni_provision import events
from cni_provision.cli.view.human import Human
from cni_provision.cli.view.ndjson import Ndjson
from cni_provision.cli.view.paint import Paint
from cni_provision.cli.view.paper import LiveLine, Paper

CASES = Path(__file__).resolve().parents[2] / "cases/cli/view"
STREAMS = sorted(CASES.glob("*.ndjson"))


def stream_of(file: Path) -> Iterator[events.Event]:
    return (events.from_json(json.loads(line)) for line in file.read_text().splitlines())


def drawn(file: Path) -> dict[str, str]:
    options = file.with_suffix(".options")
    words = options.read_text().split() if options.exists() else []
    paint = Paint("--color" in words)
    out, err = Paper(io.StringIO(), paint), Paper(io.StringIO(), paint)
    live = LiveLine(err) if "--terminal" in words else None
    view = Human(out, err, words.count("-v") - words.count("-q"), live)
    for event in stream_of(file):
        view.emit(event)
    view.close()
    return {"stdout": out.stream.getvalue(), "stderr": err.stream.getvalue()}


@pytest.mark.parametrize("file", STREAMS, ids=lambda file: file.stem)
def test_is_drawn_as_expected(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(CASES)
    monkeypatch.setenv("COLUMNS", "80")
    for name, text in drawn(file).items():
        expected = file.with_suffix(f".{name}")
        if os.environ.get("CNI_PROVISION_ACCEPT"):
            expected.write_bytes(text.encode())
        assert text == expected.read_bytes().decode()


@pytest.mark.parametrize("file", STREAMS, ids=lambda file: file.stem)
def test_ndjson_is_the_stream_itself(file: Path) -> None:
    out = Paper(io.StringIO())
    for event in stream_of(file):
        Ndjson(out).emit(event)
    printed = [json.loads(line) for line in out.stream.getvalue().splitlines()]
    assert [events.from_json(plain) for plain in printed] == list(stream_of(file))
    assert all(plain["v"] == events.FORMAT for plain in printed)
