"""The context family of system calls: conversations, their pages and windows."""

from kernel.generation import advice, fault, generate
from kernel.generation.prompt import PLENTY, trim
from kernel.machine import Machine
from kernel.mm.conversation import Context
from kernel.mm.page import size_of
from kernel.trap import Trap
from syscalls.calls import context
from syscalls.calls.process import Nothing
from syscalls.errors import Invalid, IOFailed, NotFound, OverWindow
from syscalls.turns import parse_turns


async def context_open(machine: Machine, trap: Trap, args: context.Open) -> context.Opened:
    return await machine.contexts.open(trap.process, args)


async def context_append(machine: Machine, trap: Trap, args: context.Append) -> context.Appended:
    held = machine.contexts.get(args.context)
    if args.resident:
        _bound_instructions(held, args)
    with machine.contexts.growing(held, trap.process.account, args.turns):
        appended = await machine.contexts.binder.append(held, args)
    if args.resident:
        try:
            async with held.writing:
                await trim(machine, trap, held, limit=held.limit)
        except IOFailed:
            pass  # the turns are on disk; the window is trimmed when the disk takes the pages again
    return appended


def _bound_instructions(held: Context, args: context.Append) -> None:
    """System turns are never evicted: what cannot fit is refused before it is kept. Raises OverWindow (EWINDOW)."""
    shown = (entry.turn for entry in held.window.entries)
    size = sum(size_of(turn) for turn in (*shown, *args.turns) if turn.role == "system")
    if size > PLENTY * held.limit:
        raise OverWindow(
            f"system turns of {size} bytes can never fit the {held.limit} tokens of {held.model}'s window that are "
            f"free for a prompt: append them as a user's turns, or with resident=False"
        )


async def context_generate(machine: Machine, trap: Trap, args: context.Generate) -> context.Generated:
    return await generate.in_context(machine, trap, machine.contexts.get(args.context), args)


async def context_recall(machine: Machine, trap: Trap, args: context.Recall) -> context.Recalled:
    if not args.query.strip():
        raise Invalid("an empty query: say what is to be recalled")
    if len(args.query) > fault.QUERY_CHARS_MAX:
        raise Invalid(f"a query of {len(args.query)} characters: at most {fault.QUERY_CHARS_MAX}; name what is sought")
    if not 1 <= args.k <= fault.K_MAX:
        raise Invalid(f"k {args.k}: 1 to {fault.K_MAX} passages")
    if args.tokens_max < 1:
        raise Invalid(f"tokens_max {args.tokens_max}: at least 1")
    return await fault.recall(machine, trap, machine.contexts.get(args.context), args)


async def context_read(machine: Machine, trap: Trap, args: context.Read) -> context.PageBody:
    principal = trap.process.principal
    if args.context:
        held = machine.contexts.get(args.context)
        principal = held.principal
        if all(ref.address != args.page for ref in held.refs()):
            raise NotFound(f"no page {args.page} in context {args.context}")
    body = await machine.contexts.library.body(principal, args.page)
    return context.PageBody(turns=parse_turns(body), body=body)


def context_stat(machine: Machine, trap: Trap, args: context.Stat) -> context.ContextInfo:
    return machine.contexts.info(args.context)


async def context_fork(machine: Machine, trap: Trap, args: context.Fork) -> context.Opened:
    return await machine.contexts.fork(trap.process, args.context)


async def context_close(machine: Machine, trap: Trap, args: context.Close) -> Nothing:
    await machine.contexts.close(trap.process, args.context)
    return Nothing()


async def context_advise(machine: Machine, trap: Trap, args: context.Advise) -> context.Advised:
    return await advice.advise(machine, trap, machine.contexts.get(args.context), args)


async def context_save(machine: Machine, trap: Trap, args: context.Save) -> context.Saved:
    return await machine.contexts.save(trap.process, args.context, args.name)


async def context_list(machine: Machine, trap: Trap, args: context.ListContexts) -> context.Contexts:
    return await machine.contexts.named.list(trap.process.principal, args)


async def context_forget(machine: Machine, trap: Trap, args: context.Forget) -> Nothing:
    await machine.contexts.named.forget(trap.process.principal, args.name)
    return Nothing()


HANDLERS = {
    context.OPEN.number: context_open,
    context.APPEND.number: context_append,
    context.GENERATE.number: context_generate,
    context.RECALL.number: context_recall,
    context.READ.number: context_read,
    context.STAT.number: context_stat,
    context.FORK.number: context_fork,
    context.CLOSE.number: context_close,
    context.ADVISE.number: context_advise,
    context.SAVE.number: context_save,
    context.LIST.number: context_list,
    context.FORGET.number: context_forget,
}
