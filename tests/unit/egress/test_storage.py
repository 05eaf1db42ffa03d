"""Which store a request's files go to."""

from pathlib import Path

import pytest

from rtcloud.config import StorageSetting
from rtcloud.egress.filing import LIBRARY, CloudStorage, Filing
from rtcloud.egress.storage import EndpointError, Storages, address_of, check_endpoint, setting_of
from rtcloud.outgoing.addresses import IpAddress
from rtcloud.outgoing.dialing import Dialer
from rtcloud.store.objects import Bucket, LocalObjects, MemoryObjects, StorageError

pytestmark = pytest.mark.anyio

PLAIN = Bucket(name="films", vendor="cos", region="ap-beijing", access_key="id", secret_key="key")


def place(bucket: Bucket, *settings: StorageSetting) -> str:
    return Storages(MemoryObjects(), settings=settings, allow_private=True).of(bucket).place


def at(endpoint_url: str, name: str = "films") -> Bucket:
    return Bucket(name=name, vendor="cos", region="r", endpoint_url=endpoint_url, access_key="i", secret_key="k")


def test_without_an_address_files_stay_here() -> None:
    assert place(PLAIN) == "memory"
    assert place(PLAIN, StorageSetting(endpoint="https://a", vendor="aws")) == "memory"
    assert place(PLAIN, StorageSetting(endpoint="https://a", bucket="other")) == "memory"


def test_a_setting_of_the_bucket_goes_before_one_of_its_vendor_and_that_before_one_of_all() -> None:
    everyone = StorageSetting(endpoint="https://all")
    vendor = StorageSetting(endpoint="https://cos", vendor="cos")
    bucket = StorageSetting(endpoint="https://films", bucket="films")
    assert place(PLAIN, everyone, vendor, bucket) == "https://films"
    assert place(PLAIN, everyone, vendor) == "https://cos"
    assert place(PLAIN, everyone) == "https://all"


def test_what_goes_to_the_media_library_stays_here_whatever_is_set(tmp_path: Path) -> None:
    everyone = StorageSetting(endpoint="https://all")
    library = LocalObjects(tmp_path, "media library")
    storages = Storages(MemoryObjects(), library=library, settings=[everyone])
    assert storages.of(LIBRARY) is library
    assert storages.of(PLAIN).place == "https://all"


def test_objects_have_an_address_where_their_store_has_one() -> None:
    in_host = StorageSetting(endpoint="https://{bucket}.cos.{region}.myqcloud.com", vendor="cos", path_style=False)
    assert address_of([in_host], PLAIN) == "https://films.cos.ap-beijing.myqcloud.com"
    assert address_of([StorageSetting(endpoint="https://all/")], PLAIN) == "https://all/films"
    assert address_of([], at("http://minio:9000/")) == "http://minio:9000/films"
    assert address_of([], at("https://films.s3.example")) == "https://films.s3.example"
    assert address_of([], at("https://cos.r.myqcloud.com")) == "https://films.cos.r.myqcloud.com"
    assert address_of([], PLAIN) == ""


def test_a_setting_may_name_region_and_bucket_in_the_host() -> None:
    setting = StorageSetting(endpoint="https://{bucket}.cos.{region}.myqcloud.com/", path_style=False)
    assert place(PLAIN, setting) == "https://films.cos.ap-beijing.myqcloud.com"
    fixed = StorageSetting(endpoint="https://s3.{region}.example", region="eu")
    assert place(PLAIN, fixed) == "https://s3.eu.example"


def test_the_address_of_a_request_goes_before_settings_with_another() -> None:
    settings = [StorageSetting(endpoint="https://all"), StorageSetting(endpoint="https://own", bucket="films")]
    assert place(at("https://theirs:9000/"), *settings) == "https://theirs:9000"
    assert setting_of(settings, at("https://own/")) == settings[1]


def test_keys_of_the_operator_never_go_to_the_address_of_a_request() -> None:
    setting = StorageSetting(endpoint="https://own", bucket="films", access_key="secret", secret_key="secret")
    assert setting_of([setting], at("https://theirs")) is None


def test_a_bucket_in_the_host_is_not_in_the_path_too() -> None:
    assert place(at("https://films.s3.example")) == "https://films.s3.example"
    assert place(at("https://cos.ap-beijing.myqcloud.com")) == "https://films.cos.ap-beijing.myqcloud.com"


@pytest.mark.parametrize(
    "url",
    [
        "s3.example.com",
        "ftp://s3.example.com",
        "https://",
        "https://user:key@s3.example.com",
        "https://s3.example.com/bucket",
        "https://s3.example.com?x",
        "https://s3.example.com:port",
        "https://[::1",
    ],
)
def test_what_is_no_address_of_a_server_is_refused(url: str) -> None:
    with pytest.raises(EndpointError):
        check_endpoint(url)


@pytest.mark.parametrize("host", ["127.0.0.1", "169.254.169.254", "10.1.1.1", "[::1]", "[::ffff:10.0.0.1]"])
def test_a_literal_private_address_is_refused_unless_allowed(host: str) -> None:
    with pytest.raises(EndpointError, match="private"):
        check_endpoint(f"http://{host}:9000", allow_private=False)
    assert check_endpoint(f"http://{host}:9000/") == f"http://{host}:9000"


async def test_a_name_that_leads_into_a_private_network_is_refused_at_each_use(tmp_path: Path) -> None:
    async def resolve(name: str) -> list[IpAddress]:
        from ipaddress import ip_address

        assert name == "inside.example"
        return [ip_address("10.0.0.1")]

    dialer = Dialer(allow_private=False, resolve=resolve)
    objects = Storages(MemoryObjects(), dialer=dialer).of(at("https://inside.example"))
    source = tmp_path / "a.ts"
    source.write_bytes(b"x")
    for attempt in (objects.put(["films", "a.ts"], source), objects.probe(["films"])):
        with pytest.raises(StorageError, match="AddressRefused"):
            await attempt


async def test_a_name_that_nobody_knows_is_a_refusal_like_others() -> None:
    async def resolve(name: str) -> list[IpAddress]:
        raise OSError("no such name")

    objects = Storages(MemoryObjects(), dialer=Dialer(allow_private=True, resolve=resolve)).of(at("https://nowhere"))
    with pytest.raises(StorageError, match="Unreachable"):
        await objects.probe(["films"])


def test_one_store_is_kept_for_a_bucket_with_its_keys() -> None:
    storages = Storages(MemoryObjects(), allow_private=True)
    assert storages.of(at("https://a")) is storages.of(at("https://a"))
    assert storages.of(at("https://a")) is not storages.of(at("https://b"))


def test_keys_show_in_no_repr() -> None:
    storage = CloudStorage(vendor=1, region="r", bucket="films", access_key="AKID", secret_key="SECRET")
    bucket = Filing(("hls",), storage).bucket
    for shown in (
        repr(bucket),
        repr(storage),
        repr(StorageSetting(endpoint="https://a", bucket="b", access_key="AKID", secret_key="SECRET")),
    ):
        assert "AKID" not in shown
        assert "SECRET" not in shown
    assert bucket.vendor == "aws"
