"""Where a remote kernel is and how its clients know each other: TLS 1.3 over a socket, no loop."""

import errno
import socket
import ssl
from typing import Protocol, final

from msgspec import Struct

from syscalls.errors import BrokenPipe, Errno, Invalid, PermissionDenied, SyscallError

SERVER_NAME = "kernos"
"""Every kernel's certificate is for this name too: its own CA says which kernel it is, the address may be any."""
CONNECT_S = 10.0


class _Options(Protocol):
    """A TCP socket of any loop."""

    def setsockopt(self, level: int, option: int, value: int, /) -> None: ...


@final
class Remote(Struct, frozen=True, kw_only=True):
    """A kernel elsewhere. `ca` is the file that knows it; who calls is said by a certificate, a credential, or both."""

    host: str
    port: int
    ca: str
    cert: str = ""
    key: str = ""
    credential: bytes = b""
    server_name: str = SERVER_NAME

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def client_context(remote: Remote) -> ssl.SSLContext:
    """TLS 1.3 and nothing older, trusting `remote.ca` alone. Raises Invalid (EINVAL) naming the file that cannot be
    used."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    try:
        context.load_verify_locations(remote.ca)
    except (OSError, ssl.SSLError) as bad:
        raise Invalid(f"the CA file {remote.ca} cannot be used: {_why(bad)}") from None
    if remote.cert:
        try:
            context.load_cert_chain(remote.cert, remote.key or None)
        except (OSError, ssl.SSLError) as bad:
            files = f"{remote.cert} and {remote.key}" if remote.key else remote.cert
            raise Invalid(f"the certificate in {files} cannot be used: {_why(bad)}") from None
    return context


def dial(remote: Remote, context: ssl.SSLContext, *, within_s: float = CONNECT_S) -> ssl.SSLSocket:
    """A blocking connection. Raises OSError and ssl.SSLError as connecting does: see `refusal`."""
    sock = socket.create_connection((remote.host, remote.port), timeout=within_s)
    try:
        keep_alive(sock)
        return context.wrap_socket(sock, server_hostname=remote.server_name)
    except BaseException:
        sock.close()
        raise


def keep_alive(sock: _Options) -> None:
    """A peer that vanished without a word is noticed within half a minute, and nothing waits to be sent together."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 15)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 30_000)


def refusal(remote: Remote, failed: Exception) -> SyscallError:
    """What a failed connection means to its caller."""
    if isinstance(failed, SyscallError):
        return failed
    if isinstance(failed, ssl.SSLCertVerificationError):
        return PermissionDenied(f"{remote} is not the kernel that {remote.ca} knows: {failed.verify_message}")
    if isinstance(failed, ssl.SSLError) and "ALERT" in (failed.reason or "").upper():
        said = (failed.reason or "").lower().replace("_", " ").partition("alert ")[2]
        return PermissionDenied(f"{remote} refuses this client's certificate ({said}): 'kernos cert issue' makes one")
    if isinstance(failed, ssl.SSLError):
        return BrokenPipe(f"{remote} does not speak TLS 1.3 ({_why(failed)}): is that a kernel's --listen address?")
    if isinstance(failed, TimeoutError):
        return BrokenPipe(f"{remote} does not answer within {CONNECT_S:g} s")
    return BrokenPipe(f"no kernel answers at {remote}: {_why(failed)}")


def lasting(failed: Exception) -> bool:
    """Whether connecting again is of no use."""
    if isinstance(failed, SyscallError):
        return failed.errno is not Errno.EAGAIN
    return isinstance(failed, ssl.SSLCertVerificationError)


def _why(bad: Exception) -> str:
    if isinstance(bad, ssl.SSLError):
        return (bad.reason or str(bad)).lower().replace("_", " ")
    if isinstance(bad, OSError) and bad.errno in errno.errorcode:
        return bad.strerror or str(bad)
    return str(bad) or "it hung up"
