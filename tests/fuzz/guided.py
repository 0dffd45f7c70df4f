"""One target under atheris: `python -m tests.fuzz.guided TARGET [libFuzzer's options and folders]`."""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["cni_provision", "json", "ipaddress"]):
    from tests.fuzz.targets import TARGETS

from tests.fuzz.mutation import mutate


def main(name: str, *arguments: str) -> None:
    def mutated(data: bytes, max_size: int, seed: int) -> bytes:
        return mutate(data, seed, lambda content: atheris.Mutate(content, max_size))[:max_size]

    atheris.Setup([sys.argv[0], *arguments], TARGETS[name], custom_mutator=mutated)
    atheris.Fuzz()


if __name__ == "__main__":
    main(*sys.argv[1:])
