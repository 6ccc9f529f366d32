"""What kernos-tiny is trained with: rows, demands and weights, the guide, and the lean forward pass."""

from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer
from torch import distributed, multiprocessing
from torch.nn import functional
from transformers import LlamaForCausalLM

from drivers.tiny import guide, marks, tokenizer, train, wire
from drivers.tiny.corpus import Corpus
from drivers.tiny.guide import Looks
from drivers.tiny.network import Network, Seen
from drivers.tiny.rows import Packer, called, piece_of


@pytest.fixture(scope="module")
def cutter() -> Tokenizer:
    corpus = Corpus(1, longest_chars=200)
    drawn = (turn for _ in range(300) for turn in corpus.episode().turns)
    built = tokenizer.build(wire.render(turn, marked=False) for turn in drawn)
    tokenizer.grow(built)
    return built


def model_of(cutter: Tokenizer) -> LlamaForCausalLM:
    torch.manual_seed(0)
    return LlamaForCausalLM(train.config(cutter.get_vocab_size(), start=1, end=2, pad=0))


def _hand(hand: int, meeting: str) -> None:
    """One of two processes that train together; exits with an error where they do not meet in the middle."""
    distributed.init_process_group("gloo", init_method=f"file://{meeting}", rank=hand, world_size=2)
    weights = [torch.nn.Parameter(torch.full((3,), float(hand))), torch.nn.Parameter(torch.ones(2))]
    train.meet(weights)
    assert weights[0].tolist() == [0.5] * 3 and weights[1].tolist() == [1.0] * 2
    distributed.destroy_process_group()


def test_hands_that_train_together_go_on_from_their_mean(tmp_path: Path) -> None:
    multiprocessing.spawn(_hand, (str(tmp_path / "meeting"),), nprocs=2)


def test_the_lean_pass_is_transformers_own(cutter: Tokenizer) -> None:
    model = model_of(cutter)
    with torch.no_grad():
        for weight in model.parameters():
            weight.normal_(std=0.1)
    network = Network(model, ((1, 2),), compiled=False)
    network.dtype = torch.float32
    for tokens in (40, 300):  # both kinds of attention
        ids = torch.randint(3, 500, (2, tokens))
        seen = network(ids, network.weights())
        theirs = model.model(input_ids=ids, use_cache=False).last_hidden_state
        assert torch.allclose(seen.hidden, theirs, atol=1e-4)
        assert torch.equal(functional.rms_norm(seen.states[-1], (256,), model.model.norm.weight, 1e-5), seen.hidden)
        assert seen.queries[0].shape == (2, tokens, 64)


def test_a_pointer_is_told_the_token_to_say_next(cutter: Tokenizer) -> None:
    batch = Packer(Corpus(2, longest_chars=200), cutter).batch(rows=8, tokens=256)
    looks = {each.duty: each.demands for each in batch.looks}
    assert all(len(demands) for demands in looks.values())
    for demands in looks.values():
        _, at, begin, end = demands.unbind(1)
        assert bool((begin < end).all() and (begin <= at).all())
    row, at, begin, _ = looks[guide.POINT].unbind(1)
    same = batch.ids[row, at + 1] == batch.ids[row, begin]
    assert float(same.float().mean()) > 0.8  # all but the one behind each value, which says that it ends there
    row, at, begin, _ = looks[guide.SAME].unbind(1)
    assert bool((batch.ids[row, at] == batch.ids[row, begin]).all())


def test_all_that_the_assistant_says_is_learned_from_its_first_token_on(cutter: Tokenizer) -> None:
    episode = Corpus(3).episode("lookup")
    piece = piece_of(cutter, episode)
    said = cutter.decode([i for i, weight in zip(piece.ids, piece.weights, strict=True) if weight])
    assert said.startswith(wire.CALL_OPEN)
    assert said.count("glossary says") == 1 and "The" in said.partition(wire.CALL_CLOSE)[2]
    kept = piece.weights[piece.weights.index(0.5) :]
    assert max(kept) == max(piece.weights)


def test_the_guide_counts_what_falls_beside_the_demand() -> None:
    demands = torch.tensor([[0, 3, 1, 2]])
    looks = (Looks(guide.BEFORE, demands),)
    key = torch.zeros(1, 4, 64)
    key[0, 1, 0] = 100.0

    def lost(query: Any) -> float:
        seen = Seen(torch.zeros(1, 4, 8), (query,), (key,))
        return float(guide.loss_of(seen, looks))

    there, away = torch.zeros(1, 4, 64), torch.zeros(1, 4, 64)
    there[0, 3, 0], away[0, 3, 0] = 10.0, -10.0
    assert lost(there) < 1e-3 < 10 < lost(away)
    assert guide.loss_of(Seen(torch.zeros(1, 4, 8), (there,), (key,)), ()) == 0


def test_a_word_has_the_same_pieces_behind_any_bracket_and_behind_a_mark(cutter: Tokenizer) -> None:
    alone = cutter.encode(" beach").ids
    for written in ("<beach>", "*beach*", "[beach]", "(beach)", '"beach"', f"{marks.NAMES[5]} beach"):
        ids = cutter.encode(written).ids
        assert any(ids[at : at + len(alone)] == alone for at in range(len(ids))), written


def test_what_is_known_is_the_mark_before_the_quoted_sentence(cutter: Tokenizer) -> None:
    corpus, known = Corpus(6), dict.fromkeys(guide.KNOWING, 0)
    first = cutter.token_to_id(marks.NAMES[0]) or 0
    for _ in range(40):
        episode = corpus.episode("answer")
        piece = piece_of(cutter, episode)
        for layer, facts in piece.known.items():
            known[layer] += len(facts)
        copy = episode.notes.copies[0]
        wanted = {number for _, number in piece.known[guide.CHOSEN]}
        begins = [begin for at, begin, _ in piece.looks[guide.BEGIN]]
        assert len(wanted) <= 1
        if wanted and copy.read.turn == 0:
            assert piece.ids[begins[0] - 1] - first in wanted
    assert all(known.values())


def test_an_episode_that_ends_with_its_call_has_nothing_behind_it(cutter: Tokenizer) -> None:
    corpus = Corpus(7)
    for _ in range(40):
        episode = corpus.episode("recall")
        piece = piece_of(cutter, called(episode))
        assert piece.ids == piece_of(cutter, episode).ids[: len(piece.ids)]
        assert all(end <= len(piece.ids) for looks in piece.looks.values() for _, _, end in looks)
        assert cutter.decode(piece.ids).endswith(f"{wire.CALL_CLOSE}\n")


def test_readers_learn_a_number_that_is_there() -> None:
    torch.manual_seed(0)
    facts = torch.tensor([[0, at, at % 4] for at in range(32)])
    states = functional.one_hot(facts[:, 2], 16).float()[None]
    seen = Seen(states, (), (), tuple(states for _ in range(4)))
    readers, known = guide.Readers(16), (guide.Known(guide.WITHIN, facts),)
    adam = torch.optim.Adam(readers.parameters(), lr=0.05)
    before = readers.loss_of(seen, known).item()
    for _ in range(100):
        adam.zero_grad()
        readers.loss_of(seen, known).backward()
        adam.step()
    assert readers.loss_of(seen, known).item() < 0.05 * before
    assert readers.loss_of(seen, ()) == 0
