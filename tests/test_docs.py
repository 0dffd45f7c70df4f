"""The pages keep their word: examples run, commands and links exist, generated parts are current."""

from __future__ import annotations

import importlib.util
import itertools
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import pytest
import yaml

from cni_provision.artifact_build import build_plugin
from cni_provision.cli.exit_codes import Exit
from cni_provision.cli.main import program
from cni_provision.inventory.load import Sources, load
from cni_provision.inventory.model import Inventory
from cni_provision.prepare import check, prepare, write
from cni_provision.render import render

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
FILE = re.compile(r"# (\S+\.(?:ya?ml|py))\n")
LINK = re.compile(r"\[[^\]]+\]\(([^)\s]+)\)")
HOSTS = "hosts.yaml"
OTHERS = {"sudo: a password is required"}  # messages of other programs that the operating page explains

# A node's file systems over this machine's: what is written there is gone with the namespace.
AS_NODE = """
set -e
mount -t tmpfs tmpfs /run
for folder in /etc /opt /var/lib; do
    mkdir -p "/run/above$folder" "/run/work$folder"
    mount -t overlay -o "lowerdir=$folder,upperdir=/run/above$folder,workdir=/run/work$folder" overlay "$folder"
done
ip link set lo up
ip link add eth1 type veth peer name eth2
ip link set eth1 up
ip link set eth2 up
ip netns add my-container
ip netns add my-other-container
mkdir -p /etc/cni/net.d /opt/cni/bin
cp "$1"/conflists/* /etc/cni/net.d/
cp "$1"/plugins/* /opt/cni/bin/
shift
exec "$@"
"""


@dataclass(frozen=True)
class Block:
    """One block of code of a page; `section` is the heading of the second level that it stands under."""

    page: Path
    section: str
    language: str
    text: str

    @property
    def file(self) -> str | None:
        """The file that the first line names."""
        found = FILE.match(self.text)
        return found[1] if found else None

    def __str__(self) -> str:
        return f"{self.page.name} {self.section}".strip()


def blocks(*languages: str) -> Iterator[Block]:
    for page in PAGES:
        parts = re.split(r"^## (.+)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
        for section, text in zip(["", *parts[1::2]], parts[::2], strict=True):
            found = (Block(page, section, match[1], match[2]) for match in BLOCK.finditer(text))
            yield from (block for block in found if block.language in languages)


def inventories() -> Iterator[list[Block]]:
    """What one inventory is made of: the blocks of a section that name their files, or one block alone."""
    named: dict[tuple[Path, str], list[Block]] = {}
    for block in blocks("yaml"):
        if block.file:
            named.setdefault((block.page, block.section), []).append(block)
        elif "cni_" in block.text:
            yield [block]
    yield from named.values()


def written(parts: list[Block], folder: Path) -> Path:
    """The inventory's folder; without hosts of its own it has one host in each group that has variables."""
    files = {part.file or default_file(part): part.text for part in parts}
    if HOSTS not in files:
        groups = {Path(file).stem for file in files} - {"all"}
        files[HOSTS] = yaml.safe_dump(
            {group: {"hosts": {f"node-{group}": None}} for group in groups or {"web"}}, sort_keys=True
        )
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def default_file(block: Block) -> str:
    return "group_vars/all.yaml" if block.text.startswith("cni_") else HOSTS


def loaded(parts: list[Block], folder: Path) -> Inventory:
    return load(Sources((str(written(parts, folder) / HOSTS),)))


@pytest.mark.parametrize("parts", [pytest.param(parts, id=str(parts[0])) for parts in inventories()])
def test_inventories_are_valid(parts: list[Block], tmp_path: Path) -> None:
    inventory = loaded(parts, tmp_path)
    write_named_files(inventory)
    assert not inventory.warnings
    assert not check(inventory)
    groups = {Path(part.file).stem for part in parts if part.file and part.file.startswith("group_vars/")}
    assert groups <= {"all"}.union(*(node.groups for node in inventory.nodes))


def write_named_files(inventory: Inventory) -> None:
    """Something where plugin sources say that an executable is."""
    for source in (source for node in inventory.nodes for source in node.declarations.plugins if source.path):
        Path(source.path or "").parent.mkdir(exist_ok=True)
        Path(source.path or "").touch()


def test_what_the_inventory_page_says_of_merging(tmp_path: Path) -> None:
    first, merging = (parts for parts in inventories() if len(parts) > 1 and parts[0].page.name == "inventory.md")
    nodes = {node.name: node.declarations for node in loaded(first, tmp_path / "first").nodes}
    assert [network.name for network in nodes["web-01"].networks] == ["pods", "lo"]
    assert [network.name for network in nodes["db-07"].networks] == ["pods"]
    assert nodes["db-07"].networks[0].parameters["mtu"] == 9000
    assert nodes["db-07"].networks[0].parameters["subnet"] == "10.42.3.0/24"
    (web,) = (node.declarations for node in loaded(merging, tmp_path / "second").nodes)
    expected = {"subnet": "10.42.0.0/24", "routes": ["198.51.100.0/24"], "mtu": 1400}
    assert web.networks[0].parameters == expected
    assert web.kernel.modules == ("br_netfilter", "nf_conntrack")


def command_lines() -> Iterator[tuple[Block, str]]:
    for block in blocks("console"):
        for line in block.text.splitlines():
            if line.startswith("$ cni-provision"):
                yield block, line.removeprefix("$ cni-provision")


@pytest.mark.parametrize(
    ("block", "line"), [pytest.param(*pair, id=f"{pair[0]}:{pair[1]}") for pair in command_lines()]
)
def test_commands_and_options_exist(block: Block, line: str) -> None:
    words = list(itertools.takewhile(lambda word: word not in ("|", ">", "||"), shlex.split(line, comments=True)))
    command: click.Command = program
    context = click.Context(program)
    while isinstance(command, click.Group):
        _, found, words = command.resolve_command(context, words)
        assert found is not None
        command = found
        context = click.Context(command, parent=context, info_name=command.name)
    given, left, _ = command.make_parser(context).parse_args(words)
    assert not left
    needed = [one.name for one in command.params if isinstance(one, click.Argument) and one.required]
    assert all(isinstance(given[name], str | list | tuple) for name in needed)


def test_every_command_has_a_section_with_an_example() -> None:
    sections = {block.section for block in blocks("console") if block.page.name == "commands.md"}
    assert set(program.list_commands(click.Context(program))) <= sections


def test_exit_codes_of_the_readme_are_the_program_s() -> None:
    told = re.search(r"Exit codes: (.*?)\.", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert told
    numbers = {int(number) for number in re.findall(r"\b\d+\b", told[1])}
    assert numbers == {int(code) for code in Exit} - {Exit.OURS, Exit.TERMINATED}


@pytest.mark.parametrize("page", [pytest.param(page, id=page.name) for page in PAGES])
def test_links_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        assert file.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.+)$", file.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_page_is_linked_from_the_readme() -> None:
    linked = set(LINK.findall((ROOT / "README.md").read_text(encoding="utf-8")))
    assert {f"docs/{page.name}" for page in PAGES if page.parent.name == "docs"} <= linked


def test_generated_parts_are_current() -> None:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs/generate.py")
    assert spec
    assert spec.loader
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    for page in generate.pages():
        text = page.read_text(encoding="utf-8")
        assert generate.current(text) == text, f"run `python docs/generate.py`: {page.name} is not current"


def test_messages_of_the_operating_page_are_the_program_s() -> None:
    page = (ROOT / "docs/operating.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`.+?) \|", page.partition("## Trouble by message")[2], re.MULTILINE)
    files = [*(ROOT / "cni_provision").rglob("*.py"), *(ROOT / "plugins").glob("*.py")]
    said = "\n".join(file.read_text(encoding="utf-8") for file in files).replace("\\", "")
    pieces = [piece.strip() for row in rows for text in re.findall(r"`([^`]+)`", row) for piece in text.split("…")]
    assert len(pieces) > 30
    assert {piece for piece in pieces if piece not in said} == OTHERS


@pytest.fixture(scope="session")
def as_node(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a node gets: this project's executables and the conflists of the README's inventory."""
    folder = tmp_path_factory.mktemp("node")
    (folder / "plugins").mkdir()
    for source in (ROOT / "plugins").glob("*.py"):
        install(source, folder)
    (readme,) = (parts for parts in inventories() if parts[0].page.name == "README.md")
    prepared = prepare(loaded(readme, folder / "inventory"))
    first = prepared.desired[0].node.name
    place_conflists(tuple(file for file in write(prepared, folder / "out") if first in file.parts), folder)
    return folder


def install(source: Path, folder: Path) -> None:
    target = folder / "plugins" / source.stem.replace("_", "-")
    target.write_bytes(build_plugin(source))
    target.chmod(0o755)


def place_conflists(files: tuple[Path, ...], folder: Path) -> None:
    (folder / "conflists").mkdir(exist_ok=True)
    for file in files:
        if file.suffix == ".conflist":
            (folder / "conflists" / file.name).write_bytes(file.read_bytes())


def on_node(folder: Path, *argv: str, script: str | None = None) -> str:
    """Run a program in namespaces of its own, with the node's files where they belong; its output."""
    done = subprocess.run(
        ["unshare", "-n", "-m", "sh", "-c", AS_NODE, "sh", str(folder), *argv],
        input=script,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


SCRIPTS = [block for block in blocks("python") if not block.file]


@pytest.mark.root
@pytest.mark.parametrize("block", [pytest.param(block, id=str(block)) for block in SCRIPTS])
def test_python_examples_run(block: Block, as_node: Path) -> None:
    output = on_node(as_node, sys.executable, "-W", "error::SyntaxWarning", "-", script=block.text)
    if "print(result" in block.text:
        assert output.startswith("10.42.0.2")


CALLS = """
from cni_provision.cni import config
from cni_provision.cni.runtime import Attachment, Runtime
import subprocess

network = config.find("/etc/cni/net.d", "web")
runtime, container = Runtime(["/opt/cni/bin"]), Attachment("c", "/run/netns/my-container")
runtime.status(network)
runtime.add(network, container, undo=True)
runtime.check(network, container)
key = "net.ipv4.ip_unprivileged_port_start"
print(subprocess.check_output(["ip", "netns", "exec", "my-container", "sysctl", "-n", key], text=True), end="")
runtime.delete(network, container)
"""


@pytest.mark.root
def test_the_plugin_for_authors_is_built_and_works(as_node: Path, tmp_path: Path) -> None:
    (parts,) = (parts for parts in inventories() if parts[0].page.name == "plugins.md")
    (plugin,) = (block for block in blocks("python") if block.file)
    assert plugin.file
    (tmp_path / "inventory/files").mkdir(parents=True)
    (tmp_path / "inventory" / plugin.file).write_text(plugin.text, encoding="utf-8")
    prepared = prepare(loaded(parts, tmp_path / "inventory"))
    assert any(key.endswith("/low-ports") for goal in prepared.desired for key in goal.states)
    place_conflists(write(prepared, tmp_path / "out"), tmp_path)
    (tmp_path / "plugins").symlink_to(as_node / "plugins")
    mine = tmp_path / "mine"
    (mine / "plugins").mkdir(parents=True)
    for file in (as_node / "plugins").iterdir():
        (mine / "plugins" / file.name).symlink_to(file)
    install(tmp_path / "inventory" / plugin.file, mine)
    place_conflists(tuple((tmp_path / "conflists").iterdir()), mine)
    assert on_node(mine, sys.executable, "-", script=CALLS) == "80\n"


@pytest.mark.root
@pytest.mark.parametrize("block", [pytest.param(block, id=str(block)) for block in blocks("json")])
def test_conflists_attach(block: Block, as_node: Path, tmp_path: Path) -> None:
    (tmp_path / "conflists").mkdir()
    (tmp_path / "conflists/10-it.conflist").write_text(block.text, encoding="utf-8")
    (tmp_path / "plugins").symlink_to(as_node / "plugins")
    name = yaml.safe_load(block.text)["name"]
    program_file = str(Path(sys.executable).with_name("cni-provision"))
    for verb in ("validate", "status", "add"):
        on_node(tmp_path, program_file, "exec", verb, name)


def test_the_template_for_authors_renders(tmp_path: Path) -> None:
    (template,) = blocks("jinja")
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates/vlan.conflist.j2").write_text(template.text, encoding="utf-8")
    parameters = {"master": "eth1", "vlan": 7, "subnet": "10.9.0.0/24"}
    networks = [{"name": "v7", "template": "vlan", "parameters": parameters}]
    text = yaml.safe_dump({"all": {"hosts": {"a": None}, "vars": {"cni_networks": networks}}})
    (tmp_path / HOSTS).write_text(text, encoding="utf-8")
    (conflist,) = render(load(Sources((str(tmp_path / HOSTS),))).nodes[0])
    (written,) = yaml.safe_load(conflist.text)["plugins"]
    assert written == {
        "type": "vlan",
        "master": "eth1",
        "vlanId": 7,
        "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.9.0.0/24"}]]},
    }
