"""A click group whose commands are imported when they are used, so that `kernos --help` imports none of them."""

import importlib
from collections.abc import Callable, Mapping
from typing import Any, final

import click


@final
class LazyGroup(click.Group):
    """`lazy` maps a command's name to (`module:attribute`, one line of help, section); `further` are those of trusted
    extensions, asked for only where a name is no command of ours, or all are listed."""

    def __init__(
        self,
        *args: Any,
        lazy: Mapping[str, tuple[str, str, str]],
        further: Callable[[click.Context], Mapping[str, click.Command]] = lambda ctx: {},
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self._lazy = lazy
        self._further = further

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*self._lazy, *self._further(ctx)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self._lazy:
            return self._further(ctx).get(cmd_name)
        module, _, attribute = self._lazy[cmd_name][0].partition(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in self._lazy and not name.startswith("-") and name not in self._further(ctx):
            near = self._nearest(name)
            hint = f"; did you mean '{near}'?" if near else ""
            raise click.UsageError(f"there is no command '{name}'{hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The one-line helps from the table, section by section."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for name, (_, help_line, section) in self._lazy.items():
            sections.setdefault(section, []).append((name, help_line))
        for name, command in self._further(ctx).items():
            sections.setdefault("Extensions", []).append((name, command.get_short_help_str(80)))
        for section, lines in sections.items():
            with formatter.section(section):
                formatter.write_dl(lines)

    def _nearest(self, name: str) -> str | None:
        import difflib

        return next(iter(difflib.get_close_matches(name, self._lazy, n=1, cutoff=0.6)), None)
