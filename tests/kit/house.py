"""Everything that a test of relays needs, on this machine: a server, a stage, a CDN, a receiver of callbacks, pictures
on the web, and the official SDK."""

import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from tests.kit import relaying
from tests.kit.aired import Aired
from tests.kit.cdn import Cdn
from tests.kit.cloud import Cloud
from tests.kit.receiver import Receiver
from tests.kit.relaying import Shelf
from tests.kit.server import Server, end_by_signal
from tests.kit.stage import Stage
from tests.kit.waiting import wait_until


@dataclass
class Relay:
    """A relay that runs. ``outputs`` are the names at the CDN."""

    house: "House"
    task_id: str
    urls: tuple[str, ...]
    pid: int  # of its job when it began
    sequence: int = field(default=0)

    def update(self, **fields: object) -> None:
        self.sequence += 1
        self.house.cloud.update_relay(self.task_id, self.sequence, **fields)

    def stop(self) -> None:
        self.house.cloud.stop_relay(self.task_id)

    def story(self, url: str = "") -> list[int]:
        return relaying.story(self.house.receiver, self.task_id, url or self.urls[0])

    def wait_for(self, *states: int, url: str = "", within: float = 20.0) -> None:
        """Until the whole story of an output is this."""
        wanted = list(states)
        wait_until(lambda: self.story(url) == wanted, f"states {wanted}", within, lambda: self.story(url))


@dataclass(frozen=True)
class House:
    folder: Path
    server: Server
    stage: Stage
    cdn: Cdn
    receiver: Receiver
    shelf: Shelf
    cloud: Cloud

    def relay(self, room: int | str, *names: str, urls: tuple[str, ...] = (), **fields: object) -> Relay:
        """Started, with its job's process known."""
        before = set(self.server.jobs().values())
        addresses = tuple(self.cdn.url(name) for name in names) + urls
        robot = str(fields.pop("robot", f"relay-{(names or ('out',))[0]}"))
        task_id = self.cloud.start_relay(room, *addresses, robot=robot, **fields)

        def begun() -> set[int]:
            return set(self.server.jobs().values()) - before

        (pid,) = wait_until(begun, "the job begins", within=15)
        return Relay(self, task_id, addresses, pid)

    def pull(self, name: str, seconds: float) -> Aired:
        self.cdn.wait_for(name)
        return Aired(self.cdn.pull(name, seconds))

    def pull_all(self, seconds: float, *names: str) -> dict[str, Aired]:
        """At the same time."""
        with ThreadPoolExecutor(len(names)) as pool:
            pulled = [pool.submit(self.pull, name, seconds) for name in names]
            return {name: each.result() for name, each in zip(names, pulled, strict=True)}

    def kill_job(self, relay: Relay) -> None:
        end_by_signal(relay.pid)

    def is_empty(self, within: float = 15.0) -> bool:
        """Whether no job is left."""
        wait_until(lambda: not self.server.jobs(), "no job is left", within, self.server.jobs)
        return True


@contextlib.contextmanager
def open_house(folder: Path, *options: str, environment: dict[str, str] | None = None) -> Iterator[House]:
    with contextlib.ExitStack() as stack:
        cdn = stack.enter_context(Cdn(folder / "cdn"))
        receiver = stack.enter_context(Receiver())
        shelf = stack.enter_context(Shelf(folder / "shelf"))
        server = stack.enter_context(Server(folder / "data", *options, environment=environment))
        stage = stack.enter_context(Stage(server))
        server.admin(
            *("callbacks", "set", str(server.sdk_app_id), "--url", receiver.url, "--key", receiver.key),
            *("--groups", "1,2,3,4,7"),
        )
        try:
            yield House(folder, server, stage, cdn, receiver, shelf, Cloud(server))
        except BaseException:
            print(server.tail())
            raise
        assert server.alive, "the server died"
