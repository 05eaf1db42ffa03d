"""Both halves of the media node's protocol say the same thing: Rust's samples decode here and encode equal."""

from typing import Any, get_args

import msgspec
import pytest

from rtcloud.media.figures import NodeStatus
from rtcloud.media.node import AnyCommand, AnyEvent, NodeConfig, RefusalReason, Rights, Stream

_native = pytest.importorskip("rtcloud._native", reason="the engine is not built")

pytestmark = pytest.mark.contract


def _samples() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    events, commands = msgspec.msgpack.decode(_native.protocol_samples())
    return events, commands


def _tags(union: Any) -> set[str]:
    return {str(member.__struct_config__.tag) for member in get_args(union)}


@pytest.mark.parametrize("union", [AnyEvent, AnyCommand], ids=["events", "commands"])
def test_every_sample_of_the_engine_is_understood_in_full(union: Any) -> None:
    samples = _samples()[0 if union is AnyEvent else 1]
    assert {s["type"] for s in samples} == _tags(union)
    for sample in samples:
        typed = msgspec.convert(sample, union, strict=True)
        assert msgspec.msgpack.decode(msgspec.msgpack.encode(typed)) == sample


def test_the_engine_understands_every_command_and_its_defaults() -> None:
    node = _native.Node(msgspec.msgpack.encode(NodeConfig(listen="127.0.0.1:0", advertise=["127.0.0.1"])))
    try:
        commands = [msgspec.convert(c, AnyCommand) for c in _samples()[1]]
        assert node.send(msgspec.msgpack.encode(commands))
        short = [
            {"type": "publish_track", "room": "r", "participant": "p", "track": "t", "cid": "c", "kind": "audio"},
            {"type": "set_subscription", "room": "r", "participant": "p", "track": "t"},
            {"type": "send_data", "room": "r"},
            {"type": "add_participant", "room": "r", "participant": "p", "identity": "i", "single": True},
            {"type": "set_rights", "room": "r", "participant": "p", "rights": {"data": False}},
        ]
        assert node.send(msgspec.msgpack.encode(short))
        with pytest.raises(ValueError, match="unknown variant"):
            node.send(msgspec.msgpack.encode([{"type": "nothing", "room": "r"}]))
        status = msgspec.msgpack.decode(node.status(), type=NodeStatus)
        assert status.commands_refused == 0
        assert set(status.refused) >= {f"data_{reason}" for reason in get_args(RefusalReason)}
        assert sum(count for name, count in status.refused.items() if name.startswith("packet_")) == (
            status.packets_dropped
        )
    finally:
        node.close()
        node.close()


def test_each_right_and_stream_means_the_same_on_both_sides() -> None:
    node = _native.Node(msgspec.msgpack.encode(NodeConfig(listen="127.0.0.1:0", advertise=["127.0.0.1"])))
    try:
        sample = next(c for c in _samples()[1] if c["type"] == "set_rights")
        assert set(sample["rights"]) == set(Rights.__struct_fields__)
        assert Rights() == Rights(**dict.fromkeys(Rights.__struct_fields__, True))
        track = {"type": "publish_track", "room": "r", "participant": "p", "track": "t", "cid": "c", "kind": "video"}
        for stream in get_args(Stream):
            assert node.send(msgspec.msgpack.encode([track | {"stream": stream}]))
        with pytest.raises(ValueError, match="unknown variant"):
            node.send(msgspec.msgpack.encode([track | {"stream": "screen"}]))
    finally:
        node.close()
