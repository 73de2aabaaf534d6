"""Content encodings: the same bytes however they were cut, and a refusal for whatever is not whole (S4)."""

import gzip
import random
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest
from backports import zstd
from hypothesis import given, settings
from hypothesis import strategies as st

from service.errors import BrokenEncoding, UnsupportedMedia
from service.problems.encodings import Decoder, checked_encoding, decoder_of

_NOISE = random.Random(1).randbytes(200_000)
_DATA = _NOISE + bytes(2_000_000) + _NOISE[:777]
_ENCODE: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "zstd": zstd.compress}
_each = pytest.mark.parametrize("encoding", _ENCODE)


def decoded(encoding: str, data: bytes, cut: int = 2**16) -> bytes:
    """Decode a body that arrives in pieces of `cut` bytes."""
    decoder = Decoder(encoding)
    whole = b"".join(piece for start in range(0, len(data), cut) for piece in decoder.pieces(data[start : start + cut]))
    decoder.finish()
    return whole


@_each
@pytest.mark.parametrize("cut", [1, 777, 2**16, 10**8])
def test_a_body_is_decoded_however_it_is_cut(encoding: str, cut: int) -> None:
    data = _DATA if cut > 1 else _DATA[190_000:210_000]
    assert decoded(encoding, _ENCODE[encoding](data), cut) == data


@_each
@settings(max_examples=50, deadline=None)
@given(st.lists(st.binary(max_size=50), min_size=1, max_size=5), st.integers(1, 40))
def test_several_frames_one_after_the_other_are_one_body(encoding: str, parts: list[bytes], cut: int) -> None:
    assert decoded(encoding, b"".join(map(_ENCODE[encoding], parts)), cut) == b"".join(parts)


def test_a_zstd_frame_that_holds_no_data_is_passed_over() -> None:
    skippable = (0x184D2A50).to_bytes(4, "little") + (5).to_bytes(4, "little") + b"notes"
    assert decoded("zstd", skippable + zstd.compress(b"data") + skippable) == b"data"


def test_the_old_name_of_gzip_is_one() -> None:
    assert decoded(checked_encoding("X-GZIP"), gzip.compress(b"data")) == b"data"


@_each
@pytest.mark.parametrize("kept", [0, 1, 10, -1, -5])
def test_a_truncated_body_is_refused(encoding: str, kept: int) -> None:
    data = _ENCODE[encoding](_NOISE)
    with pytest.raises(BrokenEncoding, match="ends in the middle"):
        decoded(encoding, data[: kept if kept >= 0 else len(data) + kept])


@_each
@pytest.mark.parametrize("garbage", [b"x", b"\0\0\0\0", b"hello, world", b"\x1f\x8b", b"PK\x03\x04"])
def test_garbage_behind_the_last_frame_is_refused(encoding: str, garbage: bytes) -> None:
    with pytest.raises(BrokenEncoding):
        decoded(encoding, _ENCODE[encoding](b"data") + garbage)


@_each
@pytest.mark.parametrize("data", [b"not encoded at all", b"\0" * 100, bytes(range(256))])
def test_what_is_not_encoded_is_refused(encoding: str, data: bytes) -> None:
    with pytest.raises(BrokenEncoding, match=f"no sound {encoding}"):
        decoded(encoding, data)


@_each
def test_changed_bytes_are_refused_or_change_nothing(encoding: str) -> None:
    sound = gzip.compress(_NOISE[:500]) if encoding == "gzip" else _with_check_sum(_NOISE[:500])
    for place in range(len(sound)):
        changed = bytearray(sound)
        changed[place] ^= 0x55
        with suppress(BrokenEncoding):
            assert decoded(encoding, bytes(changed)) == _NOISE[:500]


def _with_check_sum(data: bytes) -> bytes:
    return zstd.compress(data, options={zstd.CompressionParameter.checksum_flag: True})


def test_a_raw_deflate_stream_or_zlib_is_no_gzip() -> None:
    with pytest.raises(BrokenEncoding):
        decoded("gzip", zlib.compress(_NOISE))


def _frame_saying(content_bytes: int, window_log: int) -> bytes:
    """Give the head of a zstd frame that claims this content and this window, and an empty last block."""
    descriptor = bytes([0b11000000])
    window = bytes([(window_log - 10) << 3])
    return (0xFD2FB528).to_bytes(4, "little") + descriptor + window + content_bytes.to_bytes(8, "little") + b"\x01\0\0"


@contextmanager
def _memory_below(limit: int) -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < limit
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("window_log", [24, 27, 31, 41])
def test_a_window_above_eight_mebibytes_is_refused(window_log: int) -> None:
    with pytest.raises(BrokenEncoding, match=r"too much memory .* windows up to 8 MiB are read"):
        decoded("zstd", _frame_saying(2**window_log, window_log))


def test_a_frame_that_claims_a_huge_content_takes_no_memory_for_it() -> None:
    with _memory_below(4 * 2**20), suppress(BrokenEncoding):
        assert decoded("zstd", _frame_saying(2**62, 20)) == b""


def test_what_zstd_writes_at_its_highest_common_level_is_read() -> None:
    compressor = zstd.ZstdCompressor(level=19)
    data = compressor.compress(_NOISE) + compressor.compress(bytes(2**24)) + compressor.flush()
    assert len(decoded("zstd", data)) == len(_NOISE) + 2**24


@_each
def test_a_bomb_comes_in_small_pieces(encoding: str) -> None:
    bomb = _ENCODE[encoding](bytes(2**26))
    with _memory_below(2**20):
        assert sum(len(piece) for piece in Decoder(encoding).pieces(bomb)) == 2**26


@_each
def test_a_body_of_empty_frames_has_an_end(encoding: str) -> None:
    with pytest.raises(BrokenEncoding, match="more than 100000"):
        decoded(encoding, _ENCODE[encoding](b"") * 100_001, 2**20)


@pytest.mark.parametrize("header", ["", "identity", " Identity "])
def test_the_identity_needs_no_decoder(header: str) -> None:
    assert decoder_of(checked_encoding(header)) is None


@pytest.mark.parametrize("header", ["br", "deflate", "gzip, zstd", "gzip, gzip", "compress", "x" * 5000, "gzip;q=1"])
def test_another_encoding_is_refused_with_those_that_are_read(header: str) -> None:
    with pytest.raises(UnsupportedMedia, match="send gzip or zstd") as caught:
        checked_encoding(header)
    assert caught.value.headers == {"Accept-Encoding": "gzip, zstd"}
    assert len(caught.value.detail) < 200
