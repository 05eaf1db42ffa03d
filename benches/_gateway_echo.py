"""What ``benches/gateway`` is compared with: a Starlette route that decodes JSON and encodes it, on our HTTP settings.

Prints its port; ends with its stdin.
"""

import asyncio
import sys
from pathlib import Path

import uvloop
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

sys.path[:0] = [str(Path(__file__).parent.parent)]

from rtcloud import http  # noqa: E402  # the folder is not installed


async def echo(request: Request) -> JSONResponse:
    return JSONResponse({"Response": {"RequestId": "", **await request.json()}})


async def main() -> None:
    server, listener = (
        http.make_server(Starlette(routes=[Route("/", echo, methods=["POST"])])),
        http.bind("127.0.0.1", 0),
    )
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    print(listener.getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    server.should_exit = True
    await serving


uvloop.run(main())
