"""``rtcloud recording play``: a page on this machine that lists the recordings below a directory and plays them.

It is for whoever typed the command: its address holds a secret, and only files with the names of recorded files (or of
merged ones) are given out. HLS is played by the browser itself, which all but Firefox do.
"""

import asyncio
import html
import secrets
import signal
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

from rtcloud import http
from rtcloud.aio import spawn
from rtcloud.errors import ConfigError
from rtcloud.recordings.folder import Folder, folders
from rtcloud.recordings.names import decode_id, read_name
from rtcloud.recordings.verifying import is_merged
from rtcloud.store.objects import CONTENT_TYPES

_TYPES = CONTENT_TYPES | {".m4a": "audio/mp4"}
_STYLE = (
    "body{font:16px system-ui;margin:0 auto;max-width:60rem;padding:1rem;background:#111;color:#eee}"
    "video{width:100%;max-height:60vh;background:#000;position:sticky;top:0}"
    "h2{font-size:1rem;overflow-wrap:anywhere}li{margin:.3rem 0;overflow-wrap:anywhere}"
    "button{font:inherit;text-align:left;cursor:pointer}small{opacity:.7}"
)
_SCRIPT = """
const player = document.querySelector("video");
for (const button of document.querySelectorAll("button")) {
  button.addEventListener("click", () => {
    player.src = button.dataset.src;
    player.play();
  });
}
"""


def run_page(directory: Path, listen: tuple[str, int]) -> int:
    """Until a signal."""
    if not directory.is_dir():
        raise ConfigError(f"{directory}: there is no such directory")
    return asyncio.run(_serve(directory.resolve(), listen))


async def _serve(directory: Path, listen: tuple[str, int]) -> int:
    listener = http.bind(*listen)
    host, port = listener.getsockname()[:2]
    secret = secrets.token_urlsafe(16)
    server = http.make_server(application(directory, secret), graceful_seconds=1)
    running = spawn(server.serve(sockets=[listener]), name="page of recordings")
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    print(f"http://{f'[{host}]' if ':' in host else host}:{port}/{secret}/", flush=True)
    waiting = spawn(stopped.wait(), name="end of the page")
    await asyncio.wait((running, waiting), return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    server.should_exit = True
    await running
    return 0


def application(directory: Path, secret: str) -> Starlette:
    async def page(_request: Request) -> Response:
        nonce = secrets.token_urlsafe(16)
        policy = f"default-src 'none'; media-src 'self'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'"
        headers = {"Content-Security-Policy": policy, "Referrer-Policy": "no-referrer", "Cache-Control": "no-store"}
        return HTMLResponse(await run_in_threadpool(render, directory, nonce), headers=headers)

    async def stored(request: Request) -> Response:
        path = await run_in_threadpool(_file, directory, request.path_params["path"])
        if path is None:
            return PlainTextResponse("there is no such file", 404)
        headers = {"Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff"}
        return FileResponse(path, media_type=_TYPES[path.suffix], headers=headers)

    return Starlette(routes=[Route(f"/{secret}/", page), Route(f"/{secret}/files/{{path:path}}", stored)])


def render(directory: Path, nonce: str) -> str:
    parts = [part for folder in folders(directory) for part in _folder(folder, directory)]
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Recordings</title>'
        f'<style nonce="{nonce}">{_STYLE}</style><h1>Recordings</h1><video controls playsinline></video>'
        f'{"".join(parts) or "<p>None yet.</p>"}<script nonce="{nonce}">{_SCRIPT}</script></html>'
    )


def _folder(folder: Folder, directory: Path) -> Iterator[str]:
    below = folder.path.relative_to(directory)
    yield f"<h2>{html.escape(str(below if below.parts else folder.path.name))}</h2><ul>"
    names = [file.name.text for file in folder.files if file.name.kind != "segment"]
    for text in (*names, *filter(is_merged, folder.others)):
        address = quote((Path("files") / below / text).as_posix())
        size = (folder.path / text).stat().st_size
        about = "HLS" if text.endswith(".m3u8") else f"{size / 1e6:.1f} MB"
        yield (
            f'<li><button data-src="{html.escape(address)}">{html.escape(text)}</button> '
            f"<small>{html.escape(_whose(text))} {about}</small></li>"
        )
    yield "</ul>"


def _whose(text: str) -> str:
    name = read_name(text)
    if name is None:
        return f"{decode_id(text.partition('_')[0])}, merged,"
    room = name.room if name.room.isdigit() else decode_id(name.room)
    whose = f"{decode_id(name.user)}, {name.media_id} {name.media}".rstrip() if name.user else "mixed"
    return f"room {room}, {whose},"


def _file(directory: Path, name: str) -> Path | None:
    """None for whatever is not a recorded file below the directory."""
    try:
        path = (directory / name).resolve()
        is_ours = path.is_relative_to(directory) and (read_name(path.name) is not None or is_merged(path.name))
        return path if is_ours and path.is_file() else None
    except (OSError, ValueError):  # a name too long, or with a zero byte
        return None
