"""What guided runs start from, and what they found: each input of the corpus, without their engine."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from tests.fuzz.mutation import mutate
from tests.fuzz.targets import TARGETS

CORPUS = Path(__file__).resolve().parent / "corpus"
INPUTS = sorted(CORPUS.glob("*/*"))
ROUNDS = 200


@pytest.mark.parametrize("path", INPUTS, ids=[str(path.relative_to(CORPUS)) for path in INPUTS])
def test_corpus(path: Path) -> None:
    TARGETS[path.parent.name](path.read_bytes())


@pytest.mark.parametrize("name", TARGETS)
def test_changes_to_the_corpus(name: str) -> None:
    """The same changes each time; guided runs are longer and go where the code leads (`nox -s fuzz`)."""
    inputs = [path.read_bytes() for path in INPUTS if path.parent.name == name]
    for seed in range(ROUNDS):
        data = inputs[seed % len(inputs)]
        for step in range(1 + seed % 3):
            data = mutate(data, seed * 10 + step, _cut)
        TARGETS[name](data)


def test_every_target_has_a_corpus() -> None:
    assert sorted(os.listdir(CORPUS)) == sorted(TARGETS)


def _cut(data: bytes) -> bytes:
    at = random.Random(len(data)).randrange(len(data) + 1)
    return data[:at] + b"\xff" + data[at + 1 :]
