"""People who do what comes to their minds, and mixed recordings whose every moment is held against it.

A script is made from a seed. One that fails prints what was done, and is played again with
``RTCLOUD_SEEDS=17,4711 pytest tests/e2e/test_random_people.py -m 'not long'``; its seed is then kept.
"""

import os
import re
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from tests.kit import probes
from tests.kit.actors import Actor, Loop, Order
from tests.kit.acts import PACKETS_PER_SECOND, Act, hex_of
from tests.kit.aired import Aired
from tests.kit.cloud import BUCKET, Cloud
from tests.kit.continuity import BACKGROUND, Continuity, Done
from tests.kit.improvising import LENGTH_S, Script, Step, improvise
from tests.kit.receiver import Receiver
from tests.kit.screening import FPS, Screening, Verdict
from tests.kit.server import Server

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.interop,
    pytest.mark.alone,
    pytest.mark.filterwarnings("ignore:datetime.datetime.utcfromtimestamp"),
]

WIDTH, HEIGHT = 320, 180
#: After the last step.
EPILOGUE_S = 1.5
LENGTH_WITHIN_S = 0.3
#: Rooms at a time: what a machine of two cores mixes beside the people themselves.
TOGETHER = 5
#: A recording made while the machine was too slow says nothing; the script is played again so often.
TRIES = 3
#: By the recorder's own account, and by how long a thread waits for its turn. Media that waits so is late.
TOO_SLOW = "the machine was too slow for this mix"
PULSE_S, WAIT_S = 0.02, 0.12

#: Scripts of one long test.
PIECE = 25
#: Seeds that found something once, first.
KEPT: tuple[int, ...] = (29,)


@dataclass(frozen=True)
class Played:
    script: Script
    log: list[Done]
    curtain: float  # when the script began
    task_id: str
    stopped: tuple[float, float]  # when that was asked for, and answered
    folder: Path
    longest_wait: float

    @property
    def people(self) -> list[str]:
        return sorted({done.step.who for done in self.log})

    @property
    def mp4(self) -> Path:
        (path,) = self.folder.glob("*.mp4")
        return path

    @property
    def index(self) -> Path:
        (path,) = self.folder.glob("*.m3u8")
        return path

    @property
    def began(self) -> float:
        found = re.search(r"#EXT-X-TRTC-START-REC-TIME:(\d+)", self.index.read_text())
        assert found is not None
        return int(found[1]) / 1000

    def __str__(self) -> str:
        lines = [
            f"{done.began - self.curtain:6.2f} to {done.ended - self.curtain:6.2f}: {done.step}" for done in self.log
        ]
        return "\n".join([str(self.script).partition("\n")[0], *lines])


@dataclass
class House:
    server: Server
    receiver: Receiver
    cloud: Cloud
    rooms: Iterator[int] = field(default_factory=lambda: iter(range(7001, 9000)))
    played: list[Played] = field(default_factory=list)

    def play(self, script: Script) -> Played:
        room = next(self.rooms)
        company = Company(self.server, room, script)
        layout = {"RenderMode": 0, "BackGroundColor": hex_of(BACKGROUND)}
        task_id = self.cloud.start_recording(
            room,
            robot=f"recorder-{room}",
            width=WIDTH,
            height=HEIGHT,
            fps=FPS,
            layout=layout,
            FillType=script.fill_type,
            MaxIdleTime=120,
        )
        # What was before the recorder came, it cannot know.
        self.receiver.wait_for(301, lambda each: each.info["TaskId"] == task_id, within=60)
        with company, Pulse() as pulse:
            log = company.play()
            time.sleep(EPILOGUE_S)
            asked = time.time()
            self.cloud.stop_recording(task_id)
            stopped = asked, time.time()
        self.receiver.wait_for(310, lambda each: each.info["TaskId"] == task_id, within=40)
        folder = self.server.data / "files" / BUCKET / "calls" / task_id
        self.played.append(Played(script, log, company.curtain, task_id, stopped, folder, pulse.longest_wait))
        return self.played[-1]


class Pulse:
    """Of the machine, while it is open."""

    def __init__(self) -> None:
        self.longest_wait = 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._feel, daemon=True)

    def __enter__(self) -> "Pulse":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _feel(self) -> None:
        at = time.monotonic()
        while not self._over.wait(PULSE_S):
            before, at = at, time.monotonic()
            self.longest_wait = max(self.longest_wait, at - before - PULSE_S)


class Company:
    """Those who play one script."""

    def __init__(self, server: Server, room: int, script: Script) -> None:
        self._server = server
        self._room = room
        self._script = script
        self._present: dict[str, Actor] = {}
        self._loops = {step: loop_of(step.act) for step in script.steps if step.act is not None}
        self.curtain = time.time()

    def __enter__(self) -> "Company":
        return self

    def __exit__(self, *_: object) -> None:
        for actor in self._present.values():
            actor.die()

    def play(self) -> list[Done]:
        """Returns when the script is over, with what was done and when. What takes long delays all that follows."""
        self.curtain = time.time()
        delay = 0.0
        log = []
        for step in self._script.steps:
            delay = max(delay, time.time() - self.curtain - step.at)
            time.sleep(max(0.0, self.curtain + step.at + delay - time.time()))
            began = time.time()
            self._do(step)
            log.append(Done(step, began, time.time()))
        time.sleep(max(0.0, self.curtain + LENGTH_S + delay - time.time()))
        return log

    def _do(self, step: Step) -> None:
        match step.action:
            case "enter":
                ticket = self._server.ticket(step.who, self._room)
                hurried = step.who in self._script.hurried
                self._present[step.who] = Actor(ticket["url"], ticket["token"], hurried=hurried)
            case "leave":
                self._present.pop(step.who).leave()
            case "die":
                self._present.pop(step.who).die()
            case "freeze":
                self._present[step.who].freeze()
            case "thaw":
                self._present[step.who].thaw()
            case kind:
                self._present[step.who].do(Order(kind, step.source, self._loops.get(step)))


def loop_of(act: Act) -> Loop:
    if act.picture:
        return Loop(act.pictures(), act.fps, act.width, act.height, act.codec)
    return Loop(act.packets(), PACKETS_PER_SECOND)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with Receiver() as receiver, Server(tmp_path_factory.mktemp("people") / "data") as server:
        server.set_callbacks(receiver.url, receiver.key)
        yield House(server, receiver, Cloud(server))
        assert server.alive, "the server died"


def asked_seeds() -> list[int]:
    return [int(seed) for seed in os.environ.get("RTCLOUD_SEEDS", "").split(",") if seed]


def judged(house: House, seed: int) -> str:
    """What is wrong with a script's recording, and the script as it was played."""
    script = improvise(seed)
    for _ in range(TRIES):
        played = house.play(script)
        verdict = screen(played)
        if not verdict.faults:
            return ""
        if not was_too_slow(house.server, played):
            break
    waited = f"a thread waited for {played.longest_wait:.2f} s"
    return "\n".join([*verdict.faults, str(played), str(played.mp4), waited])


def judge(played: Played, *, clock_s: float = 0.0) -> Verdict:
    """``clock_s`` is what the file's clock is off by."""
    continuity = Continuity(played.log, played.script.fill_type)
    return Screening(played.mp4, played.began + clock_s, continuity, played.curtain).judge()


def screen(played: Played) -> Verdict:
    verdict = judge(played)
    for path in (played.mp4, played.index):
        if complaint := probes.decode_all(path):
            verdict.say(0, f"{path.name}: {complaint}")
    for kind in ("audio", "video"):
        mp4, hls = (Aired(path).times(kind) for path in (played.mp4, played.index))
        if [round(at - mp4[0], 3) for at in mp4] != [round(at - hls[0], 3) for at in hls]:
            verdict.say(0, f"MP4 and HLS have other times of {kind}")
    length = probes.duration(played.mp4)
    least, most = (at - played.began for at in played.stopped)
    if not least - LENGTH_WITHIN_S <= length <= most + LENGTH_WITHIN_S:
        verdict.say(0, f"it lasts {length:.3f} s, not {least:.3f} s to {most:.3f} s")
    return verdict


def was_too_slow(server: Server, played: Played) -> bool:
    if played.longest_wait > WAIT_S:
        return True
    lines = server.log.read_text(errors="replace").splitlines()
    return any(TOO_SLOW in line and played.task_id in line for line in lines)


def check(house: House, seeds: list[int]) -> None:
    with ThreadPoolExecutor(TOGETHER) as pool:
        faults = [each for each in pool.map(lambda seed: judged(house, seed), seeds) if each]
    assert not faults, "\n\n".join(faults)


@pytest.mark.timeout(400)
def test_the_timeline_is_right_whatever_people_do(house: House) -> None:
    check(house, asked_seeds() or [*KEPT, *range(1, 11)][:10])


def test_a_story_that_is_not_true_is_found_out(house: House) -> None:
    played = next((each for each in house.played if len(each.people) > 1), None) or house.play(improvise(1))
    exchanged = dict(zip(played.people, [*played.people[1:], played.people[0]], strict=True))
    lies = {
        "others did it": [replace(each, step=replace(each.step, who=exchanged[each.step.who])) for each in played.log],
        "it was a second later": [replace(each, began=each.began + 1, ended=each.ended + 1) for each in played.log],
        "half of it was not done": played.log[: len(played.log) // 2],
    }
    for lie, log in lies.items():
        assert judge(replace(played, log=log)).faults, f"{lie}\n{played}"
    assert judge(played, clock_s=0.2).faults, played


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("first", range(1, 201, PIECE), ids=lambda first: f"seeds{first}-{first + PIECE - 1}")
def test_two_hundred_scripts(house: House, first: int) -> None:
    check(house, [*range(first, first + PIECE)])


@pytest.mark.long
@pytest.mark.timeout(600)
def test_what_found_something_once(house: House) -> None:
    check(house, [*KEPT])
