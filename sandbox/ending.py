"""How a child of the host ended, and the wait for it."""

from __future__ import annotations

import os
from typing import final

import trio
from msgspec import Struct


@final
class Exit(Struct, frozen=True, kw_only=True):
    """How a worker ended: by itself with `code`, or by `signal`; the other one is None."""

    code: int | None = None
    signal: int | None = None


async def wait(pidfd: int) -> Exit:
    """Waits until a child has ended, takes its status and closes its pidfd."""
    exit_, _ = await finish(pidfd)
    return exit_


async def finish(pidfd: int) -> tuple[Exit, float]:
    """As `wait`, and the seconds of processor time that it used."""
    await trio.lowlevel.wait_readable(pidfd)
    result = os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOWAIT)  # noqa: ASYNC222  (it has ended: no wait)
    assert result is not None, "a pidfd that is readable has a status"
    _, _, used = os.wait4(result.si_pid, 0)  # noqa: ASYNC222  (nor does this)
    os.close(pidfd)
    cpu_s = used.ru_utime + used.ru_stime
    if result.si_code == os.CLD_EXITED:
        return Exit(code=result.si_status), cpu_s
    return Exit(signal=result.si_status), cpu_s
