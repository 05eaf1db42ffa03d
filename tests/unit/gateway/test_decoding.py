"""Forms, multipart and JSON into parameters: what they mean, what is refused and with which path, hostile input."""

import tracemalloc
from typing import Any
from urllib.parse import parse_qs, quote, unquote_to_bytes, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcloud.apimodel.model import Action, Catalogue, Member, load_catalogue
from rtcloud.errors import ServiceError
from rtcloud.gateway.decoding.fields import MAX_FIELDS, Field, parse_form, parse_multipart
from rtcloud.gateway.decoding.unflattening import decode_json, unflatten

CATALOGUE: Catalogue = load_catalogue()
MODEL = CATALOGUE.cloud
RECORD = MODEL.actions["CreateCloudRecording"]
CONTENT_TYPE = "multipart/form-data; boundary=B"


def from_form(text: str, action: Action = RECORD) -> dict[str, Any]:
    return unflatten(MODEL, action, parse_form(text.encode()).values())


def refusal(text: str, action: Action = RECORD) -> str:
    with pytest.raises(ServiceError) as caught:
        from_form(text, action)
    return str(caught.value)


def part(name: str, content: bytes, more: str = "") -> bytes:
    return f'--B\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n'.encode() + content + b"\r\n"


def from_parts(*parts: bytes, action: Action = RECORD) -> dict[str, Any]:
    return unflatten(MODEL, action, parse_multipart(b"".join(parts) + b"--B--\r\n", CONTENT_TYPE).values())


def test_dotted_and_indexed_names_become_structures() -> None:
    assert from_form(
        "SdkAppId=14&RecordParams.RecordMode=2&StorageParams.CloudStorage.FileNamePrefix.1=b"
        "&RecordParams.SubscribeStreamUserIds.SubscribeAudioUserIds.0=x"
        "&StorageParams.CloudStorage.FileNamePrefix.0=a+%26%E4%B8%AD&MixLayoutParams.MixLayoutList.0.Top=-3"
        "&MixLayoutParams.MixLayoutList.1.Top=4&MixLayoutParams.MixLayoutList.0.UserId=7"
    ) == {
        "SdkAppId": 14,
        "RecordParams": {"RecordMode": 2, "SubscribeStreamUserIds": {"SubscribeAudioUserIds": ["x"]}},
        "StorageParams": {"CloudStorage": {"FileNamePrefix": ["a &中", "b"]}},
        "MixLayoutParams": {"MixLayoutList": [{"Top": -3, "UserId": "7"}, {"Top": 4}]},
    }


def test_texts_become_what_the_model_says() -> None:
    speech, push = MODEL.actions["TextToSpeech"], MODEL.actions["ControlAIConversation"]
    assert from_form("Voice.Speed=1.5e0", speech) == {"Voice": {"Speed": 1.5}}
    for text, value in (("True", True), ("false", False), ("1", True), ("0", False), ("yes", "yes"), ("", None)):
        assert from_form(f"ServerPushText.Interrupt={text}", push) == {"ServerPushText": {"Interrupt": value}}
    for text, number in (("7", 7), ("007", 7), ("-1", -1), ("9" * 40, int("9" * 40)), ("", None)):
        assert from_form(f"SdkAppId={text}") == {"SdkAppId": number}
    for text in ("1.0", "x", "٣", "+1", " 1", "1_0", "9" * 41, "0x1", "NaN"):
        assert from_form("SdkAppId=" + quote(text)) == {"SdkAppId": text}
    assert from_form("RoomId=&UserId=0") == {"RoomId": "", "UserId": "0"}


@pytest.mark.parametrize(
    ("form", "told"),
    [
        ("SdkAppId=1&SdkAppId=1", "InvalidParameter: SdkAppId is given more than once"),
        ("=1", "InvalidParameter: a parameter has no name"),
        ("RecordParams=x&RecordParams.RecordMode=1", "InvalidParameter: RecordParams is given both as"),
        ("RecordParams.RecordMode=1&RecordParams=x", "InvalidParameter: RecordParams is given both as"),
        ("SdkAppId.x=1", "InvalidParameter.SdkAppId: SdkAppId is a single value and has no parts"),
        ("SdkAppId.=1", "InvalidParameter.SdkAppId: SdkAppId is a single value"),
        ("RecordParams.__proto__=1", "UnknownParameter: RecordParams.__proto__ "),
        ("RecordParams..x=1", "UnknownParameter: RecordParams. "),
        ("Nothing=1", "UnknownParameter: Nothing "),
        ("0=1", "UnknownParameter: 0 "),
        (
            "StorageParams.CloudStorage.FileNamePrefix.x=1",
            "InvalidParameter: StorageParams.CloudStorage.FileNamePrefix is",
        ),
        (
            "StorageParams.CloudStorage.FileNamePrefix.01=1",
            "InvalidParameter: StorageParams.CloudStorage.FileNamePrefix",
        ),
        (
            "StorageParams.CloudStorage.FileNamePrefix.-1=1",
            "InvalidParameter: StorageParams.CloudStorage.FileNamePrefix",
        ),
        ("StorageParams.CloudStorage.FileNamePrefix.1=1", "has no element 0"),
        ("StorageParams.CloudStorage.FileNamePrefix.1000000000=1", "has no element 0"),
        ("StorageParams.CloudStorage.FileNamePrefix.0.x=1", "FileNamePrefix.0 is a single value"),
        ("MixLayoutParams.MixLayoutList.0.Nothing=1", "UnknownParameter: MixLayoutParams.MixLayoutList.0.Nothing "),
        ("MixLayoutParams.MixLayoutList.0=1&MixLayoutParams.MixLayoutList.0.Top=1", "MixLayoutList.0 is given both"),
        ("RecordParams={x", "RecordParams is not JSON"),
    ],
)
def test_names_that_mean_nothing_are_refused_with_their_path(form: str, told: str) -> None:
    assert told in refusal(form)


def test_text_must_be_utf_8() -> None:
    for form in (b"RoomId=%ff", b"RoomId=\xff", b"%ff=1", b"RoomId=%ed%a0%80"):
        with pytest.raises(ServiceError, match=r"^InvalidParameter: .* not UTF-8"):
            parse_form(form)
    with pytest.raises(ServiceError, match="RoomId is not UTF-8"):
        from_parts(part("RoomId", b"\xff"))


def test_the_number_of_parameters_is_bounded() -> None:
    names = [f"a{n}" for n in range(MAX_FIELDS)]
    assert len(parse_form(urlencode(dict.fromkeys(names, 1)).encode())) == MAX_FIELDS
    with pytest.raises(ServiceError, match="more than"):
        parse_form(b"a=1&" * MAX_FIELDS + b"a=1")
    with pytest.raises(ServiceError, match="more than"):
        parse_multipart(b"".join(part(name, b"1") for name in [*names, "z"]) + b"--B--\r\n", CONTENT_TYPE)


def test_parts_are_texts_files_and_json() -> None:
    assert from_parts(
        part("SdkAppId", b"14"),
        part("RoomId", "会 +%".encode(), '; filename="RoomId"\r\nContent-Type: application/octet-stream'),
        part("RecordParams", b'{"RecordMode": 2}', "\r\nContent-Type: application/json"),
        part("StorageParams.CloudStorage.FileNamePrefix", b'["a", "b"]'),
        part("MixLayoutParams.MixLayoutMode", b"3"),
    ) == {
        "SdkAppId": 14,
        "RoomId": "会 +%",
        "RecordParams": {"RecordMode": 2},
        "StorageParams": {"CloudStorage": {"FileNamePrefix": ["a", "b"]}},
        "MixLayoutParams": {"MixLayoutMode": 3},
    }
    assert parse_multipart(b"", CONTENT_TYPE) == {}
    assert from_parts(part("RoomId", b"")) == {"RoomId": ""}
    assert "is not JSON" in str(caught(lambda: from_parts(part("RecordParams", b"[" * 9999))))


def caught(work: Any) -> ServiceError:
    with pytest.raises(ServiceError) as info:
        work()
    return info.value


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (part("A", b"1"), CONTENT_TYPE),
        (b"garbage", CONTENT_TYPE),
        (b"--B\r\n\r\nx\r\n--B--\r\n", CONTENT_TYPE),
        (b'--B\r\nContent-Disposition: attachment; name="A"\r\n\r\nx\r\n--B--\r\n', CONTENT_TYPE),
        (b"--B\r\nContent-Disposition: form-data\r\n\r\nx\r\n--B--\r\n", CONTENT_TYPE),
        (part("A", b"1", "\r\nX: " + "x" * 9999) + b"--B--\r\n", CONTENT_TYPE),
        (part("A", b"1", "\r\nX: 1" * 99) + b"--B--\r\n", CONTENT_TYPE),
        (part("A", b"1") + b"--B--\r\n", "multipart/form-data"),
        (part("A", b"1") + b"--B--\r\n", "multipart/form-data; boundary="),
        (part("A", b"1") + b"--B--\r\n", "multipart/form-data; boundary=" + "B" * 71),
        (part("A", b"1") + b"--B--\r\n", "multipart/form-data; boundary=C"),
        (part("A", b"1") + b"--B--\r\n", CONTENT_TYPE + ";" * 300_000),
    ],
)
def test_broken_multipart_is_an_invalid_request(body: bytes, content_type: str) -> None:
    assert caught(lambda: parse_multipart(body, content_type)).code == "InvalidRequest"


def test_bodies_that_are_not_json_are_refused() -> None:
    for body in (b"{", b"\xff", b"[" * 100_000, b'{"a":1e999}', b"{}{}", b'"\\ud800"'):
        assert caught(lambda body=body: decode_json(body)).code == "InvalidParameter"
    assert decode_json(b"") == {}


@pytest.mark.parametrize("item", [b"[]", b"{}", b"1", b'"ab"'])
def test_json_of_very_many_values_is_refused_before_it_is_decoded(item: bytes) -> None:
    body = b"[" + b",".join([item] * 1_000_000) + b"]"
    as_part = part("UserIds", body, "\r\nContent-Type: application/json")
    for decode in (lambda: decode_json(body), lambda: from_parts(as_part, action=MODEL.actions["RemoveUser"])):
        tracemalloc.start()
        try:
            assert "values" in caught(decode).message
            assert tracemalloc.get_traced_memory()[1] < 5 * len(body)
        finally:
            tracemalloc.stop()
    assert decode_json(b'{"A":"' + b"[,{" * 20_000 + b'"}')["A"][:3] == "[,{"  # type: ignore[index]


ACTIONS = [(model, action) for model in CATALOGUE.models for action in model.actions.values()]


def names(shape: Any, objects: Any, prefix: str = "", depth: int = 0) -> list[str]:
    found: list[str] = []
    for name, member in shape.items():
        path = prefix + name + (".0" if member.type == "list" else "")
        found.append(path)
        inner: dict[str, Member] = objects.get(member.of or "", {})
        found += names(inner, objects, f"{path}.", depth + 1)
    return found


WORDS = st.sampled_from(sorted({*names(RECORD.input, MODEL.objects), "__proto__", "", "0", "1000000000"}))
LETTERS = st.text(st.sampled_from(list('ab.019&=%+{}[]"\x00é\ud7ff')), max_size=12)


@given(st.lists(st.tuples(WORDS | LETTERS, LETTERS, LETTERS), max_size=8))
def test_any_form_gives_parameters_or_a_code(pairs: list[tuple[str, str, str]]) -> None:
    form = "&".join(f"{name}{more}={value}" for name, more, value in pairs)
    try:
        assert isinstance(from_form(form), dict)
    except ServiceError as error:
        assert error.code.split(".")[0] in ("InvalidParameter", "UnknownParameter")  # noqa: PT017


@given(st.text(max_size=40), st.text("%4afF1 +&=\n\r\t_;", max_size=40))
def test_escapes_are_read_as_the_standard_library_reads_them(meant: str, noise: str) -> None:
    assert parse_form(b"a=" + quote(meant).encode())["a"].text == meant
    value = noise.replace("&", "")  # the standard library drops some control characters of a whole query
    try:
        expected = parse_qs(f"a={value}", keep_blank_values=True, errors="strict")["a"][0]
    except UnicodeDecodeError:
        return
    assert parse_form(f"a={value}".encode())["a"].text == expected


@pytest.mark.parametrize("pattern", [b"%41", b"%", b"%%41", b"%4", b"a%41", b"%E4%B8%AD"])
def test_escapes_are_whole_wherever_a_piece_ends(pattern: bytes) -> None:
    for before in range(6):
        text = b"x" * before + pattern * 3000
        assert parse_form(b"a=" + text)["a"].text.encode() == unquote_to_bytes(text)


@given(st.binary(max_size=300))
def test_any_bytes_give_parameters_or_a_code(data: bytes) -> None:
    for parse in (parse_form, decode_json, lambda body: parse_multipart(body, CONTENT_TYPE)):
        try:
            parse(data)
        except ServiceError as error:
            assert error.code in ("InvalidParameter", "InvalidRequest")  # noqa: PT017


@pytest.mark.parametrize(
    "data",
    [
        b"SdkAppId" + b".a" * 500_000 + b"=1",
        b"&".join(b"StorageParams.CloudStorage.FileNamePrefix.%d=1" % (n * 99_991) for n in range(MAX_FIELDS)),
        b"RoomId=" + b"%41" * 300_000,
        b"RoomId=" + b"%41aa" * 180_000,
        b"RoomId=" + b"%" * 900_000,
        b"&" * 4000,
        b"a=" + b"[" * 900_000,
    ],
    ids=["depth", "gaps", "escapes", "scattered escapes", "percents", "empty", "brackets"],
)
def test_hostile_forms_cost_little_memory(data: bytes) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(ServiceError):
            unflatten(MODEL, RECORD, [*parse_form(data).values(), Field("Nothing", "")])
        assert tracemalloc.get_traced_memory()[1] < 4 * len(data) + 2_500_000
    finally:
        tracemalloc.stop()
