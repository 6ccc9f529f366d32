"""Who a client is: what its certificate and its credential say, verified, and what of both is left."""

import time
from collections.abc import Mapping
from typing import Any, final

from syscalls.calls.admission import Admit
from syscalls.errors import PermissionDenied
from syscalls.rights import meet, parse_rights
from userland.remote.authority import Authority
from userland.remote.credential import Issuer, Verified
from userland.remote.folder import Folder

_HOW = "show a certificate ('kernos cert issue') or a credential ('kernos credential new')"


@final
class Verifier:
    """Reads the kernel's folder anew for every client: what was revoked a moment ago is no longer good."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._authority = Authority(folder)
        self._issuer = Issuer(folder)

    def admit(self, cert: Mapping[str, Any] | None, credential: bytes, address: str) -> Admit:
        """What to tell the kernel of a client whose certificate TLS has verified. Raises PermissionDenied (EPERM)."""
        now_s = time.time()
        shown = [self._certified(cert, now_s)] if cert else []
        if credential:
            shown.append(self._issuer.verify(credential, now_s=now_s))
        if not shown:
            raise PermissionDenied(f"this kernel wants to know who calls: {_HOW}")
        first, last = shown[0], shown[-1]
        if first.principal != last.principal:
            raise PermissionDenied(
                f"the certificate is {first.principal}'s and the credential {last.principal}'s: show one of them"
            )
        rights = first.rights if first is last else meet(first.rights, last.rights)
        ends = [each.expires_s for each in shown if each.expires_s is not None]
        return Admit(
            principal=first.principal,
            rights=tuple(str(right) for right in rights),
            ids=tuple(dict.fromkeys(id_ for each in shown for id_ in each.ids)),
            expires_s=min(ends, default=None),
            address=address,
        )

    def _certified(self, cert: Mapping[str, Any], now_s: float) -> Verified:
        serial = f"{int(str(cert.get('serialNumber', '0')), 16):x}"
        client = self._authority.client(serial)
        if client is None:
            raise PermissionDenied(f"the certificate {serial} is not in this kernel's register: {_HOW}")
        if client.revoked or client.id in self._folder.revocations():
            raise PermissionDenied(f"the certificate of {client.name} was revoked: {_HOW}")
        if client.expires <= now_s:
            raise PermissionDenied(f"the certificate of {client.name} has expired: {_HOW}")
        return Verified(client.name, parse_rights(client.rights), (client.id,), client.expires)
