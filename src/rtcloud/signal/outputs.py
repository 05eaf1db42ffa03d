"""What a session wants done (imperative). Plain data; the shell does it in this order."""

from dataclasses import dataclass

from livekit.protocol import rtc

from rtcloud.media import node as media
from rtcloud.rooms import facts


@dataclass(frozen=True, slots=True)
class Send:
    """A message for the client."""

    response: rtc.SignalResponse


@dataclass(frozen=True, slots=True)
class Post:
    """A fact for the room."""

    fact: facts.Fact


@dataclass(frozen=True, slots=True)
class Drive:
    """A command for the media node."""

    command: media.AnyCommand


@dataclass(frozen=True, slots=True)
class Hangup:
    """Close the socket after what was sent."""

    reason: str


Command = Send | Post | Drive | Hangup
