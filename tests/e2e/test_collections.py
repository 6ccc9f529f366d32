"""Collections of a store on disk: their bytes are on the account, whoever is killed meanwhile."""

import os
import signal
import struct
import threading
from pathlib import Path
from typing import Any

import pytest
from msgspec import Raw

from syscalls.calls import account, device
from syscalls.codec import pack, unpack
from syscalls.errors import SyscallError
from syscalls.link.blocking import BlockingLink
from tests.kernelproc import KernelProcess, kernel_up, until

CONFIG = 'default_model = "sim"\nembedding = "sim"\nstore = "chroma"\n[models.sim]\norigin = "sim"\ndriver = "sim"\n'
ROW = 4 * 4

pytest.importorskip("chromadb")


def opened(link: BlockingLink, collection: str = "mine") -> int:
    handle: int = link.call(device.OPEN, device.OpenDevice(device="store", collection=collection)).handle
    return handle


def called(link: BlockingLink, handle: int, method: str, **arguments: Any) -> Any:
    call = device.CallTool(device="store", method=method, handle=handle, arguments=Raw(pack(arguments)))
    return unpack(object, link.call(device.CALL, call).value)


def add(link: BlockingLink, handle: int, *ids: str) -> None:
    vectors = b"".join(struct.pack("<4f", 1.0, 2.0, 3.0, float(n)) for n in range(len(ids)))
    called(link, handle, "add", ids=ids, vectors=vectors)


def used(link: BlockingLink) -> int:
    found = link.call(account.USAGE, account.Usage(account="kernel")).accounts[0].resources
    return next((each.used for each in found if each.resource == "bytes_stored"), 0)


def held(link: BlockingLink) -> int:
    ids: Any = called(link, opened(link), "ids")
    return sum(len(each.encode()) + ROW for each in ids)


def store_host(link: BlockingLink) -> int:
    pid: int = link.call(device.LIST, device.ListDevices(kind="store")).devices[0].host
    return pid


def test_they_are_counted_over_a_restart_and_a_killed_host(tmp_path: Path) -> None:
    with kernel_up(config=CONFIG, folder=tmp_path) as kernel:
        link = kernel.link()
        mine = opened(link)
        add(link, mine, "a", "bb", "ä")
        add(link, mine, "bb")
        assert used(link) == 5 + 3 * ROW
        os.kill(store_host(link), signal.SIGKILL)
        add(link, mine, "c")
        assert used(link) == held(link) == 6 + 4 * ROW
    with kernel_up(config=CONFIG, folder=tmp_path) as kernel:
        link = kernel.link()
        assert used(link) == 6 + 4 * ROW
        called(link, opened(link), "delete", ids=("a", "nobody"))
        assert used(link) == held(link) == 5 + 3 * ROW
        called(link, opened(link), "delete")
        assert used(link) == 0


def test_a_kernel_that_is_killed_under_them_counts_what_is_there(tmp_path: Path) -> None:
    with kernel_up(config=CONFIG, folder=tmp_path) as kernel:
        link = kernel.link()
        mine = opened(link)
        add(link, mine, "first")
        _killed_amid(kernel, link, mine)
    with kernel_up(config=CONFIG, folder=tmp_path) as kernel:
        link = kernel.link()
        assert held(link) > 5 + ROW
        until(lambda: used(link) == held(link))


def _killed_amid(kernel: KernelProcess, link: BlockingLink, mine: int) -> None:
    """Adds until the kernel is gone, which is killed after some."""
    some = threading.Event()

    def kill() -> None:
        some.wait(60)
        kernel.child.kill()

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        for n in range(10_000):
            add(link, mine, f"row{n}", f"and{n}")
            if n == 5:
                some.set()
    except (SyscallError, OSError):
        pass
    killer.join()
    kernel.child.wait()
