"""Writes the parts of `docs/*.md` that the sources know better: `python docs/generate.py`.

A part stands between `<!-- generated: NAME … -->` and `<!-- end: NAME … -->`; NAME is one of `PARTS`, and the words
behind it are its arguments. `tests/test_docs.py` compares what is written with what would be.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import click

from cni_provision import data, render_parameters
from cni_provision.cli.exit_codes import Exit
from cni_provision.cli.main import program
from cni_provision.cli.run.command import OWN_SECTION
from cni_provision.events import Event
from cni_provision.inventory import kinds, model
from cni_provision.render_template import ENDING

DOCS = Path(__file__).resolve().parent
PART = re.compile(r"(<!-- generated: (.+?) -->\n)(.*?)(<!-- end: \2 -->)", re.DOTALL)
SHARED = ("Inventory", "Nodes", "Output")
CODES = {
    Exit.YES: "yes: done, nothing to do, no drift, every check passed",
    Exit.OURS: "a defect of ours; `exec`: the CNI error is on stdout; `lab`: this machine cannot carry it",
    Exit.NO: "no: drift (`diff`, `plan --exit-code`) or a failed check (`verify`), and every asked node answered",
    Exit.NODES_FAILED: "some or all nodes failed, refused, were busy or rolled back; or the prompt was declined",
    Exit.UNREACHABLE: "every node that failed was unreachable",
    Exit.USAGE: "usage: an unknown command or option, or a question where nobody can answer",
    Exit.INPUT: "something in what you wrote: inventory, template, plan file",
    Exit.INTERRUPTED: "interrupted by Ctrl-C; nodes that had begun were finished",
    Exit.TERMINATED: "the same by SIGTERM",
}


def table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A Markdown table."""
    heads = list(heads)
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(map(escaped, line)) + " |" for line in lines)


def escaped(cell: str) -> str:
    """Text of a cell: bars would end it, and `<` outside of code would begin an HTML tag."""
    pieces = re.split(r"(`[^`]*`)", cell.replace("|", "\\|"))
    return "".join(piece if piece.startswith("`") else piece.replace("<", "&lt;") for piece in pieces)


def templates() -> str:
    """Every template with its parameters, from its first comment."""
    files = sorted((data.root() / "templates").glob(f"*{ENDING}"))
    return "\n\n".join(template(file) for file in files)


def template(file: Path) -> str:
    name = file.name.removesuffix(ENDING)
    signature = render_parameters.parse(name, file.read_text(encoding="utf-8"), str(file))
    rows = [
        (f"`{one.name}`", f"`{one.shape}`", default(one), one.about or "") for one in signature.parameters.values()
    ]
    choices = [f"Give {choice.count} one of {', '.join(f'`{one}`' for one in choice.names)}."
               for choice in signature.choices]  # fmt: skip
    parts = [f"### {name}", signature.about, *choices, table(("parameter", "type", "default", "meaning"), rows)]
    return "\n\n".join(parts)


def default(parameter: render_parameters.Parameter) -> str:
    if parameter.required:
        return "needed"
    return "left out" if parameter.default is None else f"`{json.dumps(parameter.default)}`"


def declarations() -> str:
    """The `cni_…` variables, and the keys of those that are mappings or lists of mappings."""
    names = hints(model.Declarations)
    tables = [table(("variable", "type", "default", "meaning"), rows_of(model.Declarations, "cni_"))]
    for name, hint in names.items():
        record = record_of(hint)
        if record:
            of_list = f"Each item of `cni_{name}`" if get_origin(bare(hint)) is tuple else f"`cni_{name}`"
            tables.append(f"{of_list}:\n\n{table(('key', 'type', 'default', 'meaning'), rows_of(record))}")
    return "\n\n".join(tables)


def hints(record: type) -> dict[str, Any]:
    """The annotations of the fields that users write."""
    known = get_type_hints(record, include_extras=True)
    public = [item.name for item in dataclasses.fields(record) if not item.metadata.get("internal")]
    return {name: known[name] for name in public}


def rows_of(record: type, prefix: str = "") -> Iterator[tuple[str, str, str, str]]:
    fields = {item.name: item for item in dataclasses.fields(record)}
    for name, hint in hints(record).items():
        meaning = next(extra for extra in get_args(hint)[1:] if isinstance(extra, str))
        yield f"`{prefix}{name}`", words(hint), default_of(fields[name]), meaning


def default_of(field: dataclasses.Field[Any]) -> str:
    if field.default is dataclasses.MISSING:
        return "needed" if field.default_factory is dataclasses.MISSING else "none"
    return "none" if field.default in (None, ()) else f"`{json.dumps(field.default)}`"


def bare(hint: Any) -> Any:
    """An annotation without `Annotated` and `None`."""
    if get_origin(hint) is Annotated:
        return bare(get_args(hint)[0])
    inner = [item for item in get_args(hint) if item is not type(None)]
    return bare(inner[0]) if type(None) in get_args(hint) else hint


def record_of(hint: Any) -> type | None:
    """The dataclass that a field holds, alone or in a list."""
    hint = bare(hint)
    hint = bare(get_args(hint)[0]) if get_origin(hint) is tuple else hint
    return hint if dataclasses.is_dataclass(hint) and isinstance(hint, type) else None


def words(hint: Any) -> str:
    """An annotation for people."""
    limits = [extra for extra in get_args(hint)[1:] if isinstance(extra, kinds.OneOf | kinds.Between)]
    for limit in limits:
        if isinstance(limit, kinds.OneOf):
            return ", ".join(f"`{word}`" for word in limit.words)
        return f"{limit.low} to {limit.high}"
    hint = bare(hint)
    if get_origin(hint) is tuple:
        return f"list of {'mappings' if record_of(hint) or bare(get_args(hint)[0]) not in (str,) else 'words'}"
    if record_of(hint) or get_origin(hint) is not None:
        return "mapping"
    return {str: "text", int: "whole number", float: "number", bool: "true or false"}[hint]


def commands(group: click.Command = program, path: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    """Every command that does something, by the words that name it."""
    if not isinstance(group, click.Group):
        yield " ".join(path), group
        return
    context = click.Context(group)
    for name in group.list_commands(context):
        child = group.get_command(context, name)
        assert child is not None
        yield from commands(child, (*path, name))


def options(*name: str) -> str:
    """The options of one command that it does not share with others; of `exec` and `lab`, of all below it."""
    wanted = " ".join(name)
    found = [(path, command) for path, command in commands() if path == wanted or path.startswith(f"{wanted} ")]
    several = len(found) > 1
    rows: dict[tuple[str, str], list[str]] = {row: [] for _, command in found for row in own(command)}
    for path, command in found:
        for row in own(command):
            rows[row].append(path.removeprefix(f"{wanted} "))
    if not several:
        return table(("option", "meaning"), rows)
    return table(
        ("option", "meaning", "of"),
        ((*row, "all" if len(of) == len(found) else ", ".join(f"`{one}`" for one in of)) for row, of in rows.items()),
    )


def own(command: click.Command, *families: str) -> list[tuple[str, str]]:
    """(what to type, what it means) of the options in `families`; without them, of the command's own."""
    context = click.Context(command)
    found = (
        parameter.get_help_record(context)
        for parameter in command.params
        if isinstance(parameter, click.Option) and wanted(getattr(parameter, "family", OWN_SECTION), families)
    )
    return [(f"`{one[0]}`", " ".join(one[1].split())) for one in found if one]


def wanted(family: str, families: Sequence[str]) -> bool:
    return family in families if families else family not in SHARED


def shared() -> str:
    """The options that many commands have, by family."""
    apply = dict(commands())["apply"]
    tables = (f"{family}:\n\n{table(('option', 'meaning'), own(apply, family))}"
              for family in SHARED)  # fmt: skip
    return "\n\n".join(tables)


def events() -> str:
    """Every event with its fields."""
    rows = (
        (f"`{kind.name}`", fields_of(kind), " ".join((inspect.getdoc(kind) or "").split()))
        for kind in Event.__subclasses__()
    )
    return table(("event", "fields", "meaning"), rows)


def fields_of(kind: type[Event]) -> str:
    found = ((item.name, item.default is None) for item in dataclasses.fields(kind))
    return ", ".join(f"`{name}`{'?' if optional else ''}" for name, optional in found)


def exit_codes() -> str:
    return table(("code", "meaning"), ((str(int(code)), CODES[code]) for code in Exit))


def plugin(name: str) -> str:
    """The keys of a plugin, from the table in its docstring."""
    source = data.root() / "plugins" / f"{name.replace('-', '_')}.py"
    lines = iter((ast.get_docstring(ast.parse(source.read_text(encoding="utf-8"))) or "").splitlines())
    head = next(line for line in lines if line.startswith("key "))
    second, third = head.index("default"), head.index("meaning")
    rows = []
    for line in lines:
        if not line.strip() or line[second - 1] != " " or line[third - 1] != " ":
            break
        key = line[:second]
        mark = "&nbsp;&nbsp;" if key.startswith(" ") else ""
        rows.append((f"{mark}`{key.strip()}`", line[second:third].strip(), line[third:].strip()))
    return table(("key", "default", "meaning"), rows)


PARTS: dict[str, Callable[..., str]] = {
    "templates": templates,
    "declarations": declarations,
    "options": options,
    "shared-options": shared,
    "events": events,
    "exit-codes": exit_codes,
    "plugin": plugin,
}


def current(text: str) -> str:
    """A page with its generated parts as they should be."""

    def part(found: re.Match[str]) -> str:
        name, *arguments = found[2].split()
        return f"{found[1]}\n{PARTS[name](*arguments)}\n\n{found[4]}"

    return PART.sub(part, text)


def pages() -> list[Path]:
    return sorted(DOCS.glob("*.md"))


def main() -> None:
    for page in pages():
        text = page.read_text(encoding="utf-8")
        if current(text) != text:
            page.write_text(current(text), encoding="utf-8")
            print(f"wrote {page.relative_to(DOCS.parent)}")


if __name__ == "__main__":
    main()
