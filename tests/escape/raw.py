"""System calls that the standard library does not have, for hostile programs."""

import ctypes
import mmap
from typing import Final

libc: Final = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long

_NUMBERS: Final = {
    "ptrace": 101, "syslog": 103, "personality": 135, "modify_ldt": 154, "pivot_root": 155, "prctl": 157,
    "mlockall": 151, "ioperm": 173, "shmget": 29, "semget": 64, "msgget": 68, "mq_open": 240, "mq_unlink": 241,
    "add_key": 248, "unshare": 272, "splice": 275, "move_pages": 279, "perf_event_open": 298,
    "name_to_handle_at": 303, "open_by_handle_at": 304, "setns": 308, "process_vm_readv": 310, "seccomp": 317,
    "bpf": 321, "userfaultfd": 323, "io_uring_setup": 425, "open_tree": 428, "fsopen": 430,
}  # fmt: skip
"""Of x86-64."""


def raw(call: str, *args: int | bytes | bytearray) -> int:
    """The system call by its name. Raises OSError."""
    words = [_word(arg) for arg in args]
    result = int(libc.syscall(ctypes.c_long(_NUMBERS[call]), *words))
    if result < 0:
        raise OSError(ctypes.get_errno(), call)
    return result


def _word(arg: int | bytes | bytearray) -> object:
    if isinstance(arg, int):
        return ctypes.c_long(arg)
    return (ctypes.c_char * len(arg)).from_buffer(arg) if isinstance(arg, bytearray) else ctypes.c_char_p(arg)


class _Span(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("size", ctypes.c_size_t)]


def read_memory(pid: int, address: int, size: int) -> bytes:
    """`size` bytes of another process. Raises OSError."""
    buffer = ctypes.create_string_buffer(size)
    here, there = _Span(ctypes.addressof(buffer), size), _Span(address, size)
    result = libc.syscall(
        ctypes.c_long(310), ctypes.c_long(pid), ctypes.byref(here), ctypes.c_long(1), ctypes.byref(there),
        ctypes.c_long(1), ctypes.c_long(0),
    )  # fmt: skip
    if result != size:
        raise OSError(ctypes.get_errno(), "process_vm_readv")
    return buffer.raw


def enter_i386() -> int | None:
    """getpid by int 0x80, which on x86-64 enters the i386 table; None when it has come back."""
    code = bytes.fromhex("b814000000cd80c3")  # mov eax, 20; int 0x80; ret
    with mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC) as page:
        page.write(code)
        place = ctypes.c_char.from_buffer(page)
        ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(place))()
        del place
    return None
