"""A caller that speaks to a server itself and does what no launcher does; for `python -c`, in the host's namespaces.

Arguments: the socket, the plugin, the namespace. Stdin: the configuration, and the end of it when it shall go. The
answer's first line goes to stdout at once; it is never acknowledged.
"""

SCRIPT = """
import array, os, socket, struct, sys
path, plugin, netns = sys.argv[1:]
stream = socket.socket(socket.AF_UNIX)
stream.connect(path)
greeting = stream.recv(256)
assert b" ready " in greeting, greeting
configuration = sys.stdin.readline()
variables = "".join(f"{name}={value}\\0" for name, value in os.environ.items() if name.startswith("CNI_"))
payload = f"{plugin}\\0{variables}\\0{configuration}".encode()
descriptor = os.open(netns, os.O_RDONLY)
rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [descriptor]))]
stream.sendmsg([b"R" + struct.pack("<I", len(payload)) + payload], rights)
answer = stream.recv(65536)
print(answer[5], flush=True)
sys.stdin.read()
"""
