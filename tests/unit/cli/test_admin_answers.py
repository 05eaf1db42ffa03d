"""How ``rtcloud admin`` shows an answer, and what its exit status says."""

import asyncio
import base64
import json
from pathlib import Path

import pytest

from rtcloud.accounts.store import Accounts
from rtcloud.admin import local, socket
from rtcloud.admin.command import AdminError, Command, FailedError
from rtcloud.cli import main
from rtcloud.clock import SystemClock
from rtcloud.store.database import open_database
from rtcloud.store.sealing import open_sealer


class Answers:
    """Stands in for the running server."""

    def __init__(self) -> None:
        self.result: object = []
        self.error: Exception | None = None
        self.asked: list[Command] = []

    def __call__(self, _directory: Path, command: Command) -> object:
        self.asked.append(command)
        if self.error is not None:
            raise self.error
        return self.result


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Answers:
    answers = Answers()
    monkeypatch.setattr(socket, "ask", answers)
    return answers


def test_an_answer_is_a_table_or_json(server: Answers, capsys: pytest.CaptureFixture[str]) -> None:
    server.result = [{"uin": "1", "name": "会议"}]
    assert main(["admin", "users"]) == 0
    assert capsys.readouterr().out == "UIN  NAME\n1    会议\n"
    assert main(["admin", "users", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == server.result


def test_a_user_sig_is_printed_alone(server: Answers, capsys: pytest.CaptureFixture[str]) -> None:
    server.result = {"sdk_app_id": 14, "user_id": "alice", "user_sig": "eJw", "expire": 60}
    assert main(["admin", "usersig", "14", "alice"]) == 0
    assert capsys.readouterr().out == "eJw\n"


@pytest.mark.parametrize(("error", "status"), [(AdminError("no user"), 2), (FailedError("the server failed"), 1)])
def test_a_refusal_is_one_line_and_a_failure_has_a_status_of_its_own(
    server: Answers, capsys: pytest.CaptureFixture[str], error: Exception, status: int
) -> None:
    server.error = error
    assert main(["admin", "users"]) == status
    assert capsys.readouterr() == ("", f"rtcloud: {error}\n")


@pytest.mark.parametrize("allowed", [True, False])
def test_check_says_its_verdict_by_the_exit_status(server: Answers, allowed: bool) -> None:
    server.result = {"allowed": allowed}
    assert main(["admin", "policies", "check", "ops", "RemoveUser"]) == (0 if allowed else 1)


def test_without_a_running_server_the_directory_is_asked(
    server: Answers, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.error = ConnectionError()
    assert main(["admin", "rooms", "--data", str(tmp_path)]) == 2
    assert "not a data directory of rtcloud" in capsys.readouterr().err
    opened: list[Path] = []

    def run(directory: Path, _command: object) -> list[object]:
        opened.append(directory)
        return []

    monkeypatch.setattr(local, "run", run)
    assert main(["admin", "rooms", "--data", str(tmp_path)]) == 0
    assert (opened, capsys.readouterr().out) == ([tmp_path], "none\n")


def test_another_master_key_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async def make() -> None:
        database = open_database(tmp_path / local.DATABASE)
        accounts = await Accounts.load(database, open_sealer(tmp_path), SystemClock())
        await accounts.ensure_first(1)
        await database.close()

    asyncio.run(make())
    assert main(["admin", "users", "--data", str(tmp_path)]) == 0
    assert "administrator" in capsys.readouterr().out
    (tmp_path / "master.key").write_bytes(base64.b64encode(bytes(32)))
    assert main(["admin", "users", "--data", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert "master key" in error
    assert error.count("\n") == 1
