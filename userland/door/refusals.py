"""What is answered where something is wrong, in the form that OpenAI's clients know."""

import msgspec

from syscalls.errors import Errno, SyscallError
from userland.door.server import Response

_OF_ERRNO = {
    Errno.EPERM: (403, "permission_error", "permission_denied"),
    Errno.ENOENT: (404, "invalid_request_error", "model_not_found"),
    Errno.EINVAL: (400, "invalid_request_error", "invalid_value"),
    Errno.EWINDOW: (400, "invalid_request_error", "context_length_exceeded"),
    Errno.ENOSYS: (400, "invalid_request_error", "unsupported"),
    Errno.EQUOTA: (429, "insufficient_quota", "insufficient_quota"),
    Errno.EAGAIN: (429, "rate_limit_error", "rate_limit_exceeded"),
    Errno.EBUSY: (409, "conflict_error", "conflict"),
    Errno.ETIME: (504, "timeout_error", "timeout"),
    Errno.EIO: (502, "api_error", "driver_failed"),
}
_OTHER = (500, "api_error", "internal_error")


def refuse(
    status: int, message: str, *, kind: str = "invalid_request_error", code: str | None = None, param: str | None = None
) -> Response:
    """An error of ours."""
    body = msgspec.json.encode({"error": error(message, kind=kind, code=code, param=param)})
    # A client tries again by itself where it may help: over a budget it does not.
    again = status in (409, 429, 502, 503, 504) and code != "insufficient_quota"
    return Response(status, body, (("content-type", "application/json"), ("x-should-retry", str(again).lower())))


def error(message: str, *, kind: str, code: str | None, param: str | None = None) -> dict[str, str | None]:
    """The object under `error`."""
    return {"message": message, "type": kind, "param": param, "code": code}


def of(failed: SyscallError) -> Response:
    """What a system call was refused with."""
    status, kind, code = _OF_ERRNO.get(failed.errno, _OTHER)
    return refuse(status, failed.message, kind=kind, code=code)


def object_of(failed: SyscallError) -> dict[str, dict[str, str | None]]:
    """The same as it stands in the middle of a stream."""
    _, kind, code = _OF_ERRNO.get(failed.errno, _OTHER)
    return {"error": error(failed.message, kind=kind, code=code)}
