"""kernos-tiny's corpus, held-out file, score and wire format: what can be checked without training."""

import random
from pathlib import Path

import msgspec
import pytest
from jinja2 import Environment

from drivers.tiny import arithmetic, marks, overlap, pages, passages, patterns, score, templates, wire
from drivers.tiny.cases import TOOLS, made
from drivers.tiny.corpus import Corpus
from drivers.tiny.wire import read_call

MODEL = Path(score.__file__).parent / "kernos-tiny"
HELD = score.load()


def test_at_least_two_hundred_are_held_out_and_each_tool_has_its_share() -> None:
    assert len(HELD) >= 200
    assert {case.call.name for case in HELD} == set(TOOLS)
    assert min(sum(case.call.name == tool for case in HELD) for tool in TOOLS) >= 40
    assert len({case.request for case in HELD}) == len({case.id for case in HELD}) == len(HELD)


def test_every_held_out_case_can_be_answered_from_what_it_gives() -> None:
    for case in HELD:
        source = case.request if case.call.name in ("answer", "remember") else case.result
        assert case.final in source, case.id
        if case.call.name == "calculate":
            assert arithmetic.value(case.call.arguments["expression"][0]) == case.result


def test_the_held_out_file_shares_nothing_with_training() -> None:
    overlap.refuse(HELD)


def planted(request: str, *, tool: str = "lookup", value: str = "EPIPE", result: str = "x") -> score.Case:
    return score.Case("planted", request, score.Expected(tool, {"term": (value,)}), result, value, (value,))


@pytest.mark.parametrize(
    "request_text",
    ["Look up EPIPE.", "hey, what does the word EPIPE mean? Thanks!", "PLEASE: What is the definition of 'EPIPE'"],
)
def test_a_phrasing_of_training_is_refused(request_text: str) -> None:
    with pytest.raises(overlap.Overlap, match="planted: the phrasing"):
        overlap.refuse([planted(request_text)])


def test_a_sum_or_a_layout_of_training_is_refused() -> None:
    with pytest.raises(overlap.Overlap):
        overlap.refuse([planted("Please tell me what is 12 times 7?", value="calculator")])
    with pytest.raises(overlap.Overlap):
        overlap.refuse([planted("Text: EPIPE\nQuestion: what about EPIPE?", tool="answer")])


def test_every_drawn_phrasing_is_recognised() -> None:
    rng = random.Random(7)
    for pattern in templates.written((*templates.LOOKUP, *templates.RECALL_DOCS, *templates.REMEMBER)):
        request = patterns.SLOT.sub("EPIPE", patterns.draw(pattern, rng))
        assert overlap.is_trained(planted(request)), pattern


def test_a_forbidden_phrasing_is_never_drawn() -> None:
    forbidden = frozenset(map(patterns.squeezed, ("remember that {f}", "note that {f}")))
    corpus = Corpus(8, patterns=lambda _: ("(remember|note|keep) that {f}",), forbidden=forbidden)
    said = {corpus.episode("remember").turns[0].text.lower().split(" that ")[0].split()[-1] for _ in range(200)}
    assert said == {"keep"}


def test_every_held_out_phrasing_is_forbidden_with_and_without_its_opening() -> None:
    cores = overlap.cores()
    assert all(patterns.squeezed(overlap.masked(case)) in cores for case in HELD)
    assert len(cores) > len(HELD)


def test_a_passage_of_the_corpus_is_refused() -> None:
    stolen = next(s for s in passages.sentences() if len(s.split()) > 10)
    with pytest.raises(overlap.Overlap, match="the corpus has"):
        overlap.refuse([planted("Whence cometh EPIPE?", result=stolen)])


def test_what_is_copied_stands_where_the_notes_say() -> None:
    corpus = Corpus(5, scrambled_share=0.2, spoiled_share=0.2)
    for _ in range(400):
        episode = corpus.episode()
        for copy in episode.notes.copies:
            said, read = (episode.turns[s.turn].text[s.begin : s.end] for s in (copy.said, copy.read))
            assert said == read or said == msgspec.json.encode(read).decode()[1:-1], episode
        for sentence in episode.notes.sentences:
            assert episode.turns[sentence.turn].text[sentence.end - 1] == "."


def test_a_seed_makes_one_corpus() -> None:
    first, again, other = (Corpus(seed) for seed in (4, 4, 5))
    drawn = [first.episode() for _ in range(40)]
    assert drawn == [again.episode() for _ in range(40)]
    assert drawn != [other.episode() for _ in range(40)]


def test_every_made_case_is_exact_when_said_right_and_not_otherwise() -> None:
    for case in made(seed=1, count=10, unseen_phrasings=False):
        right = score.expected_call(case)
        assert score.call_exact(case, right)
        assert not score.call_exact(case, right.replace('"}}', '.x"}}'))
        assert not score.call_exact(case, right.removesuffix("</tool_call>"))
        assert not score.call_exact(case, "I cannot do that.")


def test_topics_stand_in_the_sentence_that_answers() -> None:
    rng = random.Random(3)
    for _ in range(100):
        page = passages.passage(rng, several=rng.random() < 0.5)
        assert page.sentence in page.text
        assert page.topic.words.removeprefix("the ").removeprefix("a ").lower() in page.sentence.lower()
        assert len(page.text) <= passages.LENGTH_CHARS_MAX


def test_a_page_has_its_sentence_and_what_is_asked_for_where_it_says() -> None:
    rng = random.Random(4)
    for _ in range(200):
        page = pages.page(rng)
        assert page.text[page.at :].startswith(page.sentence)
        assert (page.at, page.at + len(page.sentence)) in page.sentences
        for begin, end in page.topic.spots:
            assert page.sentence[begin:end].lower() in page.topic.words.lower()


def test_a_recall_is_answered_by_pages_of_which_one_has_the_words() -> None:
    corpus = Corpus(6)
    for _ in range(100):
        episode = corpus.episode("shown")
        *_, last = episode.turns
        asked = read_call(episode.turns[1].text).arguments["query"]  # type: ignore[union-attr]
        shown = [turn.text for turn in episode.turns if turn.role == "tool"]
        assert last.text == f'The documents say: "{episode.check}"'
        assert [passages.speaks_of(text, str(asked)) for text in shown].count(True) == 1
        assert any(episode.check in text for text in shown)


def test_sentences_that_hardly_differ_stand_side_by_side() -> None:
    rng = random.Random(2)
    found = [passages.passage(rng, several=False, alike_share=1.0) for _ in range(20)]
    assert all(page.text[page.at :].startswith(page.sentence) for page in found)


def test_score_can_fail_in_each_way() -> None:
    case = HELD[0]
    call = msgspec.structs.replace(case.call, name="lookup")
    assert score.call_exact(case, score.expected_call(case))
    assert not score.call_exact(msgspec.structs.replace(case, call=call), score.expected_call(case))
    assert score.final_exact(case, f"The result is {case.final}.")
    assert not score.final_exact(case, "The result is unknown.")
    assert not score.final_exact(case, f"<tool_call>{case.final}")
    verdicts = [score.Verdict(case, True, ok, ("", "")) for ok in (True, False)]
    assert score.by_tool(verdicts) == {"all": 0.5, "calculate": 0.5}


def test_expressions_are_compared_without_spaces_and_nothing_else() -> None:
    case = HELD[0]
    tight = wire.write_call("calculate", expression=case.call.arguments["expression"][0].replace(" ", ""))
    assert score.call_exact(case, tight)
    assert not score.call_exact(case, wire.write_call("calculate", expression="58 + 28"))


@pytest.mark.parametrize(("text", "number"), [("12 * 7 + 3", "87"), ("7 / 2", "3.5"), ("(1 + 2) * -3", "-9")])
def test_arithmetic(text: str, number: str) -> None:
    assert arithmetic.value(text) == number


@pytest.mark.parametrize("text", ["1 / 0", "__import__('os')", "2 **", "'a' * 9"])
def test_arithmetic_refuses(text: str) -> None:
    with pytest.raises(ValueError, match="calculat"):
        arithmetic.value(text)


def rendered(messages: list[dict[str, object]], *, opened: bool = False) -> str:
    template = Environment(autoescape=False).from_string(wire.CHAT_TEMPLATE)  # a prompt is no web page
    return template.render(messages=messages, add_generation_prompt=opened)


def test_rendering_a_conversation_is_rendering_its_turns_one_by_one() -> None:
    corpus = Corpus(11)
    turns = [turn for _ in range(30) for turn in corpus.episode().turns]
    messages: list[dict[str, object]] = [{"role": turn.role, "content": turn.text} for turn in turns]
    assert rendered(messages) == "".join(rendered([m]) for m in messages) == "".join(map(wire.render, turns))
    assert rendered(messages, opened=True) == rendered(messages) + "<|im_start|>assistant\n"


def test_a_mark_stands_where_a_sentence_may_begin() -> None:
    text = 'Text: "One is red. Two of them are `Red`."\n\nwhat is e.g. red? (See Below)'
    marked, placed = marks.numbered(text)
    names = [marks.NAMES[(len(text) + i) % marks.COUNT] for i in range(4)]
    one, two, three, four = names
    assert marked == (
        f'{one} Text: "{two} One is red.{three} Two of them are `Red`."\n\nwhat is e.g. red? ({four} See Below)'
    )
    for place, count in reversed(placed):
        begin = place + sum(c for p, c in placed if p < place)
        marked = marked[:begin] + marked[begin + count :]
    assert marked == text


def test_nearly_every_sentence_of_a_passage_has_a_mark() -> None:
    corpus = Corpus(12)
    found = []
    for _ in range(200):
        episode = corpus.episode("answer")
        for sentence in episode.notes.sentences:
            places = {place for place, _ in marks.numbered(episode.turns[sentence.turn].text)[1]}
            found.append(bool(places & {sentence.begin, sentence.begin - 1}))
    assert sum(found) > 0.97 * len(found)


def test_what_the_model_says_has_no_marks() -> None:
    said = wire.Turn("assistant", "One. Two.")
    assert (
        wire.render(said) == wire.render(said, marked=False) == rendered([{"role": "assistant", "content": said.text}])
    )


def test_a_structured_call_is_rendered_as_its_text() -> None:
    text = wire.write_call("remember", text="the key is 7")
    call = {"type": "function", "function": {"name": "remember", "arguments": {"text": "the key is 7"}}}
    assert rendered([{"role": "assistant", "tool_calls": [call]}]) == rendered([{"role": "assistant", "content": text}])
    assert wire.read_call(text) == wire.Call("remember", {"text": "the key is 7"})


def test_the_model_is_small_enough_to_ship() -> None:
    assert (MODEL / "model.safetensors").stat().st_size < 12_000_000
