"""Validation: precise paths and codes, types, ranges, and what passes."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcloud.apimodel import faults
from rtcloud.apimodel.model import Action, load_model
from rtcloud.apimodel.validation import validate
from rtcloud.errors import ServiceError

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
    for parameters in (None, [], "x", 7):
        assert refused(REMOVE, parameters).code == "InvalidParameter"


def test_disabled_members_are_accepted_and_dropped() -> None:
    start = MODEL.actions["StartStreamIngest"]
    disabled = [member.name for member in start.input.values() if member.disabled]
    assert disabled
    error = refused(start, {name: "anything" for name in disabled})
    assert error.code.startswith("MissingParameter")


def test_codes_fall_back_as_decided() -> None:
    assert faults.missing(REMOVE, "A.Nothing").code == "MissingParameter"
    assert faults.invalid(SCALE, "Period", "x").code == "InvalidParameter"
    assert faults.out_of_range(SCALE, "Period", "x").code == "InvalidParameterValue"
    assert faults.out_of_range(CREATE, "RoomIdType", "x").code == "InvalidParameter.OutOfRange"
    assert faults.no_such_application(CREATE, 5).code == "InvalidParameter.SdkAppId"
    assert faults.not_your_application(REMOVE, 5).code == "UnauthorizedOperation.SdkAppId"
    assert faults.not_your_application(CREATE, 5).code == "InvalidParameter.SdkAppId"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@given(st.sampled_from(sorted(MODEL.actions)), st.data())
def test_any_json_passes_or_is_refused_with_an_allowed_code(name: str, data: st.DataObject) -> None:
    action = MODEL.actions[name]
    known = st.dictionaries(st.sampled_from([*action.input, "Unknown"]), json_values, max_size=6)
    parameters = data.draw(known | json_values)
    code = code_of(action, parameters)
    if code is None:
        assert validate(MODEL, action, parameters).keys() <= action.input.keys()
    else:
        assert MODEL.may_answer(action, code)


def code_of(action: Action, parameters: object) -> str | None:
    try:
        validate(MODEL, action, parameters)
    except ServiceError as error:
        return error.code
    return None
