"""What is seen while the agents run: on a terminal a table that is redrawn in place, elsewhere a line per event."""

import os
import shutil
import sys
from typing import Protocol, TextIO, final

from examples.demo.story import Life, Line, Story
from userland.cli.table import clean, cut

EVENTS_SHOWN = 4
_ROWS_BESIDES = 5
_BAR_CELLS = 8
_HIDE, _SHOW = "\x1b[?25l", "\x1b[?25h"
_UP, _REST_OF_LINE, _REST = "\x1b[{}A\r", "\x1b[K", "\x1b[J"
_COLOURS = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}
_OF_STATE = {"running": "green", "waiting": "yellow", "ready": "yellow", "done": "dim"}


@final
class Paint:
    """Colours, where they are wanted: on a terminal, unless NO_COLOR is set."""

    def __init__(self, out: TextIO) -> None:
        self.wanted = out.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"

    def __call__(self, text: str, colour: str) -> str:
        return f"\x1b[{_COLOURS[colour]}m{text}\x1b[0m" if self.wanted and colour else text


class View(Protocol):
    """Shows a story while it goes on."""

    def show(self, story: Story) -> None:
        """There is news."""

    def close(self, story: Story) -> None:
        """The last of it; the terminal is given back."""


def view_for(out: TextIO, title: str) -> View:
    """The table if somebody looks at a terminal, else lines."""
    if out.isatty() and os.environ.get("TERM") != "dumb":
        return Table(out, title)
    return Lines(out)


@final
class Lines:
    """A line per event, as it comes."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._shown = 0

    def show(self, story: Story) -> None:
        for line in story.lines[self._shown :]:
            print(plain(line, story), file=self._out)
        self._shown = len(story.lines)
        self._out.flush()

    def close(self, story: Story) -> None:
        self.show(story)


@final
class Table:
    """The process table with progress, and the latest events under it."""

    def __init__(self, out: TextIO, title: str) -> None:
        self._out = out
        self._title = title
        self._paint = Paint(out)
        self._drawn = 0

    def show(self, story: Story) -> None:
        size = shutil.get_terminal_size()
        lines = frame(story, self._title, self._paint, width=size.columns - 1, height=size.lines - 1)
        up = _UP.format(self._drawn) if self._drawn else _HIDE
        self._out.write(up + "".join(f"{line}{_REST_OF_LINE}\n" for line in lines) + _REST)
        self._out.flush()
        self._drawn = len(lines)

    def close(self, story: Story) -> None:
        self.show(story)
        self._out.write(_SHOW)
        self._out.flush()


def frame(story: Story, title: str, paint: Paint, *, width: int, height: int) -> list[str]:
    """One picture, at most `height` lines of `width` cells."""
    events = story.lines[-EVENTS_SHOWN:]
    room = height - _ROWS_BESIDES - EVENTS_SHOWN
    lives = _fitting(story.programs, room)
    head = cut(title, width - 9).ljust(width - 9) + f"{story.elapsed_s:7.1f} s"
    return [
        paint(head, "bold"),
        paint(_machine(story, width), "cyan"),
        paint(_devices(story, width), "cyan"),
        paint(cut(f"{'PID':>4}  {'AGENT':<11}{'STATE':<11}{'TOKENS':>7} {'FAULTS':>6}  {'PROGRESS'}", width), "bold"),
        *(row(life, story, paint, width) for life in lives),
        "",
        *(paint(cut(plain(line, story), width), "red" if line.grave else "dim") for line in events),
    ]


def row(life: Life, story: Story, paint: Paint, width: int) -> str:
    """One process."""
    state = life.status.replace("_", " ") or life.state
    left = f"{life.pid:>4}  {cut(name_of(life, story), 10):<11}"
    text = cut(f"{left}{state:<11}{life.tokens:>7,} {life.faults:>6}  {progress(life)}", width)
    painted = slice(len(left), len(left) + len(state))
    colour = _OF_STATE.get(state, "red")
    return text[: painted.start] + paint(text[painted], colour) + text[painted.stop :]


def progress(life: Life) -> str:
    """A bar where the number of steps is known, and what it says it is at."""
    done, total = (1, 1) if life.status == "done" else (life.done, life.total)
    said = clean(life.note)
    if not total:
        return f"{said} {f'({done})' if done else ''}".strip()
    full = round(_BAR_CELLS * done / total)
    return "━" * full + "─" * (_BAR_CELLS - full) + f" {said}"


def plain(line: Line, story: Story) -> str:
    """`   3.21 s  ask-1        spawned`."""
    life = story.lives.get(line.pid)
    who = name_of(life, story) if life is not None and life.kind == "program" else "kernel"
    return f"{line.at_s:7.2f} s  {who:<11} {clean(line.text)}"


def name_of(life: Life, story: Story) -> str:
    """The agent's name; a crew's helper bears the crew's and its place in it."""
    parent = story.lives.get(life.parent)
    if parent is None or parent.kind != "program":
        return life.name
    siblings = [each.pid for each in story.programs if each.parent == parent.pid]
    return f"{parent.name}/{siblings.index(life.pid) + 1}"


def _machine(story: Story, width: int) -> str:
    living = sum(life.ended_s is None for life in story.programs)
    made = sum(life.generated_tokens for life in story.programs)
    return cut(
        f"{living} running, {len(story.programs) - living} ended | {made:,} tokens generated | "
        f"{sum(life.faults for life in story.programs)} faults | {len(story.tool_calls)} tool calls | "
        f"{len(story.denials)} denied",
        width,
    )


def _devices(story: Story, width: int) -> str:
    """Each device and its state; of a tool that nobody called yet nothing."""
    used = (each for each in story.devices if each.kind != "tool" or each.host)
    return cut(" | ".join(f"{each.name} {each.state}" for each in used), width)


def _fitting(lives: list[Life], room: int) -> list[Life]:
    """As many as there is room for; those that have ended give way first."""
    surplus = len(lives) - max(room, 1)
    gone = [life.pid for life in lives if life.ended_s is not None][: max(surplus, 0)]
    return [life for life in lives if life.pid not in gone][: max(room, 1)]


def stdout_view(title: str) -> View:
    """The view for whoever started the demo."""
    return view_for(sys.stdout, title)
