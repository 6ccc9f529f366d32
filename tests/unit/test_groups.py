"""Control groups, on a folder of files that behaves as cgroup v2 does: what is made, bounded, told and removed.

Broken by: a limit that is not written, a controller that is taken for granted, a kernel that kills another's workers,
or leaves its own groups behind.
"""

import os
from pathlib import Path

import pytest

from sandbox.groups import Groups, NoGroups, make_groups, own_places
from sandbox.leaves import CONTROLLERS, Leaves, settings_of
from sandbox.spec import COMMAND_LIMITS, Limits
from tests.cgroupfs import Cgroupfs

MIB = 1 << 20


def made(system: Cgroupfs) -> Groups:
    return make_groups((system.place,), system.tree)


def born(system: Cgroupfs, groups: Groups, name: str = "1-1", pid: str = "77") -> Path:
    """A worker's group, as a zygote makes it, with a process in it."""
    folder = Path(groups.folder) / name
    system.make(str(folder))
    (folder / "cgroup.procs").write_text(pid)
    return folder


def test_a_kernel_that_is_alone_has_every_controller_and_leaves_nothing(tmp_path: Path) -> None:
    system = Cgroupfs(tmp_path / "cgroup")
    groups = made(system)
    assert groups.controllers == set(CONTROLLERS) and not groups.lacking
    own = Path(groups.folder)
    assert system.words(own / "kernel" / "cgroup.procs") == [str(os.getpid())]
    assert system.words(Path(system.place) / "cgroup.procs") == []
    groups.close()
    groups.close()
    assert system.below() == []
    assert system.words(Path(system.place) / "cgroup.procs") == [str(os.getpid())]


def test_beside_others_it_goes_without_controllers_and_says_why(tmp_path: Path) -> None:
    system = Cgroupfs(tmp_path / "cgroup", others=1)
    groups = made(system)
    assert not groups.controllers
    assert groups.lacking == f"cpu, memory, pids not handed down: other processes are in {system.place}"
    assert system.below() == [os.path.basename(groups.folder)]
    groups.close()
    assert system.below() == []


def test_a_controller_that_is_not_there_is_named(tmp_path: Path) -> None:
    system = Cgroupfs(tmp_path / "cgroup", controllers=("cpu", "pids"))
    groups = made(system)
    assert groups.controllers == {"cpu", "pids"} and groups.lacking == f"memory not in {system.place}"
    assert [file for file, _ in settings_of(Limits(), groups.controllers)] == ["pids.max"]
    groups.close()


def test_limits_are_written_before_there_is_a_worker(tmp_path: Path) -> None:
    system = Cgroupfs(tmp_path / "cgroup")
    groups = made(system)
    folder = born(system, groups)
    (folder / "memory.swap.max").unlink()  # a system without swap has none
    descriptor = groups.open()
    Leaves(descriptor).bound("1-1", settings_of(Limits(memory_bytes=256 * MIB, processes=999), groups.controllers))
    os.close(descriptor)
    told = {name: (folder / name).read_text() for name in ("memory.max", "memory.oom.group", "pids.max")}
    assert told == {"memory.max": str(256 * MIB), "memory.oom.group": "1", "pids.max": "999"}
    groups.close()


def test_the_memory_of_a_command_is_what_its_processes_write_to() -> None:
    found = dict(settings_of(COMMAND_LIMITS, frozenset(CONTROLLERS)))
    assert found["memory.max"] == str(COMMAND_LIMITS.data_bytes) and found["memory.swap.max"] == "0"


def test_a_file_that_must_be_there_and_is_not_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "leaf").mkdir()
    descriptor = os.open(tmp_path, os.O_RDONLY)
    with pytest.raises(FileNotFoundError):
        Leaves(descriptor).bound("leaf", (("memory.max", "1"),))
    os.close(descriptor)


def test_a_kill_for_memory_is_told_and_the_group_is_gone(tmp_path: Path) -> None:
    system = Cgroupfs(tmp_path / "cgroup")
    groups = made(system)
    folder = born(system, groups)
    group = groups.group("1-1")
    assert group is not None and group.shares
    assert not group.ran_out_of_memory()
    (folder / "memory.events").write_text("low 0\nhigh 0\nmax 31\noom 1\noom_kill 1\noom_group_kill 1\n")
    assert group.ran_out_of_memory()
    group.give_way(True)
    assert (folder / "cpu.idle").read_text() == "1"
    group.give_way(False)
    assert (folder / "cpu.idle").read_text() == "0"
    group.remove()  # what it left is ended first
    group.remove()
    assert not folder.exists()
    groups.close()


def test_what_a_killed_kernel_left_is_swept_and_a_living_ones_is_not(tmp_path: Path) -> None:
    system = Cgroupfs(tmp_path / "cgroup", others=1)
    alive = made(system)
    worker = born(system, alive)
    dead = Path(system.place) / "kernos-1"
    system.make(str(dead))
    system.make(str(dead / "1-1"))
    (dead / "1-1" / "cgroup.procs").write_text("99")
    second = made(system)
    assert not dead.exists()
    assert worker.exists() and system.words(worker / "cgroup.procs") == ["77"]
    assert second.folder != alive.folder
    second.close()
    alive.close()
    assert system.below() == []


def test_what_a_dead_zygote_made_for_nobody_goes_and_its_workers_stay(tmp_path: Path) -> None:
    system = Cgroupfs(tmp_path / "cgroup")
    groups = made(system)
    worker, other = born(system, groups, "7-1"), born(system, groups, "71-2", pid="")
    for_nobody = born(system, groups, "7-2", pid="")
    groups.forget(7)
    assert worker.exists() and other.exists() and not for_nobody.exists()
    groups.close()


def test_who_may_make_none_is_told_why(tmp_path: Path) -> None:
    with pytest.raises(NoGroups, match="no cgroup2 is mounted"):
        make_groups(())
    with pytest.raises(NoGroups, match="no process can be put"):
        make_groups((str(tmp_path),))


@pytest.mark.parametrize(
    ("mount", "own", "found"),
    [
        ("31 30 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw", "0::/a.slice/b", "/sys/fs/cgroup/a.slice/b"),
        ("31 30 0:26 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw", "1:cpu:/x\n0::/", "/sys/fs/cgroup/unified"),
        ("31 30 0:26 /docker/x /sys/fs/cgroup rw - cgroup2 cgroup rw", "0::/docker/x/in", "/sys/fs/cgroup/in"),
        ("31 30 0:26 /docker/x /sys/fs/cgroup rw - cgroup2 cgroup rw", "0::/docker/xy", ""),
        ("31 30 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw", "0::/../elsewhere", ""),
        ("31 30 0:26 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory", "0::/", ""),
        ("31 30 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw", "4:memory:/only-v1", ""),
    ],
)  # fmt: skip
def test_the_own_group_is_found_as_the_system_shows_it(tmp_path: Path, mount: str, own: str, found: str) -> None:
    (tmp_path / "mountinfo").write_text(f"22 1 0:2 / /proc rw - proc proc rw\n{mount}\n")
    (tmp_path / "cgroup").write_text(f"{own}\n")
    assert own_places(tmp_path / "mountinfo", tmp_path / "cgroup") == ((found,) if found else ())
