"""Scores and tokens through the whole gate, on the simulated model; and a model that comes and goes."""

import math

import pytest
import trio

from drivers.simulated.scores import OTHER, OWN
from kernos.testing import up
from kernos.testing.machine import InProcess
from syscalls.calls.process import Budget
from syscalls.errors import Busy, Canceled, Invalid, NotFound, OverQuota, OverWindow, TimedOut
from syscalls.turns import assistant, user
from userland.sdk.program import program
from userland.sdk.system import Sys

RATE = 100.0


def charged(machine: InProcess) -> int:
    return machine.machine.accounts.tokens


async def ledger(machine: InProcess) -> int:
    """What the host of the only model says it did."""
    from syscalls import driver

    host = next(host for host in machine.machine.devices.hosts() if host.args.kind == "model")
    told: driver.Ledger = await host.call(driver.LEDGER, lambda device: driver.Nothing())
    return told.prompt_tokens + told.generated_tokens


async def test_what_the_model_would_say_is_likely_and_anything_else_is_not(autojump_clock: trio.abc.Clock) -> None:
    async with up(script=["aye"]) as machine:
        asked = user("ready?")
        said = await machine.sys.generate(asked)
        assert said.text == "aye"
        scored = await machine.sys.models.score(asked, "aye", "nay", "ay", "ayes")
        first, second, third, fourth = scored.continuations
        assert first.greedy and third.greedy and not second.greedy and not fourth.greedy
        assert math.isclose(first.logprob, 3 * OWN) and math.isclose(third.logprob, 2 * OWN)
        assert math.isclose(second.logprob, 3 * OTHER)
        assert [token.text for token in second.tokens] == ["n", "a", "y"]
        assert [token.id for token in second.tokens] == list(b"nay")


async def test_a_score_is_charged_as_a_prompt_for_each_continuation(autojump_clock: trio.abc.Clock) -> None:
    async with up() as machine:
        prompt = await machine.sys.models.tokenize(user("ready?"))
        before, told = charged(machine), await ledger(machine)
        scored = await machine.sys.models.score(user("ready?"), "aye", "no")
        cost = 2 * prompt.count + 3 + 2
        assert scored.usage.prompt_tokens == cost == charged(machine) - before == await ledger(machine) - told
        record = next(each for each in await machine.trace() if each.name == "model.score")
        assert (record.prompt_tokens, record.generated_tokens) == (cost, 0)


async def test_a_score_that_is_cancelled_is_charged_and_holds_nothing(autojump_clock: trio.abc.Clock) -> None:
    async with up(model={"prefill_tokens_per_second": "10"}) as machine:
        before, told = charged(machine), await ledger(machine)
        with trio.move_on_after(1.0):
            await machine.sys.models.score("a prompt of some length", "x" * 100)
        await trio.sleep(1.0)
        assert charged(machine) - before == 123 == await ledger(machine) - told
        assert all(not any(account.held) for account in machine.machine.accounts.all())
        with pytest.raises(TimedOut, match=r"not there in 2\.0 s"):
            await machine.sys.models.score("a prompt", "x" * 100, deadline_s=2.0)


@program
async def scores_much(sys: Sys) -> str:
    try:
        await sys.models.score("x" * 50, "y" * 60)
    except OverQuota:
        return "cannot pay"
    return "paid"


async def test_a_score_is_held_before_it_is_made(autojump_clock: trio.abc.Clock) -> None:
    async with up() as machine:
        assert await machine.run(scores_much, budget=Budget(tokens=109)) == "cannot pay"
        assert await machine.run(scores_much, budget=Budget(tokens=110)) == "paid"


async def test_scores_wait_for_a_seat_like_generations(autojump_clock: trio.abc.Clock) -> None:
    async with up(model={"prefill_tokens_per_second": str(RATE), "slots": "1"}) as machine:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(machine.sys.models.score, "x" * 50, "y" * 50)
            await trio.sleep(0.1)
            scored = await machine.sys.models.score("x" * 50, "y" * 50)
        assert scored.usage.queued_s == pytest.approx(0.9, abs=0.01)


async def test_nonsense_is_refused_with_what_to_do(autojump_clock: trio.abc.Clock) -> None:
    async with up(model={"window": "64"}) as machine:
        models = machine.sys.models
        for prompt, continuations, why in (
            ("", ("x",), "one of them"),
            ("p", (), "0 continuations: 1 to 256"),
            ("p", ("",), "nothing to score"),
            ("p", ((),), "nothing to score"),
            ("p", ((999,),), "999 is no token"),
            ("x" * (1 << 20) + "x", ("y",), "1048577 characters"),
            ("p", ((1,) * 8193,), "length <= 8192"),
            ("p", ((1,) * 8192,) * 17, "continuations of 139264 tokens"),
        ):
            with pytest.raises(Invalid, match=why):
                await models.score(prompt, *continuations)
        with pytest.raises(OverWindow, match="take 65 tokens, the window of sim@1 has 64: 1 too many"):
            await models.score("p" * 30, "x" * 35)
        with pytest.raises(NotFound, match="no model 'gpt'"):
            await models.score("p", "x", model="gpt")
        with pytest.raises(Invalid, match="exactly one"):
            await machine.sys.call("model.tokenize", text="x", ids=(1,))
        with pytest.raises(Invalid, match="999 is no token"):
            await models.detokenize((999,))
        assert charged(machine) == 0


async def test_texts_and_turns_are_tokens_and_back(autojump_clock: trio.abc.Clock) -> None:
    async with up() as machine:
        models = machine.sys.models
        text = await models.tokenize("häfen")
        assert (text.count, text.ids, text.exact) == (6, tuple("häfen".encode()), True)
        assert await models.detokenize(text.ids) == "häfen"
        turns = await models.tokenize((user("hi"), assistant("ho")))
        assert await models.detokenize(turns.ids) == "<|user|>hi<|end|><|assistant|>ho<|end|><|assistant|>"
        assert turns.count == len(turns.ids)
        assert (await models.tokenize("")).count == 0


async def test_a_model_is_unloaded_and_loaded_again_by_the_next_call(autojump_clock: trio.abc.Clock) -> None:
    async with up(script=["one", "two"]) as machine:
        chat = await machine.sys.open()
        assert (await chat.ask("a")).text == "one"
        assert (await machine.sys.models.unload("sim")).state == "idle"
        host = next(host for host in machine.machine.devices.hosts() if host.args.kind == "model")
        assert (host.state, host.busy) == ("idle", 0)
        assert (await machine.sys.models.unload("sim")).state == "idle"
        assert (await chat.ask("b")).text == "two"
        assert (await machine.sys.models.info("sim")).state == "ready"
        await machine.sys.models.unload("sim")
        assert (await machine.sys.models.load("sim")).state == "ready"
        with pytest.raises(NotFound, match="no model 'gpt'"):
            await machine.sys.models.load("gpt")


async def test_a_model_that_works_is_not_unloaded_unless_one_waits_or_insists(autojump_clock: trio.abc.Clock) -> None:
    async with up(script=["x" * 100] * 9, model={"tokens_per_second": "10", "step_tokens": "1"}) as machine:
        models, answers = machine.sys.models, list[object]()

        async def speak() -> None:
            try:
                answers.append((await machine.sys.generate(user("go"))).text)
            except Canceled as cut:
                answers.append(cut)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(speak)
            await trio.sleep(1.0)
            with pytest.raises(Busy, match=r"1 calls are under way on sim@1: wait for them \(timeout_s\)"):
                await models.unload("sim")
            with pytest.raises(Busy):
                await models.unload("sim", timeout_s=2.0)
            assert trio.current_time() < 20
            nursery.start_soon(speak_later, machine, answers)
            assert (await models.unload("sim", timeout_s=None)).state == "idle"
            assert answers == ["x" * 100]
        assert answers == ["x" * 100, "x" * 100]  # what came meanwhile loaded it again
        async with trio.open_nursery() as nursery:
            nursery.start_soon(speak)
            await trio.sleep(1.0)
            assert (await models.unload("sim", force=True)).state == "idle"
        assert isinstance(answers[-1], Canceled) and "unloaded by force" in str(answers[-1])
        assert (await machine.sys.generate(user("go"), max_tokens=3)).text == "xxx"


async def speak_later(machine: InProcess, answers: list[object]) -> None:
    await trio.sleep(1.0)
    answers.append((await machine.sys.generate(user("go"))).text)


async def test_two_unloads_at_once_are_one(autojump_clock: trio.abc.Clock) -> None:
    async with up(script=["x" * 100], model={"tokens_per_second": "10"}) as machine:
        refused = list[str]()

        async def unload() -> None:
            try:
                await machine.sys.models.unload("sim", timeout_s=None)
            except Busy as busy:
                refused.append(busy.message)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: machine.sys.generate(user("go"))._whole())
            await trio.sleep(1.0)
            nursery.start_soon(unload)
            nursery.start_soon(unload)
        assert refused == ["sim@1 is being unloaded already"]
        assert (await machine.sys.models.info("sim")).state == "idle"


@program
async def unloads(sys: Sys) -> str:
    try:
        await sys.models.unload("sim")
    except PermissionError as denied:
        return str(denied)
    return "unloaded"


async def test_a_program_may_use_models_and_not_take_them_away(autojump_clock: trio.abc.Clock) -> None:
    async with up() as machine:
        said = await machine.run(unloads, rights=("model:*", "context:own"))
        assert "lacks the right 'kernel:models unload'" in said
