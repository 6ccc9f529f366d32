"""The wire format: how turns are written for the model, each by itself, and how its tool call is read back."""

import json

import msgspec

from drivers.tiny import marks

START, END, PAD = "<|im_start|>", "<|im_end|>", "<|pad|>"
CALL_OPEN, CALL_CLOSE = "<tool_call>", "</tool_call>"
MARKED_ROLES = ("user", "tool")
# Each turn is rendered from itself alone: rendering a + b is rendering a, then rendering b.
CHAT_TEMPLATE = (
    marks.MACRO + "{%- for message in messages -%}"
    f"{{%- set read = message['role'] in {MARKED_ROLES!r} -%}}"
    "{{- '<|im_start|>' + message['role'] + '\\n' -}}"
    "{%- if message['content'] is string -%}{{- numbered(message['content']) if read else message['content'] -}}"
    "{%- elif message['content'] -%}{%- for part in message['content'] -%}"
    "{{- numbered(part['text']) if read else part['text'] -}}{%- endfor -%}{%- endif -%}"
    "{%- for call in message['tool_calls'] or [] -%}"
    "{%- set call = call['function'] or call -%}"
    "{{- '\\n' if message['content'] or not loop.first else '' -}}"
    "{{- '<tool_call>\\n{\"name\": \"' + call['name'] + '\", \"arguments\": ' -}}"
    "{{- call['arguments'] if call['arguments'] is string else call['arguments'] | tojson -}}"
    "{{- '}\\n</tool_call>' -}}"
    "{%- endfor -%}"
    "{{- '<|im_end|>\\n' -}}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}"
)


class Turn(msgspec.Struct, frozen=True):
    """One turn of a conversation, its text as the model sees it."""

    role: str
    text: str


class Call(msgspec.Struct, frozen=True):
    """A tool call: its name and arguments."""

    name: str
    arguments: dict[str, object]


def write_call(name: str, **arguments: str) -> str:
    """The text of a turn that calls one tool."""
    body = json.dumps({"name": name, "arguments": arguments}, ensure_ascii=False)
    return f"{CALL_OPEN}\n{body}\n{CALL_CLOSE}"


def read_call(text: str) -> Call | None:
    """The one tool call that the text is, or None if it is anything else."""
    inner = text.strip().removesuffix(END).strip()
    if not (inner.startswith(CALL_OPEN) and inner.endswith(CALL_CLOSE)):
        return None
    try:
        return msgspec.json.decode(inner[len(CALL_OPEN) : -len(CALL_CLOSE)], type=Call)
    except msgspec.DecodeError:
        return None


def render(turn: Turn, *, marked: bool = True) -> str:
    """The turn as the chat template writes it; or without the marks of its sentences, as the first rounds read it."""
    text = marks.numbered(turn.text)[0] if marked and turn.role in MARKED_ROLES else turn.text
    return f"{START}{turn.role}\n{text}{END}\n"
