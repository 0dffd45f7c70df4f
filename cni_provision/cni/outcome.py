"""What one execution of a plugin left behind, and what that means."""

from __future__ import annotations

from dataclasses import dataclass

from cni_provision.cni.results import decode_result
from cni_provision.cni.types import INTERNAL, CNIError, Result
from cni_provision.cni.values import Config, brief, decode

_RESULT_KEYS = ("interfaces", "ips", "routes", "dns", "ip4", "ip6")


@dataclass(frozen=True)
class Outcome:
    """Exit code (negative: the signal that ended it), all of stdout, all of stderr."""

    code: int
    stdout: bytes = b""
    stderr: str = ""


def result_of(outcome: Outcome, version: str) -> Result:
    """The result that an ADD printed, assumed to be of `version` where it does not say. Raises the plugin's error."""
    raise_failure(outcome)
    if not outcome.stdout.strip():
        raise CNIError(INTERNAL, "plugin printed no result", tail(outcome.stderr))
    return decode_result(decode(outcome.stdout), version)


def raise_failure(outcome: Outcome) -> None:
    """Raise the error that the plugin reported; an error object counts even if the exit code was 0."""
    if outcome.code:
        raise _failure(outcome)
    if outcome.stdout.strip():
        reported = _reported(outcome)
        if reported:
            raise reported


def _failure(outcome: Outcome) -> CNIError:
    reported = _reported(outcome)
    if reported:
        return reported
    ending = f"exit status {outcome.code}" if outcome.code > 0 else f"killed by signal {-outcome.code}"
    printed = outcome.stdout.decode("utf-8", "replace").strip()
    if printed:
        msg = f"netplugin failed but error parsing its diagnostic message {brief(printed)}: {ending}"
        return CNIError(INTERNAL, msg, tail(outcome.stderr))
    if outcome.stderr.strip():
        return CNIError(INTERNAL, f'netplugin failed: "{tail(outcome.stderr)}": {ending}')
    return CNIError(INTERNAL, f"netplugin failed with no error message: {ending}")


def _reported(outcome: Outcome) -> CNIError | None:
    """The error object on stdout, where there is one."""
    try:
        raw = Config(decode(outcome.stdout))
        code, msg, details = raw.integer("code"), raw.text("msg"), raw.text("details")
    except (CNIError, AttributeError, TypeError):
        return None
    if not outcome.code and (not code or _looks_like_result(raw)):
        return None
    return CNIError(code if code > 0 else INTERNAL, msg, details) if code or msg else None


def _looks_like_result(raw: Config) -> bool:
    return any(key in raw for key in _RESULT_KEYS)


def tail(text: str, length: int = 2000) -> str:
    """The end of a log, where the reason stands."""
    return text.strip()[-length:]
