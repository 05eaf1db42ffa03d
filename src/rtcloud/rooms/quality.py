"""How good a connection is: the measure of the network-quality event (trtc-facts §10.1), and livekit's four words."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Grade:
    """``level``: 1 excellent … 5 very bad. ``livekit``: 0 poor, 1 good, 2 excellent. ``score``: 5 best … 1."""

    level: int

    @property
    def livekit(self) -> int:
        return 2 if self.level == 1 else 1 if self.level == 2 else 0

    @property
    def score(self) -> float:
        return 6.0 - self.level


def grade(loss: float, rtt_ms: float) -> Grade:
    """``loss`` is a fraction 0–1; ``rtt_ms`` below zero is unknown. The first rule that holds wins."""
    percent = loss * 100
    for level, max_loss, max_rtt in ((5, 50, 500), (4, 30, 350), (3, 20, 200), (2, 10, 100)):
        if percent > max_loss or rtt_ms > max_rtt:
            return Grade(level)
    return Grade(1)
