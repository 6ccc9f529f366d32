"""Rights: how they read, what they allow, and that covering is what it says."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from syscalls.errors import Invalid
from syscalls.rights import Right, _walker, allowed, parse_rights, uncovered

resources = st.lists(st.sampled_from(["a", "b", "/", "*", "**"]), min_size=1, max_size=6).map(
    lambda parts: "file:" + re.sub("/+", "/", "".join(parts).replace("***", "**"))
)
concrete = st.lists(st.sampled_from(["a", "b", "/", "x"]), min_size=1, max_size=8).map(lambda p: "file:" + "".join(p))
actions = st.sampled_from([("*",), ("read",), ("read", "write"), ("write",)])
rights = st.builds(Right, resources, actions)


@example(Right("file:/a/**", ("read",)), Right("file:/a/b", ("write",)), "file:/a/b", "write")
@example(Right("file:/a/*", ("*",)), Right("file:/a/**", ("read",)), "file:/a/b/c", "read")
@given(rights, rights, concrete, st.sampled_from(["read", "write", "list"]))
def test_what_is_covered_allows_no_more(outer: Right, inner: Right, resource: str, action: str) -> None:
    if outer.covers(inner) and inner.allows(action, resource):
        assert outer.allows(action, resource)


@given(rights, rights, concrete, st.sampled_from(["read", "write", "list"]))
def test_what_both_allow_they_overlap_in(one: Right, other: Right, resource: str, action: str) -> None:
    if one.allows(action, resource) and other.allows(action, resource):
        assert one.overlaps(other) and other.overlaps(one)


@given(rights, rights)
def test_what_covers_overlaps(one: Right, other: Right) -> None:
    assert one.overlaps(other) == other.overlaps(one)
    if one.covers(other):
        assert one.overlaps(other)


@pytest.mark.parametrize(
    ("one", "other", "answer"),
    [
        ("file:/etc/**", "file:/e*/passwd", True),
        ("file:/etc/**", "file:/srv/**", False),
        ("file:/a/*/c", "file:/a/**", True),
        ("file:/a/*/c", "file:/*/b/c", True),
        ("file:/a/*", "file:/a/b/c", False),
        ("file:/a/** read", "file:/a/** write", False),
        ("**", "net:https://x/** get", True),
        ("tool:*x*", "tool:*y*", True),
    ],
)
def test_examples_of_overlap(one: str, other: str, answer: bool) -> None:
    assert Right.parse(one).overlaps(Right.parse(other)) == answer


def test_overlap_takes_no_longer_for_the_ill_willed() -> None:
    evil = Right.parse("tool:" + "*a" * 500)
    assert evil.overlaps(Right.parse("tool:" + "a*" * 500))
    assert not evil.overlaps(Right.parse("tool:" + "*b" * 500))


@given(rights)
def test_a_right_covers_itself_and_reads_back(right: Right) -> None:
    assert right.covers(right)
    assert Right.parse(str(right)) == right


@given(rights)
def test_the_operator_covers_everything(right: Right) -> None:
    assert Right("**").covers(right)


@pytest.mark.parametrize(
    ("held", "action", "resource", "answer"),
    [
        ("model:*", "generate", "model:tiny", True),
        ("model:* embed", "generate", "model:tiny", False),
        ("file:/srv/** read", "read", "file:/srv/a/b", True),
        ("file:/srv/* read", "read", "file:/srv/a/b", False),
        ("file:/srv/** read", "read", "file:/etc/passwd", False),
        ("process:children", "kill", "process:7", False),
        ("tool:calculator.*", "call", "tool:calculator.calculate", True),
        ("tool:calculator.*", "call", "tool:calculatorx.calculate", False),
    ],
)
def test_examples(held: str, action: str, resource: str, answer: bool) -> None:
    assert (allowed(parse_rights([held]), action, [resource]) is not None) == answer


def test_a_wider_wildcard_is_not_covered_by_a_narrower() -> None:
    assert uncovered(parse_rights(["file:/a/**"]), parse_rights(["file:/a/*"]))
    assert not uncovered(parse_rights(["file:/a/*"]), parse_rights(["file:/a/**"]))


@pytest.mark.parametrize("bad", ["", "model", "model:", "model:x generate,", "model:x GENERATE", "model:x a b"])
def test_nonsense_is_refused_with_an_example(bad: str) -> None:
    with pytest.raises(Invalid, match="as in"):
        Right.parse(bad)


@pytest.mark.parametrize("bad", ["file:/srv/../etc/** read", "file:/srv/.. read", "file:/srv/./a", "file:/srv//a"])
def test_no_path_leads_back_up(bad: str) -> None:
    with pytest.raises(Invalid, match="write the path out"):
        Right.parse(bad)


def test_a_character_cannot_stand_for_a_wildcard() -> None:
    with pytest.raises(Invalid):
        Right.parse("model:\x01")
    with pytest.raises(Invalid):
        Right.parse("model:" + "x" * 2000)


_reference = {"**": "[\\s\\S]*", "*": "[^/]*"}


@given(rights, concrete)
def test_names_match_as_the_pattern_reads(right: Right, resource: str) -> None:
    parts = re.split(r"(\*{2,}|\*)", right.resource)
    pattern = "".join(_reference[part[:2]] if part[:1] == "*" else re.escape(part) for part in parts)
    assert Right(right.resource).allows("read", resource) == bool(re.fullmatch(pattern, resource))


def test_a_right_cannot_be_written_so_that_checking_it_takes_for_ever() -> None:
    evil = Right.parse("tool:" + "*a" * 30 + "*b")
    assert not evil.allows("call", "tool:" + "a" * 4000)
    assert evil.allows("call", "tool:" + "a" * 4000 + "b")


def test_few_rights_that_take_a_walk_are_remembered() -> None:
    """Each character of one takes an entry of its own: four thousand of the longest were a gigabyte, for good."""
    for at in range(2000):
        assert Right(f"topic:{at}*x").allows("read", f"topic:{at}.x")
    walkers = _walker.cache_info()
    assert walkers.misses >= 2000 and walkers.currsize <= 256
