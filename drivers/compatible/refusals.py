"""The table by which a server's refusals become errors of the ABI: one sentence each, with the server's own words."""

import json
import re
from typing import Any

from syscalls.errors import (
    Invalid,
    IOFailed,
    NotFound,
    OverWindow,
    PermissionDenied,
    SyscallError,
    TryAgain,
)

SAID_CHARS_MAX = 300
TOO_LONG = re.compile(
    r"context[ _](length|window|size)|maximum (context|model|sequence|prompt|input)|max_model_len"
    r"|max_new_tokens|too (long|many tokens)|exceeds? .{0,40}(context|tokens)|reduce the length",
    re.IGNORECASE,
)
CREDENTIAL = "give the model the option credential_file=PATH (a file with the key) or credential_env=NAME"


def said_by(body: str) -> str:
    """The server's own words from an error body, in one line; empty for a page of HTML."""
    if is_html(body):
        return ""
    try:
        found: Any = json.loads(body)
    except (ValueError, RecursionError):
        found = body
    for key in ("error", "message", "detail"):
        if isinstance(found, dict) and key in found:
            found = found[key]
    text = found if isinstance(found, str) else json.dumps(found, ensure_ascii=False)
    return " ".join(text.split())[:SAID_CHARS_MAX]


def is_html(body: str) -> bool:
    """Whether an answer is a page for people."""
    return body.lstrip()[:15].lower().startswith(("<!doctype", "<html", "<head", "<?xml"))


def refusal(status: int, body: str, *, url: str, retry_after: str = "") -> SyscallError:
    """The error for an answer with a status of 300 or more."""
    words = said_by(body)
    said = f": {words}" if words else " and a page of HTML" if is_html(body) else ""
    if status in (401, 403):
        return PermissionDenied(f"{url} answered {status}{said}; {CREDENTIAL}")
    if status in (404, 405):
        return NotFound(f"{url} answered {status}{said}; check the origin (it mostly ends in /v1) and remote_name")
    if status in (408, 429, 503, 529):
        wait = f"try again in {retry_after} s" if retry_after else "try again later"
        return TryAgain(f"{url} answered {status}{said}; {wait}")
    if status in (400, 413, 422):
        if status == 413 or TOO_LONG.search(words):
            return OverWindow(f"{url} answered {status}{said}; shorten the conversation, or set window_tokens right")
        return Invalid(f"{url} refused the request ({status}){said}")
    if 300 <= status < 400:
        return NotFound(f"{url} answered {status}, a redirection: give the address it leads to as the origin")
    return IOFailed(f"{url} failed ({status}){said}; see the server's log")


def refusal_in_stream(error: Any) -> SyscallError:
    """The error for one that came as an event, after the answer had begun."""
    code = error.get("code", 500) if isinstance(error, dict) else 500
    status = int(code) if str(code).isdigit() else 500
    found = refusal(status, json.dumps({"error": error}), url="the server, in mid-answer,")
    return found if isinstance(found, OverWindow | TryAgain) else IOFailed(found.message)
