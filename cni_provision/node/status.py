"""The verbs that only tell: status, plugins, verify."""

from __future__ import annotations

import json
import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from cni_provision.node import files, generation, observe, server
from cni_provision.node.generation import Generation
from cni_provision.node.journal import unfinished
from cni_provision.node.protocol import NodeFinding, Reply, Request
from cni_provision.plan import Change, same

ANSWER_SECONDS = 10
LARGEST_ANSWER = 64 * 1024
AT_ONCE = 4
ENVIRONMENT = {"CNI_COMMAND": "VERSION", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}


def status(request: Request) -> Reply:
    """What this node has, by its own record (`facts`), and how far it has drifted from it (`changes`)."""
    history = generation.history()
    current = history.of(request.owner)
    drifted = drift(current)
    facts = {
        **observe.facts(),
        **_about(current),
        "drift": len(drifted),
        "owners": {name: _about(history.of(name)) for name in sorted({each.owner for each in history.generations})},
        "generations": [_about(each) for each in history.generations],
        "server": server.told(),
    }
    findings = tuple(_remarks(request, current))
    return Reply(
        changes=drifted, generation=history.number, incomplete=current.incomplete, facts=facts, findings=findings
    )


def drift(current: Generation) -> tuple[Change, ...]:
    """The changes that would restore what the record says."""
    recorded = {key: state for key in current.owned if (state := current.states.get(key)) is not None}
    observed = observe.states(recorded)
    changes = (Change(key, observed.get(key), state) for key, state in recorded.items())
    return tuple(change for change in changes if not same(change.before, change.after))


def _about(each: Generation) -> dict[str, Any]:
    return {
        "generation": each.number,
        "owner": each.owner,
        "by": each.by,
        "time": each.time,
        "inventory": each.inventory,
        "source": each.source,
        "verified": each.verified,
        "incomplete": each.incomplete,
        "rollback_of": each.rollback_of,
        "keys": len(each.owned),
    }


def _remarks(request: Request, current: Generation) -> list[NodeFinding]:
    found = []
    if unfinished():
        found.append(NodeFinding("unfinished", "a run was interrupted here; the next apply recovers first"))
    if request.source and current.source and request.source != current.source:
        message = f"generation {current.number} came from another inventory: `{current.source}` (by {current.by})"
        found.append(NodeFinding("other-inventory", message))
    if current.due:
        found.append(NodeFinding("due", f"reloads not done yet: {', '.join(current.due)}", "apply again"))
    return found


def plugins(request: Request) -> Reply:
    """`facts["plugins"]`: name, size, digest, version of the specification, owner of each executable in `bin_dir`.

    With `work["contents"]` also what else is there (`node.contents`).
    """
    names = [name for name in observe.listed(request.bin_dir) if _is_executable(f"{request.bin_dir}/{name}")]
    history = generation.history()
    owners = {key: each.owner for key, each in history.others("").items()}
    with ThreadPoolExecutor(AT_ONCE) as pool:
        listed = list(pool.map(lambda name: _plugin(f"{request.bin_dir}/{name}", owners), names))
    facts = {**observe.facts(), "plugins": listed, **(_contents(request) if request.work.get("contents") else {})}
    return Reply(generation=history.number, facts=facts)


def _contents(request: Request) -> dict[str, Any]:
    from cni_provision.node.contents import contents

    return contents(request)


def _is_executable(path: str) -> bool:
    return os.path.isfile(path) and not os.path.islink(path) and os.access(path, os.X_OK)


def _plugin(path: str, owners: dict[str, str]) -> dict[str, Any]:
    return {
        "name": os.path.basename(path),
        "size": os.stat(path).st_size,
        "digest": files.digest_of(path),
        "versions": supported_versions(path),
        "owner": owners.get(f"file:{path}"),
    }


def supported_versions(path: str) -> list[str]:
    """What a plugin answers to VERSION; empty if it does not answer as one."""
    try:
        done = subprocess.run(
            [path],
            input=b'{"cniVersion":"1.0.0"}',
            capture_output=True,
            env=ENVIRONMENT,
            timeout=ANSWER_SECONDS,
            check=False,
        )
        answer = json.loads(done.stdout[:LARGEST_ANSWER])
        return [str(version) for version in answer["supportedVersions"]]
    except (OSError, ValueError, KeyError, TypeError, subprocess.TimeoutExpired):
        return []


def verify(request: Request) -> Reply:
    """The checks and the probe on what is there, after `work["repair"]`; with `work["contents"]` as `plugins`."""
    from cni_provision.node.apply import outcomes_of

    findings = _repaired() if request.work.get("repair") is True else ()
    outcomes = outcomes_of(request)
    facts = plugins(request).facts if request.work.get("contents") else observe.facts()
    return Reply(generation=generation.history().number, outcomes=outcomes, findings=findings, facts=facts)


def _repaired() -> tuple[NodeFinding, ...]:
    from cni_provision.node.repair import repair

    return repair()
