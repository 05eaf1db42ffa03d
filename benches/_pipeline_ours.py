"""Our side of the pipeline benchmark: the pipeline without a room, fed from a file at full speed."""

import sys

import av

from rtcloud.ingest.media import SourcePacket, StreamForm
from rtcloud.ingest.pipeline import Pipeline, PipelineSettings


def main() -> None:
    path, kinds, seconds = sys.argv[1], sys.argv[2].split("+"), float(sys.argv[3])
    pipeline = Pipeline(PipelineSettings(), lambda handling: None, elapsed=lambda: 0.0)
    with av.open(path) as container:
        streams = [stream for stream in container.streams if stream.type in kinds]
        forms = {stream.index: _form(stream) for stream in streams}
        made = 0
        for packet in container.demux(streams):
            if packet.dts is None or packet.pts is None:
                continue
            base = packet.time_base
            dts_us, pts_us = round(packet.dts * base * 1_000_000), round(packet.pts * base * 1_000_000)
            if dts_us >= seconds * 1_000_000:
                break
            form = forms[packet.stream_index]
            made += len(pipeline.put(SourcePacket(form, bytes(packet), pts_us, dts_us, packet.is_keyframe)))
        made += len(pipeline.flush())
    if made < seconds * 20:
        raise SystemExit(f"only {made} packets came out")


def _form(stream: av.VideoStream | av.AudioStream) -> StreamForm:
    context = stream.codec_context
    config = bytes(context.extradata or b"")
    if stream.type == "video":
        return StreamForm("video", context.name, config, context.width, context.height)
    return StreamForm("audio", context.name, config, rate=context.sample_rate, channels=context.layout.nb_channels)


if __name__ == "__main__":
    main()
