"""The doctor's own eyes: the model's folder, the socket, the lines it prints."""

import hashlib
import json
import socket
from pathlib import Path

import pytest

from userland.cli.checks import Finding, check_kernel, check_model
from userland.cli.commands.doctor import lines_of
from userland.cli.session import Session


def weights(folder: Path, *, size: int = 16, card: str = "") -> Path:
    """A safetensors file of one tensor."""
    header = json.dumps({"w": {"dtype": "F32", "shape": [4], "data_offsets": [0, size]}}).encode()
    path = folder / "model.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(16))
    if card:
        (folder / "README.md").write_text(card)
    return path


def test_a_whole_model_is_ok_and_compared_with_its_card(tmp_path: Path) -> None:
    path = weights(tmp_path)
    assert check_model(tmp_path).status == "ok"
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    (tmp_path / "README.md").write_text(f"sha256 of the weights: {digest}\n")
    found = check_model(tmp_path)
    assert found.status == "ok" and "as its card says" in found.detail


def test_a_model_that_is_missing_truncated_or_another_says_what_to_do(tmp_path: Path) -> None:
    missing = check_model(tmp_path)
    weights(tmp_path, size=4000)
    truncated = check_model(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"")
    empty = check_model(tmp_path)
    weights(tmp_path, card="a" * 64)
    another = check_model(tmp_path)
    for found in (missing, truncated, empty, another):
        assert found.status == "fail" and "make model" in found.fix
    assert "its header says" in truncated.detail and "expected aaaa" in another.detail


def test_the_socket_of_a_dead_kernel_is_told_from_none_and_from_a_file(tmp_path: Path) -> None:
    def kernel(path: Path) -> Finding:
        session = Session()
        session.choose(socket=str(path))
        return check_kernel(session)

    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "dead.sock"))
    (tmp_path / "file").write_text("")
    assert "dead kernel" in kernel(tmp_path / "dead.sock").detail
    assert "none runs" in kernel(tmp_path / "none.sock").detail
    assert kernel(tmp_path / "file").status == "fail"


@pytest.mark.parametrize("status", ["ok", "warn"])
def test_what_to_do_has_a_line_of_its_own(status: str) -> None:
    finding = Finding("disk", "ok" if status == "ok" else "warn", "5 MiB free", "make room")
    lines = lines_of(finding)
    assert lines[0] == f"{status:<5} {'disk':<21} 5 MiB free"
    assert lines[1:] == ([] if status == "ok" else [f"{'':<28}-> make room"])
