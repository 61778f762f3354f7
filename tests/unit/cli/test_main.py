# SPDX-License-Identifier: Apache-2.0
import signal
from importlib import import_module
from typing import Any

import click
import pytest

import sgxlens
from sgxlens.cli import main as main_module
from sgxlens.cli.main import main
from sgxlens.errors import TargetError


@pytest.fixture
def behaviour(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """`sgxlens probe` calls what is put under "do" and returns its result."""
    behaviour: dict[str, Any] = {}

    @click.command("probe")
    def probe() -> Any:
        return behaviour["do"]()

    monkeypatch.setattr(main_module._SubCommands, "get_command", lambda *_: probe, raising=True)
    return behaviour


def _raising(error: BaseException) -> Any:
    def do() -> None:
        raise error

    return do


def test_a_command_gives_its_exit_status(behaviour: dict[str, Any]) -> None:
    for result, status in ((None, 0), (0, 0), (1, 1), (7, 7)):
        behaviour["do"] = lambda result=result: result
        assert main(["probe"]) == status


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (TargetError("model.onnx:\n no such file"), "model.onnx: no such file"),
        (OSError(28, "No space left on device", "/x/y"), "No space left on device: /x/y"),
        (OSError("odd"), "odd"),
        (click.ClickException("bad"), "bad"),
        (click.UsageError("wrong."), "wrong"),
    ],
)
def test_an_expected_error_is_one_line_and_status_2(
    behaviour: dict[str, Any], capsys: pytest.CaptureFixture[str], error: Exception, line: str
) -> None:
    behaviour["do"] = _raising(error)
    assert main(["probe"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"sgxlens: error: {line}")
    assert err.count("\n") == 1


def test_an_interrupt_is_status_130(behaviour: dict[str, Any]) -> None:
    behaviour["do"] = _raising(KeyboardInterrupt())
    assert main(["probe"]) == 130


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_what_is_done_as_an_interrupt_does(
    behaviour: dict[str, Any], number: signal.Signals
) -> None:
    cleared: list[bool] = []

    def do() -> None:
        try:
            signal.raise_signal(number)
        finally:
            cleared.append(True)

    behaviour["do"] = do
    assert main(["probe"]) == 128 + number
    assert cleared
    assert signal.getsignal(number) is signal.SIG_DFL
    # What is ignored, as under nohup, stays so.
    signal.signal(number, signal.SIG_IGN)
    try:
        assert main(["probe"]) == 0
    finally:
        signal.signal(number, signal.SIG_DFL)


def test_a_bug_is_not_hidden(behaviour: dict[str, Any]) -> None:
    behaviour["do"] = _raising(ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        main(["probe"])


@pytest.mark.parametrize("argv", [["no-such-command"], ["doctor", "--no-such-option"]])
def test_a_wrong_command_line_is_one_line_and_status_2(
    capsys: pytest.CaptureFixture[str], argv: list[str]
) -> None:
    assert main(argv) == 2
    err = capsys.readouterr().err
    assert err.startswith("sgxlens: error: No such ")
    assert "--help`" in err
    assert err.count("\n") == 1


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"sgxlens {sgxlens.__version__}\n"


@pytest.mark.parametrize("name", main_module.SUB_COMMANDS)
def test_every_sub_command_explains_itself(capsys: pytest.CaptureFixture[str], name: str) -> None:
    assert import_module(f"sgxlens.cli.{name}").command.name == name
    assert main([name, "--help"]) == 0
    assert f"Usage: sgxlens {name}" in capsys.readouterr().out


def test_the_help_lists_every_sub_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(f"\n  {name} " in out for name in main_module.SUB_COMMANDS)
