"""The official client, whole and streaming, until its budget is used up."""

import json
import os

import openai

client = openai.OpenAI()
model = os.environ["KERNOS_MODEL"]
asks: list[openai.types.chat.ChatCompletionMessageParam] = [{"role": "user", "content": "What holds tea?"}]
told: dict[str, object] = {"models": [each.id for each in client.models.list()]}

whole = client.chat.completions.create(model=model, messages=asks, max_tokens=64, seed=7)
assert whole.usage is not None
told["whole"], told["tokens"] = whole.choices[0].message.content, whole.usage.total_tokens
told["finish"] = whole.choices[0].finish_reason

pieces, usage = [], None
for chunk in client.chat.completions.create(
    model=model, messages=asks, max_tokens=64, seed=7, stream=True, stream_options={"include_usage": True}
):
    pieces += [choice.delta.content or "" for choice in chunk.choices]
    usage = chunk.usage or usage
assert usage is not None
told["streamed"], told["pieces"], told["streamed_tokens"] = "".join(pieces), len(pieces), usage.total_tokens

tool: openai.types.chat.ChatCompletionToolParam = {
    "type": "function",
    "function": {"name": "calculate", "parameters": {"type": "object", "properties": {"expression": {}}}},
}
called = client.chat.completions.create(
    model=model, messages=[{"role": "user", "content": "What is 6*7?"}], tools=[tool], max_tokens=256
)
calls = called.choices[0].message.tool_calls or []
told["calls"] = [each.model_dump()["function"] for each in calls]

refusals: dict[str, object] = {}
for name, other, wanted in (("key", client.with_options(api_key="wrong"), model), ("model", client, "no-such-model")):
    try:
        other.chat.completions.create(model=wanted, messages=asks)
    except openai.APIStatusError as refused:
        refusals[name] = [refused.status_code, refused.code]
try:
    client.chat.completions.create(model=model, messages=[])
except openai.BadRequestError as refused:
    refusals["messages"] = [refused.status_code, refused.code]
try:
    for _ in range(1000):
        client.chat.completions.create(model=model, messages=asks, max_tokens=64)
except openai.RateLimitError as refused:
    refusals["budget"] = [refused.status_code, refused.code]
told["refusals"] = refusals
print(json.dumps(told))
