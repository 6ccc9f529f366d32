"""Writes a file where everybody may."""

from typing import Any

REFUSED_BY = ("root", "landlock", "limits")


def attempt(stage: dict[str, Any]) -> object:
    with open(f"/tmp/kernos-{stage['nonce']}", "w") as file:
        file.write(stage["nonce"])
    with open(f"/tmp/kernos-{stage['nonce']}") as file:
        return file.read()


def proof(stage: dict[str, Any]) -> object:
    return stage["nonce"]
