"""Pictures that a request names, fetched while the caller waits."""

import asyncio
from collections.abc import Iterable

from rtcloud.actions.context import Services
from rtcloud.images.fetching import ImageError


async def fetch(
    services: Services, sdk_app_id: int, urls: Iterable[str], within_s: float
) -> tuple[dict[str, str], dict[str, str]]:
    """The file of each picture by its address; and for those that cannot be had, why not, in words that fit behind the
    name of a field. ``within_s`` is for all of them together."""
    images: dict[str, str] = {}
    reasons: dict[str, str] = {}

    async def keep(url: str) -> None:
        try:
            images[url] = await services.images.keep(sdk_app_id, url)
        except ImageError as error:
            reasons[url] = str(error)

    wanted = tuple(dict.fromkeys(urls))
    try:
        async with asyncio.timeout(within_s):
            await asyncio.gather(*(keep(url) for url in wanted))
    except TimeoutError:
        late = f"did not come within {within_s:.0f} s"
        reasons |= {url: late for url in wanted if url not in images and url not in reasons}
    return images, reasons
