"""`server`: the warm plugin server by hand; on nodes with systemd `apply` installs it as a service."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

import click

from cni_provision.cli.options import Output, output_options
from cni_provision.cli.run.command import command as define
from cni_provision.cli.run.invocation import Emit, run
from cni_provision.errors import UserError

SOCKET = "/run/cni-provision/server/socket"


@define(
    "server",
    "run the warm plugin server by hand",
    ("", "serve the plugins that `plugin build` and `apply` install here"),
    ("--socket /run/try/socket", "for callers with CNI_PROVISION_SOCKET=/run/try/socket"),
)
@click.option("--socket", "path", default=SOCKET, metavar="PATH", help=f"Where it listens. Default: {SOCKET}.")
@output_options
def command(path: str, output: Output) -> int:
    """Hold this project's plugins loaded, so that calls of their executables take milliseconds. Needs root.

    Only this version's executables are served, and only callers in the server's own namespaces. It logs one line for
    each call. SIGTERM or Ctrl-C ends it when it has finished what it began. Its folder becomes root's alone.
    """

    def work(emit: Emit) -> NoReturn:
        if os.geteuid():
            raise UserError("the server makes interfaces and rules: it needs root", hint="sudo cni-provision server")
        become(executable(), path)

    return run("server", output, work)


def executable() -> bytes:
    """The server for this machine; raises `UserError` where plugins have no launcher here, and would never ask it."""
    from cni_provision import artifact
    from cni_provision.artifact_launcher import own_architecture

    blobs = artifact.Blobs()
    made = artifact.servers(blobs, artifact.default_cache())
    digest = next((one.digest for one in made if one.architecture == own_architecture()), None)
    if digest is None:
        raise UserError("plugins have no launcher on this machine and never ask a server", hint="pip install ziglang")
    return blobs.get(digest)


def become(program: bytes, path: str) -> NoReturn:
    """This process goes on as the server, from a file in memory, as systemd would start it."""
    descriptor = os.memfd_create("cni-provision-server", 0)
    with open(descriptor, "wb", closefd=False) as file:
        file.write(program)
    os.execv(sys.executable, [sys.executable, "-I", "-S", f"/proc/self/fd/{descriptor}", "--socket", path])  # noqa: S606
