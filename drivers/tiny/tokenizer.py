"""The tokenizer: byte-level BPE in which a word has the same pieces wherever it stands.

Copying is what the model does all day. In plain byte-level BPE ` key` and `"key` are cut differently, so that
quoting a word means spelling it anew. Here a space is put before each word that follows a quote, a bracket or
a line break, with a mark that takes it away again when decoding; digits stand alone. Rejected: bytes (four
times as long), a token for each space (half as long again).
"""

import json
from collections.abc import Iterable
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from drivers.tiny import marks, wire

VOCABULARY_TOKENS = 2048
CONTEXT_TOKENS_MAX = 8192
_MARK = "\x01"
_OPENERS = (('"', '"'), (r"\n", "\n"), (r"\(", "("), ("`", "`"), (r"(?<![\p{L}\p{N}])'", "'"))
_MORE_OPENERS = tuple((rf"(?<![\p{{L}}\p{{N}}]){mark}", mark[-1]) for mark in ("<", r"\*", r"\["))
_CUT = r" ?\p{L}+|\p{N}|\.| ?[^\s\p{L}\p{N}.]+|\s+(?!\S)|\s+"


def build(texts: Iterable[str]) -> Tokenizer:
    """A tokenizer trained on the texts; the same texts give the same tokenizer."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = _normalizer(_OPENERS)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_CUT), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.Sequence(
        [decoders.ByteLevel(), decoders.Replace(_MARK + " ", ""), decoders.Replace(_MARK, "")]
    )
    # Kept out of the merges: turn marks and call tags are cut out before anything is merged.
    marks = [AddedToken(t, special=True, normalized=False) for t in (wire.PAD, wire.START, wire.END)]
    tags = [AddedToken(t, special=False, normalized=False) for t in (wire.CALL_OPEN, wire.CALL_CLOSE)]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY_TOKENS - len(tags), special_tokens=marks, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(_without_marks(texts), trainer)
    tokenizer.add_special_tokens(marks)
    tokenizer.add_tokens(tags)
    return tokenizer


def _normalizer(openers: tuple[tuple[str, str], ...]) -> normalizers.Normalizer:
    glue = [normalizers.Replace(Regex(p + r"(?=\p{L})"), c + _MARK + " ") for p, c in openers]
    return normalizers.Sequence([normalizers.Replace(_MARK, ""), *glue])


def grow(tokenizer: Tokenizer) -> None:
    """Gives it the sentence marks, and more brackets behind which a word is cut as elsewhere; ids stay."""
    tokenizer.normalizer = _normalizer((*_OPENERS, *_MORE_OPENERS))
    tokenizer.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in marks.NAMES])


def _without_marks(texts: Iterable[str]) -> Iterable[str]:
    for text in texts:
        for mark in (wire.START, wire.END, wire.CALL_OPEN, wire.CALL_CLOSE):
            text = text.replace(mark, "\0")
        yield from filter(None, text.split("\0"))


def save(tokenizer: Tokenizer, folder: Path) -> None:
    """The files that `AutoTokenizer.from_pretrained` wants, with the chat template."""
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": CONTEXT_TOKENS_MAX,
        "eos_token": wire.END,
        "pad_token": wire.PAD,
        "clean_up_tokenization_spaces": False,
        "chat_template": wire.CHAT_TEMPLATE,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=1) + "\n", encoding="utf-8")
