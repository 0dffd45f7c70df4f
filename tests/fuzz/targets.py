"""What is fed with any bytes, and what must hold for each. A target raises for what it finds.

Input is text with parts, divided by a line `--`, so that people can write and read the corpus.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import cache

from cni_provision.cni import config, loaders, outcome, protocol, results, skel
from cni_provision.cni.cache import ResultCache
from cni_provision.cni.outcome import Outcome
from cni_provision.cni.protocol import Attachment
from cni_provision.cni.skel import Call, Plugin
from cni_provision.cni.types import CNIError, Result
from cni_provision.cni.versions import ALL_VERSIONS

DIVIDER = b"\n--\n"
VARIABLES = ("CNI_COMMAND", "CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_ARGS", "CNI_PATH")
KEY = ("c1", "eth0")


def skeleton(data: bytes) -> None:
    """One call: the variables, one a line; stdin; what a delegate prints. One JSON value is answered, or nothing."""
    head, stdin, delegate = _parts(data, 3)
    lines = head.decode("utf-8", "surrogateescape").split("\n")
    environment = {name: value for name, value in zip(VARIABLES, lines) if value}
    flags = {"CNI_NETNS_OVERRIDE": "1", "CNI_DEBUG": "1"}
    execute = _executor(delegate)
    answer = skel.run(_plugin(), {**environment, **flags}, stdin, _own_netns(), execute)
    _require(answer.code in (0, 1), "exit code", answer)
    _require("\n" in answer.stderr or not answer.stderr, "stderr is lines", answer)
    value = json.loads(answer.stdout) if answer.stdout else None
    if answer.code:
        _check_error(value, answer)
    elif environment.get("CNI_COMMAND") == "ADD":
        _check_result(results.decode_result(value))


def configuration(data: bytes) -> None:
    """A network's file: what can be loaded has plugins, each of which can be told what to do, in JSON."""
    with suppress(CNIError):
        network = config.load(data)
        _require(bool(network.plugins), "a network has plugins", network)
        for plugin in network.plugins:
            told = protocol.stdin(network, plugin, previous=Result(), valid=[KEY]) if _known(network) else b"{}"
            _require(isinstance(json.loads(told), dict), "a plugin is told an object", told)


def folder(data: bytes) -> None:
    """Two files of a configuration folder: every runtime's choice is an answer or a CNIError."""
    first, second = _parts(data, 2)
    with tempfile.TemporaryDirectory(dir="/dev/shm") as path:
        for name, content in (("10-a.conflist", first), ("20-b.conf", second)):
            with open(os.path.join(path, name), "wb") as file:
                file.write(content)
        loaders.choices(loaders.Folder(path), "n")
        with suppress(CNIError):
            config.find(path, "n")


def result(data: bytes) -> None:
    """What a plugin printed: a result that is the same after each way through the wire, or a CNIError."""
    for code in (0, 1):
        with suppress(CNIError):
            outcome.raise_failure(Outcome(code, data, "stderr"))
    with suppress(CNIError):
        _check_result(outcome.result_of(Outcome(0, data), "1.1.0"))


def cached(data: bytes) -> None:
    """A file of the result cache: whatever is in it, nothing is raised but CNIError, and it can be removed."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as path:
        cache_of = ResultCache(path, path)
        file = cache_of.path("n", KEY)
        with open(file, "wb") as written:
            written.write(data)
        for known in cache_of.attachments():
            _check_cached(path, known.config, known.attachment, known.result)
        for version in ("0.2.0", "1.1.0"):
            with suppress(CNIError):
                _check_result(cache_of.result("n", KEY, version) or Result())
        cache_of.collect("n")
        _require(os.path.exists(file), "a file this young may still be written", data)
        cache_of.remove("n", KEY)


TARGETS: dict[str, Callable[[bytes], None]] = {
    "skeleton": skeleton, "configuration": configuration, "folder": folder, "result": result, "cached": cached,
}  # fmt: skip


def _parts(data: bytes, count: int) -> list[bytes]:
    parts = data.split(DIVIDER, count - 1)
    return parts + [b""] * (count - len(parts))


def _executor(printed: bytes) -> skel.Execute:
    """A delegate: its output, after a first byte that is its exit code."""

    def execute(_type: str, _environment: Mapping[str, str], _stdin: bytes) -> Outcome:
        return Outcome(printed[0] & 1 if printed else 0, printed[1:], "")

    return execute


@cache
def _plugin() -> Plugin:
    """A plugin that looks at everything that a call has."""
    return Plugin("every", _add, _look, _look, _look, _look, about="looks at everything")


def _look(call: Call) -> None:
    call.known_args("IP")
    _require(call.path is not None and call.valid_attachments is not None, "a call is whole", call)
    results.dns_of(call.config.mapping("dns"))
    delegate = call.delegate(call.config.mapping("ipam").text("type"))
    {"DEL": delegate.delete, "CHECK": delegate.check, "STATUS": delegate.status, "GC": delegate.gc}[call.command]()


def _add(call: Call) -> Result:
    if "ipam" not in call.config:
        return call.prev_result or Result(call.version)
    given = call.delegate(call.config.mapping("ipam").text("type")).add()
    return replace(given, routes=given.routes + results.routes_of(call.runtime_config))


@cache
def _own_netns() -> int:
    return os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def _check_error(value: object, answer: Outcome) -> None:
    _require(isinstance(value, dict), "an error is an object", answer)
    assert isinstance(value, dict)
    _require(isinstance(value["code"], int) and value["code"] > 0, "an error has a code", answer)
    _require(isinstance(value["msg"], str), "an error has a text", answer)
    # a traceback that does not end in our own error: something that nobody thought of
    _require("CNIError: " in answer.stderr.rpartition("\n  ")[2], "an error that was foreseen", answer)


def _check_result(read: Result) -> None:
    """It can be printed in each version that it fits, and reading that gives the same print again."""
    for version in ALL_VERSIONS:
        with suppress(CNIError):
            printed = results.encode_result(read, version)
            again = results.encode_result(results.decode_result(json.loads(json.dumps(printed))), version)
            _require(again == printed, "a print is read as it was", printed, again)


def _check_cached(path: str, content: bytes, attachment: Attachment, made: Result) -> None:
    """What was read can be written, if it can be used at all, and is read the same again."""
    with suppress(CNIError):
        network = config.load(content)
        protocol.check_attachment(attachment)
        scratch = os.path.join(path, "again")
        again = ResultCache(scratch, scratch)
        again.write(network, attachment, made)
        (known,) = again.attachments()
        _require(known.attachment == attachment, "an attachment is read as it was written", known, attachment)


def _known(network: config.NetworkConfig) -> bool:
    return network.cni_version in ALL_VERSIONS


def _require(holds: bool, rule: str, *facts: object) -> None:
    if not holds:
        raise AssertionError(f"{rule}: {facts}")
