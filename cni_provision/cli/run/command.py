"""How a command presents itself: options in families, and examples at the end of its help."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import click

Examples = Sequence[tuple[str, str]]
OWN_SECTION = "Options"
WIDEST_EXAMPLE = 48
CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 110}


class FamilyOption(click.Option):
    """An option that is listed under the heading of its family."""

    def __init__(self, *args: Any, family: str = OWN_SECTION, **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self.family = family


class Command(click.Command):
    """A command whose help ends with examples: (what to type, what it does)."""

    def __init__(self, *args: Any, examples: Examples = (), **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self.examples = examples

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        families: dict[str, list[tuple[str, str]]] = {OWN_SECTION: []}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx) if isinstance(parameter, click.Option) else None
            if record:
                families.setdefault(getattr(parameter, "family", OWN_SECTION), []).append(record)
        for family, records in families.items():
            with formatter.section(family):
                formatter.write_dl(records)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        if self.examples:
            with formatter.section("Examples"):
                rows = [(f"{ctx.command_path} {typed}".rstrip(), what) for typed, what in self.examples]
                formatter.write_dl(rows, col_max=WIDEST_EXAMPLE)


def command(name: str, about: str, *examples: tuple[str, str]) -> Callable[[Callable[..., Any]], click.Command]:
    """A decorator like `click.command`: `about` is the line in the list of commands."""
    return click.command(name, cls=Command, short_help=about, examples=examples, context_settings=CONTEXT)


class Group(click.Group):
    """Commands below a command."""

    command_class = Command


def option(family: str, *names: str, **attributes: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """`click.option` in a family."""
    return click.option(*names, cls=FamilyOption, family=family, **attributes)
