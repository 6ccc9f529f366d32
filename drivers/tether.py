"""Ties this process to its parent: it does not outlive it, however the parent dies.

PDEATHSIG alone is a trap: it follows the parent's *thread*, and a loop that starts processes from worker threads
(trio's open_process) would kill its hosts when such a thread has been idle for a while. So it is used only where the
parent's main thread started us, and a thread of ours watches the parent's pidfd in any case. The link's end is the
third: a host whose kernel is gone has nothing to do.
"""

import ctypes
import os
import select
import signal
import sys
import threading
import time
from pathlib import Path

PR_SET_PDEATHSIG = 1
LOOK_S = 0.5


def follow_parent(parent: int) -> None:
    """Dies with `parent`, by SIGKILL; at once if it is gone already."""
    watched: int | None = None
    try:
        if hasattr(os, "pidfd_open"):
            watched = os.pidfd_open(parent)
    except ProcessLookupError:
        sys.exit(f"drivers.host: its parent {parent} is gone")
    if os.getppid() != parent:
        sys.exit(f"drivers.host: its parent {parent} is gone")
    if started_by_main_thread(parent):
        _set_pdeathsig()
    threading.Thread(target=_die_with, args=(parent, watched), name="tether", daemon=True).start()


def follow_parent_by_signal(parent: int) -> None:
    """As `follow_parent`, for a process that has one thread and must keep it so, since it forks. It serves on a link of
    its parent's, whose end ends it where the signal does not follow."""
    if started_by_main_thread(parent):
        _set_pdeathsig()
    if os.getppid() != parent:
        sys.exit(f"its parent {parent} is gone")


def started_by_main_thread(parent: int) -> bool:
    """Whether the parent's main thread started this process; no where the kernel does not tell."""
    try:
        children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    except OSError:
        return False
    return str(os.getpid()) in children


def _set_pdeathsig() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")


def _die_with(parent: int, watched: int | None) -> None:
    """Where there is no pidfd it looks: whose parent has died has another one."""
    if watched is not None:
        poll = select.poll()
        poll.register(watched, select.POLLIN)
        poll.poll()
    while watched is None and os.getppid() == parent:
        time.sleep(LOOK_S)
    os.kill(os.getpid(), signal.SIGKILL)
