"""The warm plugin server: one process with every plugin loaded, which launchers ask instead of starting Python.

    door.py       accepts, judges and greets callers
    peer.py       whom it serves
    wire.py       greeting, frames, and the connection that carries them
    service.py    one request: turn, plugin, delegates, answer, acknowledgement, undo
    turns.py      calls of one attachment in the order in which they came
    workers.py    a bounded number of calls at once; who has none waits for the next caller
    watch.py      what they wait for
    catalogue.py  the plugins, by the digest of their executables
    counters.py   what is counted, and the file that tells it
    place.py      the folder on the node: socket, lock, counters

Standard library, Python 3.9. Nothing is ever executed for a caller; a delegate of somebody else is executed by the
launcher itself.
"""
