"""Sentence marks: the chat template numbers the sentences of what the model reads.

Which sentence of a text is wanted is an ordinal, and small models are poor at those: what a head could hand on of a
sentence was how it begins, which half of them share. So a token stands before each place where a sentence may begin,
one of thirty-two; to hand it on is to copy a token, which the model does all day. The numbering begins at the length
of the text, so that each turn is still written from itself alone and earlier turns mostly bear other numbers.
"""

COUNT = 32
NAMES = tuple(f"<|{number}|>" for number in range(COUNT))
_BEHIND = (". ", "? ", "! ", ": ", "\n", ">")
_OPENERS = " \"'([*#-"
_BREAK = "\x02"

_PARTS = "text" + "".join(f".replace({end!r}, {end[0] + _BREAK + end[1:]!r})" for end in _BEHIND)
MACRO = (
    "{%- macro numbered(text) -%}"
    "{%- set at = namespace(number=text | length) -%}"
    f"{{%- for part in {_PARTS}.split({_BREAK!r}) -%}}"
    f"{{%- set rest = part.lstrip({_OPENERS!r}) -%}}"
    "{%- if rest[:1].isupper() -%}"
    "{%- set lead = part[:part | length - rest | length] -%}"
    "{{- lead[:-1] if lead[-1:] == ' ' else lead -}}"
    f"{{{{- '<|' ~ at.number % {COUNT} ~ '|> ' ~ rest -}}}}"
    "{%- set at.number = at.number + 1 -%}"
    "{%- else -%}{{- part -}}{%- endif -%}"
    "{%- endfor -%}"
    "{%- endmacro -%}"
)
"""Jinja: `numbered(text)` writes what `numbered` here does."""


def numbered(text: str) -> tuple[str, tuple[tuple[int, int], ...]]:
    """The text with its marks, and where: for each the place in the text and how many characters were put there.

    A mark has one space behind it, so that the word has the pieces it has elsewhere.
    """
    number, read, out = len(text), 0, list[str]()
    placed = list[tuple[int, int]]()
    parts = text
    for end in _BEHIND:
        parts = parts.replace(end, end[0] + _BREAK + end[1:])
    for part in parts.split(_BREAK):
        rest = part.lstrip(_OPENERS)
        lead = part[: len(part) - len(rest)]
        if rest[:1].isupper():
            name = NAMES[number % COUNT]
            spaced = lead.endswith(" ")
            placed.append((read + len(lead) - spaced, len(name) + (not spaced)))
            out.append(f"{lead[:-1] if spaced else lead}{name} {rest}")
            number += 1
        else:
            out.append(part)
        read += len(part)
    return "".join(out), tuple(placed)
