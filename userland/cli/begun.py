"""What a command that began a package says."""

from pathlib import Path

from userland.cli.failures import say
from userland.cli.output import show_value


def tell(made: list[Path], *, next_: str, output: str) -> None:
    """The files that were written, and the command to be typed next."""
    if output == "json":
        show_value([str(path) for path in made], output=output)
    else:
        say(f"wrote {', '.join(map(str, made))}; next: {next_}")
