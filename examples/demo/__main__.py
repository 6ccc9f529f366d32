"""`python -m examples.demo`: boots a kernel, lets the agents play, and says what the trace of that run shows.

The exit status is 0 if the machine kept what it promises, whatever the model got right; 1 if it did not; 2 if the demo
could not begin; 130 if it was interrupted.
"""

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
from pathlib import Path

import trio

from examples.demo.documents import REPOSITORY
from examples.demo.play import Play, Played
from examples.demo.promises import promises
from examples.demo.scene import AGENTS_MIN, ROLES, Agent, cast
from examples.demo.story import Story
from examples.demo.summary import summary
from examples.demo.view import Paint, stdout_view
from userland.cli import boot
from userland.cli.failures import Failure
from userland.sdk.connect import connect

SHIPPED = REPOSITORY / "drivers" / "tiny" / "kernos-tiny"
INTERRUPTED = 130


def main(argv: list[str] | None = None) -> int:
    """Runs the demo; returns its exit status."""
    args = _parse(argv)
    if args.model == str(SHIPPED) and not (SHIPPED / "config.json").is_file():
        print(f"{SHIPPED} is not there: 'make model' trains it, --model DIR takes another", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="kernos-demo-", ignore_cleanup_errors=True) as made:
        folder = Path(made)
        try:
            agents = cast(random.Random(args.seed), folder, args.agents)
            kernel = _boot(folder, args.model)
        except (Failure, ValueError) as failed:
            print(f"the demo cannot begin: {failed}", file=sys.stderr)
            return 2
        try:
            return _play(agents, kernel.socket, args)
        except KeyboardInterrupt:
            print("\ninterrupted: the kernel is stopped, and everything with it", file=sys.stderr)
            return INTERRUPTED
        finally:
            kernel.stop()


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m examples.demo", description="Agents at once under one kernel.")
    parser.add_argument("--seed", type=int, default=1, help="which documents and questions (default: 1)")
    parser.add_argument("--agents", type=int, default=len(ROLES), help=f"how many, {AGENTS_MIN} to {len(ROLES)}")
    parser.add_argument("--model", default=str(SHIPPED), help="a folder, a hub name or an http(s) URL")
    args = parser.parse_args(argv)
    if not AGENTS_MIN <= args.agents <= len(ROLES):
        parser.error(f"--agents must be from {AGENTS_MIN} to {len(ROLES)}")
    return args


def _boot(folder: Path, model: str) -> boot.Booted:
    """A kernel of our own: its state in the folder, its model as asked, gone when this process is."""
    config = folder / "kernos.toml"
    name = model.rstrip("/").rpartition("/")[2].replace(":", "-") or "model"
    config.write_text(f"[models.{json.dumps(name)}]\norigin = {json.dumps(model)}\n", encoding="utf-8")
    state = folder / "state"
    state.mkdir(mode=0o700)
    return boot.start(folder / "kernel.sock", folder / boot.LOG, state=state, config=config, model=None, ephemeral=True)


def _play(agents: list[Agent], socket: Path, args: argparse.Namespace) -> int:
    story = Story()
    played = trio.run(_run, agents, socket, story, f"kernos demo: {len(agents)} agents, seed {args.seed}")
    if played is None:
        raise KeyboardInterrupt
    kept = promises(agents, played, story)
    width = shutil.get_terminal_size().columns - 1
    for line in summary(agents, played, story, kept, paint=Paint(sys.stdout), width=width):
        print(line)
    return 0 if all(promise.kept for promise in kept) else 1


async def _run(agents: list[Agent], socket: Path, story: Story, title: str) -> Played | None:
    """Plays; None if a signal asked it to stop."""
    played: list[Played] = []
    view = stdout_view(title)
    try:
        async with trio.open_nursery() as nursery:

            async def play() -> None:
                async with connect(socket) as sys_:
                    played.append(await Play(sys_, story, view).run(agents))
                nursery.cancel_scope.cancel()

            nursery.start_soon(_until_interrupted, nursery.cancel_scope)
            nursery.start_soon(play)
    finally:
        view.close(story)
    return played[0] if played else None


async def _until_interrupted(scope: trio.CancelScope) -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as arriving:
        async for _ in arriving:
            scope.cancel()


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main())
