"""Command groups: one that loads its commands when they are called, and one whose errors know the nearest spelling."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import click

from clearwell.errors import nearest


class Group(click.Group):
    """A group of commands; a wrong command is answered with the nearest right one. For `@click.group(cls=Group)`.

    aliases: the command by each of its former names, which still call it and which no help shows.
    """

    def __init__(self, *args: Any, aliases: Mapping[str, str] | None = None, **attrs: Any) -> None:
        super().__init__(*args, **attrs)
        self.aliases = aliases or {}

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of this name, or of this former name; None when there is none."""
        return super().get_command(ctx, self.aliases.get(cmd_name, cmd_name))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click's, with a suggestion."""
        name = args[0]
        if self.get_command(ctx, name) is None and not name.startswith("-") and not ctx.resilient_parsing:
            known = self.list_commands(ctx)
            hint = nearest(name, known) or f" There are: {', '.join(known)}."
            ctx.fail(f'No such command "{name}".{hint}')
        _, command, rest = super().resolve_command(ctx, args)
        return None if command is None else command.name, command, rest


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a command is ("module:attribute") and what the overview says of it."""

    target: str
    summary: str


class LazyGroup(Group):
    """The top of the command line: a table of commands by section, each imported only when it is called.

    A group is a noun, and answers to its plural too: `clearwell connectors list`.
    """

    def __init__(self, sections: Mapping[str, Mapping[str, Entry]], **attrs: Any) -> None:
        super().__init__(**attrs)
        self.sections = sections

    @property
    def entries(self) -> dict[str, Entry]:
        """All sections as one table."""
        return {name: entry for section in self.sections.values() for name, entry in section.items()}

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of all commands, in the order of the table."""
        return list(self.entries)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command `cmd_name`, a former name or a noun's plural; None when the table has none."""
        entries, name = self.entries, self.aliases.get(cmd_name, cmd_name)
        if name in entries:
            return _load(entries[name])
        singular = entries.get(name.removesuffix("s"))
        noun = None if singular is None else _load(singular)
        return noun if isinstance(noun, click.Group) else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The overview, section by section, without importing a single command."""
        for title, section in self.sections.items():
            with formatter.section(title):
                formatter.write_dl([(name, entry.summary) for name, entry in section.items()])


def _load(entry: Entry) -> click.Command:
    module, _, attribute = entry.target.partition(":")
    command = getattr(importlib.import_module(module), attribute)
    if not isinstance(command, click.Command):
        raise TypeError(f"{entry.target} is not a command")
    return command
