"""What `kernos doctor` is told of the sandbox, here and on a machine that lacks a layer.

Broken by: a probe that looks a layer up and does not try it, a layer that is missing and not named with what to do.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from sandbox.probe import layers
from sandbox.spec import LAYERS
from tests.e2e.sandbox_guests.host import open_guest, open_zygote

REPOSITORY = Path(__file__).parents[2]

# What a container's own filter may do; with it in place, the probe and a spawn are tried.
LACKING = """
import json, sys, trio
import pyseccomp
from sandbox.errors import JailError
from sandbox.probe import layers
from tests.e2e.sandbox_guests.host import open_zygote, worker_spec

def lack(call):
    container = pyseccomp.SyscallFilter(pyseccomp.ALLOW)
    container.add_rule(pyseccomp.ERRNO(38), call)  # ENOSYS, as containers answer clone3: threads use clone then
    container.load()

async def spawn():
    async with open_zygote() as zygote:
        for _ in range(2):
            try:
                await zygote.spawn(worker_spec())
            except JailError as error:
                said = str(error)
    return said

lack(json.loads(sys.argv[1]))
missing = {layer.name: [layer.detail, layer.fix] for layer in layers() if layer.needed and not layer.available}
print(json.dumps([missing, trio.run(spawn)]))
"""


async def test_where_a_guest_can_be_confined_every_needed_layer_is_reported_available() -> None:
    async with open_zygote() as zygote, open_guest(zygote):
        found = {layer.name: layer for layer in layers()}
    assert set(LAYERS) <= set(found)
    for layer in found.values():
        assert layer.available or not layer.needed, layer
        assert bool(layer.fix) != layer.available


@pytest.mark.parametrize(
    ("call", "layer", "at"),
    [
        ("clone3", "user", "clone"),
        ("pivot_root", "root", "root"),
        (446, "landlock", "landlock"),  # landlock_restrict_self, newer than libseccomp's table
    ],
)
def test_a_layer_that_is_missing_is_named_with_what_to_do(call: str | int, layer: str, at: str) -> None:
    command = [sys.executable, "-c", LACKING, json.dumps(call)]
    done = subprocess.run(command, cwd=REPOSITORY, stdout=subprocess.PIPE, check=True)
    missing, said = json.loads(done.stdout)
    assert layer in missing
    assert missing[layer][1]
    assert said.startswith(f"{at}: ")
