"""A conversation in memory: what it shares with its parent, its own pages, its open turns, its window."""

from collections.abc import Sequence
from itertools import chain
from typing import final

import trio

from kernel.accounts.account_record import Account
from kernel.mm.page import Ref
from kernel.mm.window import Entry, Window
from syscalls.turns import ToolSpec, Turn


@final
class Context:
    """One conversation; `Contexts` owns it. A fork shares the first `shared` pages of its parent and copies none.

    `writing` is held by whoever changes turns or window, briefly; `speaking` by the one generation at a time.
    """

    def __init__(
        self,
        *,
        id: int,
        principal: str,
        name: str | None,
        model: str,
        tools: tuple[ToolSpec, ...],
        reserve_tokens: int,
        window_tokens: int,
        parent: "Context | None" = None,
        shared: int = 0,
        version: int = 0,
    ) -> None:
        self.id = id
        self.principal = principal
        self.name = name
        self.model = model
        self.tools = tools
        self.reserve_tokens = reserve_tokens
        self.window_tokens = window_tokens
        self.parent = parent
        self.shared = shared
        self.version = version
        # What it keeps, in bytes of its own turns, and who was charged for them.
        self.stored_bytes = 0
        self.payers: dict[Account, int] = {}
        # The conversation: changed by Contexts under `writing`.
        self.pages: list[Ref] = []
        self.tail: list[Turn] = []
        self.tail_first = 0
        self.window = Window()
        self.writing = trio.Lock()
        self.speaking = trio.Lock()
        # Who needs it.
        self.handles = 0
        self.children = 0
        self.closed = False
        # What happened since it was opened.
        self.evictions = 0
        self.faults = 0
        self.faults_told = 0
        self.refilled_tokens = 0

    @property
    def turns(self) -> int:
        """How many turns it has."""
        return self.tail_first + len(self.tail)

    @property
    def limit(self) -> int:
        """The most tokens that a prompt of it may have."""
        return self.window_tokens - self.reserve_tokens

    def refs(self) -> list[Ref]:
        """All pages, shared ones first. Each is copied once, however long the line of forks above it is."""
        pieces: list[list[Ref]] = []
        context, end = self, self.shared + len(self.pages)
        while True:
            pieces.append(context.pages[: max(0, end - context.shared)])
            end = min(end, context.shared)
            if context.parent is None or not end:
                return list(chain.from_iterable(reversed(pieces)))
            context = context.parent

    def place(self, refs: Sequence[Ref]) -> None:
        """Tells the window which pages its turns are in now, of one or of many."""
        there: dict[int, list[str]] = {}
        for ref in refs:
            for position in range(ref.first, ref.first + max(1, ref.turns)):
                there.setdefault(position, []).append(ref.address)
        for entry in self.window.entries if there else ():
            if entry.kind == "turn" and entry.position in there:
                entry.pages = (*entry.pages, *there[entry.position])

    def show(self, turn: Turn, *, position: int, pages: tuple[str, ...] = ()) -> None:
        """Appends a turn of the conversation to the window."""
        self.window.entries.append(Entry(turn, position=position, pages=pages))
