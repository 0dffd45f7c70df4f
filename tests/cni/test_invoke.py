from __future__ import annotations

import resource
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from cni_provision.cni import invoke
from cni_provision.cni.outcome import Outcome
from cni_provision.cni.types import CNIError

Script = Callable[[str, str], Path]
LeftRunning = Callable[[], list[int]]
pytestmark = pytest.mark.usefixtures("no_new_descriptors")


@pytest.mark.parametrize("timeout", [None, 20.0])
def test_everything_goes_through(script: Script, timeout: float | None) -> None:
    program = script("p", 'echo "$CNI_COMMAND" >&2; cat; exit 3')
    megabytes = b"0123456789abcdef" * 200_000
    outcome = invoke.execute(str(program), {"CNI_COMMAND": "ADD", "PATH": "/bin"}, megabytes, timeout)
    assert outcome == Outcome(3, megabytes, "ADD\n")


def test_a_plugin_need_not_read(script: Script) -> None:
    program = script("p", "exec <&-; echo done")
    assert invoke.execute(str(program), {}, b"x" * 1_000_000, 20) == Outcome(0, b"done\n")


def test_a_plugin_killed_by_a_signal(script: Script) -> None:
    assert invoke.execute(str(script("p", "kill -9 $$")), {}, b"", 20).code == -9


def test_a_plugin_has_ordinary_signals(script: Script) -> None:
    program = script("p", "grep SigIgn /proc/self/status")
    ignored = invoke.execute(str(program), {"PATH": "/bin"}, b"", 20).stdout.split()[1]
    assert int(ignored, 16) & 1 << 12 == 0  # SIGPIPE, which Python itself ignores


def test_too_much_output_is_refused(script: Script) -> None:
    program = script("p", "exec cat /dev/zero")
    with pytest.raises(CNIError, match="printed more than 16 MiB and was killed"):
        invoke.execute(str(program), {"PATH": "/bin"}, b"", 60)


def test_what_cannot_be_started_says_why(tmp_path: Path) -> None:
    program = tmp_path / "p"
    with pytest.raises(CNIError, match="No such file") as caught:
        invoke.execute(str(program), {}, b"")
    assert caught.value.code == 5
    program.write_bytes(b"\0\0\0\0")
    with pytest.raises(CNIError, match="Permission denied"):
        invoke.execute(str(program), {}, b"")
    program.chmod(0o755)
    with pytest.raises(CNIError, match="Exec format error"):
        invoke.execute(str(program), {}, b"")


def test_an_executable_that_is_being_replaced_is_waited_for(script: Script) -> None:
    program = script("p", "echo new")
    writer = program.open("ab")
    threading.Timer(0.3, writer.close).start()
    assert invoke.execute(str(program), {}, b"", 20).stdout == b"new\n"


def test_an_executable_that_stays_busy_is_an_error(script: Script) -> None:
    program = script("p", "echo new")
    with program.open("ab"), pytest.raises(CNIError, match="Text file busy"):
        invoke.execute(str(program), {}, b"", 0.2)


def test_the_interpreter_may_be_what_does_not_exist(tmp_path: Path) -> None:
    program = tmp_path / "p"
    program.write_text("#!/no/such/interpreter\n")
    program.chmod(0o755)
    with pytest.raises(CNIError, match="its interpreter or loader does not exist"):
        invoke.execute(str(program), {}, b"")


def test_too_few_descriptors_is_an_error_that_leaves_none(script: Script) -> None:
    program = script("p", "echo done")
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    codes = set()
    for most in range(3, 200):  # what is open already stays open, and may have holes between
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, limits[1]))
        try:
            codes.add(invoke.execute(str(program), {}, b"", 5).code)
            break
        except CNIError as error:
            codes.add(error.code)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert codes == {5, 0}


def test_an_interrupt_ends_the_child(script: Script, tmp_path: Path, left_running: LeftRunning) -> None:
    program = script("p", f"echo $$ > {tmp_path}/p.pid; exec sleep 300")
    main_thread = threading.main_thread().ident
    assert main_thread is not None
    timer = threading.Timer(0.5, lambda: signal.pthread_kill(main_thread, signal.SIGINT))
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
    timer.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            invoke.execute(str(program), {"PATH": "/bin"}, b"", 60)
    finally:
        signal.signal(signal.SIGINT, before)
    assert left_running() == []
