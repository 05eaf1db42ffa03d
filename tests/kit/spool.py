"""What recorders are writing, as it lies in the server's spool."""

from collections.abc import Iterable

from tests.kit.server import Server
from tests.kit.waiting import eventually

#: of the first segment: two seconds or so of a small picture
_BYTES = 50_000


async def being_written(server: Server, tasks: Iterable[str], *, attempt: int = 0, within: float = 20.0) -> None:
    """Returns when that attempt of each task has written something."""

    async def are() -> bool:
        folders = [server.data / "spool" / task / str(attempt) for task in tasks]
        return all(any(file.stat().st_size > _BYTES for file in folder.glob("*.ts")) for folder in folders)

    await eventually(are, f"attempt {attempt} of each task writes", within)
