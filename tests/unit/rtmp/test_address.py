import pytest

from rtcloud.rtmp.address import Address, AddressError, parse_address


@pytest.mark.parametrize(
    ("url", "address", "tc_url"),
    [
        ("rtmp://cdn.example/live/x", Address(False, "cdn.example", 1935, "live", "x"), "rtmp://cdn.example/live"),
        (
            "RTMP://CDN.example:1936/live/x?txSecret=a/b&txTime=5",
            Address(False, "cdn.example", 1936, "live", "x?txSecret=a/b&txTime=5"),
            "rtmp://cdn.example:1936/live",
        ),
        (
            "rtmps://[2001:db8::1]/app/instance/x",
            Address(True, "2001:db8::1", 443, "app/instance", "x"),
            "rtmps://[2001:db8::1]/app/instance",
        ),
        ("rtmps://a:443/b/c?d?e", Address(True, "a", 443, "b", "c?d?e"), "rtmps://a/b"),
    ],
)
def test_an_address_is_taken_apart_as_publishers_do(url: str, address: Address, tc_url: str) -> None:
    assert parse_address(url) == address
    assert address.tc_url == tc_url


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://a/b/c", "not rtmp"),
        ("rtmp://a", "not rtmp"),
        ("rtmp://a/b", "stream name"),
        ("rtmp://a/b/", "stream name"),
        ("rtmp://a//x", "stream name"),
        ("rtmp://a/b/?k=v", "stream name"),
        ("rtmp://user:secret@a/b/c", "password"),
        ("rtmp:///b/c", "host"),
        ("rtmp://a:0/b/c", "port"),
        ("rtmp://a:65536/b/c", "port"),
        ("rtmp://a:b/b/c", "host"),
        ("rtmp://[::1/b/c", "host"),
        ("rtmp://a/b/c d", "ASCII"),
        ("rtmp://a/b/c\r\n", "ASCII"),
        ("rtmp://ä/b/c", "ASCII"),
        ("rtmp://a/b/c#d", "not rtmp"),
        ("rtmp://a/b/" + "c" * 2048, "longer"),
    ],
)
def test_what_cannot_be_published_to_is_refused_without_repeating_it(url: str, why: str) -> None:
    with pytest.raises(AddressError, match=why) as caught:
        parse_address(url)
    assert "secret" not in str(caught.value)


def test_an_address_in_a_log_shows_no_key() -> None:
    assert "key" not in repr(parse_address("rtmp://a/app-key/stream?key=1"))
    assert parse_address("rtmps://[::1]:9/app-key/stream?key=1").place == "rtmps://[::1]:9"
