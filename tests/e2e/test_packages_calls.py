"""System calls of packages through the real command line: in the table and the manual, and offered to executables."""

import json
import sys

from tests.commandline import CommandLine
from tests.e2e.test_exec import python
from tests.packages import wheel

CLIENT = """
import json, os, urllib.request


def rpc(method, **params):
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
    asked = urllib.request.Request(os.environ["KERNOS_MCP_URL"], body, {"Authorization": "Bearer " + key})
    with urllib.request.urlopen(asked) as answer:
        return json.load(answer)["result"]


key = os.environ["OPENAI_API_KEY"]
tools = [each["name"] for each in rpc("tools/list")["tools"]]
answer = rpc("tools/call", name="words_count", arguments={"text": "a b c"})["content"][0]["text"]
print(json.dumps({"tools": tools, "answer": answer}))
"""


def test_a_system_call_of_a_package_is_in_the_table_the_manual_and_the_schema(up: CommandLine) -> None:
    asked = {"syscalls": {"count": "words:*"}, "tools": {}}
    assert up("pkg", "install", "--unsigned", "--yes", wheel(up.home, manifest=asked)).returncode == 0
    page = up("man", "words.count")
    assert page.returncode == 0, page.stderr
    for part in ("words.count - Counts words", "words.count(text: string)", "syscall:words.count call", "words 1.0"):
        assert part in page.stdout
    rows = {row["name"]: row for row in up.json("syscalls")}
    assert rows["words.count"]["right"] == {"resource": "syscall:words.count", "action": "call"}
    assert rows["words.count"]["args"]["required"] == ["text"] and "words.count" in up("syscalls", "-q").stdout
    schema = json.loads(up("syscalls", "--schema").stdout)
    assert [each["name"] for each in schema["plugins"]] == ["words.count"] and schema["calls"]
    (up.home / "asks.py").write_text(
        "from kernos import Sys, program\n\n\n@program\nasync def asks(sys: Sys) -> int:\n"
        "    return (await sys.call_plugin('words.count', text='a b c')).value\n"
    )
    assert up("run", "--allow", "syscall:words.count call", "asks.py").stdout == "3\n"
    refused = up("run", "asks.py")
    assert refused.returncode != 0 and "syscall:words.count call" in refused.stderr
    assert up("pkg", "remove", "words").returncode == 0
    assert up("man", "words.count").returncode == 3


def test_an_executable_finds_the_calls_it_was_granted_at_its_mcp_door(up: CommandLine) -> None:
    asked = {"syscalls": {"count": "words:*", "look": "words:*"}, "programs": {}}
    assert up("pkg", "install", "--unsigned", "--yes", wheel(up.home, manifest=asked)).returncode == 0
    client = up.home / "client.py"
    client.write_text(CLIENT)
    allow = ("--allow", "syscall:words.count call")
    done = up("exec", *python(), "--read", client, *allow, "--", sys.executable, client)
    assert json.loads(done.stdout) == {"tools": ["words_count"], "answer": "3"}, done.stderr
