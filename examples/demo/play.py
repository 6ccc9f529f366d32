"""The play: agents are spawned, watched, disturbed and waited for; all over one session of the kernel's socket."""

import os
import signal
from collections.abc import Callable, Iterable
from typing import final

import trio
from msgspec import Struct

from examples.demo.scene import Agent
from examples.demo.story import Life, Story
from examples.demo.view import View
from syscalls.calls import kernel
from syscalls.calls.device import Devices
from syscalls.calls.process import Exit, Processes
from syscalls.errors import SyscallError
from syscalls.signals import Signal
from userland.sdk.child import Child
from userland.sdk.system import Sys

FRAME_S = 0.2
RUN_S_MAX = 300.0
"""When it is given up. On two free cores a run takes a fraction of that."""
GENERATIONS_MIN, AT_ONCE_MIN = 3, 3
"""The model's host is killed once it has finished so many generations and is at so many others."""


@final
class Played(Struct, frozen=True):
    """How a run went: what every agent returned, by name; `late` if it had to be broken off."""

    pids: dict[str, int]
    exits: dict[str, Exit]
    victim: str
    late: bool


@final
class Play:
    """One run over one session. `run` plays it to its end."""

    def __init__(self, sys: Sys, story: Story, view: View) -> None:
        self._sys = sys
        self._story = story
        self._view = view
        self._news = trio.Event()
        self._pids: dict[str, int] = {}
        self._exits: dict[str, Exit] = {}

    async def run(self, agents: list[Agent]) -> Played:
        """Everything, in at most `RUN_S_MAX` seconds.

        The embedding model is asked for a vector first, so that its host loads while the other one does."""
        rambler = next(agent.name for agent in agents if agent.role == "rambler")
        with trio.move_on_after(RUN_S_MAX) as limit:
            async with trio.open_nursery() as watching:
                watching.start_soon(self._follow)
                watching.start_soon(self._watch)
                watching.start_soon(self._warm_up)
                try:
                    async with trio.open_nursery() as living:
                        for agent in self._in_order(agents):
                            living.start_soon(self._wait, agent.name, await self._spawn(agent))
                        await self._kill_the_models_host(rambler)
                        await self._until(lambda: self._may_be_killed(rambler))
                        await self._kill(rambler)
                    await self._catch_up()
                finally:
                    watching.cancel_scope.cancel()
        return Played(self._pids, self._exits, rambler, limit.cancelled_caught)

    async def _warm_up(self) -> None:
        try:
            await self._sys.embed("a first text")
        except SyscallError:  # those who need it are told, and recall by words
            pass

    def _in_order(self, agents: list[Agent]) -> Iterable[Agent]:
        """The trespasser last: it is told the pid of another."""
        return sorted(agents, key=lambda agent: agent.role == "trespasser")

    async def _spawn(self, agent: Agent) -> Child:
        kwargs = agent.kwargs
        if agent.role == "trespasser":
            kwargs = {"stranger": next(iter(self._pids.values()))}
        child = await self._sys.spawn(
            agent.program, *agent.args, kwargs=kwargs, name=agent.name, rights=agent.rights, budget=agent.budget
        )
        self._pids[agent.name] = child.pid
        return child

    async def _wait(self, name: str, child: Child) -> None:
        self._exits[name] = await child.ended()

    async def _kill_the_models_host(self, rambler: str) -> None:
        """SIGKILL, from outside, in the middle of generations: as many as there are, but for the rambler's."""
        await self._until(lambda: self._story.lives.keys() >= set(self._pids.values()))
        await self._until(lambda: self._in_the_middle() or self._only(rambler))
        registry: Devices = await self._sys.call("device.list", kind="model")
        for each in registry.devices:
            if each.state == "ready" and each.host:
                os.kill(each.host, signal.SIGKILL)

    def _only(self, rambler: str) -> bool:
        """The rambler is the last, and speaks; or nobody is left at all."""
        if not self._others_ended(rambler):
            return False
        return self._generating() > 0 or self._life(rambler).ended_s is not None

    def _in_the_middle(self) -> bool:
        return len(self._story.generations) >= GENERATIONS_MIN and self._generating() >= AT_ONCE_MIN

    def _generating(self) -> int:
        """How many have a request at the model."""
        return sum(life.state == "running" and life.ended_s is None for life in self._story.programs)

    def _others_ended(self, rambler: str) -> bool:
        return all(life.ended_s is not None for life in self._story.programs if life.name != rambler)

    async def _kill(self, name: str) -> None:
        """KILL, if it still lives."""
        if self._life(name).ended_s is None:
            await self._sys.call("process.kill", pid=self._pids[name], signal=int(Signal.KILL))

    def _may_be_killed(self, rambler: str) -> bool:
        """The host is there again, and the rambler has spoken, so that something is seen to be cut off."""
        life = self._life(rambler)
        spoke = life.generated_tokens > 0 or self._others_ended(rambler)
        return life.ended_s is not None or (self._recovered() and spoke)

    def _life(self, name: str) -> Life:
        return self._story.lives[self._pids[name]]

    def _recovered(self) -> bool:
        """The host died and another is up, and what it had begun was begun again."""
        return any(record.kind == "host_ready" and record.detail["restarts"] != "0" for record in self._story.hosts)

    async def _follow(self) -> None:
        """The trace from the first record on, as it grows."""
        stream = self._sys.stream(kernel.TRACE, kernel.Trace(follow=True))
        try:
            async for record in stream:
                self._story.take(record)
                self._tell()
        finally:
            stream.close()

    async def _watch(self) -> None:
        """States for the table, and a frame, a few times a second."""
        while True:
            table: Processes = await self._sys.call("process.list")
            registry: Devices = await self._sys.call("device.list")
            self._story.look(table.processes, registry.devices)
            self._view.show(self._story)
            self._tell()
            await trio.sleep(FRAME_S)

    async def _catch_up(self) -> None:
        """Until the trace has told of every end."""
        await self._until(lambda: all(life.ended_s is not None for life in self._story.programs))

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            await self._news.wait()

    def _tell(self) -> None:
        news, self._news = self._news, trio.Event()
        news.set()
