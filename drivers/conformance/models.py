"""What a model keeps to."""

import msgspec
import trio

from drivers.conformance.checks import Check, NotDeclared, check, expect, needs
from drivers.conformance.every import checks_for
from drivers.conformance.rig import Rig, Said, prompt_of
from syscalls import driver as abi
from syscalls.errors import Canceled, Errno, SyscallError
from syscalls.turns import ToolCall, ToolSpec, Turn, assistant, system, tool, user

CHECKS: list[Check] = checks_for("model")

TALK: tuple[Turn, ...] = (
    system("You are brief."),
    user("What is in the harbour? äöü 12"),
    assistant("I will look.", ToolCall("look", {"at": "harbour"}, "call00001")),
    tool("three ships\n", name="look", call_id="call00001"),
    assistant("Three ships."),
    user(" And on the quay?"),
)
TOOLS = (ToolSpec("look", "Looks at a place.", {"type": "object", "properties": {"at": {"type": "string"}}}),)
TOKENS = 24


def greedy(max_tokens: int = TOKENS, *stop: str) -> abi.Sampling:
    return abi.Sampling(max_tokens, stop=stop)


@check("model", CHECKS)
async def description(rig: Rig) -> None:
    """Opened tells the window, the slots, and digests of the model and of its template."""
    told = rig.opened
    expect(told.window_tokens > 0, "window_tokens is 0")
    expect(told.slots > 0, "slots is 0")
    expect(bool(told.checksum) or told.counts == "bound", "no checksum")
    expect("generate" in told.can and "stream" in told.can, f"can is {told.can}: a model generates and streams")


@check("model", CHECKS)
async def render_shape(rig: Rig) -> None:
    """One segment for each turn, or with counts `bound` len(turns) + 2 counts."""
    rendered = await rig.render(*TALK, tools=TOOLS)
    if rig.opened.counts == "bound":
        expect(len(rendered.counts) == len(TALK) + 2, f"{len(rendered.counts)} counts for {len(TALK)} turns")
        return
    expect(len(rendered.segments) == len(TALK), f"{len(rendered.segments)} segments for {len(TALK)} turns")
    expect(all(rendered.segments), "a turn has no ids")


@check("model", CHECKS)
async def append_law(rig: Rig) -> None:
    """render(a + b) = render(a) + suffix: no turn changes those before it."""
    if not rig.opened.append_exact:
        raise NotDeclared("declares that its template breaks the append law")
    whole = await rig.render(*TALK)
    for count in range(1, len(TALK)):
        part = await rig.render(*TALK[:count])
        same = part.head == whole.head and part.segments == whole.segments[:count]
        expect(same and part.counts[:-1] == whole.counts[: max(0, len(part.counts) - 1)], f"broken at turn {count}")


@check("model", CHECKS)
async def streams_its_text(rig: Rig) -> None:
    """The items joined are the final text; every id is emitted once; the counts are those of the ids."""
    request = await rig.request(user("Tell me of ships."), sampling=greedy())
    said = await rig.generate(request)
    expect(said.text == said.finished.text, f"streamed {said.text!r}, finished with {said.finished.text!r}")
    expect(said.finished.generated_tokens <= TOKENS, f"{said.finished.generated_tokens} tokens of {TOKENS}")
    if rig.opened.counts == "exact":
        expect(len(said.ids) == said.finished.generated_tokens, "ids emitted and generated_tokens differ")
        expect(len(request.prompt) == said.finished.prompt_tokens, "prompt_tokens is not the prompt's length")
    if said.finished.finish == "length":
        expect(said.finished.generated_tokens == TOKENS, "finished by length before max_tokens")


@check("model", CHECKS)
async def greedy_repeats(rig: Rig) -> None:
    """Greedy decoding gives the same again."""
    needs(rig, "seed")
    first = await rig.say(user("Once more."), sampling=greedy())
    again = await rig.say(user("Once more."), sampling=greedy())
    expect((first.ids, first.text) == (again.ids, again.text), "greedy decoding differs from itself")


@check("model", CHECKS)
async def seed_repeats(rig: Rig) -> None:
    """The same seed gives the same answer; of some seeds, two differ."""
    needs(rig, "seed")
    answers: list[Said] = []
    for seed in (1, 1, 2, 3, 4):
        sampling = abi.Sampling(TOKENS, temperature=1.0, top_p=0.95, seed=seed)
        answers.append(await rig.say(user("Pick a word."), sampling=sampling))
    expect(answers[0].text == answers[1].text, "the same seed gives another answer")
    expect(len({each.text for each in answers}) > 1, "four seeds give one answer")


@check("model", CHECKS)
async def stop_strings(rig: Rig) -> None:
    """Generation ends at the first stop string, which is not in the text."""
    needs(rig, "stop")
    whole = await rig.say(user("Count the ships."), sampling=greedy(48))
    stop = _inside(whole.text)
    if stop is None:
        raise NotDeclared("the model says too little to stop it")
    said = await rig.say(user("Count the ships."), sampling=greedy(48, "never said at all", stop))
    expect(stop not in said.text, f"{stop!r} is in the text")
    expect(said.finished.finish == "stop_string", f"finish is {said.finished.finish}")
    expect(said.text == said.finished.text == whole.text[: whole.text.index(stop)], "the text before it differs")


def _inside(text: str) -> str | None:
    """Two characters from the middle of a text that are whole."""
    for at in range(len(text) // 3, len(text) - 2):
        piece = text[at : at + 2]
        if piece.isprintable() and piece.strip() == piece and "\N{REPLACEMENT CHARACTER}" not in piece:
            return piece
    return None


@check("model", CHECKS)
async def resumes_exactly(rig: Rig) -> None:
    """Cut after any token and resumed, greedy, by seed and with a stop string: the rest is the same, nothing is sent
    twice."""
    needs(rig, "resume-exact")
    whole = await rig.say(user("Go on."), sampling=greedy(TOKENS))
    stops = (_inside(whole.text),)
    samplings = [greedy(TOKENS), abi.Sampling(TOKENS, temperature=0.9, top_p=0.9, seed=7)]
    samplings += [greedy(TOKENS, stop) for stop in stops if stop]
    for sampling in samplings:
        request = await rig.request(user("Go on."), sampling=sampling)
        await _resumed_everywhere(rig, request)


async def _resumed_everywhere(rig: Rig, request: abi.Generate) -> None:
    whole = await rig.generate(request)
    for cut in range(len(whole.ids) + 1):
        rest = await rig.generate(msgspec.structs.replace(request, generated=whole.ids[:cut]))
        expect(whole.ids[:cut] + rest.ids == whole.ids, f"other ids after {cut} of {len(whole.ids)}")
        same = (rest.finished.text, rest.finished.finish, rest.finished.calls)
        expect(same == (whole.finished.text, whole.finished.finish, whole.finished.calls), f"other end after {cut}")
        expect(whole.text.endswith(rest.text), f"text sent after {cut} is not the end of the whole")
        expect(rest.finished.generated_tokens == len(rest.ids), "generated_tokens counts what was given")


@check("model", CHECKS)
async def together_as_alone(rig: Rig) -> None:
    """Answers do not depend on what else runs."""
    needs(rig, "seed")
    questions = [user(f"Question {n}: " + "why? " * (3 * n % 11)) for n in range(2 * min(rig.opened.slots, 8))]
    alone = [await rig.say(each, sampling=greedy(8 + n)) for n, each in enumerate(questions)]
    together: dict[int, Said] = {}

    async def ask(n: int, question: Turn) -> None:
        together[n] = await rig.say(question, sampling=greedy(8 + n))

    async with trio.open_nursery() as nursery:
        for n, question in enumerate(questions):
            nursery.start_soon(ask, n, question)
    for n, said in enumerate(alone):
        expect(said.ids == together[n].ids and said.text == together[n].text, f"answer {n} differs in company")


@check("model", CHECKS)
async def cancel_frees_the_slot(rig: Rig) -> None:
    """More generations than slots, all cancelled: every call is answered ECANCELED, and the next one runs."""
    room = rig.opened.window_tokens // 2
    request = await rig.request(user("A long story."), sampling=greedy(room))
    for _ in range(3):
        await _cancel_many(rig, request, rig.opened.slots + 2)
    said = await rig.say(user("Short."), sampling=greedy(4))
    expect(said.finished.generated_tokens <= 4, "generated more than asked for")


async def _cancel_many(rig: Rig, request: abi.Generate, count: int) -> None:
    async with trio.open_nursery() as nursery:
        for _ in range(count):
            nursery.start_soon(_until_cancelled, rig, request)
        await rig.begin(request)
        nursery.cancel_scope.cancel()


async def _until_cancelled(rig: Rig, request: abi.Generate) -> None:
    try:
        await rig.generate(request)
    except Canceled:
        pass


@check("model", CHECKS)
async def window_is_exact(rig: Rig) -> None:
    """One token too many is EWINDOW with the numbers; the full window is taken."""
    if rig.opened.counts == "bound":
        raise NotDeclared("it has no tokenizer to count with")
    prompt = prompt_of(await rig.render(user("How long?")))
    window = rig.opened.window_tokens
    at = rig.opened.device
    over = abi.Generate(device=at, prompt=prompt, sampling=greedy(window - len(prompt) + 1))
    refused = await _refusal(rig, over)
    expect(refused is not None and refused.errno is Errno.EWINDOW, f"was answered with {refused!r}")
    said = str(refused)
    expect(str(len(prompt)) in said and str(window) in said, f"the numbers are not in {said!r}")
    await rig.begin(abi.Generate(device=at, prompt=prompt, sampling=greedy(window - len(prompt))))


@check("model", CHECKS)
async def nonsense_is_refused(rig: Rig) -> None:
    """max_tokens 0, no prompt, and ids that are none are EINVAL."""
    request = await rig.request(user("x"), sampling=greedy(0))
    wrong = [request]
    if rig.opened.counts == "exact":
        at = rig.opened.device
        wrong += [abi.Generate(device=at, sampling=greedy(), prompt=ids) for ids in ((), (-1,), (1 << 40,))]
    for each in wrong:
        refused = await _refusal(rig, each)
        expect(refused is not None and refused.errno is Errno.EINVAL, f"{each.prompt}: answered with {refused!r}")


async def _refusal(rig: Rig, request: abi.Generate) -> SyscallError | None:
    try:
        await rig.generate(request)
    except SyscallError as refused:
        return refused
    return None


@check("model", CHECKS)
async def ledger_counts(rig: Rig) -> None:
    """The host's ledger grows by what the generations reported, and counts the cancelled."""
    before = await rig.ledger()
    said = [await rig.say(user(f"Entry {n}."), sampling=greedy(6 + n)) for n in range(3)]
    after = await rig.ledger()
    expect(after.generations - before.generations == 3, "generations")
    told = sum(each.finished.prompt_tokens for each in said)
    expect(after.prompt_tokens - before.prompt_tokens == told, "prompt_tokens")
    told = sum(each.finished.generated_tokens for each in said)
    expect(after.generated_tokens - before.generated_tokens == told, "generated_tokens")
    room = rig.opened.window_tokens // 2
    await _cancel_many(rig, await rig.request(user("Much."), sampling=greedy(room)), 1)
    await rig.say(user("Next."), sampling=greedy(1))
    last = await rig.ledger()
    expect(last.generations - after.generations == 3, "cancelled generations are not counted as generations")
