"""What a session wants done (imperative). Plain data; the shell does it in this order."""

from dataclasses import dataclass

from rtcloud.signal.outputs import Drive, Post
from rtcloud.whip.problems import Problem


@dataclass(frozen=True, slots=True)
class Reply:
    """To the request that waits: the answer's text, or why there is none."""

    outcome: str | Problem


@dataclass(frozen=True, slots=True)
class StartTimer:
    """``Session.expire`` is called after it, unless it is stopped."""

    seconds: float


@dataclass(frozen=True, slots=True)
class StopTimer:
    pass


@dataclass(frozen=True, slots=True)
class End:
    """The session is over: its address is nobody's from now on."""

    reason: str


Command = Post | Drive | Reply | StartTimer | StopTimer | End
