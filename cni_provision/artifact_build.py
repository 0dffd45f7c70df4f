"""A plugin's source → one executable file: a launcher or a head in `sh`, and a zip of sources behind (DESIGN §5.1).

The bytes depend on the sources and the head alone: names sorted, times fixed, nothing compressed.
"""

from __future__ import annotations

import ast
import hashlib
import io
import json
import struct
import sys
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path

from cni_provision import data
from cni_provision.errors import Place, UserError
from cni_provision.node.bytecode import digest_of
from cni_provision.node.paths import BYTECODE

PACKAGE = Path(__file__).resolve().parent
CARRIED = ("attach", "cni", "dhcp", "net")  # the parts of ours that a plugin may import
SERVER_PARTS = (*CARRIED, "server")
IPAM = ("host-local", "static")
OLDEST_PYTHON = (3, 9)
EPOCH = (1980, 1, 1, 0, 0, 0)  # a zip knows none before
REGULAR = 0o100644 << 16
ZIP_END = struct.Struct("<HII")  # of its end, but the last two bytes: entries, size and place of their directory
ZIP_LENGTHS = struct.Struct("<HHH")  # of an entry's name, extra field and comment
ZIP_OFFSET = struct.Struct("<I")

# `exec` ends this script where a Python is found, so that sh never reads into the zip.
HEAD = b"""\
#!/bin/sh
# A CNI plugin of cni-provision: this script, and behind it a zip of its sources (see `python3 -m zipfile -l`).
for python in /var/lib/cni-provision/python /usr/bin/python3 python3; do
  if command -v "$python" >/dev/null 2>&1; then exec "$python" -I -S "$0" "$@"; fi
done
printf '%s\\n' '{"cniVersion": "1.0.0", "code": 100, "msg": "no Python on this node: install Python 3.9 or newer"}'
exit 1
"""

# Read by whatever Python the head found: written for 3.4, where the rest is for 3.9.
MAIN = """\
import gc
import sys

if sys.version_info < {oldest}:
    import json

    msg = "plugin `{name}` needs Python {words} or newer, %s is %d.%d" % ((sys.executable,) + sys.version_info[:2])
    sys.stdout.write(json.dumps({{"cniVersion": "1.0.0", "code": 100, "msg": msg}}) + "\\n")
    sys.exit(1)


# Imports what `apply` has compiled for this Python, where nobody but root could have written it.
class Compiled:
    def __init__(self):
        import marshal
        import posix
        from _frozen_importlib_external import MAGIC_NUMBER

        self.modules = {{}}
        try:
            path = "{folder}/{digest}-" + sys.implementation.cache_tag
            file = posix.open(path, posix.O_RDONLY | posix.O_NOFOLLOW | posix.O_CLOEXEC)
            status = posix.fstat(file)
            if status.st_uid == 0 and not status.st_mode & 0o22:
                magic, modules = marshal.loads(posix.read(file, status.st_size))
                self.modules = modules if magic == MAGIC_NUMBER else {{}}
            posix.close(file)
        except (OSError, EOFError, ValueError, TypeError):
            pass

    def find_spec(self, name, path=None, target=None):
        if name in self.modules:
            return type(sys.__spec__)(name, self, origin=name, is_package=self.modules[name][0])

    def create_module(self, spec):
        pass

    def exec_module(self, module):
        exec(self.modules[module.__name__][1], module.__dict__)


gc.disable()  # what is imported stays: looking for garbage in it takes 1.5 ms
sys.meta_path.insert(0, Compiled())

from cni_provision.cni import delegation, skel
from plugins.{module} import PLUGIN

gc.freeze()
gc.enable()
skel.main(PLUGIN, delegation.carried({carried}))
"""

SERVER_MAIN = """\
import gc
import sys

if sys.version_info < {oldest}:
    sys.stderr.write("the server of cni-provision needs Python {words} or newer\\n")
    sys.exit(1)

from cni_provision.server.main import main

main(__loader__.get_data("digests.json").decode())
"""


def build_plugin(source: Path, head: bytes = HEAD) -> bytes:
    """The executable of one plugin file; raises `UserError` for what could not run on a node."""
    carried = {}
    if _delegates(source):
        carried = {name: hashlib.sha256(build_plugin(file, head)).hexdigest() for name, file in _ipam().items()}
    archive = _archive(source, source.stat().st_mtime_ns, tuple(carried.items()))
    return head + _shifted(archive, len(head))


def _delegates(source: Path) -> bool:
    """Whether the plugin, or a part of ours that it imports, calls IPAM; IPAM itself never does."""
    if plugin_name(source) in IPAM:
        return False
    return any(b".delegate(" in content for content in _sources([source]).values())


def _ipam() -> dict[str, Path]:
    """Those of our plugins that others delegate to, by name."""
    found = {name: data.root() / "plugins" / f"{name.replace('-', '_')}.py" for name in IPAM}
    return {name: file for name, file in found.items() if file.is_file()}


@cache
def _archive(source: Path, _written: int, carried: tuple[tuple[str, str], ...]) -> bytes:
    """The zip of one plugin and of those that it may call in process (name, digest), as it would stand alone."""
    others = [file for name, file in _ipam().items() if name in dict(carried)]
    sources = _sources([source, *others])
    main = _main(plugin_name(source).replace("-", "_"), digest_of(sources), dict(carried))
    return _zip({"__main__.py": main.encode(), **sources})


def build_server(sources: Iterable[Path], digests: Mapping[str, str]) -> bytes:
    """The executable of the server of these plugins, whose executables have the `digests` (by plugin name)."""
    words = ".".join(str(number) for number in OLDEST_PYTHON)
    found = (file for part in SERVER_PARTS for file in sorted((PACKAGE / part).glob("*.py")))
    files = {
        **_sources(sources),
        **{f"cni_provision/{file.relative_to(PACKAGE)}": file.read_bytes() for file in found},
        "__main__.py": SERVER_MAIN.format(oldest=OLDEST_PYTHON, words=words).encode(),
        "digests.json": json.dumps(dict(digests), sort_keys=True).encode(),
    }
    return HEAD + _shifted(_zip(files), len(HEAD))


def _sources(plugins: Iterable[Path]) -> dict[str, bytes]:
    """Name in the zip → bytes, of the plugins and of all that they import."""
    files = {"plugins/__init__.py": b""}
    for plugin in plugins:
        files[f"plugins/{plugin_name(plugin).replace('-', '_')}.py"] = plugin.read_bytes()
        files |= {f"cni_provision/{module}": (PACKAGE / module).read_bytes() for module in _needed(plugin)}
    return files


def plugin_name(source: Path) -> str:
    """`host-local` for `host_local.py`."""
    return source.stem.replace("_", "-")


def _main(module: str, digest: str, carried: Mapping[str, str]) -> str:
    return MAIN.format(
        oldest=OLDEST_PYTHON,
        words=".".join(str(number) for number in OLDEST_PYTHON),
        name=module.replace("_", "-"),
        module=module,
        folder=BYTECODE,
        digest=digest,
        carried=json.dumps(carried, sort_keys=True),
    )


def _zip(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, EPOCH)
            entry.create_system, entry.external_attr = 3, REGULAR
            archive.writestr(entry, files[name])
    return buffer.getvalue()


def _shifted(archive: bytes, by: int) -> bytes:
    """The zip with offsets that count from the start of the file that it stands behind (APPNOTE 4.3.12, 4.3.16)."""
    content = bytearray(archive)
    end = len(content) - ZIP_END.size - 2
    entries, size, place = ZIP_END.unpack_from(content, end)
    ZIP_END.pack_into(content, end, entries, size, place + by)
    for _ in range(entries):
        name, extra, comment = ZIP_LENGTHS.unpack_from(content, place + 28)
        ZIP_OFFSET.pack_into(content, place + 42, ZIP_OFFSET.unpack_from(content, place + 42)[0] + by)
        place += 46 + name + extra + comment
    return bytes(content)


def _needed(source: Path) -> list[str]:
    """The modules of ours that a plugin imports, directly or not, as paths below the package; sorted."""
    waiting = ["__init__.py", "cni/skel.py", "cni/delegation.py", *_imported(source)]
    found: set[str] = set()
    while waiting:
        module = waiting.pop()
        if module not in found:
            found.add(module)
            parents = [f"{part}/__init__.py" for part in CARRIED if module.startswith(f"{part}/")]
            waiting += [*parents, *_imported(PACKAGE / module)]
    return sorted(found)


@cache
def _imported(source: Path) -> tuple[str, ...]:
    """The modules of ours that a file names in its imports, lazy ones too."""
    modules = []
    for statement in _imports(_parse(source)):
        for name in _names(statement):
            if name.split(".")[0] != "cni_provision":
                _require_standard(name, source, statement)
            elif name != "cni_provision":
                modules.append(_module(name, source, statement))
    return tuple(dict.fromkeys(modules))


def _parse(source: Path) -> ast.Module:
    """The syntax tree, as the oldest Python would read it."""
    try:
        return ast.parse(source.read_bytes(), str(source), feature_version=OLDEST_PYTHON)
    except SyntaxError as error:
        words = ".".join(str(number) for number in OLDEST_PYTHON)
        place = Place(str(source), error.lineno or 0, error.offset or 0)
        raise UserError(f"not Python {words}, which plugins run on: {error.msg}", place=place) from error


def _imports(tree: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    """Every import but those for type checkers, and those that a package's `__getattr__` makes on demand."""
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child
        elif isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING"):
            for branch in child.orelse:
                yield from _imports(ast.Module([branch], []))
        elif not (isinstance(child, ast.FunctionDef) and child.name == "__getattr__"):
            yield from _imports(child)


def _names(statement: ast.Import | ast.ImportFrom) -> list[str]:
    """What an import may mean: `from a import b` names `a.b` where that is a module, else `a`."""
    if isinstance(statement, ast.Import):
        return [alias.name for alias in statement.names]
    if statement.level or not statement.module:
        return [f"{'.' * statement.level}{statement.module or ''}"]
    base = statement.module
    return [f"{base}.{alias.name}" if _is_ours(f"{base}.{alias.name}") else base for alias in statement.names]


def _is_ours(name: str) -> bool:
    first, _, rest = name.partition(".")
    return first == "cni_provision" and (PACKAGE / rest.replace(".", "/")).with_suffix(".py").is_file()


def _module(name: str, source: Path, statement: ast.stmt) -> str:
    """`net/link.py` for `cni_provision.net.link`; raises `UserError` for what a plugin cannot carry."""
    parts = name.split(".")[1:]
    module = "/".join(parts) + ".py" if _is_ours(name) else "/".join(parts) + "/__init__.py"
    if parts[0] not in CARRIED or not (PACKAGE / module).is_file():
        hint = "plugins stand on `cni_provision.cni`, `cni_provision.net` and `cni_provision.attach`"
        raise UserError(f"a plugin cannot import `{name}`", place=_place(source, statement), hint=hint)
    return module


def _require_standard(name: str, source: Path, statement: ast.stmt) -> None:
    if name.split(".")[0] not in sys.stdlib_module_names:
        hint = "plugins have the standard library, `cni_provision.cni` and `cni_provision.net`"
        raise UserError(f"nodes do not have the module `{name}`", place=_place(source, statement), hint=hint)


def _place(source: Path, statement: ast.stmt) -> Place:
    return Place(str(source), statement.lineno, statement.col_offset + 1)
