"""The development origin: what it says when something is missing, and what its configuration never does."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from rtcloud.dev import cdn
from rtcloud.dev.origin import Origin, configuration, page
from rtcloud.errors import ConfigError

ORIGIN = Origin("127.0.0.1:1935", "[::1]:8935", Path("/tmp/origin of mine"))


def test_missing_nginx_or_module_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere(_name: str, **_where: Any) -> None:
        return None

    monkeypatch.setattr(shutil, "which", nowhere)
    with pytest.raises(ConfigError, match="apt-get install nginx libnginx-mod-rtmp"):
        cdn.nginx()
    monkeypatch.setattr(Path, "exists", lambda _path: False)
    with pytest.raises(ConfigError, match="no RTMP module .* apt-get install nginx libnginx-mod-rtmp"):
        cdn.rtmp_module()


def test_addresses_are_those_that_were_asked_for() -> None:
    assert ORIGIN.push_address("one") == "rtmp://127.0.0.1:1935/live/one"
    assert ORIGIN.hls_address("one") == "http://[::1]:8935/hls/one.m3u8"
    assert "rtmp://127.0.0.1:1935/live/" in page(ORIGIN)


@pytest.mark.parametrize("as_root", [True, False])
def test_the_configuration_runs_nothing_and_writes_below_its_directory(as_root: bool) -> None:
    text = configuration(ORIGIN, module=Path("/m/ngx_rtmp_module.so"), as_root=as_root)
    assert "exec" not in text
    assert ("user root;" in text) is as_root
    for line in map(str.strip, text.splitlines()):
        if line.split(" ")[0].endswith(("_path", "pid")):
            assert ' "/tmp/origin of mine/' in line
    assert "listen 127.0.0.1:1935;" in text
    assert "listen [::1]:8935;" in text
