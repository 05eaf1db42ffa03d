"""What the encoders of a mix leave of its sound."""

import av
import numpy as np
import pytest

from rtcloud.mixer.audio import BLOCK
from rtcloud.mixer.encoding import AacEncoder
from rtcloud.mixer.timeline import RATE
from tests.kit.acts import tone_of
from tests.kit.probes import tone_level

#: Samples by which each of nine steady voices began earlier: of some hundred random choices the one that suffered most
#: from an encoder that took their sum, which rises and falls, for something abrupt.
BEGAN = (1139, 2575, 1353, 4515, 4729, 3037, 2684, 1564, 4746)
STEREO_48K = b"\x11\x90"  # AudioSpecificConfig


@pytest.mark.parametrize("bitrate", [64_000, 128_000])
def test_aac_leaves_nine_steady_voices_as_loud_as_they_are(bitrate: int) -> None:
    times = np.arange(3 * RATE // BLOCK * BLOCK) / RATE
    voices = [0.1 * np.sin(2 * np.pi * tone_of(n) * (times + began / RATE)) for n, began in enumerate(BEGAN)]
    total = np.stack([sum(voices)] * 2).astype(np.float32)
    encoder = AacEncoder(RATE, 2, bitrate)
    decoder = av.CodecContext.create("aac", "r")
    assert isinstance(decoder, av.AudioCodecContext)
    decoder.sample_rate, decoder.layout, decoder.extradata = RATE, "stereo", STEREO_48K
    heard = [
        frame.to_ndarray()[0]
        for at in range(0, total.shape[1], BLOCK)
        for packet in encoder.encode(total[:, at : at + BLOCK], at)
        for frame in decoder.decode(av.Packet(packet.data))
    ]
    last = np.concatenate(heard)[-RATE:]
    levels = [tone_level(last, RATE, tone_of(number)) for number in range(len(BEGAN))]
    assert levels == pytest.approx([-20] * len(BEGAN), abs=0.5)
