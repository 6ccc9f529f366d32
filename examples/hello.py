"""The first program: asks the model to greet somebody, and prints the answer as it comes."""

from kernos import Sys, program, user


@program
async def hello(sys: Sys, name: str = "world") -> str:
    """Asks the model to greet somebody."""
    chat = await sys.open()
    await chat.append(user(f"Say hello to {name}."))
    async for text in (answer := chat.generate()):
        print(text, end="", flush=True)
    print()
    return (await answer).text
