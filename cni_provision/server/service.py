"""One request, from the greeting to the acknowledgement. Every step is a job of a worker.

Where a launcher is not ready (its stdin is open, or nobody reads its stdout) the conversation is parked with the
door, and no worker waits for it.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Optional, Union

from cni_provision.cni import invoke, namespace, search, skel
from cni_provision.cni.call import ADDED, UNDOES
from cni_provision.cni.outcome import Outcome
from cni_provision.cni.skel import Plugin
from cni_provision.cni.types import INTERNAL, IO_FAILURE, CNIError
from cni_provision.server import log, wire
from cni_provision.server.catalogue import Catalogue
from cni_provision.server.counters import Counters
from cni_provision.server.log import Log
from cni_provision.server.peer import Caller, Files
from cni_provision.server.turns import Turn, Turns
from cni_provision.server.wire import Broken, Connection, Request, Silent
from cni_provision.server.workers import Workers

READY_SECONDS = 0.05  # how long a worker waits for what usually comes at once
UNREAD_SECONDS = 1.0  # after this an unread answer holds up nobody
ORDERED = frozenset({"ADD", "DEL", "CHECK"})


@dataclass(frozen=True)
class Ran:
    """What a plugin did, and how long that took."""

    outcome: Outcome
    seconds: float


@dataclass(eq=False)
class Conversation:
    """A caller that was told `ready`, and how far it came."""

    connection: Connection
    caller: Caller
    plugin: Plugin
    request: Optional[Request] = None
    turn: Optional[Turn] = None
    ran: Optional[Ran] = None
    noted: bool = False
    said: list[str] = field(default_factory=list)  # what its delegates wrote to stderr

    @property
    def verb(self) -> str:
        return self.variable("CNI_COMMAND")

    def variable(self, name: str) -> str:
        return self.request.environment.get(name, "") if self.request else ""


Step = Callable[[Conversation], None]


@dataclass
class Service:
    """What all requests share. `park` gives a conversation to the door until something comes, `later` is its clock,
    `closed` tells it that one is over."""

    catalogue: Catalogue
    counters: Counters
    log: Log
    workers: Workers
    park: Callable[[Conversation, Callable[[], None]], None]
    later: Callable[[float, Callable[[], None]], None]
    closed: Callable[[Conversation], None]
    turns: Turns = field(default_factory=Turns)
    files: Files = field(default_factory=Files)

    def begin(self, conversation: Conversation) -> None:
        """Read the request, and perform it when it is its turn."""
        self._to_the_end(conversation, self._begin)

    def _to_the_end(self, conversation: Conversation, step: Step) -> None:
        """A mistake of ours ends this conversation, and holds up no other."""
        try:
            step(conversation)
        except BaseException:
            if conversation.turn:
                self.turns.end(conversation.turn)
            self.closed(conversation)
            raise

    def _begin(self, conversation: Conversation) -> None:
        try:
            payload = conversation.connection.receive(wire.REQUEST, READY_SECONDS)
            conversation.request = marked(wire.decode_request(payload))
        except Silent:
            self.park(conversation, partial(self.begin, conversation))
            return
        except Broken:
            self.counters.lost()
            self.closed(conversation)
            return
        if self._take_turn(conversation):
            self._perform(conversation)

    def _take_turn(self, conversation: Conversation) -> bool:
        assert conversation.request
        if conversation.verb not in ORDERED:
            return True
        variable = conversation.request.environment.get
        key = (variable("CNI_CONTAINERID", ""), variable("CNI_IFNAME", ""), conversation.plugin.name)
        start = partial(self.workers.submit, partial(self.perform, conversation))
        conversation.turn = Turn(key, start)
        return self.turns.take(conversation.turn)

    def perform(self, conversation: Conversation) -> None:
        """Run the plugin and answer."""
        self._to_the_end(conversation, self._perform)

    def _perform(self, conversation: Conversation) -> None:
        ran = conversation.ran = self._run(conversation)
        outcome = ran.outcome
        if conversation.said:
            outcome = Outcome(outcome.code, outcome.stdout, outcome.stderr + "".join(conversation.said))
        try:
            conversation.connection.send(wire.ANSWER, wire.encode_answer(outcome))
        except Broken:
            self._settle(conversation, acknowledged=False)
            return
        self._conclude(conversation)

    def conclude(self, conversation: Conversation) -> None:
        """Wait until the answer was passed on; where the caller dies before, it never was."""
        self._to_the_end(conversation, self._conclude)

    def _conclude(self, conversation: Conversation) -> None:
        try:
            conversation.connection.receive(wire.ACKNOWLEDGE, READY_SECONDS)
        except Silent:
            self._note(conversation)
            if conversation.turn:
                self.later(UNREAD_SECONDS, partial(self.turns.let_pass, conversation.turn))
            self.park(conversation, partial(self.conclude, conversation))
        except Broken:
            self._settle(conversation, acknowledged=False)
        else:
            self._settle(conversation, acknowledged=True)

    def _settle(self, conversation: Conversation, *, acknowledged: bool) -> None:
        turn, ran = conversation.turn, conversation.ran
        try:
            self._note(conversation)
            first = turn is None or self.turns.settle(turn)
            if first and not acknowledged and conversation.verb == "ADD" and ran and not ran.outcome.code:
                self._undo(conversation, ran.outcome)
        finally:
            if turn:
                self.turns.end(turn)
            self.closed(conversation)

    def _undo(self, conversation: Conversation, outcome: Outcome) -> None:
        """Its ADD succeeded, and nobody knows of it: DEL."""
        assert conversation.request
        request = conversation.request
        token = request.environment.get(ADDED, "")
        environment = {**request.environment, "CNI_COMMAND": "DEL", ADDED: "", UNDOES: token}
        stdin = with_result(request.stdin, outcome.stdout)
        conversation.request = Request(request.plugin, environment, stdin)
        self._log(conversation, self._run(conversation), "undo")
        self.counters.undone()

    def _note(self, conversation: Conversation) -> None:
        """Count it and log it, once: 0.04 ms, for which no caller waits."""
        ran = conversation.ran
        if ran and not conversation.noted:
            conversation.noted = True
            self.counters.request(conversation.verb, ran.seconds, failure(ran.outcome)[0])
            self._log(conversation, ran, conversation.verb or "none")

    def _log(self, conversation: Conversation, ran: Ran, verb: str) -> None:
        code, msg = failure(ran.outcome)
        text = log.words(
            plugin=conversation.plugin.name,
            verb=verb,
            network=network_of(conversation.request.stdin) if conversation.request else "",
            container=conversation.variable("CNI_CONTAINERID"),
            ifname=conversation.variable("CNI_IFNAME"),
            ms=f"{ran.seconds * 1000:.2f}",
            code=code,
        )
        self.log.line(log.WARNING if code else log.INFORMATION, f"{text} {msg}".rstrip())

    def _run(self, conversation: Conversation) -> Ran:
        assert conversation.request
        request = conversation.request
        execute = partial(self._execute, conversation)
        descriptor = netns_of(conversation.connection)
        started = time.monotonic()
        folder = conversation.caller.folder
        outcome = skel.run(
            conversation.plugin, request.environment, request.stdin, descriptor, execute, folder, self.workers.away
        )
        return Ran(outcome, time.monotonic() - started)

    def _execute(
        self, conversation: Conversation, plugin_type: str, environment: Mapping[str, str], stdin: bytes
    ) -> Union[Outcome, Plugin]:
        """A delegate: the plugin itself where it is ours, else the launcher executes it."""
        folders = environment.get("CNI_PATH", "").split(os.pathsep)
        absolute = [os.path.join(conversation.caller.folder, each) for each in folders if each]
        path = search.find(plugin_type, absolute)
        return self._ours(path) or self._ask(conversation, path, environment.get("CNI_COMMAND", ""), stdin)

    def _ours(self, path: str) -> Optional[Plugin]:
        with suppress(OSError):
            return self.catalogue.plugins.get(self.files.digest(path))
        return None

    def _ask(self, conversation: Conversation, path: str, command: str, stdin: bytes) -> Outcome:
        connection = conversation.connection
        try:
            connection.send(wire.EXECUTE, wire.encode_execute(path, command, stdin))
            with self.workers.away():
                outcome = wire.decode_executed(connection.receive(wire.EXECUTED, None))
        except Broken as error:
            raise CNIError(IO_FAILURE, f"cannot execute plugin `{path}`: the caller is gone ({error})") from error
        raise_unexecuted(outcome, path)
        conversation.said.append(outcome.stderr)  # SPEC 4: also of one that failed
        return outcome


def marked(request: Request) -> Request:
    """An ADD has a token, so that what undoes it undoes nothing later."""
    if request.environment.get("CNI_COMMAND") != "ADD":
        return request
    return Request(request.plugin, {**request.environment, ADDED: os.urandom(8).hex()}, request.stdin)


def netns_of(connection: Connection) -> int:
    """As `skel.run` takes it: the path in CNI_NETNS is never opened here."""
    return connection.netns_fd if connection.netns_fd >= 0 else namespace.ABSENT


def raise_unexecuted(outcome: Outcome, path: str) -> None:
    """What a launcher reports beside exit codes and signals, in the words of `cni.invoke`."""
    if outcome.code >= wire.NOT_EXECUTED:
        reason = os.strerror(outcome.code - wire.NOT_EXECUTED)
        raise CNIError(IO_FAILURE, f"cannot execute plugin `{path}`: {reason}")
    if outcome.code == wire.PRINTED_TOO_MUCH:
        most = invoke.MAX_OUTPUT >> 20
        raise CNIError(INTERNAL, f"plugin `{path}` printed more than {most} MiB and was killed")


def network_of(stdin: bytes) -> str:
    """The network's name, empty where there is none: the plugin says what is wrong."""
    return str(_object(stdin).get("name", ""))


def with_result(stdin: bytes, result: bytes) -> bytes:
    """A configuration with what the ADD answered, as its DEL is given it."""
    return json.dumps({**_object(stdin), "prevResult": _object(result)}).encode()


def failure(outcome: Outcome) -> tuple[int, str]:
    """(CNI error code, message); (0, "") where there is none."""
    if not outcome.code:
        return 0, ""
    answer = _object(outcome.stdout)
    code = answer.get("code", outcome.code)
    return (code if isinstance(code, int) and code else 1), log.words(msg=answer.get("msg", ""))


def _object(text: bytes) -> dict[str, Any]:
    with suppress(ValueError, RecursionError):
        found = json.loads(text)
        return found if isinstance(found, dict) else {}
    return {}
