"""RTMP connections that mean no good: slow, malformed, too large, or without end. Each knows nothing of the others."""

import asyncio
import contextlib
import os
import random
from collections.abc import Awaitable, Callable

from rtcloud.rtmp import chunks
from rtcloud.rtmp.amf import encode
from rtcloud.rtmp.chunks import ChunkWriter, Message
from tests.kit.rtmp_pusher import Pusher

HANDSHAKE = b"\3" + bytes(8) + os.urandom(1528) + bytes(1536)
#: Of this machine, so that no single one meets the bound for an address.
SOURCES = [f"127.0.0.{number}" for number in range(2, 18)]
CONNECT = encode("connect", 1.0, {"app": "push", "tcUrl": "rtmp://127.0.0.1/push"})


class Stranger:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, chance: random.Random) -> None:
        self.reader = reader
        self.writer = writer
        self.chance = chance
        self.chunks = ChunkWriter()

    async def say(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()
        await asyncio.sleep(0)  # ``drain`` returns at once while the server reads, and the others want their turn

    async def command(self, *values: object) -> None:
        await self.message(chunks.COMMAND, encode(*values))  # type: ignore[arg-type]

    async def message(self, kind: int, data: bytes) -> None:
        await self.say(self.chunks.write(Message(kind, data), 3))

    async def read(self) -> None:
        while await self.reader.read(65_536):
            pass


async def _says_nothing(stranger: Stranger) -> None:
    await stranger.read()


async def _shakes_half_a_hand(stranger: Stranger) -> None:
    await stranger.say(HANDSHAKE[: stranger.chance.randrange(1, 3073)])
    await stranger.read()


async def _drips(stranger: Stranger) -> None:
    for at in range(len(HANDSHAKE)):
        await stranger.say(HANDSHAKE[at : at + 1])
        await asyncio.sleep(0.25)


async def _babbles(stranger: Stranger) -> None:
    await stranger.say(HANDSHAKE)
    for _ in range(200):
        await stranger.say(stranger.chance.randbytes(4096))


async def _announces_much(stranger: Stranger) -> None:
    await stranger.say(HANDSHAKE)
    await stranger.message(chunks.SET_CHUNK_SIZE, (0x7FFFFFFF).to_bytes(4, "big"))
    for name in range(3, 60):
        await stranger.say(bytes([name]) + bytes(3) + b"\xff\xff\xff\x14" + bytes(4) + bytes(2000))
    await stranger.read()


async def _nests_values(stranger: Stranger) -> None:
    await stranger.say(HANDSHAKE)
    await stranger.message(chunks.COMMAND, encode("connect", 1.0) + b"\x03\x00\x01a" * 8000)
    await stranger.read()


async def _claims_a_long_text(stranger: Stranger) -> None:
    await stranger.say(HANDSHAKE)
    await stranger.message(chunks.COMMAND, b"\x0c\xff\xff\xff\xff" + bytes(1000))
    await stranger.read()


async def _asks_for_streams(stranger: Stranger) -> None:
    await stranger.say(HANDSHAKE)
    await stranger.message(chunks.COMMAND, CONNECT)
    for number in range(1000):
        await stranger.command("createStream", float(number + 2), None)
    await stranger.read()


async def _takes_no_answers(stranger: Stranger) -> None:
    await stranger.say(HANDSHAKE)
    await stranger.message(chunks.COMMAND, CONNECT)
    ping = (6).to_bytes(2, "big") + bytes(4)
    while True:
        await stranger.message(chunks.USER_CONTROL, ping)


async def _stays_after_connect(stranger: Stranger) -> None:
    await stranger.say(HANDSHAKE)
    await stranger.message(chunks.COMMAND, CONNECT)
    await stranger.read()


KINDS: list[Callable[[Stranger], Awaitable[None]]] = [
    _says_nothing,
    _shakes_half_a_hand,
    _drips,
    _babbles,
    _announces_much,
    _nests_values,
    _claims_a_long_text,
    _asks_for_streams,
    _takes_no_answers,
    _stays_after_connect,
]
#: They break no rule; the server gives them their time.
PATIENT = (_says_nothing, _shakes_half_a_hand, _drips, _stays_after_connect)


async def crowd(port: int, count: int, *, seconds: float, hung_up: int, within: float, seed: int = 1) -> int:
    """``count`` of them, all kinds, within ``seconds``, after which those that are still there go. How many who break
    the rules the server itself had hung up on: it has time until ``within`` to come to ``hung_up`` of them.
    """

    async def one(number: int) -> bool:
        chance = random.Random(f"{seed} {number}")
        await asyncio.sleep(chance.random() * seconds / 2)
        source, kind = SOURCES[number % len(SOURCES)], KINDS[number % len(KINDS)]
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0))
        except OSError:
            return kind not in PATIENT
        try:
            with contextlib.suppress(ConnectionError):
                await kind(Stranger(reader, writer, chance))
            return kind not in PATIENT
        finally:
            writer.transport.abort()

    tasks = [asyncio.create_task(one(number)) for number in range(count)]
    now = asyncio.get_running_loop().time
    deadline = now() + within
    done, left = await asyncio.wait(tasks, timeout=seconds)
    while left and sum(task.result() for task in done) < hung_up and now() < deadline:
        more, left = await asyncio.wait(left, timeout=deadline - now(), return_when=asyncio.FIRST_COMPLETED)
        done |= more
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
    return sum(task.result() for task in done)


async def push_nonsense(url: str, *, well_formed: bool, seed: int = 1) -> None:
    """Let in with good credentials, and then: messages without sense, or no messages at all. Until it is hung up on."""
    chance = random.Random(seed)
    pusher = await Pusher.connect(url)
    try:
        await pusher.open()
        with contextlib.suppress(ConnectionError):
            while True:
                if well_formed:
                    kind = chance.choice([chunks.AUDIO, chunks.VIDEO, chunks.DATA])
                    await pusher.send([(kind, chance.randrange(1 << 32), chance.randbytes(chance.randrange(300)))])
                else:
                    await pusher.say(chance.randbytes(1000))
                await asyncio.sleep(0)
    finally:
        await pusher.close()
