"""What callback 401 says of one address, and when. Pure; ``now`` is monotonic seconds.

    begin   → 1 (3 when an earlier attempt of the task had it running), again each 5 s
    running → 2
    broken  → 3, again each 5 s                      (while connecting: only the fault is remembered)
    60 s in 1 or 3 → 4, 0: given up
    refuse  → 4, 0                                   (nothing that could be pushed)
    closing → 5; closed → 0

After 0 nothing follows. 1, 3 and 4 carry the last fault, the others none.
"""

from dataclasses import dataclass
from enum import IntEnum

REPEAT = 5.0
LIMIT = 60.0


class Status(IntEnum):
    IDLE = 0
    CONNECTING = 1
    RUNNING = 2
    RECOVERING = 3
    FAILED = 4
    DISCONNECTING = 5


class Fault(IntEnum):
    """``ErrorCode`` of callback 401: why an address is not pushed to. The numbers are kept for good."""

    NONE = 0
    INVALID_ADDRESS = 1
    NAME_NOT_FOUND = 2
    PRIVATE_ADDRESS = 3
    REFUSED = 4
    UNREACHABLE = 5
    TIMED_OUT = 6
    TLS = 7
    NOT_RTMP = 8
    REJECTED = 9
    NAME_IN_USE = 10
    CODEC_NOT_CARRIED = 11
    CLOSED = 12
    STALLED = 13


#: ``ErrorMsg``
TEXTS = {
    Fault.NONE: "",
    Fault.INVALID_ADDRESS: "The address cannot be published to.",
    Fault.NAME_NOT_FOUND: "The host name does not resolve.",
    Fault.PRIVATE_ADDRESS: "The host is in a private network, which this server does not push to.",
    Fault.REFUSED: "The host refuses connections at that port.",
    Fault.UNREACHABLE: "The host cannot be reached.",
    Fault.TIMED_OUT: "The host does not answer in time.",
    Fault.TLS: "No secure connection: the certificate is not valid for the host, or it speaks no TLS.",
    Fault.NOT_RTMP: "The host does not speak RTMP.",
    Fault.REJECTED: "The server rejects the stream.",
    Fault.NAME_IN_USE: "The server says that the stream name is in use.",
    Fault.CODEC_NOT_CARRIED: "The server does not take the stream's codec.",
    Fault.CLOSED: "The server closed the connection.",
    Fault.STALLED: "The server takes no data any more.",
}


@dataclass(frozen=True, slots=True)
class Change:
    """One callback. ``detail`` is the server's own code, if it gave one."""

    status: Status
    fault: Fault = Fault.NONE
    detail: str = ""

    @property
    def message(self) -> str:
        return f"{TEXTS[self.fault]} ({self.detail})" if self.detail else TEXTS[self.fault]


class Statuses:
    def __init__(self, *, resumes: bool = False, repeat: float = REPEAT, limit: float = LIMIT) -> None:
        self._repeat, self._limit = repeat, limit
        self._first = Status.RECOVERING if resumes else Status.CONNECTING
        self._since = self._said = 0.0
        self._fault, self._detail = Fault.NONE, ""
        self.status = Status.IDLE

    @property
    def has_ended(self) -> bool:
        return self.status in (Status.IDLE, Status.FAILED)

    @property
    def deadline(self) -> float | None:
        """When ``tick`` has something to say, unless another event comes first."""
        if self.status not in (Status.CONNECTING, Status.RECOVERING):
            return None
        return min(self._said + self._repeat, self._since + self._limit)

    def begin(self, now: float) -> list[Change]:
        return [self._enter(self._first, now)]

    def running(self, now: float) -> list[Change]:
        if self.status not in (Status.CONNECTING, Status.RECOVERING):
            return []
        self._fault, self._detail = Fault.NONE, ""
        return [self._enter(Status.RUNNING, now)]

    def broken(self, now: float, fault: Fault, detail: str = "") -> list[Change]:
        """A connection ended, or none came about."""
        self._fault, self._detail = fault, detail
        return [self._enter(Status.RECOVERING, now)] if self.status == Status.RUNNING else []

    def tick(self, now: float) -> list[Change]:
        if (deadline := self.deadline) is None or now < deadline:
            return []
        if now >= self._since + self._limit:
            # ended is what it stays; whoever asks sees that it failed
            return [self._enter(Status.FAILED, now), Change(Status.IDLE)]
        # a late tick says it once, and the rhythm goes on
        self._said += self._repeat * max(1, (now - self._said) // self._repeat)
        return [self._change()]

    def refuse(self, now: float, fault: Fault, detail: str = "") -> list[Change]:
        """There is nothing that could be pushed: given up at once."""
        if self.has_ended or self.status == Status.DISCONNECTING:
            return []
        self._fault, self._detail = fault, detail
        return [self._enter(Status.FAILED, now), Change(Status.IDLE)]

    def closing(self, now: float) -> list[Change]:
        if self.has_ended or self.status == Status.DISCONNECTING:
            return []
        return [self._enter(Status.DISCONNECTING, now)]

    def closed(self, now: float) -> list[Change]:
        return [self._enter(Status.IDLE, now)] if self.status == Status.DISCONNECTING else []

    def _enter(self, status: Status, now: float) -> Change:
        self.status = status
        self._since = self._said = now
        return self._change()

    def _change(self) -> Change:
        if self.status in (Status.CONNECTING, Status.RECOVERING, Status.FAILED):
            return Change(self.status, self._fault, self._detail)
        return Change(self.status)
