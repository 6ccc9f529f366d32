"""The network as training runs it: Llama's forward pass over a `LlamaForCausalLM`'s own weights, made lean.

transformers' own pass spends two thirds of its time on small operations; written out in bfloat16 and compiled, a
processor that multiplies in it makes twice as many steps. What comes out is the same (a test compares both). Queries
and keys of the guided heads come out too: `guide` says where they ought to look.
"""

import shutil
from collections.abc import Callable, Mapping

import msgspec
import torch
from torch.nn import functional
from transformers import LlamaForCausalLM

DENSE_TOKENS_MAX = 512


class Seen(msgspec.Struct):
    """What a pass leaves: the last hidden states, queries and keys (batch, tokens, 64) of the heads to watch, and the
    states behind each layer."""

    hidden: torch.Tensor
    queries: tuple[torch.Tensor, ...]
    keys: tuple[torch.Tensor, ...]
    states: tuple[torch.Tensor, ...] = ()


Weights = Mapping[str, torch.Tensor]
_Some = tuple[torch.Tensor, ...]
_Outcome = tuple[torch.Tensor, _Some, _Some, _Some]


def multiplies_bfloat16() -> bool:
    """Whether this processor does (AMX, or AVX-512's own products): elsewhere it is emulated, many times slower."""
    return bool(torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported())


class Network:
    """The pass over one model's weights; `watched` are (layer, head), lower layers first.

    Compiled where a C++ compiler is found; in bfloat16 where the processor multiplies in it.
    """

    def __init__(
        self, model: LlamaForCausalLM, watched: tuple[tuple[int, int], ...] = (), *, compiled: bool | None = None
    ) -> None:
        self._model, self._watched = model, watched
        self.dtype = torch.bfloat16 if multiplies_bfloat16() else torch.float32
        wanted = shutil.which("g++") is not None if compiled is None else compiled
        self._pass: Callable[..., _Outcome] = torch.compile(_forward, dynamic=False) if wanted else _forward

    def weights(self) -> Weights:
        """The weights in the dtype of the pass; gradients go back to the model's own."""
        return {name: weight.to(self.dtype) for name, weight in self._model.named_parameters()}

    def __call__(self, ids: torch.Tensor, weights: Weights) -> Seen:
        sizes = self._model.config
        cosine, sine = _turns(ids.shape[1], sizes.head_dim, sizes.rope_parameters["rope_theta"])
        outcome = self._pass(
            ids,
            dict(weights),
            cosine.to(self.dtype),
            sine.to(self.dtype),
            layers=sizes.num_hidden_layers,
            heads=sizes.num_attention_heads,
            eps=sizes.rms_norm_eps,
            watched=self._watched,
        )
        return Seen(*outcome)


def _turns(tokens: int, size: int, theta: float) -> tuple[torch.Tensor, torch.Tensor]:
    angles = torch.outer(torch.arange(tokens).float(), theta ** (-torch.arange(0, size, 2).float() / size))
    angles = torch.cat((angles, angles), dim=1)
    return angles.cos(), angles.sin()


def _turned(x: torch.Tensor, cosine: torch.Tensor, sine: torch.Tensor) -> torch.Tensor:
    left, right = x.chunk(2, dim=-1)
    return x * cosine + torch.cat((-right, left), dim=-1) * sine


def _forward(
    ids: torch.Tensor,
    weights: dict[str, torch.Tensor],
    cosine: torch.Tensor,
    sine: torch.Tensor,
    *,
    layers: int,
    heads: int,
    eps: float,
    watched: tuple[tuple[int, int], ...],
) -> _Outcome:
    batch, tokens = ids.shape
    state = functional.embedding(ids, weights["model.embed_tokens.weight"])
    width = state.shape[-1]
    queries, keys, states = list[torch.Tensor](), list[torch.Tensor](), list[torch.Tensor]()
    for layer in range(layers):
        own = f"model.layers.{layer}."
        calm = functional.rms_norm(state, (width,), weights[own + "input_layernorm.weight"], eps)
        packed = torch.cat([weights[f"{own}self_attn.{name}_proj.weight"] for name in "qkv"])
        shift = torch.cat([weights[f"{own}self_attn.{name}_proj.bias"] for name in "qkv"])
        split = functional.linear(calm, packed, shift).view(batch, tokens, 3, heads, -1)
        query, key, value = split.permute(2, 0, 3, 1, 4)
        query, key = _turned(query, cosine, sine), _turned(key, cosine, sine)
        for head in (head for at, head in watched if at == layer):
            queries.append(query[:, head])
            keys.append(key[:, head])
        mixed = _attention(query, key, value).transpose(1, 2).reshape(batch, tokens, -1)
        weight = weights[own + "self_attn.o_proj.weight"]
        state = state + functional.linear(mixed, weight, weights[own + "self_attn.o_proj.bias"])
        calm = functional.rms_norm(state, (width,), weights[own + "post_attention_layernorm.weight"], eps)
        gate = functional.silu(functional.linear(calm, weights[own + "mlp.gate_proj.weight"]))
        wide = gate * functional.linear(calm, weights[own + "mlp.up_proj.weight"])
        state = state + functional.linear(wide, weights[own + "mlp.down_proj.weight"])
        states.append(state)
    last = functional.rms_norm(state, (width,), weights["model.norm.weight"], eps)
    return last, tuple(queries), tuple(keys), tuple(states)


def _attention(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """Causal attention; written out where rows are short, where torch's own backward pass is the slower one."""
    tokens, size = query.shape[-2:]
    if tokens > DENSE_TOKENS_MAX:
        return functional.scaled_dot_product_attention(query, key, value, is_causal=True)
    seen = torch.ones(tokens, tokens, dtype=torch.bool).tril()
    scores = (query @ key.transpose(-1, -2)).float() * size**-0.5
    shares = scores.masked_fill(~seen, float("-inf")).softmax(dim=-1)
    return shares.to(value.dtype) @ value
