"""Callers that speak to a server themselves and do what no launcher does: for `python -c` in a host's namespaces."""

# Arguments: the socket, the plugin, the namespace. Stdin: the configuration, and the end of it when it shall go. The
# answer's exit code goes to stdout at once; it is never acknowledged.
SILENT = r"""
import array, os, socket, struct, sys
path, plugin, netns = sys.argv[1:]
stream = socket.socket(socket.AF_UNIX)
stream.connect(path)
greeting = stream.recv(256)
assert b" ready " in greeting, greeting
configuration = sys.stdin.readline()
variables = "".join(f"{name}={value}\0" for name, value in os.environ.items() if name.startswith("CNI_"))
payload = f"{plugin}\0{variables}\0{configuration}".encode()
descriptor = os.open(netns, os.O_RDONLY)
rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [descriptor]))]
stream.sendmsg([b"R" + struct.pack("<I", len(payload)) + payload], rights)
answer = stream.recv(65536)
print(answer[5], flush=True)
sys.stdin.read()
"""

# Arguments: the socket, the plugin, the configuration, how many times to ADD and DEL.
MANY = r"""
import os, socket, struct, sys
path, plugin, configuration, count = sys.argv[1:]
def call(command, number):
    variables = f"CNI_COMMAND={command}\0CNI_CONTAINERID=c{number}\0CNI_IFNAME=eth0\0CNI_PATH=/\0CNI_NETNS=/nowhere\0"
    payload = f"{plugin}\0{variables}\0{configuration}".encode()
    with socket.socket(socket.AF_UNIX) as stream:
        stream.connect(path)
        assert b" ready " in stream.recv(256)
        stream.sendall(b"R" + struct.pack("<I", len(payload)) + payload)
        answer = stream.recv(65536)
        assert answer[5] == 0, answer
        stream.sendall(b"K" + bytes(4))
for number in range(int(count)):
    call("ADD", number)
    call("DEL", number)
"""
