"""What a token may attend to, written out: a row's own past, within the sliding window where the layer has one."""

import inspect
from typing import Any, final

import torch

from drivers.causal.cache import Decode, Prefill

SLIDING = "sliding_attention"


@final
class Masks:
    """Additive masks [rows, 1, queries, keys] in the model's dtype; a map by kind of layer where layers differ."""

    def __init__(self, model: Any) -> None:
        config = model.config.get_text_config()
        kinds = set(getattr(config, "layer_types", None) or ())
        self._window: int | None = getattr(config, "sliding_window", None)
        if getattr(config, "use_sliding_window", True) is False:
            self._window = None
        self._by_kind = bool(self._window) and SLIDING in kinds
        self._always = bool(self._window) and not kinds
        self._dtype = model.dtype
        self._accelerator = model.device
        self._least = torch.finfo(model.dtype).min
        self._can_keep = "logits_to_keep" in inspect.signature(model.forward).parameters
        self.bytes_per_token = _bytes_per_token(config, model.dtype)

    def of(self, span: Prefill | Decode) -> Any:
        """The mask for one forward."""
        positions, length = self._places(span)
        keys = torch.arange(length, device=self._accelerator)
        seen = keys <= positions[..., None]
        if not (self._by_kind or self._always):
            return self._additive(seen)
        near = seen & (keys > positions[..., None] - (self._window or 0))
        if self._always:
            return self._additive(near)
        return {"full_attention": self._additive(seen), SLIDING: self._additive(near)}

    def only_last(self, count: int) -> dict[str, int]:
        """The argument by which a forward makes the logits of the last `count` tokens alone, where it knows one."""
        return {"logits_to_keep": count} if self._can_keep else {}

    def _places(self, span: Prefill | Decode) -> tuple[Any, int]:
        """Positions of the queries [rows, queries], and how many keys there are."""
        if isinstance(span, Prefill):
            end = span.start + span.count
            return torch.arange(span.start, end, device=self._accelerator)[None], end
        return span.lengths[:, None], span.longest + 1

    def _additive(self, seen: Any) -> Any:
        mask = torch.zeros(seen.shape, dtype=self._dtype, device=self._accelerator)
        return mask.masked_fill_(~seen, self._least)[:, None]


def _bytes_per_token(config: Any, dtype: Any) -> int:
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return int(2 * config.num_hidden_layers * heads * size * torch.finfo(dtype).bits // 8)
