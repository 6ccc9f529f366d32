"""What a zygote plays through leaves nothing behind."""

import os
import sys
import threading

from userland import rehearsal


def test_it_runs_programs_and_leaves_no_trace() -> None:
    rehearsal.play()
    before = sorted(os.listdir("/proc/self/fd")), set(sys.modules), list(sys.path), sys.stdout, threading.active_count()
    rehearsal.play()
    after = sorted(os.listdir("/proc/self/fd")), set(sys.modules), list(sys.path), sys.stdout, threading.active_count()
    assert after == before
