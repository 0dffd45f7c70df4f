"""`exec`: attach a throwaway container to a network and look, as a container runtime does."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from cni_provision.cli.options import family
from cni_provision.cli.run.attaching import CACHE_DIR, CONF_DIR, NEW, Container, Where, one_namespace
from cni_provision.cli.run.command import CONTEXT, Group, option
from cni_provision.cli.run.completion import complete_network, complete_node
from cni_provision.cli.run.operating import Watch, attach, operate
from cni_provision.events import Progress, Text

if TYPE_CHECKING:
    from cni_provision.cli.run.operating import Session

PLACE, INVENTORY, CONTAINER = "Where", "Like a node of an inventory", "Container"


def of_node(context: click.Context, parameter: click.Parameter, value: Any) -> Any:
    """`-i` and `-e` without `--node`: whoever comes from cnitool means the interface by `-i`."""
    typed = context.get_parameter_source(parameter.name or "") is click.core.ParameterSource.COMMANDLINE
    if typed and not context.params.get("node"):
        meant = "; the interface is `--ifname`" if parameter.name == "inventory" else ""
        raise click.UsageError(f"`{parameter.opts[0]}` needs `--node`{meant}", context)
    return value


where_options = family(
    Where,
    "where",
    option(PLACE, "--conf-dir", envvar="NETCONFPATH", default=CONF_DIR, metavar="DIR", help="[NETCONFPATH]"),
    option(PLACE, "--path", "plugin_path", envvar="CNI_PATH", metavar="DIR:…", help="Plugins. [CNI_PATH]"),
    option(PLACE, "--cache-dir", default=CACHE_DIR, metavar="DIR", help="Results of attachments."),
    option(
        INVENTORY,
        "--node",
        is_eager=True,
        metavar="NODE",
        shell_complete=complete_node,
        help="Its networks and plugins, made here in a temporary folder.",
    ),
    option(
        INVENTORY,
        "-i",
        "--inventory",
        multiple=True,
        metavar="PATH",
        envvar="CNI_PROVISION_INVENTORY",
        callback=of_node,
        help="As for `plan`.",
    ),
    option(INVENTORY, "-e", "--extra-vars", multiple=True, metavar="VARS", callback=of_node, help="As for `plan`."),
    option(
        INVENTORY,
        "--reader",
        type=click.Choice(["own", "ansible"]),
        default="own",
        callback=of_node,
        help="Who evaluates the inventory.",
    ),
    option(
        INVENTORY,
        "--playbook-dir",
        type=click.Path(exists=True, file_okay=False),
        metavar="DIR",
        callback=of_node,
        help="As for `plan`.",
    ),
    option(
        INVENTORY,
        "--vault-id",
        "--vault-password-file",
        "vault_id",
        multiple=True,
        metavar="ID",
        callback=of_node,
        help="As for `plan`.",
    ),
)
container_options = family(
    Container,
    "container",
    option(
        CONTAINER, "--netns", metavar="PATH", help="Its namespace; `new` (the default of `add`): a throwaway one."
    ),
    option(CONTAINER, "--ifname", envvar="CNI_IFNAME", metavar="NAME", help="Default: eth0. [CNI_IFNAME]"),
    option(CONTAINER, "--args", envvar="CNI_ARGS", default="", metavar="K=V;…", help="[CNI_ARGS]"),
    option(CONTAINER, "--cap", multiple=True, metavar="NAME=JSON", help="A capability; may be repeated."),
    option(CONTAINER, "--cap-args", envvar="CAP_ARGS", default="", metavar="JSON", help="All of them. [CAP_ARGS]"),
    option(CONTAINER, "--container-id", default="", metavar="ID", help="Default: from the namespace, as cnitool."),
)
watch_options = family(
    Watch,
    "watch",
    click.option("--trace", is_flag=True, help="Show what each plugin gets, says and how long it takes (stderr)."),
    click.option("--json", is_flag=True, help="Print NDJSON events instead of text."),
    click.option(
        "--timeout",
        type=click.FloatRange(0, min_open=True),
        default=120.0,
        metavar="SECONDS",
        help="End a plugin after this long.",
    ),
)
network_argument = click.argument("network", metavar="NETWORK", shell_complete=complete_network)
netns_argument = click.argument("path", required=False, metavar="[NETNS]")


@click.group("exec", cls=Group, short_help="attach a throwaway container to a network", context_settings=CONTEXT)
def command() -> None:
    """Run CNI operations on this machine, as a container runtime does.

    NETWORK is a name in the configuration folder or a file; with `--node`, a network of that node of an
    inventory. cnitool's environment (NETCONFPATH, CNI_PATH, CNI_ARGS, CAP_ARGS, CNI_IFNAME), its order of
    arguments and its container ids work. Results go to stdout; an error is its JSON, and the exit code 1.
    """


@command.command(
    "add",
    short_help="attach a container",
    examples=(
        ("pods", "in a throwaway namespace, detached again at once"),
        ("pods --keep", "leave it attached, and say where"),
        ("./10-pods.conflist --netns /run/netns/blue", "by a file, in a namespace of yours"),
        ("pods --node web-01 -i hosts.yaml --trace", "what that node would do"),
    ),
)
@network_argument
@netns_argument
@click.option("--keep", is_flag=True, help="Leave the new namespace, and the container attached.")
@watch_options
@container_options
@where_options
def add(network: str, path: str | None, keep: bool, watch: Watch, container: Container, where: Where) -> int:
    """ADD: attach a container to NETWORK and print the result.

    Without a namespace of yours (NETNS, `--netns`) a new one is attached, and detached again after the result.
    """

    def work(session: Session) -> None:
        from cni_provision.cli.run import namespaces

        wanted = one_namespace(path, container.netns) or NEW
        config = session.network(network)
        if wanted == NEW and keep:
            with namespaces.kept() as kept:
                attach(session, config, container.attachment(kept), detach=False)
            again = shlex.join(["cni-provision", "exec", "del", network, kept, *container.words, *where.words])
            session.emit(Progress(f"attached in {kept}; `{again}` detaches and removes it"))
            return
        with namespaces.namespace(wanted) as netns:
            attach(session, config, container.attachment(netns), detach=wanted == NEW)

    return operate("add", where, work, watch)


@command.command(
    "check",
    short_help="check an attachment",
    examples=(("pods /run/netns/blue", "what `add` attached"), ("pods", "the only attachment that is known")),
)
@network_argument
@netns_argument
@watch_options
@container_options
@where_options
def check(network: str, path: str | None, watch: Watch, container: Container, where: Where) -> int:
    """CHECK: see whether a container is still attached as its result says.

    Arguments, capabilities and configuration are those of its ADD, unless they are given.
    """

    def work(session: Session) -> None:
        from cni_provision.cli.run.attaching import require_namespace
        from cni_provision.cli.run.remembered import meant

        config, attachment = meant(session, network, container, one_namespace(path, container.netns))
        require_namespace(attachment.netns)
        session.runtime.check(config, attachment)

    return operate("check", where, work, watch)


@command.command(
    "del",
    short_help="detach a container",
    examples=(("pods /run/netns/blue", "what `add` attached"), ("pods", "the only attachment that is known")),
)
@network_argument
@netns_argument
@click.option("--continue", "go_on", is_flag=True, help="Call every plugin, also after one failed.")
@watch_options
@container_options
@where_options
def delete(network: str, path: str | None, go_on: bool, watch: Watch, container: Container, where: Where) -> int:
    """DEL: detach a container; a namespace that `add --keep` made is removed too.

    Arguments, capabilities and configuration are those of its ADD, unless they are given.
    """

    def work(session: Session) -> None:
        from cni_provision.cli.run import namespaces
        from cni_provision.cli.run.remembered import meant

        config, attachment = meant(session, network, container, one_namespace(path, container.netns))
        session.runtime.delete(config, attachment, continue_on_error=go_on)
        namespaces.release(attachment.netns)

    return operate("del", where, work, watch)


@command.command(
    "gc", short_help="free what no container has any more", examples=(("pods", "after containers were lost"),)
)
@network_argument
@netns_argument
@click.option("--all", "everything", is_flag=True, help="No attachment is valid, as with cnitool.")
@watch_options
@where_options
def gc(network: str, path: str | None, everything: bool, watch: Watch, where: Where) -> int:
    """GC: detach what is cached for NETWORK and whose namespace is gone, and let its plugins free the rest.

    NETNS is taken, as cnitool wants one, and not used.
    """

    def work(session: Session) -> None:
        from cni_provision.cli.run.attaching import is_alive

        config = session.network(network)
        known = [] if everything else session.cached(config.name)
        session.runtime.gc(config, [one.attachment.key for one in known if is_alive(one)])

    return operate("gc", where, work, watch)


@command.command(
    "status", short_help="ask whether a network is ready", examples=(("pods", "nothing, when it is ready"),)
)
@network_argument
@netns_argument
@watch_options
@where_options
def status(network: str, path: str | None, watch: Watch, where: Where) -> int:
    """STATUS: ask the plugins of NETWORK whether they could attach a container now.

    NETNS is taken, as cnitool wants one, and not used.
    """
    return operate("status", where, lambda session: session.runtime.status(session.network(network)), watch)


@command.command(
    "version",
    short_help="ask plugins which versions they speak",
    examples=(("bridge host-local", "one line each"), ("pods", "each plugin of a network")),
)
@click.argument("names", nargs=-1, required=True, metavar="PLUGIN|NETWORK...")
@watch_options
@where_options
def version(names: tuple[str, ...], watch: Watch, where: Where) -> int:
    """VERSION: print the versions of the specification that each PLUGIN, or each plugin of a NETWORK, speaks."""

    def work(session: Session) -> None:
        for name in names:
            for plugin in session.plugins(name):
                spoken = session.runtime.version(plugin)
                session.emit(Text(f"{plugin} {' '.join(spoken)}\n", {"plugin": plugin, "versions": spoken}))

    return operate("version", where, work, watch)


@command.command(
    "validate", short_help="look whether a network could work", examples=(("pods", "plugins and versions"),)
)
@network_argument
@watch_options
@where_options
def validate(network: str, watch: Watch, where: Where) -> int:
    """Look whether every plugin of NETWORK is there and speaks its version; attach nothing."""

    def work(session: Session) -> None:
        session.runtime.validate(session.network(network))

    return operate("validate", where, work, watch)


@command.command(
    "list",
    short_help="list networks, attachments and leases",
    examples=(("", "every network of the folder"), ("pods", "one of them")),
)
@click.argument("network", required=False, metavar="[NETWORK]", shell_complete=complete_network)
@watch_options
@where_options
def list_(network: str | None, watch: Watch, where: Where) -> int:
    """List the networks that are configured here, what is attached to them, and the addresses that are given."""

    def work(session: Session) -> None:
        from cni_provision.cli.run.stock import stock
        from cni_provision.cli.view.attachments import plain, text

        found = stock(session, network)
        session.emit(Text(text(*found), plain(*found)))

    return operate("list", where, work, watch)


@command.command(
    "which",
    short_help="tell which network runtimes choose, and why",
    examples=(("", "in /etc/cni/net.d"), ("pods --conf-dir ./net.d", "if they are told to use `pods`")),
)
@click.argument("network", required=False, metavar="[NETWORK]", shell_complete=complete_network)
@watch_options
@where_options
def which(network: str | None, watch: Watch, where: Where) -> int:
    """Tell which network containerd, CRI-O, libcni and Podman choose in the configuration folder, and why.

    With NETWORK: where it can be set (`cni_default_network` of CRI-O, `--network` of Podman) it is this one. Plugins
    are asked for their versions, as CRI-O and Podman do.
    """

    def work(session: Session) -> None:
        from cni_provision.cli.view.choices import text
        from cni_provision.cni.loaders import Folder, choices

        folder = Folder(session.place.conf_dir, session.versions)
        found = choices(folder, network or "")
        session.emit(Text(text(found), [asdict(choice) for choice in found]))

    return operate("which", where, work, watch)
