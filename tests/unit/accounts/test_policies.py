"""Policies: the documents' examples, every refusal of a document, and agreement with a slow, obvious model."""

import json
import re
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcloud.accounts.documents import Wildcard
from rtcloud.accounts.names import READING, SECRET, known_actions
from rtcloud.accounts.policies import (
    ADMINISTRATOR_ACCESS,
    ANY,
    FULL_ACCESS,
    MAX_DOCUMENT,
    PRESETS,
    READ_ONLY_ACCESS,
    Document,
    PolicyError,
    application_resource,
    could_allow,
    evaluate,
    every_application,
    parse_document,
)

ACCOUNT = "12345678"


def statement(effect: str, action: object, resource: object) -> dict[str, object]:
    return {"effect": effect, "action": action, "resource": resource}


def document(*statements: object, account: str = ACCOUNT) -> Document:
    return parse_document(json.dumps({"version": "2.0", "statement": list(statements)}), account_uin=account)


def allows(documents: Document | Iterable[Document], action: str, resource: str | int) -> bool:
    given = (documents,) if isinstance(documents, Document) else tuple(documents)
    named = application_resource(ACCOUNT, resource) if isinstance(resource, int) else resource
    return evaluate(given, f"name/trtc:{action}", named)


# The documents' examples ----------------------------------------------------------------------------------------------

ONE, TWO, THREE = 1400000000, 1400000001, 1400000002

#: G:4687: by the generator, and written out.
GENERATED = document(
    statement("allow", "name/trtc:*", f"qcs::trtc::uin/{ACCOUNT}:sdkappid/1400000001"),
    statement("deny", "name/trtc:RemoveUser", f"qcs::trtc::uin/{ACCOUNT}:sdkappid/1400000001"),
)
WRITTEN = document(
    statement(
        "allow",
        ["name/trtc:*"],
        [
            "qcs::trtc::uin/12345678:sdkappid/1400000001",
            "qcs::trtc::uin/12345678:sdkappid/1400000002",
        ],
    ),
    statement("deny", ["name/trtc:RemoveUser"], ["qcs::trtc::uin/12345678:sdkappid/1400000001"]),
)


@pytest.mark.parametrize(
    ("policy", "action", "resource", "allowed"),
    [
        (GENERATED, "DismissRoom", TWO, True),
        (GENERATED, "RemoveUser", TWO, False),
        (GENERATED, "DismissRoom", THREE, False),
        (WRITTEN, "RemoveUser", TWO, False),
        (WRITTEN, "RemoveUser", THREE, True),
        (WRITTEN, "RemoveUserByStrRoomId", TWO, True),
        (WRITTEN, "DismissRoom", TWO, True),
        (WRITTEN, "DismissRoom", ONE, False),
        (WRITTEN, "DescribeAppStatList", every_application(ACCOUNT), False),
        (WRITTEN, "CreateTrtcApp", ANY, False),
    ],
)
def test_the_documents_examples(policy: Document, action: str, resource: int | str, allowed: bool) -> None:
    assert allows(policy, action, resource) is allowed


# Resources ------------------------------------------------------------------------------------------------------------


def test_an_action_on_no_application_needs_a_star() -> None:
    whole = document(statement("allow", "trtc:*", f"qcs::trtc::uin/{ACCOUNT}:sdkappid/*"))
    assert allows(whole, "DismissRoom", ONE)
    assert allows(whole, "DescribeAppStatList", every_application(ACCOUNT))
    assert not allows(whole, "CreateTrtcApp", ANY)
    star = document(statement("allow", "trtc:*", "*"))
    assert allows(star, "CreateTrtcApp", ANY)
    denied = document(statement("deny", "trtc:CreateTrtcApp", "*"))
    assert not allows((star, denied), "CreateTrtcApp", ANY)
    elsewhere = document(statement("deny", "trtc:*", f"qcs::trtc::uin/{ACCOUNT}:sdkappid/*"))
    assert allows((star, elsewhere), "CreateTrtcApp", ANY)


def test_every_application_is_denied_with_any_of_them() -> None:
    star = document(statement("allow", "*", "*"))
    one = document(statement("deny", "trtc:DescribeTrtcUsage", f"qcs::trtc::uin/{ACCOUNT}:sdkappid/{TWO}"))
    other = document(statement("deny", "trtc:DescribeTrtcUsage", f"qcs::trtc::uin/99:sdkappid/{TWO}"))
    assert not allows((star, one), "DescribeTrtcUsage", every_application(ACCOUNT))
    assert allows((star, other), "DescribeTrtcUsage", every_application(ACCOUNT))
    assert allows((star, one), "DescribeTrtcUsage", ONE)


@pytest.mark.parametrize(
    ("resource", "matches"),
    [
        ("*", True),
        (f"qcs::trtc::uin/{ACCOUNT}:sdkappid/{ONE}", True),
        (f"qcs::trtc::uin/{ACCOUNT}:sdkappid/*", True),
        (f"qcs::trtc::uin/{ACCOUNT}:*", True),
        (f"qcs::trtc:*:uin/{ACCOUNT}:sdkappid/{ONE}", True),
        (f"qcs::*::uin/{ACCOUNT}:sdkappid/{ONE}", True),
        (f"qcs::::uin/{ACCOUNT}:sdkappid/{ONE}", True),
        (f"qcs::trtc:::sdkappid/{ONE}", True),
        ("qcs::trtc::uin/*:sdkappid/*", True),
        (f"qcs::trtc::uin/{ACCOUNT}:sdkappid/{TWO}", False),
        (f"qcs::trtc::uin/{ACCOUNT}0:sdkappid/{ONE}", False),
        ("qcs::trtc::uin/1:*", False),
    ],
)
def test_forms_of_resources(resource: str, matches: bool) -> None:
    assert allows(document(statement("allow", "trtc:*", resource)), "DismissRoom", ONE) is matches
    both = (document(statement("allow", "*", "*")), document(statement("deny", "trtc:*", resource)))
    assert allows(both, "DismissRoom", ONE) is not matches


def test_other_accounts_applications_are_matched_by_a_star_alone() -> None:
    foreign = application_resource("99", ONE)
    assert not allows(document(statement("allow", "*", "qcs::trtc::uin/*:sdkappid/*")), "DismissRoom", foreign)
    assert not allows(document(statement("allow", "*", "qcs::trtc::uin/99:sdkappid/*")), "DismissRoom", foreign)
    assert allows(document(statement("allow", "*", "*")), "DismissRoom", foreign)


# Actions --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "action", "matches"),
    [
        ("*", "name/cam:CreatePolicy", True),
        ("name/trtc:*", "name/trtc:RemoveUser", True),
        ("name/trtc:*", "name/cam:CreatePolicy", False),
        ("name/cam:*", "name/cam:CreatePolicy", True),
        ("*:Describe*", "name/trtc:DescribeRoomInfo", True),
        ("trtc:Describe*Usage", "name/trtc:DescribeTrtcUsage", True),
        ("trtc:Describe*Usage", "name/trtc:DescribeRoomInfo", False),
        ("trtc:*User*Room*", "name/trtc:RemoveUserByStrRoomId", True),
        ("trtc:RemoveUser", "name/trtc:RemoveUserByStrRoomId", False),
        ("trtc:removeuser", "name/trtc:RemoveUser", False),
        ("trtc:RemoveUser*", "name/trtc:RemoveUser", True),
        ("trtc:**", "name/trtc:RemoveUser", True),
        ("cos:GetObject", "name/trtc:RemoveUser", False),
    ],
)
def test_patterns_of_actions(pattern: str, action: str, matches: bool) -> None:
    assert evaluate((document(statement("allow", pattern, "*")),), action, ANY) is matches


def test_open_actions_are_allowed_unless_denied() -> None:
    action = "name/sts:GetCallerIdentity"
    assert evaluate((), action, ANY, unless_denied=True)
    assert not evaluate((), action, ANY)
    denied = document(statement("deny", "name/sts:*", "*"))
    assert not evaluate((denied,), action, ANY, unless_denied=True)
    assert not evaluate((document(statement("allow", "*", "*")), denied), action, ANY, unless_denied=True)


def test_the_presets() -> None:
    full, reading, whole = (PRESETS[name].document for name in (FULL_ACCESS, READ_ONLY_ACCESS, ADMINISTRATOR_ACCESS))
    assert allows(full, "CreateCloudRecording", ONE)
    assert allows(full, "CreateTrtcApp", ANY)
    assert not evaluate((full,), "name/cam:CreatePolicy", ANY)
    assert evaluate((whole,), "name/cam:CreatePolicy", ANY)
    assert allows(reading, "DescribeCloudRecording", ONE)
    assert allows(reading, "DescribeAppStatList", every_application(ACCOUNT))
    assert not allows(reading, "DeleteCloudRecording", ONE)
    assert not any(allows(reading, action, ONE) for action in SECRET)
    assert [preset.policy_id for preset in PRESETS.values()] == [1, 2, 3]


def test_the_read_only_preset_names_every_action_that_only_reads() -> None:
    reads = re.compile("(Hard)?Describe|Query|Verify|Get|Remind")
    assert set(READING) == {action for action in known_actions() if reads.match(action)} - SECRET


def test_could_allow_asks_for_some_application() -> None:
    stop = "name/trtc:StopPublishCdnStream"
    one = document(statement("allow", stop, f"qcs::trtc:::sdkappid/{ONE}"))
    not_one = document(statement("deny", stop, f"qcs::trtc:::sdkappid/{ONE}"))
    star = document(statement("allow", "*", "*"))
    assert could_allow((one,), stop)
    assert could_allow((star, not_one), stop)
    assert not could_allow((one, not_one), stop)
    assert not could_allow((), stop)
    assert not could_allow((document(statement("allow", stop, f"qcs::trtc::uin/9:sdkappid/{ONE}")),), stop)
    for resource in ("*", "qcs::trtc:::sdkappid/*"):
        assert not could_allow((star, document(statement("deny", stop, resource))), stop)
        assert could_allow((star, document(statement("deny", "trtc:RemoveUser", resource))), stop)


# Refusals -------------------------------------------------------------------------------------------------------------

GOOD = statement("allow", "name/trtc:*", "*")


def whole(**changes: Any) -> dict[str, Any]:
    return {"version": "2.0", "statement": [GOOD]} | changes


@pytest.mark.parametrize(
    ("content", "part", "message"),
    [
        ("", "document", "not JSON"),
        ("{", "document", "not JSON"),
        ("[]", "document", "JSON object"),
        ("[" * 3000, "document", "not JSON"),
        ('{"version":"2.0","version":"2.0"}', "document", "'version' is there twice"),
        ('{"version":' + "9" * 5000 + "}", "document", "not JSON"),
        (json.dumps(whole(x="x" * MAX_DOCUMENT)), "document", "longer than 6144"),
        ('"\ud800"', "document", "not JSON"),
        ({"statement": [GOOD]}, "version", 'must be "2.0"'),
        (whole(version="2012-10-17"), "version", 'must be "2.0"'),
        (whole(version=2.0), "version", 'must be "2.0"'),
        (whole(Statement=[GOOD]), "document", "'Statement': keys are written in lower case: statement"),
        (whole(id="x"), "document", "'id': there is no such key"),
        (whole(principal={}), "principal", "principal: is not supported"),
        ({"version": "2.0"}, "statement", "one statement or a list of 1 to 50"),
        (whole(statement=[]), "statement", "1 to 50"),
        (whole(statement=[GOOD] * 51), "statement", "1 to 50"),
        (whole(statement="allow"), "statement", "1 to 50"),
        (whole(statement=[GOOD, 7]), "statement", "statement.1: must be an object"),
        (whole(statement=[{**GOOD, "Effect": "allow"}]), "statement", "statement.0.'Effect': keys are written"),
        (whole(statement=[{**GOOD, "condition": {}}]), "condition", "statement.0.condition: is not supported"),
        (whole(statement=[{**GOOD, "Principal": "*"}]), "principal", "attached to"),
        (whole(statement=[{**GOOD, "not_action": "*"}]), "notAction", "statement.0.notAction"),
        (whole(statement={**GOOD, "notResource": "*"}), "notResource", "statement.notResource"),
        (whole(statement={**GOOD, "effect": "Allow"}), "effect", "statement.effect: must be"),
        (whole(statement={**GOOD, "effect": ["allow"]}), "effect", "statement.effect: must be"),
        (whole(statement={"effect": "allow", "resource": "*"}), "action", "statement.action: must be a text"),
        (whole(statement={"effect": "allow", "action": "*"}), "resource", "statement.resource: must be a text"),
        (whole(statement={**GOOD, "action": []}), "action", "statement.action: must be"),
        (whole(statement=[GOOD, {**GOOD, "action": [1]}]), "action", "statement.1.action.0: must be a text"),
        (whole(statement={**GOOD, "action": ["trtc:*", "trtc"]}), "action", "statement.action.1: 'trtc': an action"),
        (whole(statement={**GOOD, "action": "name/*"}), "action", "an action is written"),
        (whole(statement={**GOOD, "action": "trtc:Remove?ser"}), "action", "an action is written"),
        (whole(statement={**GOOD, "action": "trtc:RemoveUser\n"}), "action", "an action is written"),
        (whole(statement={**GOOD, "action": "trtc:RemoveUsers"}), "action", "no action 'RemoveUsers' of trtc"),
        (whole(statement={**GOOD, "action": "trtc:removeuser*"}), "action", "'removeuser*' matches no action of trtc"),
        (whole(statement={**GOOD, "resource": ["*", "arn:aws:s3:::x"]}), "resource", "statement.resource.1"),
        (whole(statement={**GOOD, "resource": "qcs::trtc::uin/1"}), "resource", "a resource is *"),
        (whole(statement={**GOOD, "resource": "qcs:id/0:trtc::uin/1:*"}), "resource", "a resource is *"),
        (whole(statement={**GOOD, "resource": "qcs::cos::uin/1:*"}), "resource", "a resource is *"),
        (whole(statement={**GOOD, "resource": "qcs::trtc:ap-x:uin/1:*"}), "resource", "a resource is *"),
        (whole(statement={**GOOD, "resource": "qcs::trtc::12345678:*"}), "resource", "a resource is *"),
        (whole(statement={**GOOD, "resource": "qcs::trtc::uin/1*:*"}), "resource", "a resource is *"),
        (whole(statement={**GOOD, "resource": "qcs::trtc:::sdkappid/14*"}), "resource", "a resource is *"),
        (whole(statement={**GOOD, "resource": "qcs::trtc:::sdkappid/1:2"}), "resource", "a resource is *"),
        (whole(statement={**GOOD, "resource": "qcs::trtc:::sdkappid/١"}), "resource", "a resource is *"),
        (whole(statement={**GOOD, "resource": "**"}), "resource", "a resource is *"),
    ],
)
def test_what_is_wrong_with_a_document_is_named_with_its_place(content: object, part: str, message: str) -> None:
    text = content if isinstance(content, str) else json.dumps(content)
    with pytest.raises(PolicyError) as caught:
        parse_document(text, account_uin=ACCOUNT, known_actions=known_actions())
    assert caught.value.part == part
    assert message in str(caught.value)


def test_names_are_checked_only_where_they_are_known() -> None:
    content = json.dumps(
        whole(statement={**GOOD, "action": ["cos:Whatever", "trtc:CreatePicture", "trtc:Verify*", "cos:w*"]})
    )
    assert parse_document(content, account_uin=ACCOUNT, known_actions=known_actions()).text == content
    unknown = json.dumps(whole(statement={**GOOD, "action": "trtc:Whatever"}))
    assert parse_document(unknown, account_uin=ACCOUNT).text == unknown


@given(
    st.text(max_size=200)
    | st.recursive(st.none() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)).map(json.dumps)
)
def test_any_text_is_refused_or_parsed(text: str) -> None:
    with pytest.raises(PolicyError):
        parse_document(text, account_uin=ACCOUNT)


# The model ------------------------------------------------------------------------------------------------------------
#
# A small world: every action and every resource in it is written out, and a document is the set of pairs that each
# statement speaks of. Nothing of the implementation is used but its parser of documents, which it is to agree with.

NAMES = ["RemoveUser", "RemoveUserByStrRoomId", "DescribeRoomInfo", "DescribeTrtcUsage", "CreateTrtcApp"]
ACTIONS = [f"name/trtc:{name}" for name in NAMES] + ["name/cam:CreatePolicy", "name/sts:AssumeRole"]
APPLICATIONS = [7, 8, 70]
OWN, FOREIGN = "100", "200"


def covered(pattern: str) -> set[tuple[str, int] | None]:
    """The applications, by account, that a resource speaks of; None stands for what is no application."""
    everything = {(account, number) for account in (OWN, FOREIGN) for number in APPLICATIONS}
    if pattern == "*":
        return {None, *everything}
    account, resource = pattern.split(":")[4:]
    account = account or f"uin/{OWN}"
    owners = {OWN} if account == "uin/*" else {account.removeprefix("uin/")}
    numbers = set(APPLICATIONS) if resource in ("*", "sdkappid/*") else {int(resource.removeprefix("sdkappid/"))}
    return {(owner, number) for owner, number in everything if owner in owners & {OWN} and number in numbers}


def spoken_of(pattern: str) -> set[str]:
    """The actions that a pattern stands for: ``*`` is replaced by every text there could be."""
    text = pattern.removeprefix("name/")
    found = set()
    for action in ACTIONS:
        named = action.removeprefix("name/")
        ways = {""}  # the texts that the pattern's letters so far can have become, as beginnings of the name
        for letter in text:
            longer = (
                {way + rest for way in ways for rest in beginnings(named[len(way) :])}
                if letter == "*"
                else {way + letter for way in ways}
            )
            ways = {way for way in longer if named.startswith(way)}
        if named in ways:
            found.add(action)
    return found


def beginnings(text: str) -> list[str]:
    return [text[:length] for length in range(len(text) + 1)]


def model(
    documents: list[list[dict[str, Any]]], action: str, wanted: set[tuple[str, int] | None], unless: bool
) -> bool:
    """Everything wanted must be allowed by one statement as a whole, and no part of it denied."""
    allowed = unless
    for content in documents:
        for each in content:
            actions = set[str]().union(*(spoken_of(pattern) for pattern in each["action"]))
            if action not in actions:
                continue
            targets = set[tuple[str, int] | None]().union(*(covered(pattern) for pattern in each["resource"]))
            if each["effect"] == "deny" and targets & wanted:
                return False
            if each["effect"] == "allow" and any(wanted <= covered(pattern) for pattern in each["resource"]):
                allowed = True
    return allowed


pieces = st.sampled_from(["*", "R", "Remove", "User", "Describe", "Room", "Usage", "TrtcUsage", "Info"])
some_actions = st.one_of(
    st.just("*"),
    st.sampled_from(ACTIONS),
    st.lists(pieces, min_size=1, max_size=6).map(lambda parts: "trtc:" + "".join(parts)),
    st.sampled_from(["name/*:*", "*:Create*", "c*m:*", "sts:*", "cos:*", "name/trtc:*", "trtc:*User"]),
)
some_resources = st.one_of(
    st.just("*"),
    st.builds(
        "qcs::{}:{}:{}:{}".format,
        st.sampled_from(["trtc", "*", ""]),
        st.sampled_from(["", "*"]),
        st.sampled_from(["", f"uin/{OWN}", f"uin/{OWN}", f"uin/{FOREIGN}", "uin/*"]),
        st.sampled_from(["*", "sdkappid/*", *(f"sdkappid/{number}" for number in APPLICATIONS)]),
    ),
)
some_statements = st.fixed_dictionaries(
    {
        "effect": st.sampled_from(["allow", "allow", "deny"]),
        "action": st.lists(some_actions, min_size=1, max_size=3),
        "resource": st.lists(some_resources, min_size=1, max_size=3),
    }
)
some_documents = st.lists(st.lists(some_statements, min_size=1, max_size=4), max_size=3)


@given(some_documents, st.sampled_from(ACTIONS), st.booleans())
def test_evaluation_agrees_with_the_model(
    documents: list[list[dict[str, Any]]], action: str, unless_denied: bool
) -> None:
    parsed = [document(*content, account=OWN) for content in documents]

    def evaluated(resource: str) -> bool:
        return evaluate(parsed, action, resource, unless_denied=unless_denied)

    assert evaluated(ANY) is model(documents, action, {None}, unless_denied)
    for account in (OWN, FOREIGN):
        for number in APPLICATIONS:
            wanted: set[tuple[str, int] | None] = {(account, number)}
            assert evaluated(application_resource(account, number)) is model(documents, action, wanted, unless_denied)
    every: set[tuple[str, int] | None] = {(OWN, number) for number in APPLICATIONS}
    assert evaluated(every_application(OWN)) is model(documents, action, every, unless_denied)


@given(some_documents, st.sampled_from(ACTIONS))
def test_what_is_allowed_somewhere_could_be_allowed(documents: list[list[dict[str, Any]]], action: str) -> None:
    parsed = [document(*content, account=OWN) for content in documents]
    # one more application than the world has, which no statement names
    somewhere = any(evaluate(parsed, action, application_resource(OWN, number)) for number in (*APPLICATIONS, 9))
    assert could_allow(parsed, action) is somewhere


@given(st.text("ab*", max_size=8), st.text("ab", max_size=12))
def test_a_wildcard_stands_for_any_letters(pattern: str, text: str) -> None:
    expression = ".*".join(re.escape(part) for part in pattern.split("*"))
    assert Wildcard(pattern).matches(text) is (re.fullmatch(expression, text) is not None)


def test_a_pattern_is_matched_once_however_many_applications_are_asked_about(monkeypatch: pytest.MonkeyPatch) -> None:
    document = parse_document(
        json.dumps(whole(statement={**GOOD, "action": ["trtc:Rem*", "trtc:*Room"]})), account_uin="1"
    )
    matches = Wildcard.matches
    asked: list[str] = []

    def noted(pattern: Wildcard, text: str) -> bool:
        asked.append(text)
        return matches(pattern, text)

    monkeypatch.setattr(Wildcard, "matches", noted)
    for number in range(100):
        resource = application_resource("1", number)
        assert evaluate([document], "name/trtc:RemoveUser", resource) == evaluate(
            [document], "trtc:RemoveUser", resource
        )
        assert not evaluate([document], "name/trtc:DescribeRoomInfo", resource)
    assert len(asked) <= 4


def test_no_wildcard_takes_long() -> None:
    """With backtracking this would not end within the age of the universe."""
    pattern, text = Wildcard("trtc:" + "*a" * 60 + "b"), "trtc:" + "a" * 120
    assert not any(pattern.matches(text) for _ in range(1000))
