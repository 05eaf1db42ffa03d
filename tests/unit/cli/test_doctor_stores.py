"""What ``rtcloud doctor`` says about the S3 servers of the settings."""

import socket

from rtcloud import doctor
from rtcloud.config import Config, StorageSetting


def test_a_store_that_listens_is_fit_and_one_that_does_not_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening, socket.create_server(("127.0.0.1", 0)) as other:
        there = f"http://127.0.0.1:{listening.getsockname()[1]}"
        gone = f"http://127.0.0.1:{other.getsockname()[1]}"
        other.close()
        settings = [StorageSetting(endpoint=url) for url in (there, gone, "https://s3.{region}.amazonaws.com")]
        found = list(doctor._stores(Config(storage=tuple(settings))))
    assert [each.ok for each in found] == [True, False, True]
    assert found[1].found.startswith(f"{gone}: ")


def test_without_settings_there_is_nothing_to_say() -> None:
    assert list(doctor._stores(Config())) == []
