"""The models of the machine, as a program holds them: `sys.models`."""

from typing import final

from syscalls.calls import model as abi
from syscalls.calls.model import ModelInfo, Scored, Tokenized
from syscalls.turns import ToolSpec, Turn
from userland.sdk.door import Door


@final
class Models:
    """What there is, what is loaded, and what models can tell besides answering. `model` None is the caller's
    default."""

    def __init__(self, door: Door) -> None:
        self._door = door

    async def list(self) -> tuple[ModelInfo, ...]:
        """All registered models."""
        models: abi.Models = await self._door.call(abi.LIST, abi.ListModels())
        return models.models

    async def info(self, name: str) -> ModelInfo:
        """One model. Raises NotFound (ENOENT)."""
        info: ModelInfo = await self._door.call(abi.INFO, abi.ModelName(model=name))
        return info

    async def load(self, name: str) -> ModelInfo:
        """Waits until a model is ready; a generation would load it too."""
        info: ModelInfo = await self._door.call(abi.LOAD, abi.ModelName(model=name))
        return info

    async def unload(self, name: str, *, timeout_s: float | None = 0.0, force: bool = False) -> ModelInfo:
        """Frees a model's memory. Raises Busy (EBUSY) while calls are under way, after `timeout_s`, unless `force`."""
        args = abi.Unload(model=name, timeout_s=timeout_s, force=force)
        info: ModelInfo = await self._door.call(abi.UNLOAD, args)
        return info

    async def score(
        self,
        prompt: str | Turn | tuple[Turn, ...],
        *continuations: str | tuple[int, ...],
        tools: tuple[ToolSpec, ...] = (),
        model: str | None = None,
        deadline_s: float | None = None,
    ) -> Scored:
        """How likely each continuation is after a plain text, or as the answer to turns.

        `(await sys.models.score("2 + 2 =", " 4", " 5")).continuations[0].logprob`
        """
        turns = () if isinstance(prompt, str) else (prompt,) if isinstance(prompt, Turn) else prompt
        args = abi.Score(
            continuations=continuations,
            prompt=prompt if isinstance(prompt, str) else "",
            turns=turns,
            tools=tools,
            model=model,
            deadline_s=deadline_s,
        )
        scored: Scored = await self._door.call(abi.SCORE, args)
        return scored

    async def tokenize(
        self, what: str | Turn | tuple[Turn, ...], *, tools: tuple[ToolSpec, ...] = (), model: str | None = None
    ) -> Tokenized:
        """The tokens of a plain text, or of turns as the model's template lays them out; how many at most where the
        model's driver has no tokenizer (`exact` tells)."""
        if isinstance(what, str):
            args = abi.Tokenize(text=what, model=model)
        else:
            args = abi.Tokenize(turns=(what,) if isinstance(what, Turn) else what, tools=tools, model=model)
        tokenized: Tokenized = await self._door.call(abi.TOKENIZE, args)
        return tokenized

    async def detokenize(self, ids: tuple[int, ...], *, model: str | None = None) -> str:
        """The text of token ids. Raises NoSyscall (ENOSYS) where the model's driver has no tokenizer."""
        tokenized: Tokenized = await self._door.call(abi.TOKENIZE, abi.Tokenize(ids=ids, model=model))
        return tokenized.text
