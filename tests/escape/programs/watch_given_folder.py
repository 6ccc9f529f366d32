"""Watches what others do to files."""

from typing import Any

from tests.escape.raw import libc

REFUSED_BY = ("seccomp",)


def attempt(stage: dict[str, Any]) -> object:
    fd = libc.inotify_init1(0)
    watch = libc.inotify_add_watch(fd, stage["inside"].encode(), 0x20)
    return fd > 2 and watch > 0


def proof(stage: dict[str, Any]) -> object:
    return True
