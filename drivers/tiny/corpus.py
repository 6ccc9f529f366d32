"""The corpus: episodes of request, tool call, result and answer, packed into conversations, made from a seed."""

import random
from collections.abc import Callable

import msgspec

from drivers.tiny import arithmetic, passages, requests, scramble, templates, values
from drivers.tiny.patterns import draw, normal
from drivers.tiny.wire import Turn, write_call

Patterns = Callable[[tuple[str, ...]], tuple[str, ...]]
SCRAMBLED_SHARE = 0.3
SHARES = {"calculate": 15, "lookup": 15, "recall": 28, "remember": 15, "answer": 23, "talk": 3, "pages": 3}


class Episode(msgspec.Struct, frozen=True):
    """A few turns that belong together; `check` is what the last one must contain."""

    kind: str
    turns: tuple[Turn, ...]
    check: str = ""


class Corpus:
    """Episodes from a seed; `patterns` says which of the phrasings (templates.training or .development).

    `forbidden` are phrasings in `normal` form that must not come up, not even by chance from `scramble`.
    """

    def __init__(
        self,
        seed: int,
        *,
        patterns: Patterns = templates.training,
        longest_chars: int = passages.LENGTH_CHARS_MAX,
        scrambled_share: float = SCRAMBLED_SHARE,
        forbidden: frozenset[str] = frozenset(),
    ) -> None:
        self.rng = random.Random(seed)
        self.patterns = patterns
        self.scrambled_share = scrambled_share
        self.forbidden = forbidden
        self.spoiled_share, self.strange, self.cut_share = 0.3, True, 0.0
        self.longest_chars = longest_chars

    def episode(self, kind: str | None = None) -> Episode:
        """The next episode, of any kind or of one."""
        chosen = kind or self.rng.choices(list(SHARES), weights=list(SHARES.values()))[0]
        make: Callable[[], Episode] = getattr(self, f"_{chosen}")
        return make()

    def system(self) -> Turn | None:
        """What a conversation opens with, half the time."""
        if self.rng.random() < 0.5:
            return None
        text = draw(self.rng.choice(self.patterns(templates.SYSTEMS)), self.rng)
        return Turn(
            "system", text.replace("{noise}", requests.noise(self.rng)).replace("{n}", str(self.rng.randint(1, 99)))
        )

    def _pattern(self, *groups: tuple[str, ...]) -> str:
        return self.rng.choice(self.patterns(self.rng.choice(groups)))

    def _request(self, kind: str, pattern: str, **slots: str) -> tuple[str, dict[str, str]]:
        while True:
            (name,) = slots
            if self.rng.random() < self.scrambled_share:
                worded = requests.dressed(self.rng, scramble.frame(self.rng, kind, "{" + name + "}"))
            else:
                worded = requests.worded(self.rng, pattern, spoiled_share=self.spoiled_share, strange=self.strange)
            if normal(worded) not in self.forbidden:
                break
        frame, filled = requests.cased(self.rng, worded, slots)
        for name, text in filled.items():
            frame = frame.replace("{" + name + "}", requests.quoted(self.rng, text, 0.12) if name in "qtf" else text)
        return frame, filled

    def _calculate(self) -> Episode:
        rng = self.rng
        if rng.random() < 0.6:
            written, expression = arithmetic.symbols(rng)
            pattern, name = self._pattern(templates.CALCULATE), "e"
        else:
            a, b, op = arithmetic.number(rng), arithmetic.number(rng), rng.choice("+-*/")
            expression = f"{a} {op} {b}"
            table, name = rng.choice(((arithmetic.BINARY, "e"), (arithmetic.VERBS, "v")))
            written = draw(rng.choice(table[op]), rng).format(a=a, b=b)
            pattern = self._pattern(templates.CALCULATE if name == "e" else templates.CALCULATE_VERBS)
        try:
            result = arithmetic.value(expression)
        except ValueError:
            return self._calculate()
        request, _ = self._request("calculate", pattern, **{name: written})
        return self._told(
            "calculate",
            request,
            write_call("calculate", expression=expression),
            result,
            f"The result is {result}.",
            result,
        )

    def _lookup(self) -> Episode:
        term = values.term(self.rng)
        if self.rng.random() < 0.1:
            term = (
                passages.passage(self.rng, several=False, longest_chars=120)
                .topic.removeprefix("the ")
                .removeprefix("a ")
            )
        request, slots = self._request("lookup", self._pattern(templates.LOOKUP), q=term)
        line = values.definition(self.rng, slots["q"])
        return self._told(
            "lookup", request, write_call("lookup", term=slots["q"]), line, f'The glossary says: "{line}".', line
        )

    def _recall(self) -> Episode:
        rng = self.rng
        if rng.random() < 0.3:
            topic = values.topic_of_fact(rng)
            request, slots = self._request("memory", self._pattern(templates.RECALL_MEMORY), t=topic)
            fact = values.fact(rng, topic)
            return self._told(
                "recall", request, write_call("recall", query=slots["t"]), fact, f'You told me: "{fact}".', fact
            )
        page = passages.passage(rng, several=rng.random() < 0.4, longest_chars=self.longest_chars)
        memory = rng.random() < 0.1
        pattern = self._pattern(templates.RECALL_MEMORY if memory else templates.RECALL_DOCS)
        request, slots = self._request("memory" if memory else "docs", pattern, t=page.topic)
        if rng.random() < 0.03:
            said = f'I found nothing about "{slots["t"]}".'
            return self._told("recall", request, write_call("recall", query=slots["t"]), "nothing found", said, said)
        said = f'{"You told me" if memory else "The documents say"}: "{page.sentence}"'
        return self._told("recall", request, write_call("recall", query=slots["t"]), page.text, said, page.sentence)

    def _remember(self) -> Episode:
        text = values.note(self.rng) if self.rng.random() < 0.75 else self._loose_sentence()
        request, slots = self._request("remember", self._pattern(templates.REMEMBER), f=text)
        kept = slots["f"]
        return self._told(
            "remember", request, write_call("remember", text=kept), "stored", f'I will remember: "{kept}".', kept
        )

    def _loose_sentence(self) -> str:
        sentence = self.rng.choice(passages.sentences()) if self.rng.random() < 0.5 else passages.by_rule(self.rng)
        sentence = sentence.removesuffix(".")
        return sentence if self.rng.random() < 0.3 else sentence[0].lower() + sentence[1:]

    def _answer(self) -> Episode:
        rng = self.rng
        page = passages.passage(rng, several=rng.random() < 0.1, longest_chars=self.longest_chars)
        question, _ = self._request("question", self._pattern(templates.QUESTIONS), t=page.topic)
        mixed = rng.random() < self.scrambled_share
        layout = scramble.layout(rng) if mixed else draw(self._pattern(templates.LAYOUTS), rng)
        if rng.random() < 0.5:
            layout = layout[0].upper() + layout[1:]
        request = layout.replace("{q}", question).replace("{p}", page.text)
        call = write_call("answer", text=page.sentence)
        return self._told("answer", request, call, "delivered", f'The text says: "{page.sentence}"', page.sentence)

    def _told(self, kind: str, request: str, call: str, result: str, said: str, check: str) -> Episode:
        if self.rng.random() < 0.04:
            reason = (
                values.definition(self.rng, values.term(self.rng)) if self.rng.random() < 0.5 else values.fact(self.rng)
            )
            result, said, check = f"error: {reason}", f"That failed: {reason}.", reason
        turns = (Turn("user", request), Turn("assistant", call), Turn("tool", result), Turn("assistant", said))
        cut = self.cut_share and self.rng.random() < self.cut_share
        return Episode(kind, turns[:2] if cut else turns, check)

    def _talk(self) -> Episode:
        phrasings, reply = self.rng.choice(templates.SMALL_TALK)
        request, _ = requests.cased(self.rng, draw(self.rng.choice(phrasings), self.rng), {})
        return Episode("talk", (Turn("user", request), Turn("assistant", reply)), reply)

    def _pages(self) -> Episode:
        """Pages that stand in the window before anybody asks: tool turns that nobody has to answer."""
        texts = [
            passages.passage(self.rng, several=True, longest_chars=self.longest_chars).text
            for _ in range(self.rng.randint(1, 2))
        ]
        return Episode("pages", tuple(Turn("tool", text) for text in texts))
