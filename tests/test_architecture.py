"""The house rules, checked on the syntax tree: who may import whom, what is pure, how big a piece may be."""

from __future__ import annotations

import ast
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "cni_provision"
MODULES = sorted(PACKAGE.rglob("*.py"))
PLUGINS = sorted((ROOT / "plugins").glob("*.py"))
SOURCES = MODULES + PLUGINS

# part → the parts of ours that it may import; `errors` and `events` import nothing
ALLOWED = {
    "errors": set(),
    "events": set(),
    "data": set(),
    "cni": set(),
    "net": {"cni.digest", "cni.jsontext"},
    "plan": set(),
    "inventory": {"errors"},
    "programs": {"inventory"},
    "conflist": {"errors", "inventory", "cni"},
    "render": {"errors", "inventory", "data", "conflist", "cni"},
    "artifact": {"errors", "inventory", "data", "node.bytecode", "node.paths"},
    "desired": {"errors", "inventory", "plan", "render", "artifact", "conflist", "node.protocol", "node.paths"},
    "prepare": {
        *("errors", "inventory", "plan", "render", "artifact", "desired", "data", "conflist", "cni", "checks"),
        "node.bundle",
    },
    "checks": {"plan", "node.protocol", "cni"},
    "node": {"plan", "cni", "net", "checks", "data"},
    "transport": {"errors", "inventory", "node", "lab", "plan"},
    "lab": {"errors", "inventory"},
    "fleet": {
        "errors",
        "events",
        "inventory",
        "plan",
        "node",
        "transport",
        "artifact",
        "desired",
        "prepare",
        "checks",
    },
    "mesh": {"errors", "events", "inventory", "plan", "node", "transport", "artifact", "desired", "prepare", "fleet"},
    "attach": {"cni", "net"},
    "dhcp": {"cni", "net"},
    "role": {"errors", "events", "inventory", "node", "prepare", "fleet", "transport", "cli.run.jobs", "cli.view"},
    "plugins": {"attach", "cni", "dhcp", "net"},
    "server": {"cni", "net"},
}
PURE = ("cni.types", "cni.versions", "cni.config", "inventory", "render", "desired", "plan", "checks", "events")
IMPURE = {"subprocess", "socket", "threading", "click", "pyroute2", "asyncio", "multiprocessing"}
NODE_PARTS = {"attach", "cni", "dhcp", "net", "node", "plan", "checks", "plugins", "server"}
STANDARD_ONLY = NODE_PARTS | {"errors", "events", "data"}
IN_PLUGINS = {"plugins", "attach", "net"}
CONTROLLER_ONLY = {"node.bundle"}
BANNED_IN_PLUGINS = {
    ("os", "environ"), ("os", "chdir"), ("os", "fchdir"), ("os", "umask"), ("os", "fork"), ("os", "forkpty"),
    ("os", "getenv"), ("os", "putenv"), ("os", "chroot"), ("os", "dup2"), ("sys", "stdout"), ("sys", "stdin"),
}  # fmt: skip
BANNED_MODULES = {"signal", "locale", "multiprocessing", "pty"}
# in a thread inside a namespace these show that of the process
MISLEADING = ("/proc/net", "/proc/self", "/sys/class/net")
ONLY_INSIDE = {"os.open", "socket.socket", "fcntl.ioctl", "descriptors.extend", "_open_file"}


def name_of(file: Path) -> str:
    """`cni.skel` for `cni_provision/cni/skel.py`, `plugins.bridge` for `plugins/bridge.py`."""
    base = PACKAGE if file.is_relative_to(PACKAGE) else ROOT
    return ".".join(file.relative_to(base).with_suffix("").parts).removesuffix(".__init__")


def part_of(name: str) -> str:
    """The first part of a module's name; families like `render_*` count as their first word."""
    first = name.split(".")[0]
    return first if first in ALLOWED else first.split("_")[0]


def imports(file: Path) -> Iterator[str]:
    for found in ast.walk(ast.parse(file.read_text())):
        if isinstance(found, ast.Import):
            yield from (alias.name for alias in found.names)
        elif isinstance(found, ast.ImportFrom) and found.module:
            assert not found.level, f"{file}: relative import"
            yield from (f"{found.module}.{alias.name}" for alias in found.names)


def ours(file: Path) -> Iterator[str]:
    for name in imports(file):
        if name.startswith("cni_provision."):
            yield name.removeprefix("cni_provision.")


def functions(file: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for found in ast.walk(ast.parse(file.read_text())):
        if isinstance(found, ast.FunctionDef | ast.AsyncFunctionDef):
            yield found


def length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines from `def` to the end, without the docstring."""
    lines = (function.end_lineno or 0) - function.lineno + 1
    first = function.body[0]
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
        lines -= (first.end_lineno or 0) - first.lineno + 1
    return lines


@pytest.mark.parametrize("file", [file for file in SOURCES if part_of(name_of(file)) in ALLOWED], ids=name_of)
def test_imports_only_what_the_table_allows(file: Path) -> None:
    part = part_of(name_of(file))
    for target in ours(file):
        other = part_of(target)
        allowed = ALLOWED[part] | {part}
        fits = other in allowed or any(target.startswith(entry) for entry in allowed if "." in entry)
        assert fits, f"{name_of(file)} imports {target}; {part} may import {sorted(allowed)}"


def test_every_part_is_in_the_table() -> None:
    known = set(ALLOWED) | {"cli", "", "__init__", "__main__", "testinfra"}
    assert {part_of(name_of(file)) for file in SOURCES} <= known


@pytest.mark.parametrize("file", [f for f in MODULES if name_of(f).startswith(PURE)], ids=name_of)
def test_the_pure_ring_has_no_effects(file: Path) -> None:
    found = {name.split(".")[0] for name in imports(file)} & IMPURE
    assert not found, f"{name_of(file)} is pure and imports {found}"


@pytest.mark.parametrize("file", [f for f in SOURCES if part_of(name_of(f)) in STANDARD_ONLY], ids=name_of)
def test_node_code_needs_only_the_standard_library(file: Path) -> None:
    foreign = {name.split(".")[0] for name in imports(file)} - set(sys.stdlib_module_names) - {"cni_provision"}
    assert not foreign


@pytest.mark.parametrize(
    "file",
    [f for f in SOURCES if part_of(name_of(f)) in NODE_PARTS and name_of(f) not in CONTROLLER_ONLY],
    ids=name_of,
)
def test_node_code_is_python_3_9(file: Path) -> None:
    ast.parse(file.read_text(), feature_version=(3, 9))
    for call in ast.walk(ast.parse(file.read_text())):
        if isinstance(call, ast.Call):
            names = {word.arg for word in call.keywords}
            target = ast.unparse(call.func)
            assert not (target.endswith("dataclass") and names & {"slots", "kw_only"}), f"{file}:{call.lineno}"
            assert not (target == "zip" and "strict" in names), f"{file}:{call.lineno}"


@pytest.mark.parametrize("file", [f for f in SOURCES if part_of(name_of(f)) in IN_PLUGINS], ids=name_of)
def test_plugins_do_not_touch_the_process(file: Path) -> None:
    for found in ast.walk(ast.parse(file.read_text())):
        if isinstance(found, ast.Attribute) and isinstance(found.value, ast.Name):
            assert (found.value.id, found.attr) not in BANNED_IN_PLUGINS, f"{file}:{found.lineno}"
        if isinstance(found, ast.Call) and isinstance(found.func, ast.Name):
            assert found.func.id != "print", f"{file}:{found.lineno}"


def docstrings(tree: ast.AST) -> set[int]:
    """The ids of the constants that are documentation."""
    bodies = (each.body for each in ast.walk(tree) if isinstance(each, ast.Module | ast.ClassDef | ast.FunctionDef))
    return {id(body[0].value) for body in bodies if body and isinstance(body[0], ast.Expr)}


@pytest.mark.parametrize("file", [f for f in SOURCES if part_of(name_of(f)) in IN_PLUGINS], ids=name_of)
def test_plugins_are_fit_for_threads(file: Path) -> None:
    """DESIGN §5.3: what belongs to the whole process, and what shows another namespace than the thread's."""
    assert not {name.split(".")[0] for name in imports(file)} & BANNED_MODULES
    tree = ast.parse(file.read_text())
    documentation = docstrings(tree)
    for found in ast.walk(tree):
        if isinstance(found, ast.Constant) and isinstance(found.value, str) and id(found) not in documentation:
            assert not found.value.startswith(MISLEADING), f"{file}:{found.lineno} {found.value}"


@pytest.mark.parametrize("file", [f for f in SOURCES if part_of(name_of(f)) in IN_PLUGINS], ids=name_of)
def test_inside_a_namespace_things_are_only_opened(file: Path) -> None:
    """No exec, thread, log or nested call: `netns.inside` wraps open(), socket() and ioctl() alone."""
    for found in ast.walk(ast.parse(file.read_text())):
        if isinstance(found, ast.With) and any("inside(" in ast.unparse(item.context_expr) for item in found.items):
            calls = [each for line in found.body for each in ast.walk(line) if isinstance(each, ast.Call)]
            names = {ast.unparse(each.func) for each in calls}
            assert names <= ONLY_INSIDE, f"{file}:{found.lineno} {names - ONLY_INSIDE}"


def test_skel_loads_light() -> None:
    heavy = ("pyroute2", "asyncio", "click", "jinja2", "yaml")
    code = f"import sys, cni_provision.cni.skel; print([m for m in {heavy} if m in sys.modules])"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "[]"


@pytest.mark.parametrize("file", SOURCES, ids=name_of)
def test_modules_and_functions_are_small(file: Path) -> None:
    assert len(file.read_text().splitlines()) <= 450
    for function in functions(file):
        assert length(function) <= 60, f"{file}:{function.lineno} {function.name} has {length(function)} lines"


def test_most_functions_are_tiny() -> None:
    lengths = sorted(length(function) for file in SOURCES for function in functions(file))
    assert statistics.median(lengths) <= 8
    assert lengths[int(len(lengths) * 0.9)] <= 25


@pytest.mark.parametrize("file", SOURCES, ids=name_of)
def test_no_boolean_positional_parameters(file: Path) -> None:
    for function in functions(file):
        decorated = bool(function.decorator_list)
        for argument in [] if decorated else function.args.args:
            kind = ast.unparse(argument.annotation) if argument.annotation else ""
            assert kind != "bool", f"{file}:{function.lineno} {function.name}({argument.arg}: bool) is positional"
