"""What a script says it needs, and what is made of what an installer says."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from userland.cli.environment import WHEELS_ONLY, digest, failure
from userland.cli.failures import ERROR, NO_CONNECTION, NOT_FOUND, USAGE, Failure
from userland.cli.script import Script, check_python, parse_script


def parse(text: str) -> Script | None:
    return parse_script(text, name="p.py")


def said(text: str) -> str:
    with pytest.raises(Failure) as failed:
        parse(text)
    assert failed.value.code == USAGE
    assert failed.value.message.startswith("p.py: ") and "\n" not in failed.value.message
    return failed.value.message


def block(*lines: str) -> str:
    return "\n".join(["# /// script", *(f"# {line}" if line else "#" for line in lines), "# ///", ""])


def test_what_it_needs_is_read_in_its_one_form() -> None:
    text = "import x\n\n" + block('requires-python = ">=3.11"', "dependencies = [", '  "Rich",', '  "requests<3",', "]")
    assert parse(text + "x()\n") == Script(">=3.11", ("requests<3", "rich"))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "import x\n",
        "# /// script\n",
        "# /// script\n# dependencies = ['x']\n",
        "# /// script\n# dependencies = ['x']\n\n# ///\n",
        "# /// script\n#dependencies = ['x']\n# ///\n",
        " # /// script\n # dependencies = ['x']\n # ///\n",
        "# /// script\n# ///\n",
        "# /// other\n# dependencies = ['x']\n# ///\n",
        "#/// script\n# dependencies = ['x']\n# ///\n",
        "# /// script \n# dependencies = ['x']\n# ///\n",
    ],
)
def test_what_is_no_block_says_nothing(text: str) -> None:
    assert parse(text) is None


def test_a_block_ends_at_its_last_end_and_so_may_hold_some() -> None:
    text = block('dependencies = ["a"]', "[tool.x]", 'text = """', "/// <b>", "///", "still", '"""')
    assert parse(text) == Script("", ("a",))
    assert parse(block('dependencies = ["a"]') + "# and a comment\n") == Script("", ("a",))


def test_a_block_that_does_not_end_does_not_hide_the_next() -> None:
    assert parse("# /// script\n# x = 1\n\n" + block('dependencies = ["a"]')) == Script("", ("a",))
    assert parse("# /// other\n" + block('dependencies = ["a"]')) is None, "it lies inside the other one"


def test_two_blocks_are_one_too_many() -> None:
    assert "a second '# /// script' in line 5 (the first is in line 1)" in said(block("a = 1") + "\n" + block("b = 1"))
    assert parse(block("a = 1") + "\n# /// other\n# x\n# ///\n") == Script()


def test_what_is_wrong_is_told_with_its_line() -> None:
    assert "line 4" in said("\n\n" + block("dependencies = oops"))
    assert "line 3" in said(block("a = 1", "a = 2"))


@pytest.mark.parametrize("wrong", ['"requests"', "3", "[1]", '{a = "b"}', '["a", ["b"]]'])
def test_dependencies_are_a_list_of_texts(wrong: str) -> None:
    assert "write a list of texts" in said(block(f"dependencies = {wrong}"))


@pytest.mark.parametrize("wrong", ["", "-r other.txt", "--index-url=x", "a b", "a==", "./a", "a; b == 1", "/abs/a.whl"])
def test_what_is_no_requirement_is_refused(wrong: str) -> None:
    assert f"dependency {wrong!r} is none" in said(block(f"dependencies = ['{wrong}']"))


@pytest.mark.parametrize("wrong", ['"three"', "3.11", '[">=3"]'])
def test_a_python_is_told_by_versions(wrong: str) -> None:
    assert "requires-python is" in said(block(f"requires-python = {wrong}"))


def test_what_is_for_other_machines_is_left_out() -> None:
    text = block("dependencies = ['a; sys_platform == \"no\"', 'b; sys_platform != \"no\"', 'c[x]>1']")
    assert parse(text) == Script("", ("b", "c[x]>1"))


@pytest.mark.parametrize("version", ["3.11.0", "3.12.4", "3.13.0rc1"])
def test_a_python_that_fits(version: str) -> None:
    check_python(Script(">=3.11,<4"), version, name="p.py")


def test_a_python_that_does_not_fit_is_told() -> None:
    with pytest.raises(Failure, match=r"p.py needs Python >=3.13, and this kernos runs on 3.11.7: install kernos"):
        check_python(Script(">=3.13"), "3.11.7", name="p.py")


@given(
    before=st.lists(st.sampled_from(["import x", "", "#", "# a", "x = '''"])), names=st.sets(st.sampled_from("abcd"))
)
def test_a_block_is_found_wherever_it_stands(before: list[str], names: set[str]) -> None:
    text = "\n".join([*before, block(f"dependencies = {sorted(names, reverse=True)}"), *before])
    assert parse(text) == Script("", tuple(sorted(names)))


def test_an_environment_is_named_by_what_was_asked_for_and_the_interpreter() -> None:
    name = digest(("a", "b<2"), "cpython-311")
    assert digest(("b<2", "a", "a"), "cpython-311") == name
    assert (
        len({name, digest(("a", "b<3"), "cpython-311"), digest(("a", "b<2"), "cpython-312"), digest(("a",), "x")}) == 4
    )


@pytest.mark.parametrize(
    ("lines", "code", "told"),
    [
        (["WARNING: Retrying after connection broken by 'X'", "ERROR: No matching distribution found for a"],
         NO_CONNECTION, "the package index cannot be reached"),
        (["error: Request failed", "cause: error sending request for url (x)"],
         NO_CONNECTION, "the package index cannot be reached"),
        (["ERROR: Could not find", "ERROR: No matching distribution found for a>5"],
         NOT_FOUND, "p.py: there is no a>5 for this machine; only wheels"),
        (["error: No solution found", "cause: Because a was not found."], NOT_FOUND, "p.py: Because a was not found; "),
        (["error: No solution", "cause: it has no wheels and building from source is disabled"],
         ERROR, "one of its packages has no wheel that fits here; only wheels"),
        (["error: Failed to resolve", "cause: Package `x` was a URL"],
         ERROR, "cannot be installed: Failed to resolve: Package `x` was a URL"),
        (["ERROR: Exception:", "Traceback", "ValueError: no such thing", ""],
         ERROR, "cannot be installed: ValueError: no such thing"),
        ([], ERROR, "cannot be installed: the installer said nothing"),
    ],
)  # fmt: skip
def test_what_an_installer_says_becomes_one_sentence(lines: list[str], code: int, told: str) -> None:
    found = failure(lines, name="p.py", build=False)
    assert found.code == code
    assert told in found.message and "\n" not in found.message


def test_who_lets_packages_be_built_is_not_told_how() -> None:
    unknown = ["ERROR: No matching distribution found for a"]
    assert WHEELS_ONLY not in failure(unknown, name="p.py", build=True).message
