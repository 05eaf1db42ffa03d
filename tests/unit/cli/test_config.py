import argparse
import os
import tomllib
from pathlib import Path

import pytest

from rtcloud import config
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
        ("media_port = 70000", "media_port"),
        ('roles = ["cook"]', "cook"),
        ('roles = ["api", "worker"]', "roles"),
        ('media_addresses = ["here"]', "media_addresses"),
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
        if name not in ("callbacks", "limits") and (value := getattr(loaded, name)) is not None
    }


def test_a_loopback_server_gives_loopback_to_clients() -> None:
    assert config.local_addresses("127.0.0.1") == ["127.0.0.1"]
    assert "127.0.0.1" in config.local_addresses("0.0.0.0")
