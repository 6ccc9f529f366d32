"""The first program: says something to the model, and prints its answer as it comes."""

from kernos import Sys, program, user


@program
async def hello(sys: Sys, words: str = "Say who you are.") -> str:
    """Says WORDS to the model, and prints its answer as it comes."""
    chat = await sys.open()
    await chat.append(user(words))
    async for text in (answer := chat.generate()):
        print(text, end="", flush=True)
    print()
    return (await answer).text
