"""`exec`: attach a throwaway container to a network and look, as a container runtime does."""

from __future__ import annotations

import json
import os
from collections.abc import Callable

import click

from cni_provision.cli.options import Output, family
from cni_provision.cli.run.attaching import NEW, Container, Where
from cni_provision.cli.run.command import CONTEXT, Group
from cni_provision.cli.run.invocation import Emit, run
from cni_provision.events import DiagnosticFound, Progress, Summary, Text

where_options = family(
    Where,
    "where",
    click.option(
        "--conf-dir",
        envvar="NETCONFPATH",
        default="/etc/cni/net.d",
        metavar="DIR",
        help="Configurations. [NETCONFPATH]",
    ),
    click.option(
        "--path",
        "plugin_path",
        envvar="CNI_PATH",
        default="/opt/cni/bin",
        metavar="DIR:…",
        help="Plugins. [CNI_PATH]",
    ),
    click.option("--cache-dir", default="/var/lib/cni", metavar="DIR", help="Results of attachments."),
)
container_options = family(
    Container,
    "container",
    click.option("--netns", default=NEW, metavar="PATH|new", help="Its namespace. Default: new, a throwaway one."),
    click.option("--ifname", "-i", envvar="CNI_IFNAME", default="eth0", metavar="NAME", help="[CNI_IFNAME]"),
    click.option("--args", envvar="CNI_ARGS", default="", metavar="K=V;…", help="[CNI_ARGS]"),
    click.option("--cap-args", envvar="CAP_ARGS", default="", metavar="JSON", help="All capabilities. [CAP_ARGS]"),
    click.option("--cap", multiple=True, metavar="NAME=JSON", help="One capability; may be repeated."),
    click.option("--container-id", default="", metavar="ID", help="Default: from the namespace, as cnitool does."),
)
network_argument = click.argument("network", metavar="NETWORK")
netns_argument = click.argument("path", required=False, metavar="[NETNS]")


@click.group("exec", cls=Group, short_help="attach a throwaway container to a network", context_settings=CONTEXT)
def command() -> None:
    """Run CNI operations on this machine, as a container runtime does.

    NETWORK is a name in the configuration folder, or a file. cnitool's environment (NETCONFPATH, CNI_PATH, CNI_ARGS,
    CAP_ARGS, CNI_IFNAME), its order of arguments and its container ids work here. The answer on stdout is what the
    specification says; an error is its JSON, and the exit code 1.
    """


def operate(name: str, work: Callable[[Emit], None]) -> int:
    """Run `work`; an error of a plugin goes to stdout as the specification has it."""

    def told(emit: Emit) -> Summary:
        from cni_provision.cli.run.attaching import error_json
        from cni_provision.cni.types import CNIError

        try:
            work(emit)
        except CNIError as error:
            emit(Text(error_json(error.code, error.msg, error.details)))
            return Summary(1, 0)
        return Summary(0, 0)

    return run(f"exec {name}", Output(), told)


@command.command(
    "add",
    short_help="attach a container",
    examples=(
        ("pods", "in a throwaway namespace, detached again at once"),
        ("pods --keep", "leave it attached, and say where"),
        ("./10-pods.conflist --netns /run/netns/blue", "by a file, in a namespace of yours"),
    ),
)
@network_argument
@netns_argument
@click.option("--keep", is_flag=True, help="Leave the new namespace, and the container attached.")
@container_options
@where_options
def add(network: str, path: str | None, keep: bool, container: Container, where: Where) -> int:
    """ADD: attach a container to NETWORK and print the result.

    Without a namespace of yours (NETNS, `--netns`) a new one is attached, and detached again after the result.
    """
    wanted = path or container.netns

    def work(emit: Emit) -> None:
        from cni_provision.cli.run import namespaces

        if wanted == NEW and keep:
            with namespaces.kept() as kept:
                attach(emit, network, container, where, kept, detach=False)
            emit(Progress(f"attached in {kept}; `cni-provision exec del {network} {kept}` detaches and removes it"))
            return
        with namespaces.namespace(wanted) as netns:
            attach(emit, network, container, where, netns, detach=wanted == NEW)

    return operate("add", work)


def attach(emit: Emit, network: str, container: Container, where: Where, netns: str, *, detach: bool) -> None:
    """ADD, print, and DEL where nobody will do it later."""
    from cni_provision.cni.results import encode_result

    config, runtime = where.network(network), where.runtime
    attachment = container.attachment(netns)
    result = runtime.add(config, attachment, undo=True)
    emit(Text(json.dumps(encode_result(result, config.cni_version), indent=2) + "\n"))
    if detach:
        runtime.delete(config, attachment)


@command.command(
    "check", short_help="check an attachment", examples=(("pods /run/netns/blue", "what `add` attached"),)
)
@network_argument
@click.argument("path", metavar="NETNS")
@container_options
@where_options
def check(network: str, path: str, container: Container, where: Where) -> int:
    """CHECK: see whether a container is still attached as its result says."""
    return operate("check", lambda emit: where.runtime.check(where.network(network), container.attachment(path)))


@command.command("del", short_help="detach a container", examples=(("pods /run/netns/blue", "what `add` attached"),))
@network_argument
@click.argument("path", metavar="NETNS")
@container_options
@where_options
def delete(network: str, path: str, container: Container, where: Where) -> int:
    """DEL: detach a container; a namespace that `add --keep` made is removed too."""

    def work(emit: Emit) -> None:
        from cni_provision.cli.run import namespaces

        where.runtime.delete(where.network(network), container.attachment(path))
        namespaces.release(path)

    return operate("del", work)


@command.command(
    "gc", short_help="free what no container has any more", examples=(("pods", "after containers were lost"),)
)
@network_argument
@where_options
def gc(network: str, where: Where) -> int:
    """GC: detach what is cached for NETWORK and whose namespace is gone, and let its plugins free the rest."""

    def work(emit: Emit) -> None:
        config, runtime = where.network(network), where.runtime
        alive = [one.attachment.key for one in runtime.attachments() if os.path.exists(one.attachment.netns)]
        runtime.gc(config, alive)

    return operate("gc", work)


@command.command(
    "status", short_help="ask whether a network is ready", examples=(("pods", "nothing, when it is ready"),)
)
@network_argument
@where_options
def status(network: str, where: Where) -> int:
    """STATUS: ask the plugins of NETWORK whether they could attach a container now."""
    return operate("status", lambda emit: where.runtime.status(where.network(network)))


@command.command(
    "version", short_help="ask plugins which versions they speak", examples=(("bridge host-local", "one line each"),)
)
@click.argument("plugins", nargs=-1, required=True, metavar="PLUGIN...")
@where_options
def version(plugins: tuple[str, ...], where: Where) -> int:
    """VERSION: print the versions of the specification that each PLUGIN speaks."""

    def work(emit: Emit) -> None:
        for plugin in plugins:
            emit(Text(f"{plugin} {' '.join(where.runtime.version(plugin))}\n"))

    return operate("version", work)


@command.command(
    "validate", short_help="look whether a network could work", examples=(("pods", "plugins and versions"),)
)
@network_argument
@where_options
def validate(network: str, where: Where) -> int:
    """Look whether every plugin of NETWORK is there and speaks its version; attach nothing."""

    def work(emit: Emit) -> None:
        where.runtime.validate(where.network(network))

    return operate("validate", work)


@command.command(
    "list", short_help="list the networks of the configuration folder", examples=(("", "file, network, plugins"),)
)
@where_options
def list_(where: Where) -> int:
    """List the networks that are configured here, in the order in which runtimes read them."""

    def work(emit: Emit) -> None:
        from cni_provision.cli.view.table import table
        from cni_provision.cni.types import CNIError

        rows = []
        for file in where.files():
            try:
                config = where.network(file)
            except CNIError as error:
                emit(DiagnosticFound("warning", error.msg, file=file))
                continue
            plugins = " ".join(plugin.type for plugin in config.plugins)
            rows.append((os.path.basename(file), config.name, config.cni_version, plugins))
        emit(Text("".join(f"{line}\n" for line in table(("file", "network", "version", "plugins"), rows))))

    return operate("list", work)
