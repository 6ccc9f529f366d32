"""Extensions: none is imported without a word of trust; what a trusted one brings is in force, and is told of."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kernel.config import Config
from kernel.extension import CONFIG, load_extensions
from kernel.packages import Packages
from kernel.watchdog import Watch
from kernos.testing import up
from syscalls.calls import kernel, model, watch
from syscalls.errors import Invalid, NotFound, SyscallError
from syscalls.extensions import installed, load, of_package
from syscalls.package import Installed, Manifest
from syscalls.turns import user
from tests.extensions import CODE, NAME, installed_package, write_package


@pytest.fixture
def package(tmp_path: Path) -> Iterator[None]:
    with installed_package(tmp_path / "site"):
        yield


def extensions_of(**config: Any) -> Any:
    watch: Any = Watch(_Still(), bound_s=1.0, tell=lambda *what: None)  # type: ignore[arg-type]
    none = Path("/nowhere/at/all")
    return load_extensions(Config(**config), Packages(none, lambda name, why: None), watch)


class _Still:
    def now(self) -> float:
        return 0.0


@pytest.mark.usefixtures("package")
def test_what_is_installed_is_seen_and_not_imported() -> None:
    found = installed()["demo"]
    assert (found.value, str(found)) == (NAME, "extension demo of kernos-test-extension 1.0")
    assert load(()) == ()
    extensions_of()
    assert NAME not in sys.modules


@pytest.mark.usefixtures("package")
def test_a_policy_of_what_is_not_trusted_is_refused_and_nothing_is_imported() -> None:
    with pytest.raises(Invalid, match=r"no scheduling policy 'shortest'.*not trusted.*demo \(of kernos-test-extension"):
        extensions_of().scheduling("shortest")
    with pytest.raises(Invalid, match="no eviction policy 'largest': there are oldest"):
        extensions_of().eviction("largest")
    assert NAME not in sys.modules


@pytest.mark.usefixtures("package")
def test_a_trusted_one_brings_its_policies_and_sources() -> None:
    found = extensions_of(trust=("demo",))
    assert found.scheduling("shortest").name == "shortest"
    assert found.eviction("largest").name == "largest"
    assert found.scheduling("fair") == "fair"
    assert found.source("shelf:book").origin == "sim:book"
    assert found.source("/a/folder") is None and found.source("other:book") is None
    assert [each.record for each in found.loaded] == [CONFIG]


@pytest.mark.usefixtures("package")
def test_a_source_that_refuses_has_answered_and_one_that_fails_is_disabled() -> None:
    found = extensions_of(trust=("demo",))
    with pytest.raises(Invalid, match="shelf:none: nothing stands on that shelf"):
        found.source("shelf:none")
    assert found.disabled() == {}


def test_a_source_that_answers_nonsense_is_disabled_and_says_so(tmp_path: Path) -> None:
    code = CODE.replace('return Source("sim", f"sim:{what}", {"window": "900"})', 'return ("sim", what)')
    with installed_package(tmp_path, code=code):
        found = extensions_of(trust=("demo",))
        for _ in range(2):
            with pytest.raises(Invalid, match=r"the model source 'shelf' is disabled: it answered nonsense: a tuple"):
                found.source("shelf:book")
        assert list(found.disabled()) == ["model source shelf"]


@pytest.mark.usefixtures("package")
def test_who_trusts_what_is_not_there_is_told_what_is() -> None:
    with pytest.raises(NotFound, match=r"'trust' in kernos.toml trusts the extension 'demmo'.*there are: .*demo"):
        extensions_of(trust=("demmo",))


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("import nowhere_at_all", "ModuleNotFoundError"),
        ("raise RuntimeError('no')", "RuntimeError: no"),
        ("from kernos.hooks import hookimpl\n@hookimpl\ndef kernos_nothing(): ...", "unknown hook"),
        (CODE.replace("[Shortest(), Broken()]", "1 / 0"), "ZeroDivisionError"),
        (CODE.replace('"broken"', '"fair"'), "there is a scheduling policy 'fair' already"),
        (CODE.replace('"broken"', '"no name"'), "letters, digits"),
        (CODE.replace('scheme = "shelf"', 'scheme = "https"'), "already"),
    ],
)
def test_one_that_cannot_be_loaded_is_refused_with_the_reason(tmp_path: Path, code: str, why: str) -> None:
    with (
        installed_package(tmp_path, code=code),
        pytest.raises(Invalid, match=f"extension demo of kernos-test-extension 1.0.*{why}|{why}"),
    ):
        extensions_of(trust=("demo",))


OTHER = "kernos_other_extension"


def record_of(*, trusted: bool, **kinds: dict[str, str]) -> Installed:
    manifest = Manifest(name="other", version="2.0", **kinds)  # type: ignore[arg-type]
    return Installed(manifest=manifest, release="2.0-abc", sha256="0" * 64, trusted=trusted)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[str]:
    """The folder of a package's own environment, with a module of extensions; nothing is left behind."""
    before = list(sys.path)
    yield str(write_package(tmp_path / "other", module=OTHER))
    sys.path[:] = before
    sys.modules.pop(OTHER, None)


def test_a_package_is_loaded_for_the_kinds_that_it_names_and_comes_last_on_the_path(site: str) -> None:
    before = list(sys.path)
    record = record_of(
        trusted=True,
        policies={"shortest": f"{OTHER}:kernos_scheduling_policies"},
        commands={"greet": f"{OTHER}:kernos_commands"},
    )
    (loaded,) = load(of_package(record, site, "policies", "sources"))
    assert sys.path == [*before, site]
    assert [policy.name for policy in loaded.call("kernos_scheduling_policies")] == ["shortest", "broken"]
    assert loaded.call("kernos_model_sources") == loaded.call("kernos_commands") == ()
    assert "kernos pkg remove other" in loaded.record
    (commands,) = load(of_package(record, site, "commands"))
    assert [command.name for command in commands.call("kernos_commands")] == ["greet"]


def test_a_package_without_the_word_of_trust_is_not_loaded(site: str) -> None:
    record = record_of(trusted=False, policies={"shortest": f"{OTHER}:kernos_scheduling_policies"})
    assert load(of_package(record, site, "policies", "sources")) == ()
    assert OTHER not in sys.modules


@pytest.mark.usefixtures("package")
async def test_a_kernel_with_a_trusted_extension() -> None:
    config = {"trust": ["demo"], "scheduling": "shortest", "eviction": "largest"}
    async with up(config=config, model={"window": "2000"}) as machine:
        info: kernel.KernelInfo = await machine.sys.call("kernel.info")
        assert (info.policy, info.eviction, info.disabled) == ("shortest", "largest", {})
        assert info.extensions == ("extension demo of kernos-test-extension 1.0",)
        chat = await machine.sys.open()
        sizes = (3, 900, 5, 7)
        for size in sizes:
            await chat.append(user("x" * size))
        await chat.append(user("now"))
        await chat.generate(max_tokens=4)
        added: model.ModelInfo = await machine.sys.call("model.add", model.AddModel(name="book", origin="shelf:book"))
        assert (added.driver, added.origin, added.window_tokens) == ("sim", "shelf:book", 900)
        with pytest.raises(SyscallError, match="nothing stands on that shelf"):
            await machine.sys.call("model.add", model.AddModel(name="none", origin="shelf:none"))


@pytest.mark.usefixtures("package")
async def test_a_policy_that_fails_is_disabled_and_the_log_and_the_machine_say_so() -> None:
    async with up(config={"trust": ["demo"], "scheduling": "broken"}) as machine:
        chat = await machine.sys.open()
        for _ in range(2):
            await chat.append(user("hello"))
            assert (await chat.generate(max_tokens=4)).text
        info: kernel.KernelInfo = await machine.sys.call("kernel.info")
        assert info.policy == "fair"
        assert info.disabled == {"scheduling policy broken": "it raised RuntimeError: no idea"}
        lines = [line.text async for line in machine.sys.stream("kernel.log", watch.Log())]
        told = "scheduling policy broken is disabled until the next boot, the kernel does without: it raised"
        assert sum(told in line for line in lines) == 1
