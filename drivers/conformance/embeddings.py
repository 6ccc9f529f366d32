"""What an embedding keeps to."""

import math
import struct

from drivers.conformance.checks import Check, check, expect
from drivers.conformance.every import checks_for
from drivers.conformance.rig import Rig
from syscalls import driver as abi

CHECKS: list[Check] = checks_for("embedding")
TEXTS = ("Three ships lie in the harbour.", "Ships lie in a harbour.", "", "äöü 漢字", "x " * 3000)


async def vectors(rig: Rig, *texts: str) -> list[tuple[float, ...]]:
    """One vector a text, checked for shape."""
    answer: abi.Embedded = await rig.link.call(abi.EMBED, abi.Embed(device=rig.opened.device, texts=texts))
    expect(len(answer.vectors) == 4 * answer.dimensions * len(texts), "not dimensions x texts x 4 bytes")
    return list(struct.iter_unpack(f"<{answer.dimensions}f", answer.vectors)) if texts else []


@check("embedding", CHECKS)
async def description(rig: Rig) -> None:
    """Opened tells the dimensions, and that it can embed."""
    expect(rig.opened.dimensions > 0, "dimensions is 0")
    expect("embed" in rig.opened.can, f"can is {rig.opened.can}")


@check("embedding", CHECKS)
async def unit_vectors(rig: Rig) -> None:
    """Every text has a unit vector: empty ones, long ones and other scripts too."""
    for row in await vectors(rig, *TEXTS):
        expect(len(row) == rig.opened.dimensions, "another length than Opened says")
        expect(abs(math.hypot(*row) - 1.0) < 1e-3, f"a vector of length {math.hypot(*row):.4f}")


@check("embedding", CHECKS)
async def order_and_company(rig: Rig) -> None:
    """A text's vector does not depend on its place or on the texts beside it."""
    together = await vectors(rig, *TEXTS)
    for text, row in zip(TEXTS, together, strict=True):
        (alone,) = await vectors(rig, text)
        near = sum(a * b for a, b in zip(alone, row, strict=True))
        expect(near > 0.999, f"{text[:20]!r} alone and in company: cosine {near:.5f}")


@check("embedding", CHECKS)
async def no_texts(rig: Rig) -> None:
    """No texts are no vectors."""
    expect(await vectors(rig) == [], "vectors for nothing")


@check("embedding", CHECKS)
async def ledger_counts(rig: Rig) -> None:
    """The host's ledger grows by the tokens reported."""
    before = await rig.ledger()
    answer: abi.Embedded = await rig.link.call(abi.EMBED, abi.Embed(device=rig.opened.device, texts=TEXTS))
    after = await rig.ledger()
    expect(answer.tokens > 0, "no tokens reported")
    expect(after.embedded_tokens - before.embedded_tokens == answer.tokens, "embedded_tokens")
