"""The client in Node, as docs/clients has it, against a real kernel."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.kernelproc import KernelProcess, kernel_up, trace

CLIENTS = Path(__file__).parents[2] / "docs" / "clients"
CONFIG = """
embedding = "hash"
store = "memory"
[models.sim]
origin = "sim:"
[models.sim.options]
script = '["a small cup on a ring"]'
"""
LINES_MAX = 150
NODE = shutil.which("node") or shutil.which("nodejs")

pytestmark = pytest.mark.skipif(NODE is None, reason="node is not installed: apt-get install nodejs")


@pytest.fixture(scope="module")
def up() -> Iterator[KernelProcess]:
    with kernel_up(config=CONFIG) as up:
        yield up


def node(up: KernelProcess, *words: str) -> str:
    assert NODE is not None
    ran = subprocess.run(
        [NODE, *words], capture_output=True, text=True, timeout=60, env={"KERNOS_SOCKET": str(up.socket)}, check=False
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def script(up: KernelProcess, tmp_path: Path, body: str) -> Any:
    """Runs `body`, in which `kernel` is connected and `show` prints JSON; what it showed."""
    path = tmp_path / "script.mjs"
    path.write_text(
        f'import {{ connect, decode, encode }} from "{CLIENTS}/kernos.mjs";\n'
        "const kernel = await connect(process.env.KERNOS_SOCKET);\n"
        "const show = (value) => console.log(JSON.stringify(value));\n"
        f"{body}\nkernel.close();\n"
    )
    return [json.loads(line) for line in node(up, str(path)).splitlines()]


def test_the_client_is_short() -> None:
    assert len((CLIENTS / "kernos.mjs").read_text().splitlines()) <= LINES_MAX


def test_the_example_lists_processes_and_streams_an_answer(up: KernelProcess) -> None:
    out = node(up, str(CLIENTS / "example.mjs"), "What is kernos?")
    assert " kernos" in out.splitlines()[0]
    assert "a small cup on a ring" in out
    assert "[stop: " in out


def test_errors_are_typed(up: KernelProcess, tmp_path: Path) -> None:
    shown = script(
        up,
        tmp_path,
        """
        for (const [name, args] of [["process.kill", { pid: 999999 }], ["no.such", {}], ["process.kill", { pit: 1 }],
                                    ["model.info", { model: "x".repeat(70000) }]])
          await kernel.call(name, args).catch((error) => show([error.errno, error.message]));
        """,
    )
    assert [errno for errno, _ in shown] == ["ESRCH", "ENOSYS", "EINVAL", "EINVAL"]
    assert "kernos man process.kill" in shown[2][1]


def test_leaving_a_stream_cancels_it_and_credit_is_given_back(up: KernelProcess, tmp_path: Path) -> None:
    shown = script(
        up,
        tmp_path,
        """
        for (let n = 0; n < 300; n++) await kernel.call("process.note", { note: `step ${n}`, done: n });
        let count = 0;
        for await (const record of kernel.stream("kernel.trace", {})) count++;
        show(count > 600);
        for await (const record of kernel.stream("kernel.trace", { follow: true })) break;
        show((await kernel.call("process.self")).kind);
        """,
    )
    assert shown == [True, "session"]
    with up.link() as link:
        ended = [r for r in trace(link) if r.name == "kernel.trace"]
    assert [r.errno for r in ended][-2:] == ["", "ECANCELED"]


def test_a_result_that_fits_no_frame_comes_whole(up: KernelProcess, tmp_path: Path) -> None:
    shown = script(
        up,
        tmp_path,
        """
        const texts = Array.from({ length: 300 }, (_, n) => `text ${n}`);
        const { vectors, dimensions } = await kernel.call("model.embed", { texts });
        show([vectors.length, dimensions * 4 * 300]);
        """,
    )
    assert shown[0][0] == shown[0][1] > 65536


def test_numbers_text_and_bytes_survive_the_codec(up: KernelProcess, tmp_path: Path) -> None:
    shown = script(
        up,
        tmp_path,
        """
        const values = [0, 127, 128, -1, -33, 65536, 2 ** 40, -(2 ** 40), 1.5, "", "cup \\u{1F375}", [], [1, [2]],
                        { a: { b: null } }, true, false, null];
        for (const value of values) show([value, decode(encode(value))]);
        const { pid } = await kernel.call("process.self");
        await kernel.call("message.send", { pid, body: { list: values, bytes: Buffer.from([1, 2]) } });
        const { body } = await kernel.call("message.receive");
        show([body.list, values]);
        """,
    )
    assert all(sent == came for sent, came in shown)
