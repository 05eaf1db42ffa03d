"""Pictures by address, over real connections: what is fetched is what is kept, and nothing private is reached."""

import asyncio
import io
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from PIL import Image

from rtcloud.clock import SystemClock
from rtcloud.images.fetching import Fetcher, ImageError
from rtcloud.images.keeping import Images
from rtcloud.outgoing.dialing import Dialer
from rtcloud.store.database import open_database
from rtcloud.watermarks.store import Watermarks
from tests.kit.certificates import write_certificate

pytestmark = pytest.mark.e2e


def picture() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (64, 48), "green").save(buffer, "PNG")
    return buffer.getvalue()


class Gallery(BaseHTTPRequestHandler):
    """Answers by path; ``asked`` lists the paths."""

    protocol_version = "HTTP/1.1"
    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        match self.path.partition("?")[0]:
            case "/logo.png":
                self._answer(200, picture())
            case "/shaky.png":
                first = self.asked.count(self.path) == 1
                self._answer(503 if first else 200, b"" if first else picture())
            case "/endless.png":
                self.send_response(200)
                self.end_headers()
                try:
                    while True:
                        self.wfile.write(bytes(65536))
                except OSError:
                    self.close_connection = True
            case "/elsewhere.png":
                self.send_response(302)
                self.send_header("Location", "/logo.png")
                self.send_header("Content-Length", "0")
                self.end_headers()
            case _:
                self._answer(404, b"")

    def _answer(self, status: int, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def gallery(certificate: tuple[Path, Path] | None = None) -> Iterator[tuple[str, list[str]]]:
    """Its address and what it was asked for."""
    asked: list[str] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Mine", (Gallery,), {"asked": asked}))
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    try:
        yield f"{'http' if certificate is None else 'https'}://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        serving.join()
        server.server_close()


def kept(directory: Path, *urls: str, allow_private: bool = True, trust: Path | None = None) -> list[str]:
    """For each address the file's name, or why there is none; asked for one after the other."""

    async def none() -> set[str]:
        return set()

    async def keep() -> list[str]:
        database = open_database(None)
        context = None if trust is None else ssl.create_default_context(cafile=str(trust))
        fetcher = Fetcher(Dialer(allow_private=allow_private), ssl_context=context)
        images = Images(directory, fetcher, Watermarks(database), SystemClock(), named=none)
        found = []
        for url in urls:
            try:
                found.append(await images.keep(1, url))
            except ImageError as error:
                found.append(str(error))
        await images.close()
        await database.close()
        return found

    return asyncio.run(keep())


def test_pictures_are_fetched_and_kept(tmp_path: Path) -> None:
    with gallery() as (url, asked):
        found = kept(tmp_path, f"{url}/logo.png?size=1", f"{url}/shaky.png", f"{url}/logo.png?size=1")
        assert asked == ["/logo.png?size=1", "/shaky.png", "/shaky.png"]
    assert len(set(found)) == 1
    assert (tmp_path / found[0]).read_bytes() == picture()
    assert [path.name for path in tmp_path.iterdir()] == [found[0]]


def test_what_is_no_picture_says_why(tmp_path: Path) -> None:
    with gallery() as (url, _):
        found = kept(tmp_path, f"{url}/nothing.png", f"{url}/elsewhere.png", f"{url}/endless.png")
    assert found == [
        "could not be fetched: the server answers HTTP status 404",
        "leads elsewhere (HTTP status 302), which is not followed",
        "has more than 5242880 bytes",
    ]
    assert kept(tmp_path, f"{url}/gone.png") == ["could not be fetched: no connection"]
    assert list(tmp_path.iterdir()) == []


def test_private_networks_are_not_reached_unless_allowed(tmp_path: Path) -> None:
    with gallery() as (url, asked):
        by_name = url.replace("127.0.0.1", "localhost")
        assert kept(tmp_path, f"{url}/logo.png", f"{by_name}/logo.png", allow_private=False) == [
            "leads into a private network",
            "leads into a private network",
        ]
        assert asked == []


def test_https_is_verified(tmp_path: Path) -> None:
    certificate = write_certificate(tmp_path, 1)
    images = tmp_path / "images"
    with gallery(certificate) as (url, asked):
        assert kept(images, f"{url}/logo.png") == ["could not be fetched: no connection"]
        assert asked == []
        (name,) = kept(images, f"{url}/logo.png", trust=certificate[0])
    assert (images / name).read_bytes() == picture()
