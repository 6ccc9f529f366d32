"""A job file: the definition of a task as TOML, checked before anything is started.

kind = "ask"                          # generate, ask or embed
questions = ["What is a page fault?"] # ask: one item each
inputs = ["docs"]                     # ask: one folder; generate and embed: files, one item each
prompt = "Summarise: {text}"          # generate: what is said of each input

[output]
format = "json"                       # text or json
schema = {type = "object", required = ["text"]}
tries = 2

[strategy]
model = "kernos-tiny"
priority = 5                          # nice: -20 (more) to 19 (less)
tokens = 50000                        # budget of the whole job
deadline_s = 60.0                     # of the whole job
at_once = 4
"""

import tomllib
from pathlib import Path
from typing import Any, Literal, final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from syscalls.errors import Invalid, NotFound
from userland.schema import check_schema

Kind = Literal["generate", "ask", "embed"]
ITEMS_MAX = 10_000
AT_ONCE_MAX = 64
TRIES_MAX = 10


@final
class Output(Struct, frozen=True, forbid_unknown_fields=True):
    """How an answer must look. With `json` it must fit `schema`; an answer that does not is tried `tries` times."""

    format: Literal["text", "json"] = "text"
    schema: dict[str, Any] = {}
    tries: int = 1


@final
class Strategy(Struct, frozen=True, forbid_unknown_fields=True):
    """How to run it: on which model, how urgently, for how much, until when, how many items side by side."""

    model: str | None = None
    priority: int = 0
    tokens: int | None = None
    deadline_s: float | None = None
    at_once: int = 4
    max_tokens: int = 384
    temperature: float = 0.0
    seed: int | None = None


@final
class Job(Struct, frozen=True, forbid_unknown_fields=True):
    """A checked job; the paths in `inputs` are absolute."""

    kind: Kind
    name: str = ""
    prompt: str = ""
    questions: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()
    output: Output = Output()
    strategy: Strategy = Strategy()

    @property
    def rights(self) -> tuple[str, ...]:
        """What the job's process must be granted to see its inputs."""
        return tuple(f"file:{path}/** read" if Path(path).is_dir() else f"file:{path} read" for path in self.inputs)


def load_job(path: Path) -> Job:
    """Reads and checks a job file. Raises NotFound (ENOENT), or Invalid (EINVAL) with what is allowed."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as failed:
        raise NotFound(f"{path} cannot be read: {failed.strerror}") from None
    except UnicodeDecodeError as bad:
        raise Invalid(f"{path}: not UTF-8 at byte {bad.start}") from None
    try:
        return parse_job(text, folder=path.parent.resolve())
    except Invalid as bad:
        raise Invalid(f"{path}: {bad.message}") from None


def parse_job(text: str, *, folder: Path) -> Job:
    """The job that the text says; relative inputs start at `folder`. Raises Invalid or NotFound."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as bad:
        raise Invalid(f"no TOML: {bad}") from None
    _refuse_unknown(data, Job, "")
    for table, kind in (("output", Output), ("strategy", Strategy)):
        if isinstance(data.get(table), dict):
            _refuse_unknown(data[table], kind, f"{table}.")
    try:
        job = msgspec.convert(data, Job)
    except msgspec.ValidationError as bad:
        raise Invalid(str(bad)) from None
    job = replace(job, inputs=tuple(str((folder / each).resolve()) for each in job.inputs))
    _check(job)
    return job


def _refuse_unknown(data: dict[str, Any], kind: type[Struct], at: str) -> None:
    allowed = kind.__struct_fields__
    for key in data:
        if key not in allowed:
            raise Invalid(f"there is no key {at}{key!s}; allowed are {', '.join(allowed)}")


def _check(job: Job) -> None:
    if job.kind == "ask" and not (job.questions and len(job.inputs) == 1):
        raise Invalid("kind 'ask' needs questions, and inputs with the one folder to ask")
    if job.kind == "generate" and not job.prompt:
        raise Invalid("kind 'generate' needs a prompt; {text} and {file} in it stand for each input")
    if job.kind == "embed" and not job.inputs:
        raise Invalid("kind 'embed' needs inputs: the files to embed")
    if job.kind != "ask" and job.questions:
        raise Invalid(f"kind {job.kind!r} has no questions; they belong to kind 'ask'")
    if job.output.schema and job.output.format != "json":
        raise Invalid("output.schema needs output.format = 'json'")
    check_schema(job.output.schema, "output.schema")
    _between("output.tries", job.output.tries, 1, TRIES_MAX)
    _between("strategy.priority", job.strategy.priority, -20, 19)
    _between("strategy.at_once", job.strategy.at_once, 1, AT_ONCE_MAX)
    _between("items", max(len(job.questions), len(job.inputs)), 0, ITEMS_MAX)
    for name, limit in (("tokens", job.strategy.tokens), ("deadline_s", job.strategy.deadline_s)):
        if limit is not None and limit <= 0:
            raise Invalid(f"strategy.{name} must be above 0; leave it out for no limit")
    for path in job.inputs:
        if not Path(path).exists():
            raise NotFound(f"inputs: {path} is not there")


def _between(name: str, value: int, least: int, most: int) -> None:
    if not least <= value <= most:
        raise Invalid(f"{name} is {value}; allowed are {least} to {most}")
