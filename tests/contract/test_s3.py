"""The store that is an S3 server, against a real one: whole objects, its own words, patience with an end."""

import asyncio
import os
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from ipaddress import ip_address
from pathlib import Path

import pytest

from rtcloud import doctor
from rtcloud.config import Config, StorageSetting
from rtcloud.egress.storage import Storages
from rtcloud.outgoing.addresses import IpAddress
from rtcloud.outgoing.dialing import Dialer
from rtcloud.outgoing.tunnel import Tunnel
from rtcloud.store.objects import Bucket, MemoryObjects, StorageError
from rtcloud.store.s3 import PART_BYTES, PROBE_NAME, S3Objects
from tests.contract.test_objects import HOSTILE, KEY
from tests.kit.s3 import ACCESS_KEY, S3, SECRET_KEY
from tests.kit.waiting import wait_until

pytestmark = [pytest.mark.contract, pytest.mark.anyio]

BUCKET = KEY[0]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    with S3(tmp_path_factory.mktemp("s3")) as started:
        started.make_bucket(BUCKET)
        yield started


@pytest.fixture
def s3(server: S3) -> Iterator[S3]:
    yield server
    server.gate.shut()
    server.gate.bytes_per_second = float("inf")
    server.gate.open()
    server.take_anyone()


def objects(s3: S3, *, name: str = BUCKET, keys: tuple[str, str] = (ACCESS_KEY, SECRET_KEY), seconds: float = 20.0,
            retries: int = 0) -> S3Objects:  # fmt: skip
    bucket = Bucket(name=name, access_key=keys[0], secret_key=keys[1])
    return S3Objects(
        bucket, endpoint=s3.url, region="us-east-1", path_style=True, request_seconds=seconds, retries=retries
    )


async def refusal(attempt: Awaitable[None]) -> StorageError:
    with pytest.raises(StorageError) as caught:
        await attempt
    return caught.value


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "a.ts"
    path.write_bytes(b"first")
    return path


async def test_what_was_put_is_there_under_its_very_name_and_can_be_replaced(s3: S3, source: Path) -> None:
    for content in (b"first", b"second, longer", b""):
        source.write_bytes(content)
        await objects(s3).put(KEY, source)
        assert s3.read(BUCKET, "/".join(KEY[1:])) == content


async def test_a_large_file_goes_in_parts_and_arrives_whole(s3: S3, tmp_path: Path) -> None:
    source, content = tmp_path / "a.mp4", os.urandom(2 * PART_BYTES + 12_345)
    source.write_bytes(content)
    await objects(s3).put([BUCKET, "large", "a.mp4"], source)
    assert s3.read(BUCKET, "large/a.mp4") == content
    assert "partNumber=3" in s3.log()
    assert s3.open_uploads(BUCKET) == []


@pytest.mark.parametrize("name", [name for name in HOSTILE if name])
async def test_hostile_names_are_separate_objects_inside_the_bucket(s3: S3, source: Path, name: str) -> None:
    before = s3.keys(BUCKET)
    await objects(s3).put([BUCKET, "hostile", name, "task", name], source)
    (made,) = s3.keys(BUCKET).keys() - before.keys()
    assert made.startswith("hostile/")
    assert made.count("/") == 3


async def test_players_learn_what_a_file_is(s3: S3, tmp_path: Path) -> None:
    for name, expected in (
        ("a.m3u8", "application/vnd.apple.mpegurl"),
        ("a.ts", "video/mp2t"),
        ("a.mp4", "video/mp4"),
        ("a.aac", "audio/aac"),
        ("a.json", "application/octet-stream"),
    ):
        (tmp_path / name).write_bytes(b"x")
        await objects(s3).put([BUCKET, name], tmp_path / name)
        assert s3.content_type(BUCKET, name) == expected


async def test_a_probe_leaves_nothing_behind(s3: S3) -> None:
    await objects(s3).probe([BUCKET, "probed", "task"])
    assert s3.keys(BUCKET, "probed") == {}
    assert f"PUT /{BUCKET}/probed/task/{PROBE_NAME}" in s3.log()


@pytest.mark.parametrize("ask", ["put", "probe"])
async def test_the_servers_own_code_is_told(s3: S3, source: Path, ask: str) -> None:
    async def tried(one: S3Objects, name: str = BUCKET) -> StorageError:
        return await refusal(one.probe([name]) if ask == "probe" else one.put([name, "a.ts"], source))

    assert (await tried(objects(s3, name="no-such-bucket"), "no-such-bucket")).code == "NoSuchBucket"
    access_key, secret_key = s3.take_only("writer")
    assert (await tried(objects(s3, keys=("AKIDUNKNOWN", "x")))).code == "InvalidAccessKeyId"
    wrong = await tried(objects(s3, keys=(access_key, "wrong")))
    assert wrong.code == "SignatureDoesNotMatch"
    assert access_key not in wrong.message
    await objects(s3, keys=(access_key, secret_key)).probe([BUCKET])


async def test_a_server_that_is_down_is_unreachable_and_found_again(s3: S3, source: Path) -> None:
    one = objects(s3)
    await one.put([BUCKET, "a.ts"], source)
    s3.gate.shut()
    assert (await refusal(one.put([BUCKET, "a.ts"], source))).code == "Unreachable"
    s3.gate.open()
    await one.put([BUCKET, "a.ts"], source)


async def test_a_server_that_does_not_answer_has_its_time(s3: S3, source: Path) -> None:
    s3.gate.bytes_per_second = 0
    began = time.monotonic()
    assert (await refusal(objects(s3, seconds=0.5).put([BUCKET, "a.ts"], source))).code == "RequestTimeout"
    assert time.monotonic() - began < 5


async def test_a_slow_server_gets_a_large_file_as_long_as_each_part_comes_in_time(s3: S3, tmp_path: Path) -> None:
    source, content = tmp_path / "slow.mp4", os.urandom(PART_BYTES + 100_000)
    source.write_bytes(content)
    s3.gate.bytes_per_second = 4_000_000
    await objects(s3).put([BUCKET, "slow.mp4"], source)
    assert s3.read(BUCKET, "slow.mp4") == content


async def test_what_a_failed_upload_left_is_taken_back(s3: S3, tmp_path: Path) -> None:
    source = tmp_path / "part.mp4"
    source.write_bytes(os.urandom(2 * PART_BYTES))
    s3.gate.bytes_per_second = 200_000
    assert (await refusal(objects(s3, seconds=2).put([BUCKET, "part.mp4"], source))).code == "RequestTimeout"
    assert "POST /bucket-1250000000/part.mp4?uploads" in s3.log()
    await wait_in_thread(lambda: s3.open_uploads(BUCKET) == [], "no part is left")
    assert "part.mp4" not in s3.keys(BUCKET)


KILLED = """
import asyncio, sys
from pathlib import Path
from rtcloud.store.objects import Bucket
from rtcloud.store.s3 import S3Objects
url, bucket, access_key, secret_key, source = sys.argv[1:]
one = S3Objects(Bucket(name=bucket, access_key=access_key, secret_key=secret_key), endpoint=url, region="us-east-1",
                path_style=True)
asyncio.run(one.put([bucket, "killed.mp4"], Path(source)))
"""


async def test_a_large_file_whose_uploader_was_killed_goes_again_from_its_beginning(s3: S3, tmp_path: Path) -> None:
    source, content = tmp_path / "killed.mp4", os.urandom(3 * PART_BYTES)
    source.write_bytes(content)
    s3.gate.bytes_per_second = 3_000_000
    command = [sys.executable, "-c", KILLED, s3.url, BUCKET, ACCESS_KEY, SECRET_KEY, str(source)]
    uploading = await asyncio.create_subprocess_exec(*command)
    await wait_in_thread(lambda: "killed.mp4?partNumber=1" in s3.log(), "a part has arrived")
    uploading.kill()
    await uploading.wait()
    assert "killed.mp4" not in s3.keys(BUCKET)
    s3.gate.bytes_per_second = float("inf")
    await objects(s3).put([BUCKET, "killed.mp4"], source)
    assert s3.read(BUCKET, "killed.mp4") == content
    assert s3.open_uploads(BUCKET) == ["killed.mp4"]  # which the bucket's rule removes
    s3.abort_uploads(BUCKET)


async def wait_in_thread(condition: Callable[[], bool], what: str) -> None:
    await asyncio.to_thread(wait_until, condition, what)


async def test_keys_of_the_operator_take_the_place_of_a_requests(s3: S3, source: Path) -> None:
    access_key, secret_key = s3.take_only("operator")
    bucket = Bucket(name=BUCKET, vendor="cos", region="us-east-1", access_key="AKIDREVOKED", secret_key="x")
    setting = StorageSetting(endpoint=s3.url, bucket=BUCKET)
    own = StorageSetting(endpoint=s3.url, bucket=BUCKET, access_key=access_key, secret_key=secret_key)
    refused = Storages(MemoryObjects(), settings=[setting]).of(bucket)
    assert (await refusal(refused.put([BUCKET, "own", "a.ts"], source))).code == "InvalidAccessKeyId"
    await Storages(MemoryObjects(), settings=[own]).of(bucket).put([BUCKET, "own", "a.ts"], source)
    assert s3.read(BUCKET, "own/a.ts") == b"first"


async def test_through_the_tunnel_the_servers_own_lookup_is_not_used(s3: S3, tmp_path: Path) -> None:
    async def resolve(name: str) -> list[IpAddress]:
        assert name == "store.svc.cluster.local"
        return [ip_address("127.0.0.1")]

    source, content = tmp_path / "tunnel.mp4", os.urandom(2 * PART_BYTES)
    source.write_bytes(content)
    bucket = Bucket(name=BUCKET, region="us-east-1", endpoint_url=f"http://store.svc.cluster.local:{s3.gate.port}",
                    access_key=ACCESS_KEY, secret_key=SECRET_KEY)  # fmt: skip
    for allow_private in (True, False):
        dialer = Dialer(allow_private=allow_private, resolve=resolve)
        async with Tunnel(dialer) as tunnel:
            one = Storages(MemoryObjects(), dialer=dialer, tunnel=tunnel.url).of(bucket)
            if allow_private:
                await one.probe([BUCKET, "tunnel"])
                await one.put([BUCKET, "tunnel.mp4"], source)
                assert s3.read(BUCKET, "tunnel.mp4") == content
            else:
                assert (await refusal(one.put([BUCKET, "tunnel.mp4"], source))).code == "AddressRefused"
                inner = S3Objects(bucket, endpoint=bucket.endpoint_url, region="us-east-1", path_style=True,
                                  proxy=tunnel.url, retries=0)  # fmt: skip
                assert (await refusal(inner.put([BUCKET, "tunnel.mp4"], source))).code == "Http502"


async def test_the_machines_own_settings_do_not_mix_in(s3: S3, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:1",
        "AWS_ENDPOINT": "http://127.0.0.1:1",
        "AWS_SESSION_TOKEN": "token-of-the-machine",
        "AWS_ACCESS_KEY_ID": "key-of-the-machine",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_SKIP_SIGNATURE": "true",
        "AWS_REGION": "eu-north-1",
        "AWS_VIRTUAL_HOSTED_STYLE_REQUEST": "true",
    }.items():
        monkeypatch.setenv(name, value)
    keys = s3.take_only("writer")
    await objects(s3, keys=keys).put([BUCKET, "own.ts"], source)
    assert s3.read(BUCKET, "own.ts") == b"first"


async def test_doctor_tries_the_keys_of_the_operator(s3: S3) -> None:
    access_key, secret_key = s3.take_only("operator")
    setting = StorageSetting(endpoint=s3.url, bucket=BUCKET, access_key=access_key, secret_key=secret_key)
    wrong = StorageSetting(endpoint=s3.url, bucket=BUCKET, access_key=access_key, secret_key="wrong")
    config = Config(storage=(setting, wrong))
    good, bad = await asyncio.to_thread(lambda: list(doctor._stores(config)))
    assert (good.ok, bad.ok) == (True, False)
    assert "SignatureDoesNotMatch" in bad.found
    assert secret_key not in good.found + bad.found
