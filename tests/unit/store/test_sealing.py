import stat
from pathlib import Path

import pytest

from rtcloud.errors import ConfigError
from rtcloud.store.sealing import Sealer, SealError, open_sealer

SEALER = Sealer(bytes(32))


def test_a_sealed_secret_opens() -> None:
    sealed = SEALER.seal(b"secret", purpose="callback key")
    assert b"secret" not in sealed
    assert SEALER.open(sealed, purpose="callback key") == b"secret"
    assert SEALER.seal(b"secret", purpose="callback key") != sealed


@pytest.mark.parametrize("sealed", [b"", b"\x01", b"\x02" + bytes(40), b"\x01" + bytes(40)])
def test_anything_else_does_not(sealed: bytes) -> None:
    with pytest.raises(SealError):
        SEALER.open(sealed, purpose="callback key")


def test_another_key_or_purpose_does_not_open_it() -> None:
    sealed = SEALER.seal(b"secret", purpose="callback key")
    with pytest.raises(SealError):
        SEALER.open(sealed, purpose="application key")
    with pytest.raises(SealError):
        Sealer(b"1" * 32).open(sealed, purpose="callback key")


def test_the_key_is_made_once_for_the_owner_only(tmp_path: Path) -> None:
    sealed = open_sealer(tmp_path, {}).seal(b"secret", purpose="p")
    path = tmp_path / "master.key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert open_sealer(tmp_path, {}).open(sealed, purpose="p") == b"secret"
    assert [entry.name for entry in tmp_path.iterdir()] == ["master.key"]


def test_a_key_of_the_environment_is_used_and_not_written(tmp_path: Path) -> None:
    open_sealer(tmp_path, {"RTCLOUD_MASTER_KEY": "A" * 43 + "="})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["x", "AAAA", "é" * 44])
def test_a_bad_key_is_one_clear_line(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match="RTCLOUD_MASTER_KEY must hold"):
        open_sealer(tmp_path, {"RTCLOUD_MASTER_KEY": text})
    (tmp_path / "master.key").write_text(text)
    with pytest.raises(ConfigError, match=r"master\.key must hold"):
        open_sealer(tmp_path, {})
