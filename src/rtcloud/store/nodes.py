"""Where robots join: the rows by which workers find the signalling."""

from sqlalchemy import Connection, delete, insert

from rtcloud.store.tables import nodes


def register(connection: Connection, node_id: str, signal_url: str, now_ms: int) -> None:
    """One process of a data directory serves the rooms: its row replaces all earlier ones."""
    unregister(connection)
    connection.execute(insert(nodes).values(id=node_id, signal_url=signal_url, started_ms=now_ms))


def unregister(connection: Connection) -> None:
    """Nobody serves rooms now: workers of other processes wait, instead of spending attempts on a closed door."""
    connection.execute(delete(nodes))
