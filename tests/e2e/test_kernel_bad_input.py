"""Bad input at the machine's edges: each is one clear line that says what to do, and the kernel goes on."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from syscalls.calls import kernel, model, process
from syscalls.errors import SyscallError
from syscalls.link.blocking import BlockingLink
from tests.kernelproc import KernelProcess, kernel_up, spawn, wait
from tests.tinymodel import make_model

SIM = '[models.sim]\norigin = "sim:"\n'
FILLER = """
from kernos import Sys, program, user
from syscalls.errors import SyscallError

@program
async def fill(sys: Sys, rounds: int) -> list:
    notes = await sys.open("notes")
    kept = (await notes.stat()).version
    for n in range(rounds):
        try:
            kept = (await notes.append(user(f"{n} " + "x" * 30000), resident=False)).version
        except SyscallError as full:
            return [full.errno.name, full.message, kept, (await notes.stat()).version]
    return ["", "", kept, (await notes.stat()).version]

@program
async def leaves(sys: Sys) -> None:
    import os
    chat = await sys.open()
    await chat.append(user("go on"))
    sys.stream("context.generate", context=1, max_tokens=200)
    os._exit(3)
"""


@pytest.fixture(scope="module")
def up() -> Iterator[KernelProcess]:
    with kernel_up(config=SIM) as up:
        yield up


@pytest.fixture
def link(up: KernelProcess) -> Iterator[BlockingLink]:
    with up.link() as link:
        yield link


def damaged(folder: Path, how: str) -> Path:
    """A model folder with something wrong with it."""
    if how == "missing":
        return folder / "nowhere"
    make_model(folder)
    weights, config = folder / "model.safetensors", folder / "config.json"
    if how == "truncated":
        weights.write_bytes(weights.read_bytes()[: weights.stat().st_size // 2])
    elif how == "no weights":
        weights.unlink()
    elif how == "no config":
        config.unlink()
    elif how == "architecture":
        config.write_text(json.dumps({"model_type": "bert", "architectures": ["BertModel"], "hidden_size": 32}))
    elif how == "no template":
        for name in ("chat_template.jinja", "tokenizer_config.json"):
            path = folder / name
            if path.suffix == ".jinja":
                path.unlink(missing_ok=True)
            else:
                told = json.loads(path.read_text())
                told.pop("chat_template", None)
                path.write_text(json.dumps(told))
    return folder


@pytest.mark.parametrize(
    ("how", "hint"),
    [
        ("missing", "nowhere"),
        ("truncated", "model.safetensors"),
        ("no weights", "weights"),
        ("no config", "config.json"),
        ("architecture", "bert"),
        ("no template", "template"),
    ],
)
def test_a_bad_model_folder(how: str, hint: str, tmp_path: Path, link: BlockingLink) -> None:
    folder = damaged(tmp_path / "model", how)
    with pytest.raises(SyscallError) as refused:
        link.call(model.ADD, model.AddModel(name="bad", origin=str(folder)))
    sentence = refused.value.message
    assert hint.lower() in sentence.lower(), sentence
    assert "\n" not in sentence.strip()
    assert "Traceback" not in sentence
    assert [m.ref for m in link.call(model.LIST, model.ListModels()).models] == ["sim@1"], "nothing was registered"


def test_a_model_that_changed_is_a_new_version(tmp_path: Path, link: BlockingLink) -> None:
    folder = make_model(tmp_path / "model", seed=1)
    first = link.call(model.ADD, model.AddModel(name="mine", origin=str(folder)))
    again = link.call(model.ADD, model.AddModel(name="mine", origin=str(folder)))
    assert (first.ref, again.ref) == ("mine@1", "mine@1")
    make_model(folder, seed=2)
    changed = link.call(model.ADD, model.AddModel(name="mine", origin=str(folder)))
    assert changed.ref == "mine@2"
    assert changed.checksum != first.checksum


def test_programs_that_are_not_there(link: BlockingLink, tmp_path: Path) -> None:
    for program, hint in (
        ("nosuch", "installed:"),
        ("/no/such.py:x", "no such file"),
        ("/no/such.py", "/absolute/file.py:NAME"),
    ):
        with pytest.raises(SyscallError, match=hint):
            spawn(link, program)
    broken = tmp_path / "broken.py"
    broken.write_text("def (:")
    assert "SyntaxError" in wait(link, spawn(link, f"{broken}:x")).error
    empty = tmp_path / "empty.py"
    empty.write_text("")
    assert wait(link, spawn(link, f"{empty}:")).status == "failed"


def test_a_program_that_leaves_without_its_replies(link: BlockingLink, tmp_path: Path) -> None:
    path = tmp_path / "leaves.py"
    path.write_text(FILLER)
    ended = wait(link, spawn(link, f"{path}:leaves"))
    assert ended.status == "worker_lost"
    assert link.call(kernel.INFO, kernel.Info()).processes == 0


@pytest.mark.skipif(os.getuid() != 0, reason="a small disk is a tmpfs, which root mounts")
def test_a_full_disk_under_the_pages_loses_nothing(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(state)], check=True)
    try:
        program = tmp_path / "filler.py"
        program.write_text(FILLER)
        ballast = state / "ballast"
        ballast.write_bytes(b"x" * 1_500_000)
        with kernel_up(config=SIM, folder=tmp_path) as up, up.link() as link:
            errno, sentence, kept, version = _value(wait(link, spawn(link, f"{program}:fill", 500)))
            assert errno == "EIO"
            assert "full" in sentence
            assert "free some space" in sentence
            assert kept == version, "what was acknowledged is there, and nothing else"
            assert link.call(process.SELF, process.Self()).kind == "session", "the kernel goes on"
            ballast.unlink()
            errno, _, more, version = _value(wait(link, spawn(link, f"{program}:fill", 2)))
            assert (errno, more, version) == ("", kept + 2, kept + 2)
    finally:
        subprocess.run(["umount", "-l", str(state)], check=True)


def _value(ended: process.Exit) -> list[Any]:
    assert ended.status == "done", ended.error
    value: list[Any] = msgspec.msgpack.decode(ended.value)
    return value
