"""The command line's frame: overview, suggestions, and how failures are told. No server."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path

import click
import pytest

from clearwell.cli import main as cli
from clearwell.cli.group import Entry, Group
from clearwell.errors import ConfigError, Retryable


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CLEARWELL_HOME", str(tmp_path))
    monkeypatch.delenv("CLEARWELL_DEBUG", raising=False)
    return tmp_path


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> dict[str, BaseException]:
    """A command `fail` that raises what the test puts under "error"."""
    raised: dict[str, BaseException] = {}

    @click.command()
    @click.option("--json", "as_json", is_flag=True)
    def fail(as_json: bool) -> None:
        raise raised["error"]

    monkeypatch.setattr(sys.modules[__name__], "fail", fail, raising=False)
    monkeypatch.setattr(cli.clearwell, "sections", {"Test": {"fail": Entry(f"{__name__}:fail", "Fails.")}})
    return raised


def entries() -> list[tuple[str, Entry]]:
    return [pair for section in cli.SECTIONS.values() for pair in section.items()]


@pytest.mark.parametrize(("name", "entry"), entries())
def test_every_command_of_the_table_exists_and_explains_itself(name: str, entry: Entry) -> None:
    module, _, attribute = entry.target.partition(":")
    command = getattr(importlib.import_module(module), attribute)
    for one in all_commands(name, command):
        assert one.help, one.name
        if isinstance(one, click.Group):
            assert isinstance(one, Group), f"{one.name}: @click.group(cls=Group) suggests the nearest spelling"
        elif not one.context_settings.get("ignore_unknown_options"):  # that one hands over to another process
            options = {option for parameter in one.params for option in parameter.opts}
            assert "--json" in options, one.name


def all_commands(name: str, command: click.Command) -> list[click.Command]:
    below = command.commands.items() if isinstance(command, click.Group) else []
    return [command, *(one for sub in below for one in all_commands(*sub))]


def test_the_overview_names_every_command_and_imports_none(capsys: pytest.CaptureFixture[str]) -> None:
    code = "import sys; from clearwell.cli.main import main; main(['--help']); print(*sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    for name, entry in entries():
        assert f"\n  {name} " in said
        assert entry.target.partition(":")[0] not in said
    assert not {"kafka", "psycopg", "pymongo", "pyarrow", "sqlalchemy"} & set(said.split())


def test_a_noun_answers_to_its_plural_and_a_verb_to_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["connectors", "list", "--help"]) == 0
    assert "clearwell connector list [OPTIONS]" in capsys.readouterr().out
    assert cli.main(["statuss"]) == 2
    assert 'Did you mean "status"?' in capsys.readouterr().err


def test_a_former_name_calls_the_command_and_is_in_no_help(capsys: pytest.CaptureFixture[str]) -> None:
    group = Group("noun", aliases={"add": "register"}, help="A noun.")
    group.add_command(click.Command("register", callback=lambda: click.echo("registered")))
    assert cli.main(["add"], group) == 0
    assert cli.main(["--help"], group) == 0
    out = capsys.readouterr().out
    assert out.startswith("registered\n") and "add" not in out.partition("Commands:")[2]


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("clearwell 0.")


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["statsu"], 'No such command "statsu". Did you mean "status"? See `clearwell --help`.'),
        (["status", "--jsno"], 'No such option "--jsno". Did you mean "--json"? See `clearwell status --help`.'),
        (["up", "--kafka-port", "0"], "Invalid value for '--kafka-port'"),
        (["up", "--kafka-port", "x"], "Invalid value for '--kafka-port'"),
    ],
)
def test_wrong_usage_is_one_line_with_the_nearest_spelling(
    args: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(args) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ") and said in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(("error", "code"), [(ConfigError("Mend it."), 2), (Retryable("Later."), 75)])
def test_an_error_is_one_line_and_its_exit_code(
    error: Exception, code: int, failing: dict[str, BaseException], capsys: pytest.CaptureFixture[str]
) -> None:
    failing["error"] = error
    assert cli.main(["fail"]) == code
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", f"error: {error}\n")


def test_with_json_an_error_is_an_object_too(
    failing: dict[str, BaseException], capsys: pytest.CaptureFixture[str]
) -> None:
    failing["error"] = ConfigError("Mend it.")
    assert cli.main(["fail", "--json"]) == 2
    assert json.loads(capsys.readouterr().out) == {"error": "Mend it.", "exit_code": 2, "code": "wrong_configuration"}


def test_an_interrupt_is_told_and_ends_with_130(
    failing: dict[str, BaseException], capsys: pytest.CaptureFixture[str]
) -> None:
    failing["error"] = KeyboardInterrupt()
    assert cli.main(["fail"]) == 130
    assert capsys.readouterr().err.strip() == "error: interrupted"


def test_a_bug_is_one_sentence_and_its_details_withhold_the_text(
    failing: dict[str, BaseException], home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / "logs").mkdir()
    failing["error"] = ValueError("canary of a person")
    assert cli.main(["fail"]) == 70
    said = capsys.readouterr().err
    [details] = (home / "logs").iterdir()
    assert said.startswith("error: This is a bug in Clearwell (ValueError)") and str(details) in said
    assert "test_cli.py" in details.read_text()
    assert "canary" not in said + details.read_text()


def test_debug_shows_the_traceback(
    failing: dict[str, BaseException], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CLEARWELL_DEBUG", "1")
    failing["error"] = ValueError("the cause")
    assert cli.main(["fail"]) == 70
    assert "ValueError: the cause" in capsys.readouterr().err


def test_status_without_a_stack_says_what_to_do(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["status"]) == 1
    assert capsys.readouterr().out == f"No stack is running in {home}: run `clearwell up`.\n"
    assert cli.main(["status", "--json"]) == 1
    nothing = {"streams": [], "processes": [], "workers": [], "unknown": "No stack is running."}
    assert json.loads(capsys.readouterr().out) == {"home": str(home), "ready": False, **nothing}


def test_a_reader_that_has_read_enough_is_no_error() -> None:
    code = "from clearwell.cli.main import main; import sys; sys.exit(main(['--help']))"
    piped = subprocess.run(f'"{sys.executable}" -c "{code}" | true', shell=True, capture_output=True, text=True)
    assert "Traceback" not in piped.stderr and "Exception" not in piped.stderr
