"""The checks of each kind."""

from drivers.conformance import embeddings, models, stores
from drivers.conformance.checks import Check
from syscalls.driver import Kind

SUITE: dict[Kind, list[Check]] = {
    "model": models.CHECKS,
    "embedding": embeddings.CHECKS,
    "store": stores.CHECKS,
}
