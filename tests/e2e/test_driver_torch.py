"""The torch driver in this process on small untrained models: equal alone and together, resumed, cancelled, refused."""

import json
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from drivers.loading import load
from drivers.torch_model import TorchModel
from syscalls.driver import Finished, Generate, Open, Render, Sampling, Score, Tokens
from syscalls.errors import BrokenPipe, Invalid, NotFound, OverWindow, SyscallError
from syscalls.turns import Turn, assistant, user
from tests.tinymodel import make_model, make_tokenizer

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")]


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("llama"))


async def open_model(folder: Path, **options: str) -> TorchModel:
    device = await load("torch").open(Open(kind="model", origin=str(folder), options=options))
    assert isinstance(device, TorchModel)
    return device


@pytest.fixture
async def model(folder: Path) -> AsyncIterator[TorchModel]:
    device = await open_model(folder)
    yield device
    await device.close()


async def prompt_of(device: TorchModel, *turns: Turn) -> tuple[int, ...]:
    rendered = await device.render(Render(device=1, turns=turns))
    return rendered.head + tuple(i for segment in rendered.segments for i in segment) + rendered.tail


async def ask(
    device: TorchModel, text: str, sampling: Sampling, generated: tuple[int, ...] = ()
) -> tuple[Finished, tuple[int, ...]]:
    items: list[Tokens] = []
    call = Generate(device=1, prompt=await prompt_of(device, user(text)), sampling=sampling, generated=generated)
    finished = await device.generate(call, items.append)
    if not generated:
        assert "".join(item.text for item in items) == finished.text
    return finished, tuple(i for item in items for i in item.ids)


def reference(folder: Path, prompt: tuple[int, ...], count: int) -> tuple[int, ...]:
    """What transformers' own greedy decoding gives."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder)
    ids = torch.tensor([prompt])
    out = model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=count,
        do_sample=False,
        eos_token_id=None,
        pad_token_id=0,
    )
    return tuple(out[0, len(prompt) :].tolist())


def cut(ids: tuple[int, ...], ends: frozenset[int]) -> tuple[int, ...]:
    """`ids` up to the first that ends an answer."""
    at = next((n + 1 for n, token in enumerate(ids) if token in ends), len(ids))
    return ids[:at]


def make_other(folder: Path, name: str) -> Path:
    """A small untrained model of another architecture with the same tokenizer."""
    import torch
    import transformers as hf

    size = {"vocab_size": 261, "eos_token_id": 257, "pad_token_id": 258, "bos_token_id": None}
    small = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 4, "num_attention_heads": 4,
             "num_key_value_heads": 2, "head_dim": 16, "max_position_embeddings": 256}  # fmt: skip
    configs: dict[str, Any] = {
        "gpt2": lambda: hf.GPT2Config(n_embd=64, n_layer=2, n_head=4, n_positions=256, **size),
        "mistral": lambda: hf.MistralConfig(sliding_window=16, **small, **size),
        "qwen3": lambda: hf.Qwen3Config(
            use_sliding_window=True, sliding_window=16, max_window_layers=2, **small, **size
        ),
        "gemma3": lambda: hf.Gemma3TextConfig(sliding_window=16, sliding_window_pattern=2, **small, **size),
        "mamba": lambda: hf.MambaConfig(hidden_size=64, num_hidden_layers=2, state_size=8, **size),
        "bert": lambda: hf.BertConfig(
            hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4, vocab_size=261
        ),
        "t5": lambda: hf.T5Config(d_model=64, d_ff=96, num_layers=2, num_heads=4, d_kv=16, vocab_size=261),
    }
    classes = {"bert": hf.BertForMaskedLM, "t5": hf.T5ForConditionalGeneration}
    folder.mkdir()
    make_tokenizer(folder)
    torch.manual_seed(1)
    config = configs[name]()
    config.initializer_range = 0.2
    model = classes[name](config) if name in classes else hf.AutoModelForCausalLM.from_config(config)
    model.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("name", ["llama", "gpt2", "mistral", "qwen3", "gemma3"])
async def test_greedy_decoding_is_what_transformers_gives(name: str, folder: Path, tmp_path: Path) -> None:
    where = folder if name == "llama" else make_other(tmp_path / name, name)
    device = await open_model(where, cache_mb="0")
    texts = ["short", "a question that is longer than any sliding window here " * 2]
    answers: dict[str, tuple[int, ...]] = {}

    async def one(text: str) -> None:
        answers[text] = (await ask(device, text, Sampling(40)))[1]

    async with trio.open_nursery() as nursery:
        for text in texts:
            nursery.start_soon(one, text)
    for text in texts:
        expected = reference(where, await prompt_of(device, user(text)), 40)
        assert answers[text] == cut(expected, device._loaded.ends)
    await device.close()


@pytest.mark.parametrize("name", ["mamba", "bert", "t5"])
async def test_other_architectures_are_refused_in_one_line(name: str, tmp_path: Path) -> None:
    with pytest.raises(Invalid, match=r"architecture|attention-only") as refused:
        await open_model(make_other(tmp_path / name, name))
    assert "\n" not in refused.value.message


@pytest.mark.parametrize("threads", [1, 3])
async def test_answers_are_the_same_in_any_company(model: TorchModel, threads: int) -> None:
    """More sequences than slots, of all lengths, coming and going; the prefix cache in between."""
    asked = [("why " * (7 * n % 13) + str(n), Sampling(5 + 3 * n, temperature=0.8 * (n % threads == 1), seed=n))
             for n in range(24)]  # fmt: skip
    together: dict[int, tuple[Finished, tuple[int, ...]]] = {}

    async def one(n: int) -> None:
        together[n] = await ask(model, *asked[n])

    async with trio.open_nursery() as nursery:
        for n in range(len(asked)):
            nursery.start_soon(one, n)
    for n, (text, sampling) in enumerate(asked):
        finished, ids = await ask(model, text, sampling)
        assert (ids, finished.text) == (together[n][1], together[n][0].text)


async def test_resuming_after_any_token_gives_the_identical_rest(model: TorchModel) -> None:
    whole, ids = await ask(model, "go", Sampling(20))
    stop = next(p for p in (whole.text[n : n + 2] for n in range(6, 18)) if "\N{REPLACEMENT CHARACTER}" not in p)
    for sampling in (Sampling(20), Sampling(20, temperature=1.0, top_p=0.8, seed=3), Sampling(20, stop=(stop,))):
        whole, ids = await ask(model, "go", sampling)
        for at in range(len(ids) + 1):
            rest, later = await ask(model, "go", sampling, ids[:at])
            assert ids[:at] + later == ids
            assert (rest.text, rest.finish) == (whole.text, whole.finish)
            assert rest.generated_tokens == len(later)


async def test_a_growing_context_is_not_read_again(model: TorchModel) -> None:
    first = user("tell me " * 10)
    prompt = await prompt_of(model, first)
    items: list[Tokens] = []
    said = await model.generate(Generate(device=1, prompt=prompt, sampling=Sampling(12)), items.append)
    assert said.cached_tokens == 0
    longer = prompt + tuple(i for item in items for i in item.ids)
    again = await model.generate(Generate(device=1, prompt=longer, sampling=Sampling(3)), items.append)
    assert again.cached_tokens == len(longer) - 1
    assert again.prompt_tokens == len(longer)


async def test_a_prompt_shares_what_runs_beside_it(model: TorchModel) -> None:
    """Before the first has ended, the second takes over what they have in common."""
    shared = "the same long beginning of both, " * 3
    async with trio.open_nursery() as nursery:
        began = trio.Event()
        call = Generate(device=1, prompt=await prompt_of(model, user(shared)), sampling=Sampling(300))
        nursery.start_soon(model.generate, call, lambda tokens: began.set())
        await began.wait()
        finished, _ = await ask(model, shared + "and more", Sampling(4))
        assert finished.cached_tokens >= len(shared)
        nursery.cancel_scope.cancel()


async def test_cancelling_frees_the_row_and_leaks_nothing(model: TorchModel) -> None:
    for _ in range(20):
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                for n in range(20):
                    nursery.start_soon(ask, model, f"{n} " * 30, Sampling(200))
                await trio.testing.wait_all_tasks_blocked()
                scope.cancel()
    finished, _ = await ask(model, "after", Sampling(2))
    assert finished.generated_tokens <= 2
    engine = model.engine
    assert (engine._decoding, engine._reading, len(engine._queue)) == ([], None, 0)


async def test_an_idle_engine_takes_no_step(model: TorchModel) -> None:
    await ask(model, "x", Sampling(3))
    with model.engine._work:
        steps = model.engine.steps
    await ask(model, "x", Sampling(3))
    assert model.engine.steps - steps <= 4  # three ids, and one look at what was left


async def test_the_window_is_exact_and_nothing_is_cut(model: TorchModel) -> None:
    prompt = await prompt_of(model, user("x" * 100))
    room = 512 - len(prompt)
    with pytest.raises(OverWindow, match=rf"{len(prompt)} prompt tokens and max_tokens {room + 1} are 513; .*512"):
        await model.generate(Generate(device=1, prompt=prompt, sampling=Sampling(room + 1)), lambda tokens: None)
    finished = await model.generate(Generate(device=1, prompt=prompt, sampling=Sampling(room)), lambda tokens: None)
    assert finished.prompt_tokens == len(prompt)


async def test_closing_ends_what_runs(folder: Path) -> None:
    device = await open_model(folder)
    refused: list[SyscallError] = []

    async def one() -> None:
        try:
            await ask(device, "long", Sampling(400))
        except SyscallError as ended:
            refused.append(ended)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(one)
        await trio.testing.wait_all_tasks_blocked()
        await device.close()
    assert [type(each) for each in refused] == [BrokenPipe]
    with pytest.raises(BrokenPipe):
        await ask(device, "late", Sampling(1))


async def test_a_model_with_a_broken_step_fails_its_calls_and_goes_on(model: TorchModel) -> None:
    honest = model.engine._model
    before, _ = await ask(model, "steady", Sampling(6))

    def broken(**inputs: Any) -> Any:
        raise RuntimeError("the accelerator fell off\nand more")

    model.engine._model = broken
    with pytest.raises(SyscallError, match=r"EIO: RuntimeError: the accelerator fell off$"):
        await ask(model, "steady now", Sampling(6))
    model.engine._model = honest
    after, _ = await ask(model, "steady", Sampling(6))
    assert after.text == before.text


async def test_a_broken_step_does_not_harm_a_prompt_that_is_being_read(model: TorchModel) -> None:
    """The prompt takes several pieces; the step of the other one breaks in between."""
    honest, longer = model.engine._model, "a prompt of more than one piece " * 12
    expected, _ = await ask(model, longer, Sampling(6))
    model.engine._prefixes.clear()
    broken_once: list[int] = []

    def broken(**inputs: Any) -> Any:
        if inputs["input_ids"].shape[1] == 1 and model.engine._reading is not None and not broken_once:
            broken_once.append(1)
            raise RuntimeError("once")
        return honest(**inputs)

    model.engine._model = broken
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_refused, model)
        await trio.testing.wait_all_tasks_blocked()
        found, _ = await ask(model, longer, Sampling(6))
        nursery.cancel_scope.cancel()
    assert broken_once
    assert found.text == expected.text


async def _refused(model: TorchModel) -> None:
    with pytest.raises(SyscallError, match="once"):
        await ask(model, "short", Sampling(400))


async def test_rows_grow_and_an_idle_engine_gives_large_ones_back(
    model: TorchModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("drivers.causal.engine.IDLE_BYTES_MAX", 0)
    first, _ = await ask(model, "x" * 300, Sampling(100))
    again, _ = await ask(model, "x" * 300, Sampling(100))
    assert again.text == first.text
    assert again.cached_tokens > 300


async def test_sequences_that_end_while_a_long_prompt_is_read_leave_it_whole(tmp_path: Path) -> None:
    """It is read in eight pieces beside three that run, and follows the rows that become free."""
    device = await open_model(make_model(tmp_path / "long", max_position_embeddings=4096), cache_mb="0")
    longer = "a long prompt, a very long one; " * 60
    expected, ids = await ask(device, longer, Sampling(12))
    found: list[tuple[int, ...]] = []

    async def one() -> None:
        found.append((await ask(device, longer, Sampling(12)))[1])

    async with trio.open_nursery() as nursery:
        for count in (2, 3, 5):
            nursery.start_soon(ask, device, f"short {count}", Sampling(count))
        nursery.start_soon(one)
    assert found == [ids]
    assert expected.cached_tokens == 0
    await device.close()


# Folders that cannot be served.


def damaged(folder: Path, to: Path) -> Path:
    return Path(shutil.copytree(folder, to / "damaged"))


async def refusal(folder: Path, **options: str) -> SyscallError:
    with pytest.raises(SyscallError) as refused:
        await open_model(folder, **options)
    assert "\n" not in refused.value.message
    return refused.value


async def test_a_missing_folder(tmp_path: Path) -> None:
    assert isinstance(await refusal(tmp_path / "nowhere"), NotFound)


async def test_a_file_instead_of_a_folder(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(b"x")
    assert "give the folder" in (await refusal(path)).message


async def test_a_folder_without_config(tmp_path: Path) -> None:
    assert "config.json" in (await refusal(tmp_path)).message


async def test_a_broken_config(folder: Path, tmp_path: Path) -> None:
    where = damaged(folder, tmp_path)
    (where / "config.json").write_text('{"model_type": ')
    assert "copy the model again" in (await refusal(where)).message


async def test_an_unknown_architecture(folder: Path, tmp_path: Path) -> None:
    where = damaged(folder, tmp_path)
    config = json.loads((where / "config.json").read_text())
    (where / "config.json").write_text(json.dumps(config | {"model_type": "oracle", "architectures": ["Oracle"]}))
    assert "another architecture (Oracle)" in (await refusal(where)).message


async def test_no_weights(folder: Path, tmp_path: Path) -> None:
    where = damaged(folder, tmp_path)
    (where / "model.safetensors").unlink()
    assert "no weights" in (await refusal(where)).message


@pytest.mark.parametrize("kept", [0, 5, 2000, -1])
async def test_truncated_weights(folder: Path, tmp_path: Path, kept: int) -> None:
    where = damaged(folder, tmp_path)
    whole = (where / "model.safetensors").read_bytes()
    (where / "model.safetensors").write_bytes(whole[:kept])
    assert "truncated" in (await refusal(where)).message


async def test_corrupt_weights(folder: Path, tmp_path: Path) -> None:
    where = damaged(folder, tmp_path)
    whole = bytearray((where / "model.safetensors").read_bytes())
    whole[8:40] = b"\xff" * 32
    (where / "model.safetensors").write_bytes(whole)
    assert "corrupt header" in (await refusal(where)).message


async def test_weights_of_another_shape(folder: Path, tmp_path: Path) -> None:
    where = damaged(folder, tmp_path)
    config = json.loads((where / "config.json").read_text())
    (where / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 3}))
    assert "lack" in (await refusal(where)).message


async def test_a_shard_that_the_index_names_is_missing(folder: Path, tmp_path: Path) -> None:
    where = damaged(folder, tmp_path)
    index = {"weight_map": {"a": "model.safetensors", "b": "model-2.safetensors"}}
    (where / "model.safetensors.index.json").write_text(json.dumps(index))
    assert "model-2.safetensors" in (await refusal(where)).message


async def test_no_chat_template_unless_one_is_given(tmp_path: Path) -> None:
    where = make_model(tmp_path / "bare", template=None)
    assert "template=plain" in (await refusal(where)).message
    device = await open_model(where, template="plain")
    rendered = await device.render(Render(device=1, turns=(user("hi"), assistant("yes"))))
    text = device._voice.text([i for segment in rendered.segments for i in segment])
    assert text == "user: hi\nassistant: yes\n"
    await device.close()
    jinja = tmp_path / "own.jinja"
    jinja.write_text("{% for m in messages %}[{{ m.content }}]{% endfor %}")
    device = await open_model(where, template=str(jinja))
    rendered = await device.render(Render(device=1, turns=(user("hi"),)))
    assert device._voice.text(rendered.segments[0]) == "[hi]"
    await device.close()
    assert "nowhere.jinja" in (await refusal(where, template=str(tmp_path / "nowhere.jinja"))).message


@pytest.mark.parametrize(
    "options", [{"dtype": "int3"}, {"slots": "0"}, {"device": "abacus"}, {"colour": "red"}, {"threads": "many"}]
)
async def test_wrong_options(folder: Path, options: dict[str, str]) -> None:
    assert next(iter(options)) in (await refusal(folder, **options)).message


async def test_the_checksum_is_of_names_and_contents(folder: Path, tmp_path: Path) -> None:
    same = await open_model(damaged(folder, tmp_path))
    other = await open_model(make_model(tmp_path / "other", seed=1))
    first = await open_model(folder)
    assert same.opened.checksum == first.opened.checksum != other.opened.checksum
    assert same.opened.template == other.opened.template
    for device in (same, other, first):
        await device.close()


def reference_scores(folder: Path, prompt: tuple[int, ...], continuation: tuple[int, ...]) -> list[float]:
    """The log-probabilities from one plain forward of transformers' own."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder)
    with torch.inference_mode():
        logits = model(torch.tensor([prompt + continuation])).logits[0].float()
    logprobs = torch.log_softmax(logits[len(prompt) - 1 : -1], -1)
    return [float(logprobs[n, token]) for n, token in enumerate(continuation)]


async def test_scores_are_those_of_a_plain_forward(folder: Path, model: TorchModel) -> None:
    prompt = await prompt_of(model, user("score this " * 30))
    many = tuple(tuple(ord(letter) for letter in text) for text in ("a", "ab" * 40, "the quick brown fox"))
    scored = await model.score(Score(device=1, prompt=prompt, continuations=many))
    for ids, tokens in zip(many, scored.scores, strict=True):
        assert [token.id for token in tokens] == list(ids)
        assert [token.logprob for token in tokens] == pytest.approx(reference_scores(folder, prompt, ids), abs=1e-3)
    assert scored.cached_tokens >= 2 * (len(prompt) - 1)  # the prompt was read once


async def test_scoring_beside_generations_changes_neither(model: TorchModel) -> None:
    prompt = await prompt_of(model, user("which of them"))
    call = Score(device=1, prompt=prompt, continuations=tuple((65 + n,) * 20 for n in range(6)))
    alone = await model.score(call)
    quiet = [(await ask(model, f"story {n}", Sampling(60)))[1] for n in range(3)]
    loud: dict[int, tuple[int, ...]] = {}

    async def speak(n: int) -> None:
        loud[n] = (await ask(model, f"story {n}", Sampling(60)))[1]

    async with trio.open_nursery() as nursery:
        for n in range(3):
            nursery.start_soon(speak, n)
        for _ in range(5):
            beside = await model.score(call)
            for a, b in zip(alone.scores, beside.scores, strict=True):
                assert [x.logprob for x in a] == pytest.approx([x.logprob for x in b], abs=1e-3)
    assert [loud[n] for n in range(3)] == quiet


async def test_a_score_that_is_cancelled_leaves_the_engine_free(model: TorchModel) -> None:
    prompt = await prompt_of(model, user("x" * 300))
    with trio.move_on_after(0.001):
        await model.score(Score(device=1, prompt=prompt, continuations=((65,) * 100,) * 40))
    assert len((await model.score(Score(device=1, prompt=prompt, continuations=((65,),)))).scores) == 1
    assert (await ask(model, "after", Sampling(5)))[0].generated_tokens <= 5
