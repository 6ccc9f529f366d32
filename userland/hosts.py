"""Kernels elsewhere, as this user knows them: by a name in kernos.toml, or by an address and the environment."""

import base64
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from syscalls.errors import Invalid, NotFound
from syscalls.link.tls import SERVER_NAME, Remote
from syscalls.paths import config_path, parse_address

CREDENTIAL_PREFIX = "kernos1"
_KEYS = ("address", "ca", "cert", "key", "credential", "server_name")


def find_host(
    name: str,
    *,
    config: Path | None = None,
    ca: str | os.PathLike[str] = "",
    cert: str | os.PathLike[str] = "",
    key: str | os.PathLike[str] = "",
    credential: str | os.PathLike[str] = "",
) -> Remote:
    """The kernel that `name` means: `[hosts.NAME]` of the configuration, or HOST:PORT.

    What is given here comes first, then `KERNOS_CA`, `KERNOS_CERT`, `KERNOS_KEY` and `KERNOS_CREDENTIAL`, then the
    configuration, whose paths are seen from its folder. A credential is the text itself, or the file that holds it.
    Raises Invalid (EINVAL), NotFound (ENOENT) listing the hosts there are.
    """
    usual = config or config_path()
    hosts = _hosts(usual)
    known = hosts.get(name)
    if known is None and ":" not in name:
        raise NotFound(
            f"no host {name!r} in {usual}; there are: {', '.join(sorted(hosts)) or 'none'}. "
            f"Write [hosts.{name}] with an address, or give HOST:PORT"
        )
    found = {key_: _beside(usual, key_, value) for key_, value in (known or {"address": name}).items()}
    for key_, given in (("ca", ca), ("cert", cert), ("key", key), ("credential", credential)):
        chosen = os.fspath(given) or os.environ.get(f"KERNOS_{key_.upper()}", "")
        found[key_] = chosen or found.get(key_, "")
    host, port = parse_address(found.get("address", ""))
    if not found["ca"]:
        raise Invalid(f"which CA knows {name}? Give its file: ca in [hosts.{name}], or KERNOS_CA (the kernel's ca.pem)")
    return Remote(
        host=host,
        port=port,
        ca=found["ca"],
        cert=found["cert"],
        key=found["key"],
        credential=read_credential(found["credential"]),
        server_name=found.get("server_name") or SERVER_NAME,
    )


def read_credential(given: str) -> bytes:
    """The bytes of a credential that is given as text, or as the file that holds it; none for "". Raises Invalid
    (EINVAL), which does not repeat it."""
    if not given:
        return b""
    text = given.strip()
    if not text.startswith(f"{CREDENTIAL_PREFIX}."):
        try:
            text = Path(given).expanduser().read_text().strip()
        except (OSError, ValueError) as failed:
            why = failed.strerror if isinstance(failed, OSError) else "it is no text"
            raise Invalid(f"the credential is neither 'kernos1.…' nor a file that can be read: {why}") from None
    return credential_bytes(text)


def credential_bytes(text: str) -> bytes:
    """The bytes of a credential's text, as HELLO carries them. Raises Invalid (EINVAL), which does not repeat it."""
    parts = text.strip().split(".")
    try:
        if len(parts) != 3 or parts[0] != CREDENTIAL_PREFIX or not parts[2]:
            raise ValueError
        return base64.urlsafe_b64decode(parts[2] + "=" * (-len(parts[2]) % 4))
    except ValueError:
        raise Invalid("that credential is damaged: it is one line, 'kernos1.KEY.TEXT'; copy it again") from None


def _hosts(config: Path) -> Mapping[str, Mapping[str, str]]:
    import tomllib

    try:
        found = tomllib.loads(config.read_text()).get("hosts", {})
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as bad:
        raise Invalid(f"{config}: {bad}") from None
    if not isinstance(found, dict):
        raise Invalid(f"{config}: hosts are tables: [hosts.NAME]")
    return {name: _host(config, name, host) for name, host in found.items()}


def _host(config: Path, name: str, host: Any) -> Mapping[str, str]:
    wrong = [key for key in host if key not in _KEYS] if isinstance(host, dict) else ["it"]
    wrong += [key for key, value in host.items() if not isinstance(value, str)] if isinstance(host, dict) else []
    if wrong:
        raise Invalid(f"{config}: [hosts.{name}] has {', '.join(_KEYS)}, each a text; {wrong[0]} is none of these")
    if not host.get("address"):
        raise Invalid(f'{config}: [hosts.{name}] needs an address, as in address = "127.0.0.1:7600"')
    return dict(host)


def _beside(config: Path, key: str, value: str) -> str:
    """A path of the configuration as seen from its folder."""
    if key not in ("ca", "cert", "key", "credential") or value.startswith(f"{CREDENTIAL_PREFIX}."):
        return value
    return str(config.parent / Path(value).expanduser()) if value else value
