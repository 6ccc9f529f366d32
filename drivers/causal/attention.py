"""Attention over rows on a CPU: keys and values shared by several heads are read where they lie.

transformers repeats them for every head before it attends, a copy of the whole cache in every layer of every step,
because the fast GPU kernels want it where there is a mask. On a CPU torch reads them in place: a step over 8 rows of
1,100 tokens costs a fifth.
"""

from typing import Any

import torch
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

NAME = "kernos_rows"


def use_in(model: Any) -> None:
    """Has `model` attend this way, where it runs on a CPU with transformers' own attention in one call (sdpa)."""
    if model.device.type != "cpu" or model.config._attn_implementation != "sdpa":
        return
    ALL_ATTENTION_FUNCTIONS.register(NAME, attend)
    ALL_MASK_ATTENTION_FUNCTIONS.register(NAME, ALL_MASK_ATTENTION_FUNCTIONS["sdpa"])
    model.set_attn_implementation(NAME)


def attend(
    module: Any, query: Any, key: Any, value: Any, attention_mask: Any, scaling: float | None = None, **kwargs: Any
) -> tuple[Any, None]:
    """As transformers' sdpa_attention_forward: [rows, heads, queries, size] in, [rows, queries, heads, size] out."""
    if attention_mask is None or query.shape[1] == key.shape[1] or kwargs.get("position_bias") is not None:
        found: tuple[Any, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, scaling=scaling, **kwargs
        )
        return found
    out = torch.nn.functional.scaled_dot_product_attention(
        query, key, value, attn_mask=attention_mask, scale=scaling, enable_gqa=True
    )
    return out.transpose(1, 2).contiguous(), None
