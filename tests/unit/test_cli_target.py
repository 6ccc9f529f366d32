"""What `kernos run` makes of its words: the program, its arguments, its rights."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from syscalls.rights import Right, parse_rights
from userland.cli.failures import NOT_FOUND, USAGE, Failure
from userland.cli.target import checked_right, resolve
from userland.programs.manifest import RIGHTS, rights_of


def kwargs(packed: bytes) -> Any:
    return msgspec.msgpack.decode(packed)


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "hello.py"
    path.write_text("")
    return path.resolve()


def test_a_file_gets_its_folder_and_the_models(file: Path) -> None:
    target = resolve("hello.py", ["--name", "x"], allow=())
    assert target.program == f"{file}:"
    assert kwargs(target.kwargs) == {"__argv__": ["--name", "x"]}
    assert set(target.rights) == {
        f"file:{file.parent}/** read",
        f"program:{file}:* spawn",
        "model:*",
        "account:own usage",
        "context:own",
        "process:self",
        "process:children",
    }


def test_a_program_in_a_file_may_spawn_its_siblings_but_no_other_file(file: Path) -> None:
    rights = parse_rights(resolve("./hello.py:main", [], allow=()).rights)
    assert any(right.allows("spawn", f"program:{file}:other") for right in rights)
    assert not any(right.allows("spawn", f"program:{file.parent}/b.py:main") for right in rights)
    assert not any(right.allows("spawn", "program:ask") for right in rights)


def test_a_name_after_the_file_is_the_program(file: Path) -> None:
    assert resolve("hello.py:greet", [], allow=()).program == f"{file}:greet"


def test_a_link_is_followed_so_that_the_jail_holds_the_real_file(file: Path) -> None:
    (file.parent / "alias.py").symlink_to(file)
    assert resolve("alias.py", [], allow=()).program == f"{file}:"


@pytest.mark.parametrize(
    ("what", "code"), [("gone.py", NOT_FOUND), ("./gone", NOT_FOUND), ("./notes.txt", USAGE), ("gone.py:x", NOT_FOUND)]
)
def test_what_cannot_be_run_is_refused_before_anything_starts(file: Path, what: str, code: int) -> None:
    (file.parent / "notes.txt").write_text("")
    with pytest.raises(Failure) as refused:
        resolve(what, [], allow=())
    assert refused.value.code == code


def test_a_shipped_program_gets_what_its_manifest_asks_for(file: Path) -> None:
    target = resolve("chat", ["hello"], allow=["tool:x.* call"])
    assert target.program == "chat"
    assert set(target.rights) == {*RIGHTS["chat"], "tool:x.* call"}


def test_folders_among_its_words_are_granted_by_their_real_paths(file: Path) -> None:
    docs = file.parent / "docs"
    docs.mkdir()
    target = resolve("ask", ["what?", "docs", "--first"], allow=())
    assert kwargs(target.kwargs) == {"__argv__": ["what?", str(docs), "--first"]}
    assert set(target.rights) - set(RIGHTS["ask"]) == {f"file:{docs}/** read"}


def test_folders_among_the_words_of_a_file_are_not_granted(file: Path) -> None:
    (file.parent / "docs").mkdir()
    target = resolve("hello.py", ["docs"], allow=())
    assert kwargs(target.kwargs) == {"__argv__": ["docs"]}
    assert not any("docs" in right for right in target.rights)


def test_allow_takes_relative_folders_and_refuses_what_is_no_right(file: Path) -> None:
    assert checked_right("file:docs/** read") == f"file:{file.parent}/docs/** read"
    assert checked_right("model:*") == "model:*"
    assert checked_right("file:~/notes/** write") == "file:~/notes/** write", "a refusal's advice is taken as it is"
    with pytest.raises(Failure, match="is no right") as refused:
        checked_right("everything please")
    assert refused.value.code == USAGE


@pytest.mark.parametrize("program", [*RIGHTS, "somebody-elses"])
def test_manifests_are_rights_and_reach_no_files_of_themselves(program: str) -> None:
    for text in rights_of(program):
        assert str(Right.parse(text)) == text
        assert not text.startswith(("file:", "kernel:", "**"))


def test_a_job_file_says_rights_budget_and_priority(file: Path) -> None:
    (file.parent / "docs").mkdir()
    (file.parent / "j.toml").write_text(
        'kind = "ask"\nquestions = ["why?"]\ninputs = ["docs"]\n[strategy]\npriority = 5\ntokens = 900\n'
    )
    target = resolve("j.toml", [], allow=())
    assert (target.program, target.nice, target.tokens) == ("job", 5, 900)
    assert f"file:{file.parent}/docs/** read" in target.rights
    assert kwargs(target.kwargs)["spec"]["questions"] == ["why?"]
    with pytest.raises(Failure):
        resolve("j.toml", ["more"], allow=())
