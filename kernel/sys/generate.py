"""What of the model family works with tokens: one generation without a context, vectors for texts, scores, and the
tokens themselves."""

from kernel.generation import generate, score
from kernel.generation.fault import EMBED_TOKENS_MAX
from kernel.machine import Machine
from kernel.trap import Trap
from syscalls.calls import context, model
from syscalls.errors import Invalid, NotFound

EMBED_BATCH = 64
TEXTS_MAX = 4096


async def model_generate(machine: Machine, trap: Trap, args: model.OneShot) -> context.Generated:
    port = await machine.devices.opened(args.model or trap.process.model)
    generated = await generate.one_shot(machine, trap, port, args)
    await machine.ledger.keep()
    return generated


async def model_embed(machine: Machine, trap: Trap, args: model.Embed) -> model.Embedded:
    port = machine.devices.embedding()
    if args.model is not None and args.model != port.name:
        raise NotFound(f"{args.model} does not embed: this machine's embedding model is {port.name}")
    if not 1 <= len(args.texts) <= TEXTS_MAX:
        raise Invalid(f"{len(args.texts)} texts: 1 to {TEXTS_MAX}")
    worst = sum(min(EMBED_TOKENS_MAX, len(text.encode()) + 2) for text in args.texts)
    accounts = machine.accounts
    hold = accounts.hold(trap.process.account, accounts.worst(port.name, worst))
    trap.facts = {"model": port.name}
    used, dimensions, vectors = 0, 0, bytearray()
    began = machine.clock.now()
    try:
        for at in range(0, len(args.texts), EMBED_BATCH):
            embedded = await port.embed(args.texts[at : at + EMBED_BATCH])
            used += embedded.tokens
            dimensions = embedded.dimensions
            vectors += embedded.vectors
    finally:
        accounts.settle(hold, accounts.cost(port.name, used), model=port.name)
        trap.driver_s += machine.clock.now() - began
        trap.prompt_tokens += used
        trap.process.prompt_tokens += used
    await machine.ledger.keep()
    return model.Embedded(dimensions=dimensions, vectors=bytes(vectors))


async def model_score(machine: Machine, trap: Trap, args: model.Score) -> model.Scored:
    port = await machine.devices.opened(args.model or trap.process.model)
    return await score.score(machine, trap, port, args)


async def model_tokenize(machine: Machine, trap: Trap, args: model.Tokenize) -> model.Tokenized:
    port = await machine.devices.opened(args.model or trap.process.model)
    return await score.tokenize(port, args)


HANDLERS = {
    model.GENERATE.number: model_generate,
    model.EMBED.number: model_embed,
    model.SCORE.number: model_score,
    model.TOKENIZE.number: model_tokenize,
}
