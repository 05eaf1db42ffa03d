"""Watermarks of an application: pictures in base64 come in, ids go out."""

import asyncio
import base64
import binascii

import msgspec

from rtcloud.actions.answers import iso_time, page
from rtcloud.actions.context import Call, Nothing, Services
from rtcloud.actions.refusals import refusals
from rtcloud.apimodel import faults
from rtcloud.watermarks.store import Watermark

_FORMATS = {"png": "png", "jpg": "jpeg", "jpeg": "jpeg", "bmp": "bmp"}


class CreateWatermarkRequest(msgspec.Struct, rename="pascal"):
    sdk_app_id: int
    content: str
    suffix: str = ""
    name: str = ""
    width: int | None = None
    height: int | None = None
    x_position: int = 0
    y_position: int = 0


class ModifyWatermarkRequest(msgspec.Struct, rename="pascal"):
    sdk_app_id: int
    watermark_id: str
    name: str = ""
    width: int | None = None
    height: int | None = None
    x_position: int | None = None
    y_position: int | None = None


class DescribeWatermarkRequest(msgspec.Struct, rename="pascal"):
    sdk_app_id: int
    watermark_id: str = ""
    page_number: int = 1
    page_size: int = 10


class DeleteWatermarkRequest(msgspec.Struct, rename="pascal"):
    sdk_app_id: int
    watermark_id: str


class CreateWatermarkResult(msgspec.Struct, rename="pascal"):
    watermark_id: str


class WatermarkInfo(msgspec.Struct, rename="pascal"):
    watermark_id: str
    name: str
    format: str
    width: int
    height: int
    x_position: int
    y_position: int
    create_time: str
    update_time: str
    content: str


class DescribeWatermarkResult(msgspec.Struct, rename="pascal"):
    total: int
    watermark_list: list[WatermarkInfo]


async def create_watermark(services: Services, call: Call, request: CreateWatermarkRequest) -> CreateWatermarkResult:
    try:
        content = await asyncio.to_thread(base64.b64decode, request.content, validate=True)
    except (binascii.Error, ValueError):
        raise faults.invalid(call.action, "Content", "must be base64") from None
    with refusals(call.action):
        watermark = await services.watermarks.create(
            request.sdk_app_id,
            content,
            now_ms=services.clock.now_ms(),
            name=request.name,
            width=request.width,
            height=request.height,
            x=request.x_position,
            y=request.y_position,
            wanted_format=_FORMATS.get(request.suffix),
        )
    return CreateWatermarkResult(watermark.watermark_id)


async def modify_watermark(services: Services, call: Call, request: ModifyWatermarkRequest) -> Nothing:
    with refusals(call.action):
        await services.watermarks.modify(
            request.sdk_app_id,
            request.watermark_id,
            now_ms=services.clock.now_ms(),
            name=request.name or None,
            width=request.width,
            height=request.height,
            x=request.x_position,
            y=request.y_position,
        )
    return Nothing()


async def describe_watermark(
    services: Services, call: Call, request: DescribeWatermarkRequest
) -> DescribeWatermarkResult:
    if request.watermark_id:
        with refusals(call.action):
            watermark, content = await services.watermarks.find(request.sdk_app_id, request.watermark_id)
        return DescribeWatermarkResult(1, [_info(watermark, content)])
    found = await services.watermarks.list(request.sdk_app_id)
    return DescribeWatermarkResult(len(found), [_info(w) for w in page(found, request.page_number, request.page_size)])


async def delete_watermark(services: Services, call: Call, request: DeleteWatermarkRequest) -> Nothing:
    with refusals(call.action):
        await services.watermarks.delete(request.sdk_app_id, request.watermark_id)
    return Nothing()


def _info(watermark: Watermark, content: bytes = b"") -> WatermarkInfo:
    return WatermarkInfo(
        watermark_id=watermark.watermark_id,
        name=watermark.name,
        format=watermark.format,
        width=watermark.width,
        height=watermark.height,
        x_position=watermark.x,
        y_position=watermark.y,
        create_time=iso_time(watermark.created_ms),
        update_time=iso_time(watermark.updated_ms),
        content=base64.b64encode(content).decode(),
    )
