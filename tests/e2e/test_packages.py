"""Packages through the real command line: from nothing to a tool that runs in the sandbox, and away again."""

import json
import re
import subprocess
import sys

from tests.commandline import CommandLine
from tests.kernelproc import until
from tests.packages import MODULE, left, wheel

SPEAK = """

@program
async def speak(sys: Sys) -> None:
    await sys.publish("sport", "hello")
    await sys.publish("news", "hello")
"""
EATS = """

@program
async def eats(sys: Sys, mib: int) -> int:
    import threading

    thread = threading.Thread(target=print)
    thread.start()
    thread.join()
    return len(bytearray(mib << 20))


@tool
def chew(mib: int) -> int:
    return len(bytearray(mib << 20)) >> 20
"""
LOOPS = """
from kernos import Sys, SyscallError, program


@program
async def loops(sys: Sys) -> None:
    while True:
        try:
            await sys.publish("news", "hello")
            print("free", flush=True)
        except SyscallError:
            print("refused", flush=True)
        await sys.sleep(0.05)
"""
STARTER = """
from kernos import Sys, program


@program
async def plain(sys: Sys) -> list[str]:
    return await (await sys.spawn("words:rights")).wait()


@program
async def more(sys: Sys) -> list[str]:
    return await (await sys.spawn("words:rights", rights=["topic:news"])).wait()
"""
WHEEL = "word-count/dist/word_count-0.1.0-py3-none-any.whl"


def test_a_package_is_begun_built_signed_installed_used_and_removed(up: CommandLine) -> None:
    for words in (("new", "word-count"), ("build", "word-count"), ("sign", WHEEL), ("verify", WHEEL)):
        done = up("pkg", *words)
        assert done.returncode == 0, done.stderr
    installed = up("pkg", "install", "--yes", WHEEL)
    assert installed.returncode == 0, installed.stderr
    assert "let any model write" in installed.stderr and "because: to sum up what you give it" in installed.stderr
    assert up("device", "call", "word-count", "count", "text=a b c").stdout == "3\n"
    summed = up("run", "word-count:sum-up", "A long text.")
    assert summed.returncode == 0 and summed.stdout, summed.stderr
    (listed,) = up.json("pkg", "list")
    assert listed["granted"] == ["model:* generate"] and listed["key"] == up("pkg", "key", "list", "-q").stdout.strip()
    assert up("pkg", "remove", "word-count").returncode == 0
    assert left(up) == []
    gone = up("device", "call", "word-count", "count", "text=a b c")
    assert gone.returncode == 3 and "no tool 'word-count'" in gone.stderr
    assert "no program 'word-count:sum-up'" in up("run", "word-count:sum-up", "x").stderr


def test_the_build_hook_serves_other_front_ends(kernos: CommandLine) -> None:
    assert kernos("pkg", "new", "word-count").returncode == 0
    pip = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--no-build-isolation",
        "--no-deps",
        "--no-index",
        "-w",
        "out",
        "./word-count",
    ]
    built = subprocess.run(pip, cwd=kernos.home, env=kernos.environ, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    (place,) = (kernos.home / "out").glob("*.whl")
    assert kernos.json("pkg", "verify", place)["manifest"]["tools"] == {"word-count": "word_count:*"}
    pyproject = kernos.home / "word-count" / "pyproject.toml"
    text = pyproject.read_text()
    for old, new, why in (
        ("model:* generate", "model:* steal", "there is no action 'steal'"),
        ("[tool.kernos.tools]", "[tool.kernos.spoons]", "unknown field `spoons`"),
        ('"word_count:sum_up"', '"word_count.sum_up"', "write MODULE:NAME"),
        ('version = "0.1.0"', 'version = "0.1.0"\ndependencies = ["x @ file:///x"]', "pyproject.toml"),
    ):
        pyproject.write_text(text.replace(old, new))
        wrong = kernos("pkg", "build", "word-count")
        assert wrong.returncode != 0 and why in wrong.stderr, wrong.stderr


def test_a_kernel_for_one_command_has_the_installed_packages(kernos: CommandLine) -> None:
    asked = [{"right": "process:self", "why": "to see itself"}]
    place = wheel(
        kernos.home, manifest={"rights": asked, "programs": {"rights": "words:rights", "hello": "words:hello"}}
    )
    done = kernos("pkg", "install", "--unsigned", "--yes", place)
    assert done.returncode == 0, done.stderr
    assert kernos("run", "words:hello", "ann").stdout == "hello ann\n"
    held = kernos("run", "--allow", "topic:news publish", "words:rights").stdout
    assert re.findall(r'"([^"]+)"', held) == ["process:self", "topic:news publish"]


def test_a_tool_sees_the_folder_it_was_granted_and_no_other(up: CommandLine) -> None:
    (up.home / "docs").mkdir()
    (up.home / "docs" / "a.txt").write_text("in the folder")
    (up.home / "secret.txt").write_text("outside")
    asked = [{"right": "file:{folder}/** read", "why": "to search it"}]
    place = wheel(up.home, manifest={"rights": asked, "tools": {"words": "words:*"}})
    unfilled = up("pkg", "install", "--unsigned", "--yes", place)
    assert unfilled.returncode == 2 and "--set folder=" in unfilled.stderr
    assert up("pkg", "install", "--unsigned", "--yes", "--set", "folder=./docs", place).returncode == 0
    assert up("device", "call", "words", "look", f"path={up.home}/docs/a.txt").stdout == "in the folder\n"
    refused = up("device", "call", "words", "look", f"path={up.home}/secret.txt")
    assert refused.returncode != 0 and "outside" not in refused.stdout


def test_nothing_is_granted_unasked(kernos: CommandLine) -> None:
    asked = [{"right": "model:*", "why": "to think"}, {"right": "net:https://www.example.com/** get", "why": "to read"}]
    place = wheel(kernos.home, manifest={"rights": asked})
    refused = kernos("pkg", "install", "--unsigned", place)
    assert refused.returncode == 4 and "asks for what nobody granted" in refused.stderr
    part = kernos("pkg", "install", "--unsigned", "--allow", "model:*", place)
    assert part.returncode == 4 and "'net:https://www.example.com/** get'" in part.stderr
    assert left(kernos) == []
    whole = kernos(
        "pkg", "install", "--unsigned", "--allow", "model:*", "--allow", "net:https://*.example.com/** get", place
    )
    assert whole.returncode == 0, whole.stderr


def test_an_upgrade_that_asks_for_more_stops_and_rollback_goes_back(up: CommandLine) -> None:
    model = {"right": "model:* generate", "why": "to think"}
    web = {"right": "net:https://www.example.com/** get", "why": "to read the news"}
    for version, asked in (("1.0", [model]), ("1.1", [model]), ("2.0", [model, web])):
        wheel(up.home, version=version, manifest={"rights": asked, "programs": {"rights": "words:rights"}})
    assert up("pkg", "install", "--unsigned", "--yes", "words-1.0-py3-none-any.whl").returncode == 0
    again = up("pkg", "install", "--unsigned", "--yes", "words-1.1-py3-none-any.whl")
    assert again.returncode == 5 and "pkg upgrade" in again.stderr
    assert up("pkg", "upgrade", "--unsigned", "words-1.1-py3-none-any.whl").returncode == 0
    stopped = up("pkg", "upgrade", "--unsigned", "words-2.0-py3-none-any.whl")
    assert stopped.returncode == 4 and "because: to read the news" in stopped.stderr
    assert "to think" not in stopped.stderr, "what was agreed to before is not asked again"
    assert up.json("pkg", "list")[0]["manifest"]["version"] == "1.1"
    assert up("pkg", "upgrade", "--unsigned", "--yes", "words-2.0-py3-none-any.whl").returncode == 0
    assert "net:https" in up("run", "--allow", "process:self", "words:rights").stdout
    assert up("pkg", "rollback", "words").returncode == 0
    assert up.json("pkg", "list")[0]["manifest"]["version"] == "1.1"
    assert "net:https" not in up("run", "--allow", "process:self", "words:rights").stdout
    assert not [path for path in left(up) if path.startswith("words/1.0")], "only the version before is kept"


def test_an_audit_shows_what_was_used_and_takes_back_the_rest(up: CommandLine) -> None:
    asked = [
        {"right": "topic:sport publish", "why": "to tell of it"},
        {"right": "model:* generate", "why": "to think"},
        {"right": "file:{folder}/** read", "why": "to read"},
    ]
    (up.home / "docs").mkdir()
    programs = {"rights": "words:rights", "speak": "words:speak"}
    code = {"words.py": MODULE + SPEAK}
    place = wheel(up.home, manifest={"rights": asked, "programs": programs}, files=code)
    assert up("pkg", "install", "--unsigned", "--yes", "--set", "folder=docs/", place).returncode == 2
    assert up("pkg", "install", "--unsigned", "--yes", "--set", "folder=./docs", place).returncode == 0
    never_ran = up("pkg", "audit", "--revoke-unused")
    assert "nothing to take back" in never_ran.stderr
    assert up("run", "words:rights").returncode == 0
    assert up("run", "words:speak").returncode == 4
    standing = {line["right"]: (line["standing"], line["uses"]) for line in up.json("pkg", "audit")}
    assert standing == {
        "topic:sport publish": ("used", 1),
        "model:* generate": ("unused", 0),
        f"file:{up.home}/docs/** read": ("shown", 2),
        "topic:news publish": ("lacked", 1),
    }
    assert up("pkg", "audit", "words", "--revoke-unused").returncode == 0
    assert "model:" not in up("run", "words:rights").stdout
    assert up("pkg", "allow", "words", "topic:**").returncode == 2, "nobody is given what it did not ask for"
    assert up("pkg", "allow", "words", "model:**").returncode == 0
    assert "model:* generate" in up("run", "words:rights").stdout
    assert up("pkg", "revoke", "words", "**").returncode == 0
    assert up.json("pkg", "show", "words")["granted"] == []


def test_what_runs_loses_what_is_taken_and_ends_with_its_package(up: CommandLine) -> None:
    asked = [{"right": "process:self", "why": "to see itself"}, {"right": "topic:news publish", "why": "to tell"}]
    place = wheel(up.home, manifest={"rights": asked, "programs": {"loops": "words:loops"}}, files={"words.py": LOOPS})
    assert up("pkg", "install", "--unsigned", "--yes", place).returncode == 0
    pid = up("run", "--detach", "words:loops").stdout.strip()
    until(lambda: "free" in up("logs", pid).stdout)
    assert up("pkg", "revoke", "words", "topic:**").returncode == 0
    until(lambda: "refused" in up("logs", pid).stdout)
    assert up("pkg", "remove", "words").returncode == 0
    until(lambda: pid not in up("ps", "-q").stdout.split())


def test_a_package_is_held_to_the_limits_it_names(kernos: CommandLine) -> None:
    asked = [{"right": "topic:sport publish", "why": "to tell of it"}, {"right": "topic:news publish", "why": "too"}]
    manifest = {"rights": asked, "programs": {"speak": "words:speak"}, "limits": {"calls": 1}}
    place = wheel(kernos.home, manifest=manifest, files={"words.py": MODULE + SPEAK})
    assert kernos("pkg", "install", "--unsigned", "--yes", place).returncode == 0
    over = kernos("run", "--budget", "calls=100", "words:speak")
    assert over.returncode == 1 and "calls" in over.stderr, over.stderr


def test_a_worker_of_a_package_has_the_memory_that_it_names(up: CommandLine) -> None:
    manifest = {
        "tools": {"words": "words:*"}, "programs": {"eats": "words:eats"}, "limits": {"memory_mib": 256},
        "tier": "threads",
    }  # fmt: skip
    place = wheel(up.home, manifest=manifest, files={"words.py": MODULE + EATS})
    assert up("pkg", "install", "--unsigned", "--yes", place).returncode == 0
    for mib, code in ((16, 0), (400, 1)):
        assert up("run", "words:eats", str(mib)).returncode == code
    assert up("device", "call", "words", "chew", "mib=16").stdout == "16\n"
    assert up("device", "call", "words", "chew", "mib=400").returncode != 0
    small = wheel(up.home, version="2.0", manifest={"limits": {"memory_mib": 1}})
    assert "128 at least" in up("pkg", "upgrade", "--unsigned", "--yes", small).stderr


def test_a_programs_rights_are_the_packages_whoever_starts_it(up: CommandLine) -> None:
    asked = [{"right": "topic:sport publish", "why": "to tell of it"}]
    place = wheel(up.home, manifest={"rights": asked, "programs": {"rights": "words:rights"}})
    assert up("pkg", "install", "--unsigned", "--yes", place).returncode == 0
    (up.home / "starter.py").write_text(STARTER)
    allow = ("--allow", "topic:**", "--allow", "program:words:rights spawn")
    assert json.loads(up("run", *allow, "starter.py:plain").stdout) == ["topic:sport publish"]
    more = up("run", *allow, "starter.py:more")
    assert more.returncode == 4 and "package words was not granted 'topic:news'" in more.stderr


def test_code_that_runs_outside_the_sandbox_needs_the_word_of_trust(up: CommandLine) -> None:
    code = (
        "import click\n\nfrom kernos.hooks import hookimpl\n\n\n@click.command()\ndef wave():\n"
        "    '''Waves.'''\n    print('a wave')\n\n\n@hookimpl\ndef kernos_commands():\n    return [wave]\n"
    )
    place = wheel(
        up.home,
        manifest={"commands": {"wave": "waves:kernos_commands"}, "programs": {}},
        files={"waves.py": code},
    )
    refused = up("pkg", "install", "--unsigned", "--yes", place)
    assert refused.returncode != 0 and "--trust" in refused.stderr
    assert up("wave").returncode == 2
    assert up("pkg", "install", "--unsigned", "--yes", "--trust", place).returncode == 0
    assert up("wave").stdout == "a wave\n" and "Waves." in up("--help").stdout
    assert up.json("pkg", "show", "words")["trusted"] is True
    assert up("pkg", "remove", "words").returncode == 0
    assert up("wave").returncode == 2
