"""What a store answers that is no store, is wrong, or breaks off: never taken for "stored", and told in clear words."""

from pathlib import Path

import pytest

from rtcloud.store.objects import Bucket, StorageError
from rtcloud.store.s3 import NOT_STORED, PART_BYTES, S3Objects
from tests.kit.answering import Answer, Answering, resetting, saying, talking

pytestmark = [pytest.mark.contract, pytest.mark.anyio]

BUCKET = "films"
CONTENT = b"a segment"
MODIFIED = "Sat, 21 Nov 2026 15:00:00 GMT"
ERROR = "<Error><Code>{}</Code><Message>{}</Message></Error>"
BROKEN = ("Unreachable", "there is no connection to the store, or it broke")
NO_STORE = ("UnexpectedAnswer", "what answers at the store's address is no S3 server")

ANSWERS: dict[str, tuple[Answer, tuple[str, str]]] = {
    "wrong key": (
        saying("403 Forbidden", ERROR.format("InvalidAccessKeyId", "No such key.")),
        ("InvalidAccessKeyId", "No such key."),
    ),
    "no bucket": (saying("404 Not Found", ERROR.format("NoSuchBucket", "Gone.")), ("NoSuchBucket", "Gone.")),
    "bad request": (saying("400 Bad Request", ERROR.format("InvalidRequest", "No.")), ("InvalidRequest", "No.")),
    "without words": (saying("400 Bad Request"), ("Http400", "the store answered 400 Bad Request")),
    "a proxy's page": (saying("403 Forbidden", "<html>no</html>"), ("Http403", "the store answered 403 Forbidden")),
    "its fault": (saying("500 Oh no", ERROR.format("InternalError", "Oops.")), ("InternalError", "Oops.")),
    "too fast": (saying("503 Slow Down", ERROR.format("SlowDown", "Be slow.")), ("SlowDown", "Be slow.")),
    "moved": (
        saying("301 Moved Permanently", Location="http://127.0.0.1:1/"),
        ("Http301", "the store answered 301 Moved Permanently"),
    ),
    "a page": (saying("200 OK", "<html>welcome</html>"), NO_STORE),
    "an error that looks well": (saying("200 OK", ERROR.format("InternalError", "Oops.")), NO_STORE),
    "garbage": (talking(b"\x00\xff\x13" * 1000), BROKEN),
    "nothing": (talking(b""), BROKEN),
    "a reset": (resetting, BROKEN),
}


def objects(url: str, *, authority: bytes = b"") -> S3Objects:
    bucket = Bucket(name=BUCKET, access_key="AKID", secret_key="hidden-secret")
    return S3Objects(
        bucket, endpoint=url, region="r", path_style=True, authority=authority, request_seconds=5, retries=0
    )


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "a.ts"
    path.write_bytes(CONTENT)
    return path


@pytest.mark.parametrize("name", ANSWERS)
async def test_it_is_told_what_is_wrong(name: str, source: Path) -> None:
    answer, told = ANSWERS[name]
    with Answering(answer) as server:
        one = objects(server.url)
        for attempt in (one.put([BUCKET, "a.ts"], source), one.probe([BUCKET, "t"])):
            with pytest.raises(StorageError) as caught:
                await attempt
            assert (caught.value.code, caught.value.message) == told


@pytest.mark.parametrize("name", ANSWERS)
async def test_parts_of_a_large_file_are_not_taken_for_stored(name: str, tmp_path: Path) -> None:
    source = tmp_path / "a.mp4"
    source.write_bytes(bytes(PART_BYTES + 1))
    with Answering(ANSWERS[name][0]) as server, pytest.raises(StorageError):
        await objects(server.url).put([BUCKET, "a.mp4"], source)


async def test_a_redirect_to_a_page_that_is_well_stores_nothing(source: Path) -> None:
    """A portal answers so for whatever is asked of it, and pages have ETags, too."""
    page = saying("200 OK", "<html>please log in</html>", ETag='"5f3e"')
    with Answering(page) as portal, Answering(saying("303 See Other", Location=f"{portal.url}/login")) as server:
        one = objects(server.url)
        for attempt in (one.put([BUCKET, "a.ts"], source), one.probe([BUCKET, "t"])):
            with pytest.raises(StorageError) as caught:
                await attempt
            assert caught.value.code == NOT_STORED


@pytest.mark.parametrize(
    ("head", "is_stored"),
    [
        (saying("200 OK", content_length="9", ETag='"of-a-key"', Last_Modified=MODIFIED), True),
        (saying("200 OK", content_length="1", ETag='"of-a-key"', Last_Modified=MODIFIED), False),
        (saying("403 Forbidden"), True),  # keys that may only write
        (saying("404 Not Found"), False),
    ],
    ids=["it has it", "it has less", "it may not be asked", "it has it not"],
)
async def test_a_store_with_digests_of_its_own_is_asked_whether_it_has_the_file(
    head: Answer, is_stored: bool, source: Path
) -> None:
    stored = saying("200 OK", ETag='"of-a-key"')
    with Answering(lambda c, asked: (head if asked.startswith(b"HEAD") else stored)(c, asked)) as server:
        attempt = objects(server.url).put([BUCKET, "a.ts"], source)
        if is_stored:
            await attempt
        else:
            with pytest.raises(StorageError, match=NOT_STORED):
                await attempt
    assert [asked.split()[0] for asked in server.heads] == [b"PUT", b"HEAD"]


async def test_what_is_wrong_with_the_address_is_told(source: Path) -> None:
    async def told(url: str) -> str:
        with pytest.raises(StorageError) as caught:
            await objects(url).put([BUCKET, "a.ts"], source)
        assert caught.value.code == "Unreachable"
        return caught.value.message

    with Answering(talking(b"")) as server:
        pass
    assert await told(server.url) == "nothing listens at the store's address"
    assert "cannot be looked up" in await told("http://no-such-store.invalid")
