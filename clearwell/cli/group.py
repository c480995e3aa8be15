"""Command groups: one that loads its commands when they are called, and one whose errors know the nearest spelling."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import click

from clearwell.errors import nearest


class Group(click.Group):
    """A group of commands; a wrong command is answered with the nearest right one. For `@click.group(cls=Group)`."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click's, with a suggestion."""
        name = args[0]
        if self.get_command(ctx, name) is None and not name.startswith("-") and not ctx.resilient_parsing:
            known = self.list_commands(ctx)
            hint = nearest(name, known) or f" There are: {', '.join(known)}."
            ctx.fail(f'No such command "{name}".{hint}')
        return super().resolve_command(ctx, args)


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a command is ("module:attribute") and what the overview says of it."""

    target: str
    summary: str


class LazyGroup(Group):
    """The top of the command line: a table of commands by section, each imported only when it is called."""

    def __init__(self, sections: Mapping[str, Mapping[str, Entry]], **attrs: Any) -> None:
        super().__init__(**attrs)
        self.sections = sections

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of all commands, in the order of the table."""
        return [name for section in self.sections.values() for name in section]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command `cmd_name`; None when the table has none."""
        for section in self.sections.values():
            if cmd_name in section:
                module, _, attribute = section[cmd_name].target.partition(":")
                found = getattr(importlib.import_module(module), attribute)
                if not isinstance(found, click.Command):
                    raise TypeError(f"{section[cmd_name].target} is not a command")
                return found
        return None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The overview, section by section, without importing a single command."""
        for title, section in self.sections.items():
            with formatter.section(title):
                formatter.write_dl([(name, entry.summary) for name, entry in section.items()])
