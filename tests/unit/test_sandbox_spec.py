"""What may be asked of the sandbox. Broken by: a plan in which a bind hides another, unchecked input."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.limits import PAYLOAD_BYTES_MAX
from sandbox.spec import FOUNDATIONS, LAYERS, Bind, WorkerSpec, ZygoteSpec, plan_binds

_names = st.sampled_from(["a", "b", "ab", "c"])
_paths = st.lists(_names, min_size=1, max_size=4).map(lambda parts: "/" + "/".join(parts))
_same_place = st.frozensets(_paths, max_size=8).map(lambda paths: tuple(Bind(path, path) for path in sorted(paths)))


@given(_same_place)
def test_a_plan_shows_everything_once_and_parents_first(binds: tuple[Bind, ...]) -> None:
    planned = plan_binds(binds)
    for bind in binds:
        assert sum(bind.target == other.target or bind.target.startswith(other.target + "/") for other in planned) == 1
    assert set(planned) <= set(binds)
    assert plan_binds(planned) == planned


@given(_same_place)
def test_the_order_in_which_binds_are_named_does_not_matter(binds: tuple[Bind, ...]) -> None:
    assert plan_binds(binds[:3], binds[3:]) == plan_binds(tuple(reversed(binds)))


def test_a_bind_that_would_hide_another_is_refused() -> None:
    with pytest.raises(ValueError, match="lies inside"):
        plan_binds((Bind("/host/a", "/in"), Bind("/host/b", "/in/deep")))
    with pytest.raises(ValueError, match="lies inside"):
        plan_binds((Bind("/host/a", "/in"), Bind("/host/b", "/in")))


def test_a_sibling_with_a_longer_name_is_no_child() -> None:
    binds = (Bind("/x/lib", "/lib"), Bind("/y/lib64", "/lib64"))
    assert plan_binds(binds) == binds


def test_a_bind_seen_through_its_parent_is_left_out() -> None:
    assert plan_binds((Bind("/host/a/deep", "/in/deep"),), (Bind("/host/a", "/in"),)) == (Bind("/host/a", "/in"),)


@pytest.mark.parametrize("target", ["relative", "/", "//", "/a/../b", "/a/", "/a//b", "", "/.."])
def test_targets_that_are_not_normal_are_refused(target: str) -> None:
    with pytest.raises(ValueError, match=r"target|root"):
        Bind("/source", target)


def test_sources_are_absolute() -> None:
    with pytest.raises(ValueError, match="absolute"):
        Bind("source", "/target")


def test_a_worker_is_told_at_most_48_kib() -> None:
    assert WorkerSpec(entry="a:b", payload=b"x" * PAYLOAD_BYTES_MAX)
    with pytest.raises(ValueError, match="over the socket"):
        WorkerSpec(entry="a:b", payload=b"x" * (PAYLOAD_BYTES_MAX + 1))


@pytest.mark.parametrize("uid_base", [0, 1000, 2**32 - 1, 2**32])
def test_workers_are_nobody_who_exists(uid_base: int) -> None:
    with pytest.raises(ValueError, match="uid_base"):
        ZygoteSpec(python="/python", path=(), uid_base=uid_base)


@pytest.mark.parametrize("entry", ["", "module", "module:", ":function"])
def test_an_entry_names_module_and_function(entry: str) -> None:
    with pytest.raises(ValueError, match="module:function"):
        WorkerSpec(entry=entry)


@pytest.mark.parametrize("layer", [*FOUNDATIONS, "unknown"])
def test_what_others_stand_on_cannot_be_left_out(layer: str) -> None:
    with pytest.raises(ValueError, match="cannot be left out"):
        WorkerSpec(entry="a:b", without=(layer,))
    assert set(LAYERS) > FOUNDATIONS
