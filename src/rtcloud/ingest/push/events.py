"""Push as a kind of task. It tells nobody: whoever pushes sees what becomes of it, and a room's own callbacks tell of
the user. Its job is never started again, since the connection died with it."""

from rtcloud.ingest.kind import IncomingKind
from rtcloud.ingest.push.request import KIND


class PushKind(IncomingKind):
    name = KIND
    max_restarts: int | None = 0
    forgets_restarts = False
