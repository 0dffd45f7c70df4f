"""Many attachments and many callers: work grows with what is asked for, and nobody gets in another's way.

Work is counted in files opened and folders read (audit events), which a busy machine does not change.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from cni_provision.cni import config
from cni_provision.cni.protocol import Attachment
from cni_provision.cni.runtime import Runtime

ROOT = Path(__file__).resolve().parent.parent.parent
Script = Callable[[str, str], Path]
NETWORK = config.load(b'{"cniVersion":"1.1.0","name":"n","plugins":[{"type":"p"}]}')

COUNTER = """
import json, sys
from cni_provision.cni import Attachment, Outcome, Runtime, load

folder, many = sys.argv[1], int(sys.argv[2])
network = load(b'{"cniVersion":"1.1.0","name":"n","plugins":[{"type":"p"}]}')
answer = Outcome(0, b'{"cniVersion":"1.1.0","ips":[{"address":"10.0.0.2/24"}]}')
runtime = Runtime([], folder, execute=lambda plugin, environment, stdin: answer)
for number in range(many):
    runtime.add(network, Attachment(f"c{number}", "/ns"))

work = {}
def count(event, arguments):
    if event in ("open", "os.scandir", "os.listdir", "os.remove", "os.rename"):
        work[now] = work.get(now, 0) + 1
sys.addaudithook(count)

def timed(name, function, *arguments):
    global now
    now = name
    work[now] = 0
    answer = function(*arguments)
    now = ""
    return answer

timed("list", runtime.attachments)
timed("delete", runtime.delete, network, Attachment("c7", "/ns"))
timed("check", runtime.check, network, Attachment("c8", "/ns"))
timed("gc that keeps all", runtime.gc, network, [(f"c{number}", "eth0") for number in range(many)])
timed("gc that frees all", runtime.gc, network, [])
work["left"] = len(runtime.attachments())
del work[""]
print(json.dumps(work))
"""


def test_work_is_linear_in_the_number_of_attachments(tmp_path: Path) -> None:
    def counted(many: int) -> dict[str, int]:
        command = [sys.executable, "-c", COUNTER, str(tmp_path / str(many)), str(many)]
        done = subprocess.run(command, capture_output=True, check=True, cwd=ROOT, timeout=120)
        found: dict[str, int] = json.loads(done.stdout)
        return found

    few, many = counted(250), counted(1000)
    assert many["left"] == 0
    for one in ("delete", "check"):  # do not look at other attachments
        assert few[one] == many[one] <= 12
    for all_of_them in ("list", "gc that keeps all", "gc that frees all"):
        assert 3.9 < many[all_of_them] / few[all_of_them] < 4.1
        assert many[all_of_them] <= 1000 * 10


ANSWER = """echo '{"cniVersion":"1.1.0","ips":[{"address":"10.0.0.2/24"}]}'"""
WORKER = """
import sys
from cni_provision.cni import Attachment, Runtime, load

runtime = Runtime([sys.argv[1]], sys.argv[2], timeout=60)
network = load(b'{"cniVersion":"1.1.0","name":"n","plugins":[{"type":"p"}]}')
own = [Attachment(f"{sys.argv[3]}-{number}", "/ns") for number in range(6)]
for attachment in own:
    runtime.add(network, attachment)
shared = Attachment("everybodys", "/ns")
runtime.add(network, shared)
runtime.delete(network, shared)
for attachment in own:
    runtime.check(network, attachment)
    runtime.delete(network, attachment)
runtime.gc(network, [(f"w{worker}-{number}", "eth0") for worker in range(8) for number in range(6)])
"""


def test_8_processes_at_once(script: Script, tmp_path: Path) -> None:
    inside = f"{tmp_path}/inside-$CNI_CONTAINERID"
    exclusive = f'if [ -n "$CNI_CONTAINERID" ]; then mkdir {inside} || touch {tmp_path}/twice; rmdir {inside}; fi'
    program = script("p", f"{exclusive}; {ANSWER}")
    cache = tmp_path / "cache"
    commands = [[sys.executable, "-c", WORKER, str(program.parent), str(cache), f"w{number}"] for number in range(8)]
    children = [subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE) for command in commands]
    assert [child.communicate(timeout=240)[1].decode() for child in children] == [""] * 8
    assert not (tmp_path / "twice").exists()
    assert os.listdir(cache / "results") == []
    # what stays is the lock that all share: one for the network, never one for each container
    assert len(os.listdir(cache / "cni-provision")) <= 1


@pytest.mark.usefixtures("no_new_descriptors")
def test_32_containers_at_once_through_one_runtime(script: Script, tmp_path: Path) -> None:
    meeting = tmp_path / "meeting"
    meeting.mkdir()
    # Each plugin waits until another container's runs: they would wait for ever if calls took turns.
    wait = f"""touch {meeting}/$CNI_CONTAINERID
    i=0; while [ $(ls {meeting} | wc -l) -lt 2 ] && [ $i -lt 1000 ]; do sleep 0.01; i=$((i+1)); done"""
    program = script("p", f"{wait}; {ANSWER}")
    runtime = Runtime([str(program.parent)], str(tmp_path / "cache"), timeout=60)
    failures: list[BaseException] = []

    def cycle(number: int) -> None:
        attachment = Attachment(f"c{number}", "/ns")
        try:
            runtime.add(NETWORK, attachment)
            runtime.check(NETWORK, attachment)
            assert runtime.cached("n", attachment.key)
            runtime.delete(NETWORK, attachment)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=cycle, args=(number,)) for number in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert runtime.attachments() == ()
    assert len(os.listdir(meeting)) == 32
