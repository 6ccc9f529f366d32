"""The corpus: episodes of request, tool call, result and answer, made from a seed."""

import random
from collections.abc import Callable

import msgspec

from drivers.tiny import arithmetic, pages, passages, requests, scramble, templates, values
from drivers.tiny.passages import Passage
from drivers.tiny.patterns import draw, squeezed
from drivers.tiny.spans import Copy, Match, Notes, Span
from drivers.tiny.wire import Turn, write_call

Patterns = Callable[[tuple[str, ...]], tuple[str, ...]]
SHARES = {"calculate": 16, "lookup": 17, "recall": 27, "remember": 15, "answer": 21, "talk": 2, "pages": 2, "shown": 0}
FAILED_SHARE, NOTHING_SHARE, TWO_PHRASES_SHARE = 0.03, 0.02, 0.3
REQUEST, CALL, RESULT, LAST = range(4)


class Episode(msgspec.Struct, frozen=True):
    """A few turns that belong together; `check` is what the last one must contain."""

    kind: str
    turns: tuple[Turn, ...]
    check: str = ""
    notes: Notes = Notes()


class Asked(msgspec.Struct, frozen=True):
    """A request, the value in it as it came to be written, and where."""

    text: str
    value: str
    at: int

    def span(self) -> Span:
        """Where the value stands."""
        return Span(REQUEST, self.at, self.at + len(self.value))


class Corpus:
    """Episodes from a seed; `patterns` says which of the phrasings (templates.training or .development).

    `scrambled_share` of the frames are random words, `spoiled_share` of the others are mistyped or padded: both are
    for training alone. `shouted_share` of the requests are all capitals, `quoted_share` of the values in quotes.
    `forbidden` are phrasings (`patterns.squeezed`) that must not come up, not even by chance.
    """

    def __init__(
        self,
        seed: int,
        *,
        patterns: Patterns = templates.training,
        longest_chars: int = passages.LENGTH_CHARS_MAX,
        scrambled_share: float = 0.0,
        spoiled_share: float = 0.0,
        alike_share: float = 0.0,
        shouted_share: float = requests.SHOUTED_SHARE,
        quoted_share: float = requests.QUOTED_SHARE,
        forbidden: frozenset[str] = frozenset(),
    ) -> None:
        self.rng = random.Random(seed)
        self.patterns = patterns
        self.longest_chars, self.scrambled_share, self.spoiled_share = longest_chars, scrambled_share, spoiled_share
        self.shouted_share, self.quoted_share = shouted_share, quoted_share
        self.alike_share, self.forbidden = alike_share, forbidden
        self.shares = dict(SHARES)

    def episode(self, kind: str | None = None) -> Episode:
        """The next episode, of any kind or of one."""
        chosen = kind or self.rng.choices(list(self.shares), weights=list(self.shares.values()))[0]
        make: Callable[[], Episode] = getattr(self, f"_{chosen}")
        return make()

    def system(self) -> Turn | None:
        """What a conversation opens with, half the time."""
        if self.rng.random() < 0.5:
            return None
        text = draw(self.rng.choice(self.patterns(templates.SYSTEMS)), self.rng)
        noise = passages.by_rule(self.rng)
        return Turn("system", text.replace("{noise}", noise).replace("{n}", str(self.rng.randint(1, 99))))

    def _pattern(self, *groups: tuple[str, ...]) -> str:
        return self.rng.choice(self.patterns(self.rng.choice(groups)))

    def _request(self, kind: str, pattern: str, slot: str, value: str) -> Asked:
        """The request around the value; the value may come out capitalised or shouting."""
        marker, rng = "{" + slot + "}", self.rng
        while True:
            mixed = rng.random() < self.scrambled_share
            core = scramble.frame(rng, kind, marker) if mixed else draw(pattern, rng)
            worded = requests.dressed(rng, requests.spoiled(rng, core) if rng.random() < self.spoiled_share else core)
            shown = value if kind == "calculate" else marker
            if not any(self._forbids(text.replace(marker, shown)) for text in (core, worded)):
                break
        frame, filled = requests.cased(rng, worded, {slot: value}, shouted_share=self.shouted_share)
        value = filled[slot]
        shown = requests.quoted(rng, value, self.quoted_share) if slot in "qtf" else value
        before, after = frame.split(marker)
        return Asked(before + shown + after, value, len(before) + shown.index(value))

    def _forbids(self, phrasing: str) -> bool:
        return bool(self.forbidden) and squeezed(phrasing) in self.forbidden

    def _calculate(self) -> Episode:
        rng = self.rng
        sum_ = arithmetic.drawn(rng)
        try:
            result = arithmetic.value(sum_.expression)
        except ValueError:
            return self._calculate()
        group = {"e": templates.CALCULATE, "v": templates.CALCULATE_VERBS, "s": templates.CALCULATE_STORIES}[sum_.slot]
        asked = self._request("calculate", self._pattern(group), sum_.slot, sum_.written)
        call = write_call("calculate", expression=sum_.expression)
        at = call.index(sum_.expression)
        copies = tuple(
            Copy(Span(CALL, at, len(call)).part(*said), asked.span().part(*read))
            for said, read in arithmetic.aligned(sum_)
        )
        return self._told("calculate", asked.text, call, result, "The result is {}.", result, Notes(copies))

    def _lookup(self) -> Episode:
        term = values.term(self.rng)
        if self.rng.random() < 0.15:
            page = passages.passage(self.rng, several=False, longest_chars=120)
            term = page.topic.words.removeprefix("the ").removeprefix("a ")
        asked = self._request("lookup", self._pattern(templates.LOOKUP), "q", term)
        line = values.definition(self.rng, asked.value)
        call = write_call("lookup", term=asked.value)
        notes = Notes((_copied(call, asked.value, asked.span()),))
        return self._told("lookup", asked.text, call, line, 'The glossary says: "{}".', line, notes)

    def _recall(self) -> Episode:
        if self.rng.random() < 0.3:
            return self._recall_fact()
        rng = self.rng
        page = passages.passage(
            rng,
            several=rng.random() < 0.4,
            longest_chars=self.longest_chars,
            two=rng.random() < 0.1,
            alike_share=self.alike_share,
        )
        memory = rng.random() < 0.1
        pattern = self._pattern(templates.RECALL_MEMORY if memory else templates.RECALL_DOCS)
        asked = self._request("memory" if memory else "docs", pattern, "t", page.topic.words)
        call = write_call("recall", query=asked.value)
        copy = _copied(call, asked.value, asked.span())
        if rng.random() < NOTHING_SHARE:
            said = f'I found nothing about "{asked.value}".'
            last = _copied(said, asked.value, copy.said, turn=LAST)
            turns = _turns(asked.text, call, "nothing found", said)
            return Episode("recall", turns, said, Notes((copy, last)))
        spots = tuple(Span(RESULT, page.at + b, page.at + e) for b, e in page.topic.spots)
        matches = tuple(Match(spot, copy.said) for spot in spots)
        notes = Notes((copy,), matches, _sentences(page, RESULT, 0))
        said = 'You told me: "{}"' if memory else 'The documents say: "{}"'
        return self._told("recall", asked.text, call, page.text, said, page.sentence, notes, at=page.at, shows=spots)

    def _recall_fact(self) -> Episode:
        topic = values.topic_of_fact(self.rng)
        asked = self._request("memory", self._pattern(templates.RECALL_MEMORY), "t", topic)
        fact = values.fact(self.rng, topic)
        call = write_call("recall", query=asked.value)
        notes = Notes((_copied(call, asked.value, asked.span()),))
        return self._told("recall", asked.text, call, fact, 'You told me: "{}".', fact, notes)

    def _shown(self) -> Episode:
        """Recalled pages, a tool turn each, as the kernel pages them in; one of them has the sentence."""
        rng = self.rng
        page = pages.page(rng)
        asked = self._request("docs", self._pattern(templates.RECALL_DOCS), "t", page.topic.words)
        call = write_call("recall", query=asked.value)
        called = _copied(call, asked.value, asked.span())
        others = [pages.page(rng).text for _ in range(rng.choice((0, 1, 1, 1, 2)))]
        shown = [page.text, *(text for text in others if not passages.speaks_of(text, asked.value))]
        rng.shuffle(shown)
        at, last = RESULT + shown.index(page.text), RESULT + len(shown)
        said = f'The documents say: "{page.sentence}"'
        spots = tuple(Span(at, page.at + b, page.at + e) for b, e in page.topic.spots)
        quote = _copied(said, page.sentence, Span(at, page.at, page.at + len(page.sentence)), turn=last)
        quote = msgspec.structs.replace(quote, shows=spots)
        matches = tuple(Match(spot, called.said) for spot in spots)
        turns = (Turn("user", asked.text), Turn("assistant", call), *(Turn("tool", text) for text in shown))
        notes = Notes((called, quote), matches, _sentences(page, at, 0))
        return Episode("shown", (*turns, Turn("assistant", said)), page.sentence, notes)

    def _remember(self) -> Episode:
        text = values.note(self.rng) if self.rng.random() < 0.75 else self._loose_sentence()
        asked = self._request("remember", self._pattern(templates.REMEMBER), "f", text)
        call = write_call("remember", text=asked.value)
        copy = _copied(call, asked.value, asked.span())
        said = f'I will remember: "{asked.value}".'
        turns = _turns(asked.text, call, "stored", said)
        last = _copied(said, asked.value, copy.said, turn=LAST)
        return self._failing("remember", Episode("remember", turns, asked.value, Notes((copy, last))))

    def _loose_sentence(self) -> str:
        sentence = self.rng.choice(passages.sentences()) if self.rng.random() < 0.5 else passages.by_rule(self.rng)
        sentence = sentence.removesuffix(".")
        return sentence if self.rng.random() < 0.3 else sentence[0].lower() + sentence[1:]

    def _answer(self) -> Episode:
        rng = self.rng
        two = rng.random() < TWO_PHRASES_SHARE
        several = rng.random() < 0.1
        page = passages.passage(
            rng, several=several, longest_chars=self.longest_chars, two=two, alike_share=self.alike_share
        )
        group = templates.QUESTIONS_OF_TWO if len(page.topic.spots) > 1 else templates.QUESTIONS
        while True:
            question = self._request("question", self._pattern(group), "t", page.topic.words)
            mixed = rng.random() < self.scrambled_share
            layout = scramble.layout(rng) if mixed else draw(self._pattern(templates.LAYOUTS), rng)
            asked = question.text.replace(question.value, "{t}")
            if not self._forbids(layout.replace("{q}", asked)):
                break
        if rng.random() < 0.5:
            layout = layout[0].upper() + layout[1:]
        asking, text = layout.index("{q}"), layout.index("{p}")
        grown = {"{q}": len(question.text) - 3, "{p}": len(page.text) - 3}
        asking, text = (asking, text + grown["{q}"]) if asking < text else (asking + grown["{p}"], text)
        request = layout.replace("{q}", question.text).replace("{p}", page.text)
        topic = question.span().part(asking, asking + len(question.value))
        spots = tuple(Span(REQUEST, text + page.at + b, text + page.at + e) for b, e in page.topic.spots)
        call = write_call("answer", text=page.sentence)
        read = Span(REQUEST, text + page.at, text + page.at + len(page.sentence))
        before = asking > text
        copy = msgspec.structs.replace(_copied(call, page.sentence, read), shows=(topic,) if before else spots)
        matches = tuple(Match(topic, spot) if before else Match(spot, topic) for spot in spots)
        said = f'The text says: "{page.sentence}"'
        last = _copied(said, page.sentence, copy.said, turn=LAST)
        notes = Notes((copy, last), matches, _sentences(page, REQUEST, text))
        turns = _turns(request, call, "delivered", said)
        return self._failing("answer", Episode("answer", turns, page.sentence, notes))

    def _told(
        self,
        kind: str,
        request: str,
        call: str,
        result: str,
        said: str,
        check: str,
        notes: Notes,
        *,
        at: int = 0,
        shows: tuple[Span, ...] = (),
    ) -> Episode:
        """The whole episode: `check` stands at `at` in the result and takes the place of {} in what is said."""
        said = said.replace("{}", check)
        copy = _copied(said, check, Span(RESULT, at, at + len(check)), turn=LAST)
        copy = msgspec.structs.replace(copy, shows=shows)
        notes = Notes((*notes.copies, copy), notes.matches, notes.sentences)
        return self._failing(kind, Episode(kind, _turns(request, call, result, said), check, notes))

    def _failing(self, kind: str, fine: Episode) -> Episode:
        """The episode, or at times one in which the tool fails."""
        if self.rng.random() >= FAILED_SHARE:
            return fine
        rng = self.rng
        reason = values.definition(rng, values.term(rng)) if rng.random() < 0.5 else values.fact(rng)
        said, result = f"That failed: {reason}.", f"error: {reason}"
        copies = tuple(copy for copy in fine.notes.copies if copy.said.turn == CALL)
        read = Span(RESULT, len("error: "), len(result))
        notes = Notes((*copies, _copied(said, reason, read, turn=LAST)))
        request, call, *_ = fine.turns
        return Episode(kind, _turns(request.text, call.text, result, said), reason, notes)

    def _talk(self) -> Episode:
        phrasings, reply = self.rng.choice(templates.SMALL_TALK)
        request, _ = requests.cased(self.rng, draw(self.rng.choice(phrasings), self.rng), {})
        return Episode("talk", (Turn("user", request), Turn("assistant", reply)), reply)

    def _pages(self) -> Episode:
        """Pages that stand in the window before anybody asks: tool turns that nobody has to answer."""
        texts = [
            pages.page(self.rng).text
            if self.shares["shown"]
            else passages.passage(self.rng, several=True, longest_chars=self.longest_chars).text
            for _ in range(self.rng.randint(1, 2))
        ]
        return Episode("pages", tuple(Turn("tool", text) for text in texts))


def _turns(request: str, call: str, result: str, said: str) -> tuple[Turn, ...]:
    return Turn("user", request), Turn("assistant", call), Turn("tool", result), Turn("assistant", said)


def _copied(said: str, value: str, read: Span, *, turn: int = CALL) -> Copy:
    """That `value`, as JSON writes it in a call, was read there. The last place counts: a value may be a word of
    the frame."""
    written = _escaped(value) if turn == CALL else value
    at = said.rindex(written)
    return Copy(Span(turn, at, at + len(written)), read)


def _escaped(value: str) -> str:
    text = msgspec.json.encode(value).decode()
    return text[1:-1]


def _sentences(page: Passage, turn: int, at: int) -> tuple[Span, ...]:
    return tuple(Span(turn, at + begin, at + end) for begin, end in page.sentences)
