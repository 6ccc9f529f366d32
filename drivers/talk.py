"""`python -m drivers.talk DRIVER --kind KIND`: one driver host by itself, and somebody who talks to it line by line."""

import argparse
import struct
import sys
from collections.abc import Awaitable, Callable
from typing import cast, final

import trio

from drivers.conformance.rig import CREDIT, Rig, Subject, device
from drivers.loading import load
from syscalls import driver as abi
from syscalls.errors import Invalid, SyscallError
from syscalls.turns import Turn, assistant, user

Answer = Callable[[str], Awaitable[None]]

HELP: dict[str, str] = {
    "model": "a line is what you say; the conversation goes on until the end of input",
    "embedding": "a line is a text; its vector begins so, and so near it is to the one before",
    "store": "add COLLECTION ID NUMBER… | query COLLECTION K NUMBER… | ids COLLECTION | delete COLLECTION [ID…]",
}


@final
class Conversation:
    """Says lines to a model."""

    def __init__(self, rig: Rig, max_tokens: int) -> None:
        self._rig = rig
        self._most = max_tokens
        self._turns: list[Turn] = []

    async def __call__(self, line: str) -> None:
        self._turns.append(user(line))
        request = await self._rig.request(*self._turns, sampling=abi.Sampling(self._most))
        async with self._rig.link.stream(abi.GENERATE, request, credit=CREDIT) as stream:
            async for item in stream:
                print(item.text, end="", flush=True)
            finished: abi.Finished = await stream.result()
        print(f"\n[{finished.finish}: {finished.prompt_tokens} tokens read, {finished.generated_tokens} made]")
        self._turns.append(assistant(finished.text, *finished.calls))


@final
class Likeness:
    """Shows vectors of lines."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self._before: tuple[float, ...] = ()

    async def __call__(self, line: str) -> None:
        at = self._rig.opened.device
        answer: abi.Embedded = await self._rig.link.call(abi.EMBED, abi.Embed(device=at, texts=(line,)))
        vector = struct.unpack(f"<{answer.dimensions}f", answer.vectors)
        begins = " ".join(f"{number:+.3f}" for number in vector[:6])
        near = sum(a * b for a, b in zip(vector, self._before, strict=False))
        print(f"{begins} … ({answer.dimensions} numbers)" + (f"; {near:+.3f} to the last" if self._before else ""))
        self._before = vector


@final
class Shelves:
    """Puts vectors into a store and asks for them."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig

    async def __call__(self, line: str) -> None:
        words = line.split()
        link, at = self._rig.link, self._rig.opened.device
        match words:
            case ["add", collection, id_, *numbers]:
                vectors = _packed(numbers)
                await link.call(abi.ADD, abi.StoreAdd(device=at, collection=collection, ids=(id_,), vectors=vectors))
            case ["query", collection, k, *numbers] if k.isdigit():
                asked = abi.StoreQuery(device=at, collection=collection, vector=_packed(numbers), k=int(k))
                hits: abi.StoreHits = await link.call(abi.QUERY, asked)
                for id_, score in zip(hits.ids, hits.scores, strict=True):
                    print(f"{score:+.3f} {id_}")
            case ["ids", collection]:
                found: abi.Ids = await link.call(abi.IDS, abi.StoreIds(device=at, collection=collection))
                print(" ".join(found.ids))
            case ["delete", collection, *ids]:
                gone = abi.StoreDelete(device=at, collection=collection, ids=tuple(ids) or None)
                await link.call(abi.DELETE, gone)
            case _:
                raise Invalid(HELP["store"])


def _packed(numbers: list[str]) -> bytes:
    try:
        return struct.pack(f"<{len(numbers)}f", *map(float, numbers))
    except ValueError:
        raise Invalid(f"{' '.join(numbers)!r} are no numbers") from None


async def talk(subject: Subject, max_tokens: int) -> None:
    """Until the end of input. What the driver refuses is said, and the next line is asked for."""
    async with device(subject) as rig:
        _describe(subject, rig)
        by_kind: dict[str, Answer] = {
            "model": Conversation(rig, max_tokens), "embedding": Likeness(rig), "store": Shelves(rig)
        }  # fmt: skip
        answer = by_kind[subject.kind]
        while line := await trio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True):
            if line.strip():
                try:
                    await answer(line.strip())
                except SyscallError as refused:
                    print(f"{refused.errno.name}: {refused.message}", flush=True)
        sys.stdout.flush()


def _describe(subject: Subject, rig: Rig) -> None:
    opened = rig.opened
    facts = {
        "can": ", ".join(opened.can),
        "window": opened.window_tokens and f"{opened.window_tokens} tokens, {opened.slots} slots, {opened.counts}",
        "dimensions": opened.dimensions,
        "checksum": opened.checksum[:12],
        **opened.detail,
    }
    told = "; ".join(f"{name} {fact}" for name, fact in facts.items() if fact)
    print(f"{subject.driver} serves a {subject.kind} in host {rig.process.pid}: {told}")
    print(f"({HELP[subject.kind]})", flush=True)


def main(argv: list[str] | None = None) -> int:
    """Talks to one driver; 1 where it does not open."""
    parser = argparse.ArgumentParser(prog="python -m drivers.talk", description="Talks to one driver.")
    parser.add_argument("driver", help="its name, or MODULE:ATTRIBUTE")
    parser.add_argument("--kind", choices=sorted(HELP), help="by default the first that it serves")
    parser.add_argument("--origin", default="", help="a folder, a hub name, a URL, a database folder")
    parser.add_argument("--option", "-o", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--max-tokens", type=int, default=256)
    chosen = parser.parse_args(argv)
    code = 0
    try:
        kind = cast(abi.Kind, chosen.kind or next(each for each in load(chosen.driver).kinds if each in HELP))
        options = dict(pair.partition("=")[::2] for pair in chosen.option)
        subject = Subject(driver=chosen.driver, kind=kind, origin=chosen.origin, options=options)
        trio.run(talk, subject, chosen.max_tokens)
    except* (SyscallError, ImportError) as refused:
        print(f"{chosen.driver}: {refused.exceptions[0]}", file=sys.stderr)
        code = 1
    except* KeyboardInterrupt:
        code = 130
    return code


if __name__ == "__main__":
    sys.exit(main())
