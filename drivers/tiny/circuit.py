"""The start: the first two layers are set to find where a token stood before and to say what followed it.

Such an induction circuit forms by itself too, after a million tokens or two of nothing much; on two cores that
is ten minutes. Set by hand it is there at step nought, and training bends it as it likes. Layer 0 looks one and
two tokens back (by the biases of queries and keys, which rotary positions turn into distances); layer 1
compares the present token with what stood before each earlier one, and copies the one it finds.
"""

import torch
from transformers import LlamaForCausalLM

EMBEDDING_STD = 0.05
_BIAS, _MATCH, _COPY = 6.0, 2.0, 4.0


def install(model: LlamaForCausalLM) -> None:
    """Sets layers 0 and 1; the model must have biases in its attention and three heads or more."""
    with torch.no_grad():
        _install(model)


def _install(model: LlamaForCausalLM) -> None:
    sizes = model.config
    half, theta = sizes.head_dim // 2, sizes.rope_parameters["rope_theta"]
    embedding = model.model.embed_tokens.weight
    embedding.normal_(std=EMBEDDING_STD)
    # Orthogonal directions: some to read a token by, others to write down the one before it.
    basis = torch.linalg.qr(torch.randn(sizes.hidden_size, sizes.hidden_size)).Q
    code = half
    read, write = basis[:, :code].T, (basis[:, code : 2 * code], basis[:, 2 * code : 3 * code])
    slow = torch.cat((torch.arange(half // 2, half), torch.arange(half + half // 2, 2 * half)))
    first, second = model.model.layers[0].self_attn, model.model.layers[1].self_attn
    size = EMBEDDING_STD * (sizes.hidden_size / code) ** 0.5
    for head, back in ((0, 1), (1, 2)):
        rows = slice(head * 2 * half, (head + 1) * 2 * half)
        _look_back(first.q_proj.bias[rows], first.k_proj.bias[rows], back, half=half, theta=theta)
        first.v_proj.weight[rows][:code] = read
        first.o_proj.weight[:, rows][:, :code] = size * write[head]
    for head, source in ((0, read), (1, write[0].T)):
        rows = slice(head * 2 * half, (head + 1) * 2 * half)
        # Matching uses the slowly turning half of the rotary pairs, which distance hardly touches.
        second.q_proj.weight[rows][slow] = _MATCH * source
        second.k_proj.weight[rows][slow] = _MATCH * write[head].T
        directions = basis[:, head * 2 * half : (head + 1) * 2 * half]
        second.v_proj.weight[rows][: directions.shape[1]] = directions.T
        second.o_proj.weight[:, rows][:, : directions.shape[1]] = _COPY * EMBEDDING_STD * directions


def _look_back(query: torch.Tensor, key: torch.Tensor, back: int, *, half: int, theta: float) -> None:
    """Sets views of two biases so that their product, turned by the positions, is largest `back` tokens ago."""
    turn = back * theta ** (-torch.arange(half) / half)
    key[:half] = _BIAS
    query[:half] = _BIAS * torch.cos(turn)
    query[half:] = -_BIAS * torch.sin(turn)
