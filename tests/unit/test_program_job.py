"""Job files: what is refused before anything starts, what counts as an answer, and a run against a scripted kernel."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syscalls.calls.clock import Time
from syscalls.calls.context import Passage, Recalled
from syscalls.calls.model import Embedded
from syscalls.errors import Invalid, NotFound, OverQuota
from syscalls.turns import ToolCall
from tests.fakekernel import in_process, opened, said
from tests.unit.test_program_agents import script
from userland.jobfile import Job, Output, Strategy, load_job, parse_job
from userland.schema import check_schema, problem

JOB = "userland.programs.job:job"


def test_a_job_file_is_read_with_absolute_inputs(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    file = tmp_path / "job.toml"
    file.write_text(
        'kind = "ask"\nquestions = ["Why?"]\ninputs = ["docs"]\n[output]\nformat = "json"\n'
        'schema = {type = "object"}\ntries = 2\n[strategy]\nmodel = "m"\npriority = 5\ntokens = 100\nat_once = 2\n'
    )
    job = load_job(file)
    assert job == Job(
        "ask",
        questions=("Why?",),
        inputs=(str(tmp_path / "docs"),),
        output=Output("json", {"type": "object"}, 2),
        strategy=Strategy("m", 5, 100, at_once=2),
    )
    assert job.rights == (f"file:{tmp_path}/docs/** read",)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("kind = ", "no TOML"),
        ('kind = "dance"', "Invalid enum value 'dance'"),
        ("prompt = 'x'", "missing required field `kind`"),
        ('kind = "generate"\nprompt = "x"\nfolder = "d"', "no key folder; allowed are kind, name, prompt, questions"),
        ('kind = "generate"\nprompt = "x"\n[strategy]\nnice = 1', "no key strategy.nice; allowed are model, priority"),
        (
            'kind = "generate"\nprompt = "x"\n[output]\nform = 1',
            "no key output.form; allowed are format, schema",
        ),
        ('kind = "generate"', "needs a prompt"),
        ('kind = "ask"\nquestions = ["q"]', "needs questions, and inputs"),
        ('kind = "embed"', "needs inputs"),
        ('kind = "generate"\nprompt = "x"\nquestions = ["q"]', "has no questions"),
        ('kind = "generate"\nprompt = "x"\ninputs = ["gone"]', "gone is not there"),
        (
            'kind = "generate"\nprompt = "x"\n[strategy]\npriority = 20',
            "priority is 20; allowed are -20 to 19",
        ),
        ('kind = "generate"\nprompt = "x"\n[strategy]\ntokens = 0', "strategy.tokens must be above 0"),
        ('kind = "generate"\nprompt = "x"\n[output]\nschema = {type = "object"}', "needs output.format = 'json'"),
        (
            'kind = "generate"\nprompt = "x"\n[output]\nformat = "json"\nschema = {oneOf = []}',
            "'oneOf' is not",
        ),
    ],
)
def test_what_a_job_file_may_not_say(text: str, says: str) -> None:
    with pytest.raises((Invalid, NotFound)) as refused:
        parse_job(text, folder=Path("/"))
    assert says in refused.value.message and "\n" not in refused.value.message


SCHEMA = {
    "type": "object",
    "properties": {"n": {"type": "integer", "minimum": 1}, "tags": {"type": "array", "items": {"enum": ["a", "b"]}}},
    "required": ["n"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    ("value", "wrong"),
    [
        ({"n": 1, "tags": ["a"]}, None),
        ({"n": 1.0}, None),
        ([], "the answer must be object, not array"),
        ({}, "the answer has no 'n'"),
        ({"n": True}, "the answer.n must be integer, not boolean"),
        ({"n": 0}, "the answer.n must be at least 1, not 0"),
        ({"n": 1, "x": 2}, "the answer has 'x', which is not asked for"),
        ({"n": 1, "tags": ["a", "c"]}, "the answer.tags[1] must be one of ['a', 'b']"),
    ],
)
def test_values_are_checked_against_the_schema(value: Any, wrong: str | None) -> None:
    check_schema(SCHEMA)
    assert problem(SCHEMA, value) == wrong


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists))
def test_an_empty_schema_takes_anything_and_no_value_breaks_the_check(value: Any) -> None:
    assert problem({}, value) is None
    assert isinstance(problem({"type": "object"}, value), str)


def now() -> Any:
    ticks = iter(range(1000))
    return lambda args: Time(monotonic_s=float(next(ticks)), unix_s=0.0)


async def test_questions_share_what_was_read_and_report_what_they_took(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("Moraines are walls of rubble.")
    passage = Passage(page="ab" * 32, text="Moraines are walls of rubble.", source="a.md#1")
    replies = script(
        said(calls=(ToolCall("recall", {"query": "moraines"}, "c"),)),
        said("Walls of rubble."),
        said("I guess."),
        context__fork=opened,
        context__recall=lambda args: Recalled(passages=(passage,), faults=1),
        time__now=now(),
    )
    job = Job("ask", questions=("What?", "And?"), inputs=(str(tmp_path),), strategy=Strategy(at_once=1))
    async with in_process(**replies) as kernel:
        result = await kernel.run(JOB, job)
        assert [item["status"] for item in result["items"]] == ["done", "done"]
        first = next(item for item in result["items"] if item["sources"])
        assert first["sources"][0]["source"] == "a.md#1" and first["prompt_tokens"] == 20
        assert (result["done"], result["model"], result["tokens"]) == (2, "sim", 32)
        assert len(kernel.named("context.fork")) == 2 and len(kernel.named("context.open")) == 1


async def test_an_answer_that_does_not_fit_is_tried_again_and_then_shown_as_such() -> None:
    replies = script(said("no json"), said('{"n": 0}'), said('{"n": 3}'), said("never"), time__now=now())
    good = Job("generate", prompt="count", output=Output("json", SCHEMA, 3))
    async with in_process(**replies) as kernel:
        (item,) = (await kernel.run(JOB, good))["items"]
        assert (item["status"], item["value"], item["tries"]) == ("done", {"n": 3}, 3)
        asked = [args.turns[0].text for args in kernel.named("context.append")]
        assert asked[2] == "count\nthe answer.n must be at least 1, not 0: answer again."
    async with in_process(**script(said("no json"), time__now=now())) as kernel:
        (item,) = (await kernel.run(JOB, Job("generate", prompt="count", output=Output("json", SCHEMA))))["items"]
        assert (item["status"], item["error"], item["value"]) == ("invalid", "the answer is no JSON", None)


async def test_a_structured_answer_may_be_what_the_model_called() -> None:
    replies = script(
        said(calls=(ToolCall("answer", {"text": "yes"}, "c"),)), said("The text says: yes"), time__now=now()
    )
    schema = {"type": "object", "required": ["text"]}
    async with in_process(**replies) as kernel:
        result = await kernel.run(JOB, Job("generate", prompt="Is it?", output=Output("json", schema)))
        assert result["items"][0]["value"] == {"text": "yes"}


async def test_items_fail_alone_and_the_deadline_leaves_the_rest_late(autojump_clock: Any, tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / name).write_text(f"text of {name}")
    answers = iter([said("fine"), OverQuota("no tokens left"), None])

    def generate(args: Any) -> Any:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    replies = script(time__now=now())
    replies["context__generate"] = generate
    inputs = tuple(str(tmp_path / name) for name in "abc")
    job = Job("generate", prompt="{file}: {text}", inputs=inputs, strategy=Strategy(deadline_s=5.0, at_once=1))
    async with in_process(**replies) as kernel:
        result = await kernel.run(JOB, job)
        assert sorted(item["status"] for item in result["items"]) == ["done", "late", "over_quota"]
        assert any(args.turns[0].text == "a: text of a" for args in kernel.named("context.append"))


async def test_embedding_gives_a_vector_for_each_passage(tmp_path: Path) -> None:
    import array

    (tmp_path / "a.txt").write_text("words")
    vectors = array.array("f", [0.5, 0.25]).tobytes()
    replies = script(time__now=now(), model__embed=lambda args: Embedded(dimensions=2, vectors=vectors))
    async with in_process(**replies) as kernel:
        result = await kernel.run(JOB, Job("embed", inputs=(str(tmp_path / "a.txt"),)))
        assert result["items"][0]["value"] == [{"source": "a.txt#1", "vector": [0.5, 0.25]}]
