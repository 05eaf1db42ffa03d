"""All commands together, and how one is performed. The same code serves both ways in.

A running server keeps keys, policies and settings in memory, so it alone changes them; without one, ``admin/local.py``
opens the data directory under the server's lock.
"""

import functools
import operator

import msgspec

from rtcloud.accounts.entities import AccountsError
from rtcloud.accounts.policies import PolicyError
from rtcloud.admin import (
    accounts,
    applications,
    callbacks,
    ingest,
    keys,
    media,
    policies,
    recordings,
    roles,
    rooms,
    tasks,
    users,
    vod,
)
from rtcloud.admin.command import AdminError, Command, Site
from rtcloud.callbacks.targets import TargetError

NOUNS = {
    "accounts": "Whose users and applications belong together; networks that may call.",
    "users": "Who may hold key pairs and policies.",
    "keys": "The key pairs that sign API calls.",
    "policies": "What users and roles may call.",
    "roles": "What trusted users may become for a while.",
    "applications": "What holds rooms: SDKAppID, SDKSecretKey, settings.",
    "rooms": "What is open now, and who is there.",
    "media": "What goes through the media engine: rooms, tracks, threads.",
    "tasks": "Recordings, relays, what comes in: which run, how they do, what they show.",
    "ingest": "What comes into rooms: pushed by RTMP or WHIP, pulled from addresses.",
    "recordings": "What was recorded, and where its files lie.",
    "vod": "The media library: files that recordings sent to VOD.",
    "callbacks": "Where events go; events that could not be delivered.",
}

COMMANDS: tuple[type[Command], ...] = (
    *accounts.COMMANDS,
    *users.COMMANDS,
    *keys.COMMANDS,
    *policies.COMMANDS,
    *roles.COMMANDS,
    *applications.COMMANDS,
    *callbacks.COMMANDS,
    *rooms.COMMANDS,
    *media.COMMANDS,
    *tasks.COMMANDS,
    *ingest.COMMANDS,
    *recordings.COMMANDS,
    *vod.COMMANDS,
)

_decoder: msgspec.json.Decoder[Command] = msgspec.json.Decoder(functools.reduce(operator.or_, COMMANDS))


def decode(raw: bytes) -> Command:
    try:
        return _decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise AdminError(str(error)) from error


async def perform(command: Command, site: Site) -> object:
    """The command's result as plain data. Raises AdminError."""
    try:
        return msgspec.json.decode(msgspec.json.encode(await command.run(site)))
    except PolicyError as error:
        raise AdminError(f"document: {error}") from error
    except (AccountsError, TargetError) as error:
        raise AdminError(str(error)) from error
