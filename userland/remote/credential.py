"""Credentials: signed by a kernel, narrowed by whoever holds them, without asking anybody (they are biscuits).

The first block, which only the kernel's key can sign, says whose it is (`principal`), what it may (`right`) and for
which kernel it is (`audience`). A later block, which anybody can add and nobody can remove, says what is left of that
(`only`), and may add checks of any kind, of which the kernel knows `time` and `audience`. What a block cannot do is
widen: rights are those that every block allows.

Written as text a credential is `kernos1.KEY.BISCUIT`; KEY is the public one, by which its holder can narrow it. The
kernel goes by its own.
"""

import base64
import datetime
import re
from typing import final

import biscuit_auth as biscuit
from msgspec import Struct

from syscalls.errors import Invalid, PermissionDenied
from syscalls.rights import Right, meet, parse_rights
from userland.hosts import CREDENTIAL_PREFIX, credential_bytes
from userland.remote.folder import Folder

BYTES_MAX = 16 * 1024
BLOCKS_MAX = 16
_ED25519 = biscuit.Algorithm.Ed25519  # type: ignore[attr-defined]
"""Its stubs know nothing of algorithms."""
_ONLY = re.compile(r'only\("([^"\\]*)"\);')
_CHECK = re.compile(r"check (?:if|all) .*;", re.DOTALL)
_UNWRITABLE = re.compile(r'["\\]')
_GET = "get another from whoever gave it to you, or make one with 'kernos credential new'"


@final
class Verified(Struct, frozen=True):
    """What a credential is good for, now and here. `expires_s` is the earliest end that its blocks name."""

    principal: str
    rights: tuple[Right, ...]
    ids: tuple[str, ...]
    expires_s: float | None


@final
class Shown(Struct, frozen=True, kw_only=True):
    """What a credential says of itself; nobody has verified more than its signatures."""

    principal: str
    rights: tuple[str, ...]
    audience: str
    expires_s: float | None
    blocks: int
    ids: tuple[str, ...]


@final
class Issuer:
    """Signs and verifies with the key of one kernel's folder."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder

    def ensure(self) -> None:
        """Makes the key, where there is none."""
        with self._folder.locked():
            if not self._folder.credential_key.exists():
                pair = biscuit.KeyPair()
                self._folder.write(self._folder.credential_pub, bytes(pair.public_key.to_bytes()))
                self._folder.write(self._folder.credential_key, bytes(pair.private_key.to_bytes()))

    def new(
        self, *, principal: str, rights: tuple[str, ...], expires_s: float | None, audience: str | None = None
    ) -> str:
        """A credential, as text. Raises Invalid (EINVAL) for no rights, or such as cannot be written into one."""
        self.ensure()
        code = ["principal({principal})", "audience({audience})", "check if kernel({audience})"]
        values: dict[str, object] = {"principal": principal, "audience": audience or self._folder.kernel_id()}
        code += _facts("right", rights, values)
        code += _expiry(expires_s, values)
        private = biscuit.PrivateKey.from_bytes(self._folder.credential_key.read_bytes(), _ED25519)  # type: ignore[call-arg]
        token = biscuit.BiscuitBuilder(";".join(code), values).build(private)
        return _written(self._folder.credential_pub.read_bytes(), token)

    def verify(self, raw: bytes, *, now_s: float) -> Verified:
        """What `raw` (a biscuit) is good for. Raises PermissionDenied (EPERM) that says why it is good for nothing."""
        if len(raw) > BYTES_MAX:
            raise PermissionDenied(f"the credential has {len(raw)} bytes; at most {BYTES_MAX}")
        try:
            token = biscuit.Biscuit.from_bytes(raw, _public(self._folder.credential_pub.read_bytes()))
        except (biscuit.BiscuitValidationError, FileNotFoundError):
            raise PermissionDenied(
                f"the credential is none of this kernel's, or was changed on its way: {_GET}"
            ) from None
        if token.block_count() > BLOCKS_MAX:
            raise PermissionDenied(
                f"the credential was narrowed {token.block_count() - 1} times; at most {BLOCKS_MAX - 1}"
            )
        shown = _read(token)
        revoked = self._folder.revocations()
        gone = next((revoked[each] for each in shown.ids if each in revoked), None)
        if gone is not None:
            raise PermissionDenied(f"{gone}: {_GET}")
        self._check(token, shown, now_s)
        return Verified(shown.principal, parse_rights(shown.rights), shown.ids, shown.expires_s)

    def _check(self, token: biscuit.Biscuit, shown: Shown, now_s: float) -> None:
        mine = self._folder.kernel_id()
        try:
            now = datetime.datetime.fromtimestamp(now_s, datetime.UTC)
            values = {"now": now, "mine": mine}
            biscuit.AuthorizerBuilder("time({now}); kernel({mine}); allow if true", values).build(token).authorize()
        except (biscuit.AuthorizationError, biscuit.DataLogError) as refused:
            if shown.expires_s is not None and shown.expires_s <= now_s:
                raise PermissionDenied(f"the credential expired on {_date(shown.expires_s)}: {_GET}") from None
            if shown.audience != mine:
                raise PermissionDenied(
                    f"the credential is for the kernel {shown.audience}, this one is {mine}: {_GET}"
                ) from None
            raise PermissionDenied(f"the credential is refused: {refused}") from None


def attenuate(text: str, *, rights: tuple[str, ...] = (), expires_s: float | None = None) -> str:
    """A narrower credential, made from `text` alone. Raises Invalid (EINVAL)."""
    if not rights and expires_s is None:
        raise Invalid("say what is to be left of it: --allow RIGHT, --expires TIME, or both")
    key, token = _parsed(text)
    if rights and not meet(parse_rights(_read(token).rights), parse_rights(rights)):
        raise Invalid(f"nothing would be left: the credential allows {', '.join(_read(token).rights) or 'nothing'}")
    values: dict[str, object] = {}
    code = [*_facts("only", rights, values), *_expiry(expires_s, values)]
    return _written(key, token.append(biscuit.BlockBuilder(";".join(code), values)))


def show(text: str) -> Shown:
    """What a credential says. Raises Invalid (EINVAL)."""
    return _read(_parsed(text)[1])


def _parsed(text: str) -> tuple[bytes, biscuit.Biscuit]:
    raw = credential_bytes(text)
    try:
        key = bytes.fromhex(text.strip().split(".")[1])
        return key, biscuit.Biscuit.from_bytes(raw, _public(key))
    except (ValueError, biscuit.BiscuitValidationError):
        raise Invalid(f"that credential is damaged: {_GET}") from None


def _public(key: bytes) -> biscuit.PublicKey:
    return biscuit.PublicKey.from_bytes(key, _ED25519)  # type: ignore[call-arg]


def _written(key: bytes, token: biscuit.Biscuit) -> str:
    text = base64.urlsafe_b64encode(bytes(token.to_bytes())).decode().rstrip("=")
    return f"{CREDENTIAL_PREFIX}.{key.hex()}.{text}"


def _facts(name: str, rights: tuple[str, ...], values: dict[str, object]) -> list[str]:
    written = [str(right) for right in parse_rights(rights)]
    for number, text in enumerate(written):
        if _UNWRITABLE.search(text):
            raise Invalid(f"a credential holds no right with quotes or backslashes: {text}")
        values[f"{name}{number}"] = text
    return [f"{name}({{{name}{number}}})" for number in range(len(written))]


def _expiry(expires_s: float | None, values: dict[str, object]) -> list[str]:
    if expires_s is None:
        return []
    values["expires"] = datetime.datetime.fromtimestamp(expires_s, datetime.UTC)
    return ["expires({expires})", "check if time($now), $now < {expires}"]


_EXPIRES = re.compile(r"expires\(([0-9TZ:+.-]+)\);")
_AUDIENCE = re.compile(r'audience\("([^"\\]*)"\);')
_PRINCIPAL = re.compile(r'principal\("([^"\\]*)"\);')
_RIGHT = re.compile(r'right\("([^"\\]*)"\);')


def _read(token: biscuit.Biscuit) -> Shown:
    """The blocks of a credential, one statement a line. Raises PermissionDenied (EPERM) for one with a statement that
    cannot be understood: it may have been meant to narrow."""
    first = token.block_source(0)
    principal, audience = _PRINCIPAL.search(first), _AUDIENCE.search(first)
    rights = parse_rights(_RIGHT.findall(first))
    ends = [_moment(each) for each in _EXPIRES.findall(first)]
    for number in range(1, token.block_count()):
        only: list[str] = []
        for line in filter(None, map(str.strip, token.block_source(number).splitlines())):
            if found := _ONLY.fullmatch(line):
                only.append(found[1])
            elif found := _EXPIRES.fullmatch(line):
                ends.append(_moment(found[1]))
            elif not _CHECK.fullmatch(line):
                raise PermissionDenied(f"the credential says what this kernel does not understand: {line[:80]}")
        if only:
            rights = meet(rights, parse_rights(only))
    return Shown(
        principal=principal[1] if principal else "",
        rights=tuple(str(right) for right in rights),
        audience=audience[1] if audience else "",
        expires_s=min(ends, default=None),
        blocks=token.block_count(),
        ids=tuple(f"credential:{each}" for each in token.revocation_ids),
    )


def _moment(text: str) -> float:
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def _date(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
