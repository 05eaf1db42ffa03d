"""What the two kinds of rooms allow (trtc-facts §10.5): a call, where all are anchors, and a show with an audience.

Numbers are the documents'; an operator may change them (``Limits``), 0 lifts one.
"""

from dataclasses import dataclass
from typing import Literal

Scene = Literal["rtc", "live"]


@dataclass(frozen=True, slots=True)
class Limits:
    call_users: int = 300
    call_speakers: int = 50
    live_audience: int = 100_000
    live_anchors: int = 50
    #: people who may share their screen at a time
    screens: int = 1
    #: how long a live room stays after the last to leave was one of the audience
    live_empty_ms: int = 600_000


@dataclass(frozen=True, slots=True)
class Rules:
    """Of one room. A number of 0 is no limit."""

    anchors: int
    audience: int
    speakers: int
    screens: int
    #: how long the room outlives an audience member who left last
    empty_ms: int
    #: whether people who may not speak are shown to the others, and whether they may become anchors
    has_audience: bool


def rules_of(scene: str, limits: Limits) -> Rules:
    if scene == "live":
        return Rules(limits.live_anchors, limits.live_audience, 0, limits.screens, limits.live_empty_ms, True)
    return Rules(limits.call_users, 0, limits.call_speakers, limits.screens, 0, False)


CALL = rules_of("rtc", Limits())
LIVE = rules_of("live", Limits())
