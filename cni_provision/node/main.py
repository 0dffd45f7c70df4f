"""The node program: one request, one reply; whatever goes wrong is one error that the controller can show."""

from __future__ import annotations

import os
import traceback
from typing import Any, BinaryIO, Optional

from cni_provision.node.failure import Failure, of_system
from cni_provision.node.paths import SYSTEM_PATH
from cni_provision.node.protocol import Reply, Request, request_from_json
from cni_provision.node.talk import Gone, Talk, private_output
from cni_provision.node.validate import checked


def main(source: BinaryIO) -> int:
    """Serve one request from `source`; the exit code is 0 when a reply was sent."""
    os.umask(0o077)
    os.environ["PATH"] = SYSTEM_PATH
    talk = Talk(source, private_output())
    try:
        serve(talk)
    except Gone:
        return 1
    return 0


def serve(talk: Talk) -> None:
    """Read a request, answer it; raises `Gone` when the controller went away."""
    try:
        reply = dispatch(_request(talk.receive()), talk)
    except Gone:
        raise
    except Failure as failure:
        reply = Reply(error=failure.to_json())
    except OSError as error:
        reply = Reply(error={**of_system(error).to_json(), "detail": traceback.format_exc()})
    except Exception as error:
        reply = Reply(error=_defect(error))
    if reply is not None:
        talk.answer(reply)


def _defect(error: Exception) -> dict[str, Any]:
    failure = Failure(
        f"the node program failed: {type(error).__name__}: {error}", hint="this is a defect: `--debug` shows where"
    )
    return {**failure.to_json(), "detail": traceback.format_exc()}


def _request(body: bytes) -> Request:
    try:
        return checked(request_from_json(body))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise Failure(
            f"the request cannot be read: {error}", hint="controller and node program differ: run it again"
        ) from error


def dispatch(request: Request, talk: Talk) -> Optional[Reply]:
    """Do what the verb says; None when the verb has said everything itself."""
    if os.geteuid() != 0:
        raise Failure("the node program does not run as root", hint="set `ansible_become: true` for this node")
    if request.verb in ("apply", "rollback", "remove"):
        from cni_provision.node.apply import apply

        return apply(request, talk)
    if request.verb == "plan":
        from cni_provision.node.apply import plan

        return plan(request)
    return _tell(request, talk)


def _tell(request: Request, talk: Talk) -> Optional[Reply]:
    if request.verb == "attach":
        from cni_provision.checks.subject import from_json
        from cni_provision.node.mesh import serve as serve_mesh

        serve_mesh(from_json(request.verify or {}), talk.receive, talk.answer)
        return None
    from cni_provision.node import status

    verbs = {"status": status.status, "plugins": status.plugins, "verify": status.verify}
    if request.verb not in verbs:
        raise Failure(f"`{request.verb}` is not something that a node can do")
    return verbs[request.verb](request)
