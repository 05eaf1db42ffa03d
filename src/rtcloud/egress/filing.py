"""What becomes of what a task records: which files are made of it, and who keeps them. One word for recordings and for
relays that are recorded; pure.

Files go to a bucket (``CloudStorage``) or into the media library of this server (``TencentVod``): never to both. The
structs carry the API's member names and cross the seams of a task as its JSON does.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec

from rtcloud.callbacks.events import Origin, Storage
from rtcloud.store.objects import Bucket

Format = Literal["hls", "mp4", "aac"]
VENDORS = {0: "cos", 1: "aws"}
#: Whose ``Stores`` give the media library.
LIBRARY = Bucket(name="", vendor="vod")
#: What MediaType of TencentVod and OutputFormat of RecordParams make, by their number.
MEDIA_TYPES: tuple[tuple[Format, ...], ...] = (("mp4",), ("hls",), ("aac",), ("hls", "mp4"), ("hls", "aac"))
OUTPUT_FORMATS: tuple[tuple[Format, ...], ...] = (("hls",), ("hls", "mp4"), ("hls", "aac"), ("mp4",), ("aac",))


class CloudStorage(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """The keys are secrets: they live sealed in the task row and never reach a job, a log or a response."""

    vendor: int  # 0 COS, 1 AWS
    region: str
    bucket: str
    access_key: str = ""
    secret_key: str = ""
    file_name_prefix: tuple[str, ...] = ()  # files lie at prefix1/prefix2/{TaskId}/{file}
    endpoint_url: str = ""  # an S3 server that is neither vendor's

    def __repr__(self) -> str:
        return f"CloudStorage(vendor={self.vendor}, region={self.region!r}, bucket={self.bucket!r})"


class TencentVod(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """What the media library is told of the files. All but ``expire_time`` and the last two is only kept and shown."""

    procedure: str = ""
    expire_time: int = 0  # seconds from its arrival on; 0: for ever
    storage_region: str = ""
    class_id: int = 0
    sub_app_id: int = 0
    session_context: str = ""
    source_context: str = ""
    media_type: int = 0  # an index of MEDIA_TYPES; of recordings only
    user_define_record_id: str = ""  # goes before the names of files, with __UserId_u_ between


@dataclass(frozen=True, slots=True)
class Filing:
    """``formats``: what is kept. An MP4 and an AAC are made from HLS even where that is not kept, and never both."""

    formats: tuple[Format, ...]
    storage: CloudStorage | TencentVod
    origin: Origin = Origin.API
    #: where the addresses of the files begin: of the media library, or of a bucket whose address is known, else ""
    address: str = ""

    @property
    def keeps_hls(self) -> bool:
        return "hls" in self.formats

    @property
    def extension(self) -> Literal["mp4", "aac", ""]:
        """Of the files that are made from the whole at the end, if there are any."""
        return "mp4" if "mp4" in self.formats else "aac" if "aac" in self.formats else ""

    @property
    def mark(self) -> str:
        """What stands before the files' names."""
        storage = self.storage
        return storage.user_define_record_id if isinstance(storage, TencentVod) else ""

    @property
    def lists_files(self) -> bool:
        """Whether the API tells of the files: of those that go to VOD only callbacks do."""
        return self.target is Storage.OBJECT

    @property
    def target(self) -> Storage:
        return Storage.OBJECT if isinstance(self.storage, CloudStorage) else Storage.VOD

    @property
    def bucket(self) -> Bucket:
        storage = self.storage
        if isinstance(storage, TencentVod):
            return LIBRARY
        return Bucket(
            name=storage.bucket,
            vendor=VENDORS.get(storage.vendor, ""),
            region=storage.region,
            endpoint_url=storage.endpoint_url,
            access_key=storage.access_key,
            secret_key=storage.secret_key,
        )

    def folder(self, task_id: str) -> Sequence[str]:
        """The segments of the key before the file's name, the bucket's first."""
        storage = self.storage
        return [task_id] if isinstance(storage, TencentVod) else [storage.bucket, *storage.file_name_prefix, task_id]


def with_keys(storage: CloudStorage | None, access_key: str, secret_key: str) -> CloudStorage | None:
    """Those in place of the request's own."""
    return None if storage is None else msgspec.structs.replace(storage, access_key=access_key, secret_key=secret_key)
