"""What a plugin needs around it: ``skel.main(Plugin("bridge", add, delete, …))``.

Environment and stdin are checked in the order of the reference (`pkg/skel`), except that the namespace is checked
before anything is changed. Nothing but one JSON value reaches stdout, whatever happens. `run` is the same as a
function; the plugin's own code never reads the environment, prints, or opens CNI_NETNS by its path.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial

from cni_provision.cni import names, namespace, versions
from cni_provision.cni.call import Attachments, Away, Call, Delegate, Execute, Plugin, internal, parse_args, perform
from cni_provision.cni.outcome import Outcome
from cni_provision.cni.results import decode_previous, encode_result
from cni_provision.cni.types import (
    INCOMPATIBLE_VERSION,
    INVALID_CONFIG,
    INVALID_ENVIRONMENT,
    IO_FAILURE,
    UNDECODABLE,
    CNIError,
    Result,
)
from cni_provision.cni.values import Config, decode_object, encode, pretty
from cni_provision.cni.versions import ALL_VERSIONS, CURRENT

__all__ = [
    "ALL_VERSIONS", "Attachments", "Call", "Config", "Delegate", "Execute", "Outcome", "Plugin", "main", "parse_args",
    "run",
]  # fmt: skip


@dataclass(frozen=True)
class _Variable:
    """One variable of the protocol: the verbs that need it, and its rule."""

    name: str
    required: frozenset[str]
    check: Callable[[str], None] | None = None


_ATTACHED = frozenset({"ADD", "CHECK", "DEL"})
_VERBS = _ATTACHED | {"GC", "STATUS"}
_VARIABLES = (
    _Variable("CNI_COMMAND", _VERBS | {"VERSION", ""}),
    _Variable("CNI_CONTAINERID", _ATTACHED, names.check_container_id),
    _Variable("CNI_NETNS", _ATTACHED - {"DEL"}),
    _Variable("CNI_IFNAME", _ATTACHED, names.check_ifname),
    _Variable("CNI_ARGS", frozenset()),
    _Variable("CNI_PATH", _VERBS - {"STATUS"}),
)


@dataclass(frozen=True)
class _Request:
    """What came in; `read` gives stdin."""

    plugin: Plugin
    environment: Mapping[str, str]
    read: Callable[[], bytes]
    netns_fd: int | None
    execute: Execute
    folder: str = ""
    away: Away = nullcontext

    def variable(self, name: str) -> str:
        return self.environment.get(name, "")


def run(
    plugin: Plugin,
    environment: Mapping[str, str],
    stdin: bytes,
    netns_fd: int | None = None,
    execute: Execute | None = None,
    folder: str = "",
    away: Away = nullcontext,
) -> Outcome:
    """One call as a function.

    A given `netns_fd` is used in place of the path in CNI_NETNS and stays open; `namespace.ABSENT` says that the
    path could not be opened. `execute` runs a delegate (default: from CNI_PATH). `folder` is where paths begin that
    are not absolute (default: where this process is). A plugin that waits for long is `away` meanwhile.
    """
    return _serve(_Request(plugin, environment, lambda: stdin, netns_fd, execute or _execute, folder, away))


def main(plugin: Plugin, execute: Execute | None = None) -> None:
    """One call from this process's environment and stdin; ends the process."""
    environment = dict(os.environ)
    if len(sys.argv) > 1 and sys.argv[1] in plugin.programs:
        os._exit(plugin.programs[sys.argv[1]](sys.argv[2:], environment))
    answer = _take_stdout()
    read = _read_ready if environment.get("CNI_COMMAND") == "VERSION" else _read_stdin
    outcome = _serve(_Request(plugin, environment, read, None, execute or _execute))
    sys.stdout.flush()
    sys.stderr.write(outcome.stderr)
    sys.stderr.flush()
    code = outcome.code if _write_all(answer, outcome.stdout) else 1
    os._exit(code)  # nothing is left to clean up, and the interpreter's own end takes 1–2 ms


def _serve(request: _Request) -> Outcome:
    version = CURRENT
    try:
        command = request.variable("CNI_COMMAND")
        if not command and request.plugin.about:
            return Outcome(0, b"", _about(request.plugin))
        _check_environment(request.environment)
        if command == "VERSION":
            return Outcome(0, _supported(request))
        stdin = _read(request)
        config = Config(decode_object(stdin))
        head = Config(config.raw, "", UNDECODABLE)
        asked = versions.of_config(head)
        version = asked if asked in ALL_VERSIONS else CURRENT
        names.check_network(head.text("name"))
        return Outcome(0, _dispatch(request, command, config, asked, stdin))
    except BaseException as error:
        return _failed(error, version, request.variable("CNI_DEBUG"))


def _check_environment(environment: Mapping[str, str]) -> None:
    command = environment.get("CNI_COMMAND", "")
    missing = []
    for variable in _VARIABLES:
        value = environment.get(variable.name, "")
        if command in variable.required and not value:
            missing.append(variable.name)
        elif command in variable.required and variable.check:
            variable.check(value)
    if missing:
        raise CNIError(INVALID_ENVIRONMENT, f"required env variables [{','.join(missing)}] missing")


def _read(request: _Request) -> bytes:
    try:
        return request.read()
    except OSError as error:
        raise CNIError(IO_FAILURE, f"error reading from stdin: {error.strerror}") from error


def _supported(request: _Request) -> bytes:
    """The answer to VERSION; `cniVersion` is the caller's, where stdin has one."""
    try:
        asked = Config(decode_object(_read(request))).text("cniVersion")
        versions.parse(asked)
    except (CNIError, ValueError):
        asked = ""
    return encode({"cniVersion": asked or CURRENT, "supportedVersions": list(request.plugin.versions)}) + b"\n"


def _about(plugin: Plugin) -> str:
    return f"{plugin.about}\nCNI protocol versions supported: {', '.join(plugin.versions)}\n"


def _dispatch(request: _Request, command: str, config: Config, version: str, stdin: bytes) -> bytes:
    if command not in _VERBS:
        raise CNIError(INVALID_ENVIRONMENT, f"unknown CNI_COMMAND: {command}")
    _check_version(request.plugin, command, config, version)
    make = _call(request, command, config, version, stdin)
    if command not in _ATTACHED:
        return _perform(request.plugin, make(netns_fd=None))
    may_be_gone = command == "DEL" or not request.plugin.needs_netns
    with namespace.opened(request.environment, request.netns_fd, may_be_gone=may_be_gone) as netns_fd:
        return _perform(request.plugin, make(netns_fd=netns_fd))


def _perform(plugin: Plugin, call: Call) -> bytes:
    result = perform(plugin, call)
    return pretty(encode_result(result, call.version)) if result else b""


def _check_version(plugin: Plugin, command: str, config: Config, version: str) -> None:
    try:
        allowed = versions.allows(version, command)
    except ValueError as error:
        raise Config(config.raw, "", UNDECODABLE).error("cniVersion", "must be a version") from error
    if not allowed:
        raise CNIError(INCOMPATIBLE_VERSION, f"config version {version} does not allow {command}")
    versions.require(version, plugin.versions)


def _call(request: _Request, command: str, config: Config, version: str, stdin: bytes) -> Callable[..., Call]:
    """The call but for `netns_fd`: the namespace is opened after everything here has been checked."""
    attached = command in _ATTACHED
    return partial(
        Call,
        command=command,
        container_id=request.variable("CNI_CONTAINERID") if attached else "",
        netns=request.variable("CNI_NETNS") if attached else "",
        ifname=request.variable("CNI_IFNAME") if attached else "",
        path=tuple(entry for entry in request.variable("CNI_PATH").split(os.pathsep) if entry),
        config=config,
        version=version,
        prev_result=_previous(command, config, version),
        runtime_config=config.mapping("runtimeConfig"),
        valid_attachments=_valid_attachments(config) if command == "GC" else frozenset(),
        stdin=stdin,
        environment=request.environment,
        execute=request.execute,
        folder=request.folder,
        away=request.away,
    )


def _previous(command: str, config: Config, version: str) -> Result | None:
    try:
        return decode_previous(config.get("prevResult"), version)
    except CNIError:
        if command == "DEL":  # has to work without one, and what is broken does not mend
            return None
        raise


def _valid_attachments(config: Config) -> Attachments:
    # libcni also writes the older key; where neither is there, "nothing is valid" would delete everything.
    key = next((key for key in ("cni.dev/valid-attachments", "cni.dev/attachments") if key in config), None)
    if key is None:
        raise CNIError(INVALID_CONFIG, "`cni.dev/valid-attachments` is missing: GC must say what to keep")
    return frozenset((one.text("containerID"), one.text("ifname")) for one in config.mappings(key))


def _failed(error: BaseException, version: str, debug: str) -> Outcome:
    if not isinstance(error, CNIError):
        error, error.__cause__ = internal(error), error
    answer = {"cniVersion": version, "code": error.code, "msg": error.msg}
    if error.details:
        answer["details"] = error.details
    return Outcome(1, pretty(answer), _traceback(error) if debug else "")


def _traceback(error: BaseException) -> str:
    import traceback

    return "".join(traceback.format_exception(type(error), error, error.__traceback__))


def _execute(plugin_type: str, environment: Mapping[str, str], stdin: bytes) -> Outcome:
    from cni_provision.cni import delegation

    return delegation.execute(plugin_type, environment, stdin)


def _take_stdout() -> int:
    """Stdout for the answer alone: what anybody else prints goes to stderr."""
    try:
        answer = os.dup(1)
        os.dup2(2, 1)
    except OSError:
        return 1
    return answer


def _read_stdin() -> bytes:
    return b"".join(iter(lambda: os.read(0, 65536), b""))


def _read_ready() -> bytes:
    """Stdin for VERSION, which can do without: a person or a script that asks for it may leave stdin open."""
    import select

    chunks: list[bytes] = []
    poller = select.poll()
    poller.register(0, select.POLLIN)
    while not os.isatty(0) and poller.poll(1000):
        chunks.append(os.read(0, 65536))
        if not chunks[-1]:
            break
    return b"".join(chunks)


def _write_all(descriptor: int, content: bytes) -> bool:
    """False where nobody reads any more."""
    try:
        while content:
            content = content[os.write(descriptor, content) :]
    except OSError:
        return False
    return True
