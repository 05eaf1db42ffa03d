"""Validation: precise paths and codes, types, ranges, and what passes."""

import contextlib
import copy
import logging
import math
import time
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcloud.apimodel import faults
from rtcloud.apimodel.model import Action, load_model
from rtcloud.apimodel.rules import Rule
from rtcloud.apimodel.validation import validate
from rtcloud.errors import ServiceError
from tests.kit import faulty

MODEL = load_model()
CREATE = MODEL.actions["CreateCloudRecording"]
REMOVE = MODEL.actions["RemoveUser"]
SCALE = MODEL.actions["DescribeTRTCMarketScaleData"]
GOOD_REMOVE: dict[str, Any] = {"SdkAppId": 1400000000, "RoomId": 7, "UserIds": ["a", "b"]}
GOOD_CREATE: dict[str, Any] = {
    "SdkAppId": 1400000000,
    "RoomId": "7",
    "UserId": "robot",
    "UserSig": "sig",
    "RecordParams": {"RecordMode": 2},
    "StorageParams": {
        "CloudStorage": {"Vendor": 0, "Region": "r", "Bucket": "b", "AccessKey": "a", "SecretKey": "s"},
    },
}


def refused(action: Any, parameters: object) -> ServiceError:
    with pytest.raises(ServiceError) as caught:
        validate(MODEL, action, parameters)
    return caught.value


def with_storage(**changes: Any) -> dict[str, Any]:
    return GOOD_CREATE | {"StorageParams": {"CloudStorage": GOOD_CREATE["StorageParams"]["CloudStorage"] | changes}}


def test_good_parameters_pass_unchanged() -> None:
    assert validate(MODEL, REMOVE, GOOD_REMOVE) == GOOD_REMOVE
    assert validate(MODEL, CREATE, GOOD_CREATE) == GOOD_CREATE


def test_null_is_absent() -> None:
    accepted = validate(MODEL, CREATE, GOOD_CREATE | {"RoomIdType": None, "MixLayoutParams": None})
    assert accepted == GOOD_CREATE
    assert refused(REMOVE, GOOD_REMOVE | {"RoomId": None}).code == "MissingParameter.RoomId"


@pytest.mark.parametrize(
    ("changes", "code", "path"),
    [
        ({"SdkAppId": "1400000000"}, "InvalidParameter.SdkAppId", "SdkAppId must"),
        ({"SdkAppId": True}, "InvalidParameter.SdkAppId", "SdkAppId must"),
        ({"SdkAppId": 1.0}, "InvalidParameter.SdkAppId", "SdkAppId must"),
        ({"SdkAppId": 0}, "InvalidParameter.SdkAppId", "SdkAppId must be from 1"),
        ({"RoomId": -1}, "InvalidParameterValue.RoomId", "RoomId must be from 1 to 4294967294"),
        ({"RoomId": 2**70}, "InvalidParameterValue.RoomId", "RoomId must"),
        ({"RoomId": 4294967295}, "InvalidParameterValue.RoomId", "RoomId must be from 1 to 4294967294"),
        ({"UserIds": []}, "MissingParameter.UserIds", "UserIds is required"),
        ({"UserIds": "a"}, "InvalidParameter.UserIds", "UserIds must be an array"),
        ({"UserIds": [7]}, "InvalidParameter.UserIds", "UserIds.0 must be a string"),
        ({"UserIds": ["a", ""]}, "InvalidParameter.UserIds", "UserIds.1 must not be empty"),
        ({"UserIds": ["a"] * 11}, "InvalidParameter.UserIds", "UserIds must have at most 10 elements"),
        ({"UserIds": ["a\x00"]}, "InvalidParameter.UserIds", "UserIds.0"),
        ({"Extra": 1}, "UnknownParameter", "Extra"),
    ],
)
def test_faults_of_a_flat_request(changes: dict[str, Any], code: str, path: str) -> None:
    error = refused(REMOVE, GOOD_REMOVE | changes)
    assert error.code == code
    assert error.message.startswith(path)


@pytest.mark.parametrize(
    ("parameters", "code", "path"),
    [
        (GOOD_CREATE | {"RecordParams": {}}, "MissingParameter.RecordMode", "RecordParams.RecordMode"),
        (GOOD_CREATE | {"RecordParams": []}, "InvalidParameter", "RecordParams must be an object"),
        (GOOD_CREATE | {"RecordParams": {"RecordMode": 3}}, "InvalidParameter.OutOfRange", "RecordParams.RecordMode"),
        (GOOD_CREATE | {"RecordParams": {"RecordMode": 2, "X": 1}}, "UnknownParameter", "RecordParams.X"),
        (with_storage(Bucket=None), "MissingParameter.Bucket", "StorageParams.CloudStorage.Bucket"),
        (with_storage(SecretKey=""), "MissingParameter.SecretKey", "StorageParams.CloudStorage.SecretKey"),
        (with_storage(Vendor=2), "InvalidParameter.OutOfRange", "StorageParams.CloudStorage.Vendor"),
        (with_storage(Bucket="../etc"), "InvalidParameter", "StorageParams.CloudStorage.Bucket"),
        (with_storage(Bucket="a/b"), "InvalidParameter", "StorageParams.CloudStorage.Bucket"),
        (with_storage(Bucket="a\n"), "InvalidParameter", "StorageParams.CloudStorage.Bucket"),
        (with_storage(FileNamePrefix=["ok", ".."]), "InvalidParameter", "StorageParams.CloudStorage.FileNamePrefix.1"),
        (
            GOOD_CREATE | {"MixLayoutParams": {"MixLayoutMode": 3, "BackGroundColor": "red"}},
            "InvalidParameter",
            "MixLayoutParams.BackGroundColor",
        ),
        (
            GOOD_CREATE | {"MixLayoutParams": {"MixLayoutMode": 4, "MixLayoutList": [{}]}},
            "MissingParameter",
            "MixLayoutParams.MixLayoutList.0.Top",
        ),
        (
            GOOD_CREATE | {"MixTranscodeParams": {"VideoParams": {"Width": 1, "Height": 2}}},
            "InvalidParameter.OutOfRange",
            "MixTranscodeParams.VideoParams.Width",
        ),
    ],
)
def test_faults_of_nested_members_name_the_whole_path(parameters: object, code: str, path: str) -> None:
    error = refused(CREATE, parameters)
    assert error.code == code
    assert error.message.startswith(path)


def test_what_is_not_an_object_is_refused() -> None:
    others: tuple[object, ...] = (None, [], "x", 7)
    for parameters in others:
        assert refused(REMOVE, parameters).code == "InvalidParameter"


def test_disabled_members_are_accepted_dropped_and_logged_without_their_value(
    caplog: pytest.LogCaptureFixture,
) -> None:
    start = MODEL.actions["StartStreamIngest"]
    disabled = [member.name for member in start.input.values() if member.disabled]
    assert disabled == ["VideoEncodeParams", "AudioEncodeParams", "SourceUrl"]
    good = {
        "SdkAppId": 1,
        "RoomId": "7",
        "RoomIdType": 1,
        "UserId": "u",
        "UserSig": "s",
        "StreamUrl": "https://h/a.mp4",
    }
    with caplog.at_level(logging.DEBUG, "rtcloud.apimodel"):
        assert validate(MODEL, start, good | {name: "hidden" for name in disabled}) == good
    assert [vars(record)["path"] for record in caplog.records] == disabled
    assert "hidden" not in str([vars(record) for record in caplog.records])


def test_empty_text_of_an_optional_member_is_absent_as_far_as_bounds_go() -> None:
    layout = {"MixLayoutMode": 3, "BackGroundColor": "", "MaxResolutionUserId": "", "BackgroundImageUrl": ""}
    assert validate(MODEL, CREATE, GOOD_CREATE | {"MixLayoutParams": layout, "PrivateMapKey": ""})
    assert refused(CREATE, GOOD_CREATE | {"RoomIdType": ""}).code == "InvalidParameter"
    assert refused(CREATE, GOOD_CREATE | {"UserSig": ""}).code == "MissingParameter.UserSig"


def test_floats_are_floats_and_finite() -> None:
    convert = MODEL.actions["TextToSpeech"]
    good = faulty.good_request("TextToSpeech", optional=False) | {"Voice": {"VoiceId": "v", "Speed": 1, "Volume": 10}}
    accepted = validate(MODEL, convert, good)["Voice"]
    assert [type(accepted[name]) for name in ("Speed", "Volume")] == [float, float]
    for value, code in (
        (math.nan, "InvalidParameter"),
        (math.inf, "InvalidParameter"),
        (10**400, "InvalidParameter"),
        (0.49, "InvalidParameterValue"),
        (2.01, "InvalidParameterValue"),
    ):
        assert refused(convert, good | {"Voice": {"VoiceId": "v", "Speed": value}}).code == code


def test_code_of_a_rule_goes_before_the_general_one() -> None:
    info = MODEL.actions["DescribeRoomInfo"]
    good = {"SdkAppId": 1, "StartTime": 1_700_000_000, "EndTime": 1_700_000_001}
    validate(MODEL, info, good)
    for changes, code in (
        ({"PageSize": 101}, "InvalidParameter.PageSizeOversize"),
        ({"PageSize": 0}, "InvalidParameter.PageSize"),
        ({"PageSize": "1"}, "InvalidParameter.PageSize"),
        ({"StartTime": None}, "MissingParameter.StartTs"),
        ({"StartTime": "now"}, "InvalidParameter.StartTs"),
        ({"EndTime": -1}, "InvalidParameter.EndTs"),
    ):
        assert refused(info, good | changes).code == code


def test_code_of_a_shared_object_is_for_the_actions_that_list_it() -> None:
    rule = Rule(codes={"missing": "MissingParameter.UserIds", "invalid": "InvalidParameterValue"})
    assert faults.missing(REMOVE, "A.B", rule=rule).code == "MissingParameter.UserIds"
    assert faults.missing(CREATE, "A.B", rule=rule).code == "MissingParameter"
    assert faults.invalid(CREATE, "A.B", "x", rule=rule).code == "InvalidParameterValue"


def test_names_that_are_no_text_are_shown_as_text() -> None:
    for name in ("\ud800", "x" * 10_000, "a\r\nb", "\x00"):
        error = refused(REMOVE, GOOD_REMOVE | {name: 1})
        assert error.code == "UnknownParameter"
        assert len(error.message.encode()) < 600


def test_codes_fall_back_as_decided() -> None:
    assert faults.missing(REMOVE, "A.Nothing").code == "MissingParameter"
    assert faults.invalid(SCALE, "Period", "x").code == "InvalidParameter"
    assert faults.out_of_range(SCALE, "Period", "x").code == "InvalidParameterValue"
    assert faults.out_of_range(CREATE, "RoomIdType", "x").code == "InvalidParameter.OutOfRange"
    assert faults.no_such_application(CREATE, 5).code == "InvalidParameter.SdkAppId"
    assert faults.not_your_application(REMOVE, 5).code == "UnauthorizedOperation.SdkAppId"
    assert faults.not_your_application(CREATE, 5).code == "InvalidParameter.SdkAppId"


# Any JSON ---------------------------------------------------------------------------------------------------------

texts = st.text(st.characters(exclude_categories=()), max_size=12)  # lone surrogates, too
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.integers(2**63, 2**2000) | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)


def json_like(action: str) -> st.SearchStrategy[Any]:
    """Anything in any place of a good request, so that the faults lie deep in it."""
    good = faulty.good_request(action)
    places = [case.path for case in faulty.cases(action)]

    @st.composite
    def changed(draw: st.DrawFn) -> Any:
        request = copy.deepcopy(good)
        for path in draw(st.lists(st.sampled_from(places), min_size=1, max_size=3)):
            place: Any = request
            for step in path[:-1]:
                place = inside(place, step)
            last = path[-1]
            if isinstance(place, dict if isinstance(last, str) else list) and (last != 0 or place):
                place[last] = draw(json_values)  # type: ignore[index]
        return request

    return changed()


def inside(place: Any, step: str | int) -> Any:
    """What is there, or None where an earlier change took it away."""
    if isinstance(place, dict):
        return place.get(step)
    return place[0] if isinstance(place, list) and place and step == 0 else None


@given(st.sampled_from(sorted(MODEL.actions)), st.data())
def test_any_json_passes_or_is_refused_with_an_allowed_code(name: str, data: st.DataObject) -> None:
    action = MODEL.actions[name]
    known = st.dictionaries(st.sampled_from([*action.input, "Unknown"]), json_values, max_size=6)
    parameters = data.draw(json_like(name) | known | json_values)
    before = copy.deepcopy(parameters)
    accepted, refusal = outcome(action, parameters)
    if refusal is not None:
        assert MODEL.may_answer(action, refusal.code)
        assert len(refusal.message.encode()) < 2000
    else:
        assert accepted.keys() <= action.input.keys()
        assert validate(MODEL, action, accepted) == accepted
    assert repr(parameters) == repr(before)


def outcome(action: Action, parameters: object) -> tuple[dict[str, Any], ServiceError | None]:
    try:
        return validate(MODEL, action, parameters), None
    except ServiceError as error:
        return {}, error


def test_nesting_deeper_than_the_stack_is_refused_like_any_other_type() -> None:
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    for name, action in MODEL.actions.items():
        for member in action.input.values():
            if not member.disabled:
                error = refused(action, faulty.good_request(name) | {member.name: deep})
                assert MODEL.may_answer(action, error.code)
    assert refused(MODEL.actions["StartAIConversation"], {"LLMConfig": "[" * 10_000}).code == "InvalidParameter"
    while deep:  # else its end would recurse
        deep = deep.pop()


def test_texts_that_could_hold_up_a_pattern_do_not() -> None:
    """Lengths are looked at before patterns; within them no pattern runs for long."""
    began = time.perf_counter()
    for name, action in MODEL.actions.items():
        request = faulty.good_request(name)
        for case in faulty.cases(name):
            if case.fault == "too_large" and isinstance(case.value, str):
                for text in ("1_" * 2000, "a|1 " * 1000, "a|1," * 60 + "!", "0" * 4000):
                    with faulty.Broken(request, replace(case, value=text)), contextlib.suppress(ServiceError):
                        validate(MODEL, action, request)
    assert time.perf_counter() - began < 20
