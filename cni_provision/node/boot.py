"""How the node program starts: a command line that finds a Python and lets it read the program from stdin."""

from __future__ import annotations

from typing import Optional

NO_PYTHON = "cni-provision: no Python 3.9 or newer"
NO_PYTHON_STATUS = 127
NO_PYTHON_HINT = "install python3 (3.9 or newer) on the node, or name one with `ansible_python_interpreter`"

# `$1` is the interpreter that the user named (then no other is tried), `$2` the bootstrap. Stdin is not touched.
CHOOSE = f"""
fits() {{ "$1" -I -S -c 'import sys; sys.exit(sys.version_info < (3, 9))' </dev/null >/dev/null 2>&1; }}
if [ -n "$1" ]; then set -- "$2" "$1"; else
set -- "$2" /var/lib/cni-provision/python /usr/bin/python3 python3 \
python3.14 python3.13 python3.12 python3.11 python3.10 python3.9; fi
boot=$1; shift
for name in "$@"; do
p=$(command -v "$name" 2>/dev/null) && fits "$p" && exec "$p" -I -S -c "$boot"
done
echo "{NO_PYTHON} (tried $*)" >&2
exit {NO_PYTHON_STATUS}
"""

# Discards stdin up to the marker, reads the program frame (zlib JSON {module: source}) and runs it.
BOOTSTRAP = """
import sys, json, struct, zlib
source, seen = sys.stdin.buffer, b""
while seen != b"\\0CNIP\\0":
    byte = source.read(1)
    if not byte: sys.exit("cni-provision: no program came")
    seen = (seen + byte)[-6:]
size = struct.unpack(">I", source.read(4))[0]
program = json.loads(zlib.decompress(source.read(size)))
scope = {"__name__": "cni_provision.node.loader"}
exec(compile(program["cni_provision.node.loader"], "<cni_provision.node.loader>", "exec"), scope)
scope["install"](program)
from cni_provision.node.main import main
sys.exit(main(source))
"""

# Reads the rest of stdin, behind the script that stays on the node, as JSON {module: source} and recovers.
RECOVERY = """
import sys, json
source = sys.stdin.buffer
while source.readline() != b"program\\n": pass
program = json.loads(source.read())
scope = {"__name__": "cni_provision.node.loader"}
exec(compile(program["cni_provision.node.loader"], "<cni_provision.node.loader>", "exec"), scope)
scope["install"](program)
from cni_provision.node.recover import main
sys.exit(main())
"""


def argv(python: Optional[str] = None) -> list[str]:
    """The command that runs the node program from stdin; nothing in it needs quoting beyond `shlex.join`."""
    return ["sh", "-c", CHOOSE, "cni-provision", python or "", BOOTSTRAP]
