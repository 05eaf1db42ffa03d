"""The load of ``benches/gateway``: a process of its own, on another core than the server.

Reads its order as one JSON line, warms the server up, repeats one request over a few connections, and prints what was
answered beside what the server's process used.
"""

import json
import os
import sys
from pathlib import Path

import uvloop

sys.path[:0] = [str(Path(__file__).parent.parent)]

from tests.kit.flood import Shot, flood  # noqa: E402  # the folder is not installed
from tests.kit.server import cpu_seconds  # noqa: E402

CONNECTIONS = 16
WARM_UP_S = 1.0


async def main() -> None:
    order = json.load(sys.stdin)
    os.sched_setaffinity(0, {order["core"]})
    shot = Shot(order["request"].encode("latin-1"))
    await flood("127.0.0.1", order["port"], lambda: shot, seconds=WARM_UP_S, connections=CONNECTIONS)
    began = cpu_seconds(order["pid"])
    outcome = await flood("127.0.0.1", order["port"], lambda: shot, seconds=order["seconds"], connections=CONNECTIONS)
    used = cpu_seconds(order["pid"]) - began
    faults = [each.decode("latin-1") for each in outcome.strange[:3]]
    faults += [code for code in outcome.codes if code]
    print(
        json.dumps(
            {
                "per_second": outcome.answers / outcome.seconds,
                "per_cpu_second": outcome.answers / used,
                "faults": faults,
            }
        )
    )


uvloop.run(main())
