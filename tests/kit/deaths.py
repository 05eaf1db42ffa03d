"""Death at random: what is recorded, and what is killed when. Everything follows from a seed."""

import random
from dataclasses import dataclass
from typing import Literal

#: "drained" is a worker that is asked to go (SIGTERM); the others are killed
Victim = Literal["job", "worker", "worker and job", "drained", "server", "server and worker", "everything"]
Moment = Literal["create", "recording", "again", "making", "delete"]


@dataclass(frozen=True)
class Ask:
    """A recording. ``form`` is the OutputFormat."""

    single: bool
    form: int
    merged: bool = False

    @property
    def keeps_hls(self) -> bool:
        return self.form in (0, 1, 2)

    @property
    def extension(self) -> str:
        return ("", "mp4", "aac", "mp4", "aac")[self.form]


@dataclass(frozen=True)
class Death:
    """``after_s``: of Create, of the first media, of Delete …; ``back_s``: until who died is started again."""

    victim: Victim
    moment: Moment
    after_s: float
    back_s: float = 0.0

    @property
    def ends_server(self) -> bool:
        return self.victim in ("server", "server and worker", "everything")

    @property
    def ends_worker(self) -> bool:
        return self.victim not in ("job", "server")

    @property
    def ends_job(self) -> bool:
        return self.victim in ("job", "worker and job", "everything")


@dataclass(frozen=True)
class Plan:
    seed: int
    asks: tuple[Ask, ...]
    deaths: tuple[Death, ...]
    #: between the last of them that comes before Delete, or the first media, and Delete
    rest_s: float


def draw(seed: int, victims: tuple[Victim, ...]) -> Plan:
    chance = random.Random(seed)
    asks = tuple(
        Ask(chance.random() < 0.5, chance.randrange(5), chance.random() < 0.5) for _ in range(chance.choice((1, 1, 2)))
    )
    moments: tuple[Moment, ...] = chance.choice(
        (("recording",), ("recording",), ("recording", "again"), ("create",), ("recording", "making"), ("delete",))
    )
    ranges = {"create": (0, 1.5), "recording": (0, 9), "again": (0, 4), "making": (0, 0.15), "delete": (0, 0.8)}
    deaths = tuple(
        Death(chance.choice(victims), moment, chance.uniform(*ranges[moment]), chance.uniform(0, 2))
        for moment in moments
    )
    return Plan(seed, asks, deaths, chance.uniform(2.5, 7))
