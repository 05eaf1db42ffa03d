import pytest

from rtcloud.accounts.entities import Policy
from rtcloud.accounts.policies import ANY, PRESETS, application_resource, every_application, parse_document
from rtcloud.admin.deciding import UnknownActionError, decide, explain, find_action
from rtcloud.apimodel.model import load_catalogue

UIN = "100000000001"
#: The documents' example (G:4722).
EXAMPLE = """{"version": "2.0", "statement": [
 {"effect": "allow", "action": ["name/trtc:*"], "resource":
  ["qcs::trtc::uin/100000000001:sdkappid/1400000001", "qcs::trtc::uin/100000000001:sdkappid/1400000002"]},
 {"effect": "deny", "action": ["name/trtc:RemoveUser"], "resource": ["qcs::trtc::uin/100000000001:sdkappid/1400000001"]}
]}"""


def policy(policy_id: int, name: str, text: str) -> Policy:
    return Policy(policy_id, UIN, name, parse_document(text, account_uin=UIN))


def preset(name: str) -> Policy:
    return Policy(PRESETS[name].policy_id, "", name, PRESETS[name].document)


def because(policies: list[Policy], action: str, resource: str) -> str:
    found = find_action(load_catalogue(), action)
    return explain(decide(policies, found, resource), found, resource)


def test_the_statement_that_decides_is_named() -> None:
    mine = [preset("QcloudTRTCReadonlyAccess"), policy(1001, "two", EXAMPLE)]
    first, second, third = (application_resource(UIN, 1400000000 + n) for n in (1, 2, 3))
    assert because(mine, "RemoveUser", first) == "denied by statement.1 of policy two (1001)"
    assert because(mine, "RemoveUser", second) == "allowed by statement.0 of policy two (1001)"
    assert because(mine, "RemoveUser", third) == "no statement allows it"
    assert because(mine, "RemoveUser", every_application(UIN)) == "denied by statement.1 of policy two (1001)"
    assert because(mine, "DescribeCloudRecording", third) == (
        "allowed by statement.0 of policy QcloudTRTCReadonlyAccess (2)"
    )


def test_an_action_of_no_application_needs_every_resource() -> None:
    told = because([policy(1001, "two", EXAMPLE)], "CreateTrtcApp", ANY)
    assert told.startswith("no statement allows it (CreateTrtcApp concerns no application")
    assert because([preset("QcloudTRTCFullAccess")], "CreateTrtcApp", ANY).startswith("allowed by")


def test_an_open_action_needs_no_statement() -> None:
    assert because([], "GetFederationToken", ANY) == "every user may call it, and no statement denies it"
    shut = policy(1001, "shut", '{"version":"2.0","statement":{"effect":"deny","action":"sts:*","resource":"*"}}')
    assert because([shut], "GetFederationToken", ANY) == "denied by statement.0 of policy shut (1001)"


@pytest.mark.parametrize("given", ["RemoveUser", "trtc:RemoveUser", "name/trtc:RemoveUser"])
def test_an_action_is_found_by_any_of_its_spellings(given: str) -> None:
    assert find_action(load_catalogue(), given).full_name == "name/trtc:RemoveUser"


def test_a_misspelt_action_is_told_from_the_nearest() -> None:
    with pytest.raises(UnknownActionError, match="is it RemoveUser"):
        find_action(load_catalogue(), "RemoveUsr")
    with pytest.raises(UnknownActionError):
        find_action(load_catalogue(), "cam:RemoveUser")
