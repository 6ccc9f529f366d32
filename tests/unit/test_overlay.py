"""What leads out of a folder, told by the text of a link alone."""

import posixpath

from hypothesis import example, given
from hypothesis import strategies as st

from userland.overlay.changes import leads_out

_PART = st.sampled_from(["a", "b", "..", ".", ""])
_PATH = st.lists(st.sampled_from(["a", "b"]), min_size=1, max_size=4).map("/".join)


@given(_PATH, st.lists(_PART, max_size=6).map("/".join))
@example("a/l", "../../b")
@example("l", "..")
@example("l", "/etc/passwd")
def test_a_link_that_may_lead_out_is_told(path: str, target: str) -> None:
    """Whatever the links on its way: one step above the folder is out of it, though it came back."""
    above = posixpath.dirname(path).split("/") if "/" in path else []
    out = target.startswith("/")
    for part in target.split("/"):
        if part == "..":
            out = out or not above
            above = above[:-1]
        elif part not in ("", "."):
            above = [*above, part]
    assert leads_out(path, target) == out
    if not leads_out(path, target):
        ended = posixpath.normpath(posixpath.join("/folder", posixpath.dirname(path), target))
        assert ended == "/folder" or ended.startswith("/folder/")
