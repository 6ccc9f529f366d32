"""The folder `remote` in a kernel's state: what is in it, written whole or not at all, readable by its owner only."""

import fcntl
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, final

from syscalls.errors import IOFailed

FOLDER = "remote"


@final
class Folder:
    """Files of mode 0600 in a folder of mode 0700."""

    def __init__(self, state: Path) -> None:
        self.path = state / FOLDER
        self.ca_cert = self.path / "ca.pem"
        self.ca_key = self.path / "ca.key"
        self.server_cert = self.path / "server.pem"
        self.server_key = self.path / "server.key"
        self.credential_key = self.path / "credential.key"
        self.credential_pub = self.path / "credential.pub"
        self.clients = self.path / "clients.json"
        self.revoked = self.path / "revoked.json"
        self._id = self.path / "id"

    def write(self, path: Path, data: bytes) -> None:
        """Replaces a file. Raises IOFailed (EIO)."""
        try:
            self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
            new = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
            with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            new.replace(path)
        except OSError as failed:
            raise IOFailed(f"{path}: {failed.strerror or failed}") from None

    def read_json(self, path: Path) -> Any:
        """What a file holds, an empty map where there is none. Raises IOFailed (EIO)."""
        try:
            return json.loads(path.read_bytes())
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as bad:
            raise IOFailed(f"{path} cannot be read ({bad}): mend it, or bring it back from a backup") from None

    def write_json(self, path: Path, value: Any) -> None:
        self.write(path, json.dumps(value, indent=1, sort_keys=True).encode())

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Nobody else writes here meanwhile."""
        try:
            self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
            lock = os.open(self.path / ".lock", os.O_WRONLY | os.O_CREAT, 0o600)
        except OSError as failed:
            raise IOFailed(f"{self.path}: {failed.strerror or failed}") from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def kernel_id(self) -> str:
        """The name by which credentials mean this kernel; made when it is first asked for."""
        try:
            return self._id.read_text().strip()
        except FileNotFoundError:
            pass
        with self.locked():
            if not self._id.exists():
                self.write(self._id, secrets.token_hex(8).encode())
            return self._id.read_text().strip()

    def revoke(self, ids: dict[str, str]) -> None:
        """Adds ids, each with the reason, to those that are no longer good."""
        with self.locked():
            self.write_json(self.revoked, {**self.read_json(self.revoked), **ids})

    def revocations(self) -> dict[str, str]:
        """What is no longer good, with the reason."""
        found = self.read_json(self.revoked)
        return {str(key): str(value) for key, value in found.items()}
