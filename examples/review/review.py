"""An agent with a sub-agent: a writer, and a critic in a process of its own that may do less and has its own budget."""

from kernos import Budget, ChildFailed, Sys, program, system, user

CRITIC_RIGHTS = ("model:*", "context:own")
CRITIC_TOKENS = 4000


@program
async def review(sys: Sys, task: str, *, rounds: int = 1) -> str:
    """Writes what TASK asks for, has a critic read it, and writes it again, --rounds times."""
    chat = await sys.open()
    await chat.append(system("You write one short paragraph."), user(task))
    draft = (await chat.generate(max_tokens=200)).text
    print(f"draft: {draft}")
    for _ in range(rounds):
        remarks = await criticised(sys, task, draft)
        print(f"critic: {remarks}")
        await chat.append(user(f"A critic says: {remarks}\nWrite it again."))
        draft = (await chat.generate(max_tokens=200)).text
    return draft


async def criticised(sys: Sys, task: str, draft: str) -> str:
    """What a critic says: a child with fewer rights than ours, and a budget that is taken out of ours."""
    child = await sys.spawn(
        "review:critic", task, draft, name="critic", rights=CRITIC_RIGHTS, budget=Budget(tokens=CRITIC_TOKENS)
    )
    try:
        return str(await child.wait(timeout_s=120))
    except ChildFailed as failed:
        return f"(the critic ended without a word: {failed})"


@program
async def critic(sys: Sys, task: str, draft: str) -> str:
    """Says what is missing in DRAFT, which somebody wrote for TASK."""
    chat = await sys.open()
    await chat.append(system("You are a critic: one sentence."), user(f"The task: {task}\nThe draft: {draft}"))
    return (await chat.generate(max_tokens=100)).text
