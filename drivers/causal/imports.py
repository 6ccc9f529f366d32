"""Makes the import of torch and transformers quicker: a host that was killed is to be back soon."""

import contextlib
import gc
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def quick_imports() -> Iterator[None]:
    """No garbage collection meanwhile (a third of the time), and no scikit-learn, which transformers imports for one
    function that serves assisted decoding."""
    collecting = gc.isenabled()
    gc.disable()
    hidden = "sklearn" not in sys.modules
    if hidden:
        sys.modules["sklearn"] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if hidden:
            del sys.modules["sklearn"]
        if collecting:
            gc.enable()
