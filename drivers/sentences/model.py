"""A sentence-transformers model on one thread of torch: texts to unit vectors, tokens counted as it read them."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, final

from drivers.causal.folder import checksum
from drivers.sentences.origin import check_extra, folder_of
from syscalls.driver import Opened
from syscalls.errors import Invalid

Made = tuple[list[bytes], int]


def load(origin: str) -> "Sentences":
    """The model, ready to run. Raises NotFound or Invalid with one line that says what is wrong with the origin."""
    check_extra()
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    folder = folder_of(origin)
    import torch
    from sentence_transformers import SentenceTransformer
    from transformers.utils import logging

    logging.disable_progress_bar()
    torch.set_num_threads(1)
    try:
        model = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
    except Exception as failed:
        lines = str(failed).strip().splitlines()
        why = lines[0][:300] if lines else type(failed).__name__
        raise Invalid(f"{folder} is no embedding model ({why}): give a sentence-transformers folder") from None
    return Sentences(torch, model.eval(), folder, origin)


@final
class Sentences:
    """One loaded model. Not thread-safe."""

    def __init__(self, torch: Any, model: Any, folder: Path, origin: str) -> None:
        self._torch = torch
        self._model = model
        digest = checksum(folder)
        length = int(model.max_seq_length or 0)
        self.opened = Opened(
            device=0,
            can=("embed",),
            window_tokens=length,
            dimensions=self._dimensions(),
            parameters=sum(part.numel() for part in model.parameters()),
            checksum=digest,
            template=digest,
            detail={"architecture": type(model[0].auto_model).__name__, "folder": str(folder), "origin": origin}
            | ({"longer": f"a text is read to its token {length}"} if length else {}),
        )

    def embed(self, texts: Sequence[str]) -> Made:
        """One unit vector per text, and how many tokens were read, padding left out."""
        if not texts:
            return [], 0
        with self._torch.inference_mode():
            features = self._model.preprocess(list(texts))
            tokens = int(features["attention_mask"].sum())
            made = self._model(features)["sentence_embedding"].float()
            unit = self._torch.nn.functional.normalize(made, dim=-1).numpy().astype("<f4")
        return [row.tobytes() for row in unit], tokens

    def _dimensions(self) -> int:
        return len(self.embed(["dimensions"])[0][0]) // 4
