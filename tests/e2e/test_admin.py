"""``rtcloud admin`` as an operator uses it: what it makes works at once with the official SDK; its pages are true."""

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tencentcloud.common.exception.tencent_cloud_sdk_exception import TencentCloudSDKException
from tencentcloud.trtc.v20190722 import models

from tests.kit.cloud import Cloud
from tests.kit.server import COMMAND, ROOT, Server
from tests.kit.transcripts import Page, Shell

pytestmark = pytest.mark.e2e

DENIED = "AuthFailure.UnauthorizedOperation"
ALLOWED = "FailedOperation.RoomNotExist"  # the next thing that is looked at


def asked(server: Server, *arguments: str) -> Any:
    return json.loads(server.admin(*arguments, "--json"))


def refused(server: Server, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(COMMAND), "admin", *arguments, "--data", str(server.data)]
    return subprocess.run(command, capture_output=True, text=True, timeout=30)


def dismissed(server: Server, key: dict[str, str], sdk_app_id: int) -> str:
    """The code that dismissing a room answers to the holder of ``key``."""
    cloud = Cloud(server, secret_id=key["secret_id"], secret_key=key["secret_key"])
    request = models.DismissRoomRequest()
    request.SdkAppId, request.RoomId = sdk_app_id, 4711
    with pytest.raises(TencentCloudSDKException) as answer:
        cloud.client.DismissRoom(request)
    return str(answer.value.get_code())


def document(effect: str, *sdk_app_ids: int) -> str:
    resources = [f"qcs::trtc:::sdkappid/{each}" for each in sdk_app_ids]
    return json.dumps({"version": "2.0", "statement": [{"effect": effect, "action": "trtc:*", "resource": resources}]})


def test_a_new_key_works_at_once_and_a_disabled_one_no_more(shared_server: Server) -> None:
    account = asked(shared_server, "accounts", "create", "keys")["uin"]
    user = asked(shared_server, "users", "create", account, "ops")["uin"]
    app = asked(shared_server, "applications", "create", account, "lessons")["sdk_app_id"]
    asked(shared_server, "policies", "attach", "QcloudTRTCFullAccess", "--user", user)
    old = asked(shared_server, "keys", "create", user)
    assert dismissed(shared_server, old, app) == ALLOWED
    new = asked(shared_server, "keys", "rotate", old["secret_id"])
    assert dismissed(shared_server, old, app) == dismissed(shared_server, new, app) == ALLOWED
    asked(shared_server, "keys", "disable", old["secret_id"])
    assert dismissed(shared_server, old, app) == "AuthFailure.SecretIdNotFound"
    assert dismissed(shared_server, new, app) == ALLOWED
    asked(shared_server, "keys", "enable", old["secret_id"])
    assert dismissed(shared_server, old, app) == ALLOWED
    asked(shared_server, "users", "delete", user)
    assert dismissed(shared_server, new, app) == "AuthFailure.SecretIdNotFound"
    log = shared_server.log.read_text()
    assert '"command":"keys rotate"' in log
    assert old["secret_key"] not in log
    assert new["secret_key"] not in log


def test_a_policy_allows_one_application_and_denies_another(shared_server: Server) -> None:
    account = asked(shared_server, "accounts", "create", "policies")["uin"]
    user = asked(shared_server, "users", "create", account, "ops")["uin"]
    one, other = (asked(shared_server, "applications", "create", account, n)["sdk_app_id"] for n in ("one", "other"))
    key = asked(shared_server, "keys", "create", user)
    assert dismissed(shared_server, key, one) == DENIED
    policy = str(asked(shared_server, "policies", "create", account, "one", "--document", document("allow", one))["id"])
    asked(shared_server, "policies", "attach", policy, "--user", user)
    assert dismissed(shared_server, key, one) == ALLOWED
    assert dismissed(shared_server, key, other) == DENIED
    asked(shared_server, "policies", "update", policy, "--document", document("allow", one, other))
    assert dismissed(shared_server, key, other) == ALLOWED
    shut = str(asked(shared_server, "policies", "create", account, "shut", "--document", document("deny", one))["id"])
    asked(shared_server, "policies", "attach", shut, "--user", user)
    assert dismissed(shared_server, key, one) == DENIED
    asked(shared_server, "policies", "detach", shut, "--user", user)
    assert dismissed(shared_server, key, one) == ALLOWED


def test_a_stopped_server_is_administered_on_its_directory(server: Server) -> None:
    user = asked(server, "users")[0]["uin"]
    server.stop()
    key = asked(server, "keys", "create", user)
    asked(server, "applications", "set", str(server.sdk_app_id), "--concurrent-recordings", "3")
    server.start()
    assert dismissed(server, key, server.sdk_app_id) == ALLOWED
    assert asked(server, "applications", "show", "default")["concurrent_recordings"] == 3


def test_a_refusal_is_one_line_and_changes_nothing(shared_server: Server, tmp_path: Path) -> None:
    before = asked(shared_server, "accounts")
    for arguments, said in (
        (("users", "show", "nobody"), "there is no user 'nobody'"),
        (("policies", "create", "--document", "{}"), "NAME"),
        (("accounts", "create", " "), "name: 1 to 64"),
        (("keys", "disable", "AKIDnone"), "there is no key pair 'AKIDnone'"),
    ):
        done = refused(shared_server, *arguments)
        assert (done.returncode, done.stdout) == (2, "")
        assert said in done.stderr
        assert done.stderr.startswith("rtcloud: ")
        assert done.stderr.count("\n") == 1
    assert asked(shared_server, "accounts") == before
    elsewhere = subprocess.run(
        [str(COMMAND), "admin", "users", "--data", str(tmp_path)], capture_output=True, text=True, timeout=30
    )
    assert (elsewhere.returncode, elsewhere.stderr.count("\n")) == (2, 1)


def test_output_that_nobody_reads_or_that_the_terminal_has_not_is_no_fault(shared_server: Server) -> None:
    command = [str(COMMAND), "admin", "accounts", "--data", str(shared_server.data)]
    name = "公司"
    asked(shared_server, "accounts", "create", name)
    for unbuffered in ("", "1"):
        reading, writing = os.pipe()
        os.close(reading)
        environment = os.environ | {"PYTHONUNBUFFERED": unbuffered}
        ended = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, env=environment, timeout=30)
        os.close(writing)
        assert (ended.returncode, ended.stderr) == (128 + signal.SIGPIPE, b"")
    shown = subprocess.run(
        command, capture_output=True, check=True, env=os.environ | {"PYTHONIOENCODING": "latin-1"}, timeout=30
    )
    assert rb"\u516c\u53f8" in shown.stdout
    asked(shared_server, "accounts", "delete", name)


def test_check_exits_with_its_verdict(shared_server: Server) -> None:
    uin = asked(shared_server, "accounts", "create", "verdicts")["uin"]
    user = asked(shared_server, "users", "create", uin, "ops")["uin"]
    denied = refused(shared_server, "policies", "check", user, "DescribeCloudRecording")
    assert (denied.returncode, denied.stderr) == (1, "")
    asked(shared_server, "policies", "attach", "QcloudTRTCReadonlyAccess", "--user", user)
    assert refused(shared_server, "policies", "check", user, "DescribeCloudRecording").returncode == 0


@pytest.mark.parametrize("page", ["README.md", "docs/guide/accounts.md", "docs/guide/rooms.md"])
def test_every_command_of_a_page_prints_what_it_shows(server: Server, page: str) -> None:
    shell = Shell(server.data.parent, server.url)
    try:
        assert Page(shell).check((ROOT / page).read_text()) >= 8
    finally:
        shell.close()
