"""The checks of each kind."""

from drivers.conformance import embeddings, models, scores, stores
from drivers.conformance.checks import Check
from syscalls.driver import Kind

SUITE: dict[Kind, list[Check]] = {
    "model": [*models.CHECKS, *scores.CHECKS],
    "embedding": embeddings.CHECKS,
    "store": stores.CHECKS,
}
