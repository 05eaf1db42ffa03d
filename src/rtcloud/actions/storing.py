"""What a request says about where its files go, checked while it can still be refused.

Every file is written on this server's disk first, so a disk that is nearly full refuses; running tasks wait for room.
Whether the store takes the files is not asked here: a store that is down for a moment refuses no recording. The worker
asks it, and events 303 and 308 tell.
"""

from rtcloud.actions.context import Call, Services
from rtcloud.apimodel import faults
from rtcloud.egress.filing import CloudStorage, Filing
from rtcloud.egress.storage import EndpointError, check_endpoint
from rtcloud.errors import ServiceError


def check_storage(services: Services, call: Call, filing: Filing, path: str) -> None:
    """``path`` is that of the member CloudStorage."""
    if services.is_full():
        raise ServiceError(
            "FailedOperation.RestrictedConcurrency",
            "the server's disk is nearly full, so no further task is recorded; free some of it, or lower disk_reserve",
        )
    storage = filing.storage
    if not isinstance(storage, CloudStorage) or not storage.endpoint_url:
        return
    try:
        check_endpoint(storage.endpoint_url, allow_private=services.allow_private)
    except EndpointError as error:
        raise faults.invalid(call.action, f"{path}.EndpointUrl", str(error)) from None
    for name, key in (("AccessKey", storage.access_key), ("SecretKey", storage.secret_key)):
        if not key:
            raise faults.missing(call.action, f"{path}.{name}")
