"""The sum of many voices never clips, and one voice is left alone."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtcloud.mixer.audio import BLOCK, CEILING, Limiter, OpusDecoder, add
from rtcloud.mixer.timeline import RATE, Samples


def tone(amplitude: float, block: int, hertz: float = 300.0) -> Samples:
    times = np.arange(block * BLOCK, (block + 1) * BLOCK) / RATE
    return np.repeat((amplitude * np.sin(2 * np.pi * hertz * times)).astype(np.float32)[None, :], 2, axis=0)


def test_sound_below_the_ceiling_is_not_touched() -> None:
    limiter = Limiter()
    for block in range(10):
        sound = tone(0.85, block)
        assert limiter.apply(sound) is sound


@settings(max_examples=30)
@given(st.lists(st.floats(0, 20), min_size=1, max_size=40))
def test_the_sum_never_clips(amplitudes: list[float]) -> None:
    limiter = Limiter()
    for block, amplitude in enumerate(amplitudes):
        assert np.abs(limiter.apply(tone(amplitude, block))).max() <= 1.0


def test_a_loud_stretch_is_turned_down_not_bent_and_comes_back() -> None:
    limiter = Limiter()
    for block in range(20):
        loud = limiter.apply(tone(3.0, block))
    assert abs(np.abs(loud).max() - CEILING) < 0.01
    spectrum = np.abs(np.fft.rfft(loud[0]))
    assert spectrum[6] > 50 * np.delete(spectrum, [4, 5, 6, 7, 8]).max()
    for block in range(20, 220):
        soft = limiter.apply(tone(0.3, block))
    assert abs(np.abs(soft).max() - 0.3) < 0.01


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_no_number_is_silence(bad: float) -> None:
    sound = tone(0.5, 0)
    sound[0, 7] = bad
    assert np.abs(Limiter().apply(sound)).max() == 0.0


def test_adding_leaves_out_the_silent() -> None:
    total = add([tone(0.25, 0), None, tone(0.25, 0)], 2, BLOCK)
    assert np.allclose(total, tone(0.5, 0), atol=1e-6)
    assert not add([None], 2, BLOCK).any()


@given(st.binary(max_size=200))
def test_any_bytes_decode_to_sound_or_nothing(packet: bytes) -> None:
    decoder = OpusDecoder(2)
    samples = decoder.decode(packet)
    assert samples is None or samples.shape[0] == 2
