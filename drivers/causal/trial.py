"""A trial of the engine's way to decode on a model just loaded: an architecture that keeps more than keys and values
is refused."""

from pathlib import Path
from typing import Any

import torch

from drivers.causal.cache import Decode, Prefill, RowCache, indices
from drivers.causal.masks import Masks
from syscalls.errors import Invalid

PROBE_TOKENS = 11
TOLERANCE = {torch.float32: 1e-3}
TOLERANCE_SHORT = 0.1


def check_decoding(model: Any, folder: Path) -> None:
    """Raises Invalid unless decoding by rows gives what one plain forward gives."""
    try:
        apart = _largest_difference(model)
    except Exception as failed:  # a model that cannot be driven this way fails in its own words
        said = f"{type(failed).__name__}: {str(failed).strip().splitlines()[0] if str(failed).strip() else ''}"
        raise Invalid(_refusal(model, folder, said)) from None
    if not apart <= TOLERANCE.get(model.dtype, TOLERANCE_SHORT):
        raise Invalid(_refusal(model, folder, f"logits differ by {apart:.3g}"))


def _refusal(model: Any, folder: Path, why: str) -> str:
    return (
        f"{folder}: {type(model).__name__} does not decode over keys and values alone ({why}): "
        "the torch driver serves attention-only causal models"
    )


def _largest_difference(model: Any) -> float:
    """Two rows of different length, read in pieces and decoded together, against the whole read at once; relative."""
    size = model.get_input_embeddings().num_embeddings
    ids = [(7 * n + 3) % size for n in range(PROBE_TOKENS)]
    masks, cache = Masks(model), RowCache()
    cache.reserve(2, PROBE_TOKENS)
    with torch.inference_mode():
        whole = model(input_ids=indices(ids, model.device)[None], use_cache=False).logits[0].float()
        ends = (PROBE_TOKENS - 1, PROBE_TOKENS - 5)
        for row, end in enumerate(ends):
            for start, stop in ((0, 3), (3, end)):
                cache.span = Prefill(row=row, start=start, count=stop - start)
                _forward(model, masks, cache, ids[start:stop], list(range(start, stop)))
        lengths = indices(ends, model.device)
        cache.span = Decode(lengths=lengths, index=torch.arange(2, device=model.device), longest=max(ends))
        logits = model(
            input_ids=indices([ids[end] for end in ends], model.device)[:, None],
            position_ids=lengths[:, None],
            attention_mask=masks.of(cache.span),
            past_key_values=cache,
            use_cache=True,
        ).logits[:, -1]
    expected = whole[list(ends)]
    return float((logits.float() - expected).abs().max() / expected.abs().max().clamp(min=1e-6))


def _forward(model: Any, masks: Masks, cache: RowCache, ids: list[int], positions: list[int]) -> None:
    assert cache.span is not None
    model(
        input_ids=indices(ids, model.device)[None],
        position_ids=indices(positions, model.device)[None],
        attention_mask=masks.of(cache.span),
        past_key_values=cache,
        use_cache=True,
    )
