"""`kernos exec --overlay` with a real kernel, and what becomes of what was written: shown, applied, discarded."""

import os
import re
import stat
from pathlib import Path

import pytest

from tests.commandline import CommandLine
from tests.e2e.test_exec import folder, up
from userland.overlay.apply import apply
from userland.overlay.changes import changes
from userland.overlay.store import Layer

__all__ = ["folder", "up"]

WORK = """
cd {folder}
echo changed >> kept; rm gone; mkdir -p new/deep; echo new > new/deep/file; chmod 755 script
rm -r whole; mkdir whole; echo other > whole/other
mv moved moved.to; ln -s kept link; rm turned; mkdir turned; echo x > turned/x
"""


@pytest.fixture
def tree(folder: Path) -> Path:
    for name in ("kept", "gone", "script", "moved", "turned", "untouched"):
        (folder / name).write_text(f"{name}\n")
    (folder / "script").chmod(0o644)
    (folder / "whole").mkdir()
    (folder / "whole" / "inner").write_text("inner\n")
    return folder


def state(folder: Path) -> dict[str, str]:
    """All that lies in a folder: files by their text, links by what they lead to."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        found[name] = f"-> {os.readlink(path)}" if path.is_symlink() else "/" if path.is_dir() else path.read_text()
    return found


def overlaid(up: CommandLine, folder: Path, script: str) -> str:
    """Runs it with an overlay; the overlay's number."""
    before = state(folder)
    done = up("exec", "--write", folder, "--overlay", "--", "sh", "-ec", script.format(folder=folder))
    assert done.returncode == 0, done.stderr
    assert state(folder) == before
    found = re.search(r"(?:kernos diff|overlay) (\d+)", done.stderr)
    assert found is not None, done.stderr
    return found[1]


def test_what_was_written_is_apart_until_it_is_applied(up: CommandLine, tree: Path) -> None:
    number = overlaid(up, tree, WORK)
    listed = up("diff", number, "--list").stdout.replace(f"{tree}/", "").splitlines()
    assert listed == [
        "D gone", "M kept", "A link -> kept", "D moved", "A moved.to", "A new/", "A new/deep/", "A new/deep/file",
        "C script (mode 755)", "R turned/", "A turned/x", "D whole/inner", "A whole/other",
    ]  # fmt: skip
    shown = up("diff", number).stdout.splitlines()
    assert "+changed" in shown and "-gone" in shown and "+new" in shown
    assert {each["path"] for each in up.json("diff", number)} >= {"gone", "kept"}
    assert up("apply", number).returncode == 0
    assert state(tree) == {
        "kept": "kept\nchanged\n", "link": "-> kept", "moved.to": "moved\n", "new": "/", "new/deep": "/",
        "new/deep/file": "new\n", "script": "script\n", "turned": "/", "turned/x": "x\n", "untouched": "untouched\n",
        "whole": "/", "whole/other": "other\n",
    }  # fmt: skip
    assert stat.S_IMODE((tree / "script").stat().st_mode) == 0o755
    assert up("diff", number).returncode == 3


def test_what_is_discarded_is_gone(up: CommandLine, tree: Path) -> None:
    number = overlaid(up, tree, WORK)
    before = state(tree)
    assert up("discard", number).returncode == 0
    assert state(tree) == before and up("apply", number).returncode == 3


def test_what_was_left_without_permissions_is_discarded_too(up: CommandLine, tree: Path) -> None:
    number = overlaid(
        up, tree, "mkdir -p {folder}/shut/inner; echo x > {folder}/shut/inner/file; chmod 0 {folder}/shut"
    )
    assert up("discard", number).returncode == 0 and up("discard", number).returncode == 3


def test_without_changes_there_is_no_overlay(up: CommandLine, tree: Path) -> None:
    done = up("exec", "--write", tree, "--overlay", "--", "cat", tree / "kept")
    assert (done.stdout, done.stderr) == ("kept\n", "")


@pytest.mark.parametrize(
    ("script", "meanwhile", "why"),
    [
        ("echo x > {folder}/kept", lambda tree: (tree / "kept").write_text("mine"), "was changed meanwhile"),
        ("echo x > {folder}/kept", lambda tree: (tree / "kept").unlink(), "was removed meanwhile"),
        ("rm {folder}/gone", lambda tree: (tree / "gone").write_text("mine"), "was changed meanwhile"),
        ("rm -r {folder}/whole", lambda tree: (tree / "whole" / "more").write_text("mine"), "was changed meanwhile"),
        ("echo x > {folder}/fresh", lambda tree: (tree / "fresh").write_text("mine"), "was changed meanwhile"),
    ],
    ids=("written", "removed", "deleted", "below", "added"),
)
def test_what_was_changed_meanwhile_is_a_conflict(
    up: CommandLine, tree: Path, script: str, meanwhile: object, why: str
) -> None:
    number = overlaid(up, tree, script)
    meanwhile(tree)  # type: ignore[operator]
    before = state(tree)
    refused = up("apply", number)
    assert refused.returncode == 5 and why in refused.stderr
    assert state(tree) == before
    assert up("apply", number, "--force").returncode == 0
    assert state(tree) != before


def test_a_link_that_leads_out_is_not_applied_unless_it_is_said(up: CommandLine, tree: Path) -> None:
    number = overlaid(up, tree, "ln -s /etc/passwd {folder}/absolute; ln -s ../../x {folder}/relative")
    assert up("diff", number, "-l").stdout.count("leads out of the folder") == 2
    assert up("apply", number).returncode == 5 and "absolute" not in state(tree)
    assert up("apply", number, "--links").returncode == 0 and state(tree)["absolute"] == "-> /etc/passwd"


def test_applying_follows_no_link_of_the_folder(up: CommandLine, tree: Path) -> None:
    """The folder that the overlay saw has become a link since: what was written into it is not written behind it."""
    outside = tree.parent / f"{tree.name}-outside"
    outside.mkdir()
    (tree / "inside").mkdir()
    number = overlaid(up, tree, "echo x > {folder}/inside/file")
    (tree / "inside").rmdir()
    (tree / "inside").symlink_to(outside)
    up("apply", number, "--force")
    assert list(outside.iterdir()) == []


def test_a_folder_that_becomes_a_link_while_it_is_applied_is_not_followed(tmp_path: Path) -> None:
    for part in ("folder/inside", "upper/inside", "outside"):
        (tmp_path / part).mkdir(parents=True)
    (tmp_path / "upper" / "inside" / "file").write_text("x")
    layer = Layer(str(tmp_path / "folder"), tmp_path / "upper", 0)
    found = changes(layer)
    assert [change.path for change in found] == ["inside/file"]
    (tmp_path / "folder" / "inside").rmdir()
    (tmp_path / "folder" / "inside").symlink_to(tmp_path / "outside")
    with pytest.raises(OSError, match=r"symbolic links|Not a directory"):
        apply(layer, found)
    assert list((tmp_path / "outside").iterdir()) == []


def test_nobody_gets_more_than_permissions(up: CommandLine, tree: Path) -> None:
    number = overlaid(up, tree, "cp /bin/true {folder}/tool; chmod 4755 {folder}/tool; mkfifo {folder}/pipe")
    assert up("apply", number, "--force").returncode == 5
    assert up("discard", number).returncode == 0
    number = overlaid(up, tree, "cp /bin/true {folder}/tool; chmod 4755 {folder}/tool")
    assert up("apply", number).returncode == 0
    assert stat.S_IMODE((tree / "tool").stat().st_mode) == 0o755


def test_an_overlay_is_for_what_may_be_written(up: CommandLine, tree: Path) -> None:
    assert up("exec", "--read", tree, "--overlay", "--", "true").returncode == 2
