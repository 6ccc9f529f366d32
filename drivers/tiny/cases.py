"""Cases made by the corpus: unseen values in trained phrasings, or in the phrasings that training left out."""

from drivers.tiny import score, templates
from drivers.tiny.corpus import Corpus, Episode
from drivers.tiny.wire import Turn, read_call

TOOLS = ("calculate", "lookup", "recall", "remember", "answer")


def made(*, seed: int, count: int, unseen_phrasings: bool, after: bool = False) -> tuple[score.Case, ...]:
    """That many cases for each tool; with `after`, each comes behind up to four other episodes."""
    chosen = templates.development if unseen_phrasings else templates.training
    corpus = Corpus(1_000_000 + seed, patterns=chosen)
    found = []
    for tool in TOOLS:
        for number in range(count):
            before = _before(corpus) if after else ()
            found.append(_case(f"{tool}-{number}", corpus.episode(tool), before))
    return tuple(found)


def _before(corpus: Corpus) -> tuple[Turn, ...]:
    system = corpus.system()
    turns: tuple[Turn, ...] = (system,) if system else ()
    for _ in range(corpus.rng.randint(1, 4)):
        turns += corpus.episode().turns
    return turns


def _case(name: str, episode: Episode, before: tuple[Turn, ...]) -> score.Case:
    request, call_turn, result, _ = episode.turns
    call = read_call(call_turn.text)
    assert call is not None
    expected = score.Expected(call.name, {key: (str(value),) for key, value in call.arguments.items()})
    return score.Case(name, request.text, expected, result.text, episode.check, before=before)
