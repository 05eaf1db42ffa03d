import argparse
import json
import os
import re
import tomllib
from pathlib import Path

import pytest

from rtcloud import cli, config
from rtcloud.errors import ConfigError


def flags(*argv: str) -> dict[str, object]:
    parser = argparse.ArgumentParser()
    config.add_flags(parser)
    return vars(parser.parse_args(argv))


def test_a_flag_wins_over_the_environment_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "rtcloud.toml"
    file.write_text('listen = "127.0.0.1:1"\nmedia_port = 1\nlog_level = "error"\n')
    environ = {"RTCLOUD_MEDIA_PORT": "2", "RTCLOUD_LISTEN": "127.0.0.1:2"}
    loaded = config.load(flags("--config", str(file), "--listen", "127.0.0.1:3", "--allow-private"), environ)
    assert (loaded.listen, loaded.media_port, loaded.log_level) == ("127.0.0.1:3", 2, "error")
    assert loaded.allow_private


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("listen = 5", "listen"),
        ('listen = "nowhere"', "listen"),
        ('rtmp_listen = "1935"', "rtmp_listen"),
        ('rtmps_listen = "127.0.0.1:1936"', "tls_cert"),
        ('public_url = "example.com"', "public_url"),
        ('public_url = "https://user@example.com"', "public_url"),
        ('public_url = "https://example.com/?q"', "public_url"),
        ("media_port = 70000", "media_port"),
        ('roles = ["cook"]', "cook"),
        ('roles = ["api", "worker"]', "roles"),
        ('media_addresses = ["here"]', "media_addresses"),
        ('ice_servers = ["http://stun.example.net"]', "ice_servers"),
        ('ice_servers = ["turn:turn.example.net user"]', "ice_servers"),
        ("ice_servers = ['turn:turn.example.net user \"quoted\"']", "ice_servers"),
        ('media_listen = ["7882"]', "media_listen"),
        ('media_stun = ["turn:turn.example.net"]', "media_stun"),
        ("media_cpu_limit = 1.5", "media_cpu_limit"),
        ('turn_urls = ["turn:turn.example.net"]', "turn_secret"),
        ('turn_urls = ["http://turn.example.net"]\nturn_secret = "s"', "turn_urls"),
        ('turn_urls = ["turn:t"]\nturn_secret = "s"\nturn_secret_file = "f"', "turn_secret_file"),
        ('log_level = "loud"', "log_level"),
        ("mixing_cores = -0.5", "mixing_cores"),
        ("mixing_cores = -2", "mixing_cores"),
        ("mixing_cores = nan", "mixing_cores"),
        ("mixing_cores = inf", "mixing_cores"),
        ("unheard_of = 1", "unheard_of"),
        ("[[callbacks]]\nkey = 'k'", "url"),
        ("= 1", "rtcloud.toml"),
    ],
)
def test_a_bad_value_is_named(tmp_path: Path, content: str, named: str) -> None:
    file = tmp_path / "rtcloud.toml"
    file.write_text(content)
    with pytest.raises(ConfigError, match=named):
        config.load(flags("--config", str(file)), {})


def test_a_bad_flag_and_a_bad_variable_are_named() -> None:
    with pytest.raises(ConfigError, match="--media-port"):
        config.load(flags("--media-port", "x"), {})
    with pytest.raises(ConfigError, match="RTCLOUD_DEMO"):
        config.load(flags(), {"RTCLOUD_DEMO": "perhaps"})


def test_cores_are_a_number_with_or_without_fraction() -> None:
    assert config.load(flags("--mixing-cores", "2.5"), {}).mixing_cores == 2.5
    assert config.load(flags(), {"RTCLOUD_MIXING_CORES": "0"}).mixing_cores == 0
    with pytest.raises(ConfigError, match="--mixing-cores"):
        config.load(flags("--mixing-cores", "many"), {})


def test_cores_for_relays_are_three_quarters_of_the_machine_unless_set() -> None:
    own = config.thousandths(config.Config().mixing_cores)
    assert own == 750 * len(os.sched_getaffinity(0))
    assert (config.thousandths(0), config.thousandths(1.5)) == (0, 1500)


def test_the_example_holds_every_key_with_its_default() -> None:
    lines = config.example().splitlines()
    bare = "\n".join(line.removeprefix("# ") for line in lines if " = " in line or line.startswith("# ["))
    given = tomllib.loads(bare.partition("[[callbacks]]")[0])
    assert set(given.pop("limits")) == {"*", "DescribeCloudRecording"}
    loaded = config.load({}, {})
    assert given == {
        name: list(value) if isinstance(value, tuple) else value
        for name in config.Config.__struct_fields__
        if name not in config.TABLES and (value := getattr(loaded, name)) is not None
    }


S3 = {"endpoint": "https://s3.{region}.example:9000"}


def test_a_store_behind_a_bucket_or_a_vendor_comes_from_the_file(tmp_path: Path) -> None:
    file = tmp_path / "rtcloud.toml"
    file.write_text('[[storage]]\nendpoint = "http://127.0.0.1:9000"\nvendor = "cos"\n')
    (setting,) = config.load({"config": str(file)}, {}).storage
    assert (setting.endpoint, setting.vendor, setting.path_style) == ("http://127.0.0.1:9000", "cos", True)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"endpoint": "s3.example"}, "not http"),
        ({"endpoint": "https://s3.example/bucket"}, "not http"),
        ({"endpoint": "https://user@s3.example"}, "not http"),
        ({"vendor": "azure"}, "neither cos nor aws"),
        ({"access_key": "id", "bucket": "b"}, "each needs the other"),
        ({"access_key": "id", "secret_key": "key"}, "need the bucket"),
        ({"path_style": False}, "{bucket} in its host"),
        ({"ca": "/nowhere.pem"}, "/nowhere.pem"),
    ],
)
def test_a_store_that_cannot_be_used_is_refused_at_the_start(
    tmp_path: Path, changes: dict[str, object], text: str
) -> None:
    lines = [f"{name} = {json.dumps(value)}" for name, value in (S3 | changes).items()]
    file = tmp_path / "rtcloud.toml"
    file.write_text("\n".join(["[[storage]]", *lines]))
    with pytest.raises(ConfigError, match=re.escape(text)):
        config.load({"config": str(file)}, {})


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ({"listen": "127.0.0.1:7880"}, "http://127.0.0.1:7880"),
        ({"listen": "0.0.0.0:7880", "media_addresses": ("203.0.113.9", "10.0.0.1")}, "http://203.0.113.9:7880"),
        ({"listen": "[::]:7880", "media_addresses": ("2001:db8::1",)}, "http://[2001:db8::1]:7880"),
        ({"listen": "0.0.0.0:7880", "public_url": "https://rtc.example.com/"}, "https://rtc.example.com"),
        ({"public_url": "https://example.com/rtc"}, "https://example.com/rtc"),
    ],
)
def test_files_are_told_by_an_address_that_others_reach(given: dict[str, object], address: str) -> None:
    loaded = config.load(given, {})
    assert config.public_url(loaded, "http://127.0.0.1:7880") == address


def test_a_loopback_server_gives_loopback_to_clients() -> None:
    assert config.local_addresses("127.0.0.1") == ["127.0.0.1"]
    assert "127.0.0.1" in config.local_addresses("0.0.0.0")


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_a_check_shows_no_secrets(tmp_path: Path, capsys: pytest.CaptureFixture[str], form: list[str]) -> None:
    file = tmp_path / "rtcloud.toml"
    file.write_text(
        '[[storage]]\nendpoint = "http://127.0.0.1:9000"\nbucket = "films"\naccess_key = "AKIDHIDDEN"\n'
        'secret_key = "hidden"\n[[callbacks]]\nurl = "http://127.0.0.1:1/"\nkey = "hidden"\n'
    )
    assert cli.main(["config", "check", "--config", str(file), *form]) == 0
    said = capsys.readouterr().out
    assert "films" in said
    assert "hidden" not in said.lower()
