"""Pictures whose lines are of two moments, made pictures of one: browsers show them as combs otherwise.

Pictures that are whole go through untouched. An interlaced one waits for the next, which it is compared with.
"""

from collections.abc import Iterator
from fractions import Fraction

import av
from av.filter import Graph
from av.video.format import VideoFormat
from av.video.frame import VideoFrame

TIME_BASE = Fraction(1, 1_000_000)


class Deinterlacer:
    """Times of pictures are microseconds, before and after."""

    def __init__(self) -> None:
        self._graph: Graph | None = None
        self._shape: tuple[int, int, str] | None = None

    def put(self, picture: VideoFrame) -> Iterator[VideoFrame]:
        """From the first interlaced one on all go through the filter, so that they stay in their order."""
        shape = (picture.width, picture.height, picture.format.name)
        if shape != self._shape:
            yield from self.flush()
            self._shape = shape
        if self._graph is None:
            if not picture.interlaced_frame or picture.pts is None:
                yield picture
                return
            self._graph = _graph(*shape)
        if picture.pts is None:
            return
        picture.time_base = TIME_BASE
        self._graph.vpush(picture)
        yield from _ready(self._graph)

    def flush(self) -> Iterator[VideoFrame]:
        graph, self._graph = self._graph, None
        if graph is not None:
            graph.vpush(None)
            yield from _ready(graph)


def _graph(width: int, height: int, form: str) -> Graph:
    graph = Graph()
    graph.threads = 1
    source = graph.add_buffer(width=width, height=height, format=VideoFormat(form), time_base=TIME_BASE)
    graph.link_nodes(source, graph.add("yadif", "mode=send_frame:deint=interlaced"), graph.add("buffersink"))
    graph.configure()
    return graph


def _ready(graph: Graph) -> Iterator[VideoFrame]:
    while True:
        try:
            picture = graph.vpull()
        except (av.BlockingIOError, av.EOFError):
            return
        if picture.pts is not None and picture.time_base is not None:
            picture.pts = round(picture.pts * picture.time_base / TIME_BASE)
            picture.time_base = TIME_BASE
        yield picture
