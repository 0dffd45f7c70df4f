"""Deleting a link without waiting until the kernel has freed it.

The kernel takes a link out of everybody's sight in 1 ms: its name, its addresses and routes, its place in a bridge,
its parameters. Then it waits until no processor can be at work with it any more, frees it, and only then, after 13 to
21 ms, acknowledges. Nobody else has to wait for that, so a thread does.
"""

from __future__ import annotations

import _thread
from typing import Optional

from cni_provision.net import link
from cni_provision.net.link import Link
from cni_provision.net.rtnl import Socket

FIRST_LOOK, LONGEST_PAUSE = 0.0002, 0.01  # seconds
MOST_THREADS = 100  # of the process: beyond that, who deletes waits


def delete(socket: Socket, found: Link, netns_fd: Optional[int] = None) -> None:
    """As `link.delete`, until nobody sees the link any more; `netns_fd` is the namespace of `socket`, None this one.

    What it does is done also when this process is killed in between: the kernel does not stop.
    """
    if _thread._count() >= MOST_THREADS:
        link.delete(socket, found)
        return
    deletion = Deletion(Socket(netns_fd), found)
    pause = FIRST_LOOK
    while not deletion.acknowledged(pause):
        # where the deletion is under way, the kernel answers this only when the link is out of sight
        if link.find_index(socket, found.index) is None:
            return
        pause = min(2 * pause, LONGEST_PAUSE)


class Deletion:
    """A request to delete a link, and the thread that waits for its acknowledgement."""

    def __init__(self, socket: Socket, found: Link) -> None:
        self._socket = socket
        self._link = found
        self._error: Optional[BaseException] = None
        self._under_way = _thread.allocate_lock()
        self._under_way.acquire()
        _thread.start_new_thread(self._run, ())

    def acknowledged(self, seconds: float) -> bool:
        """False when there is none in that time. Raises what `link.delete` raises."""
        if not self._under_way.acquire(timeout=seconds):
            return False
        if self._error:
            raise self._error
        return True

    def _run(self) -> None:
        try:
            with self._socket:
                link.delete(self._socket, self._link)
        except BaseException as error:
            self._error = error
        finally:
            self._under_way.release()
