"""Content encodings of uploads: decoded piece by piece while they arrive, whatever a frame claims of its content.

A body is one gzip member or zstd frame, or several, one after the other, and nothing else. Memory: a piece, and the
window, which for gzip is 32 kB and for zstd 8 MiB at most (RFC 9659 asks no more of one who decodes zstd).
"""

import sys
import zlib
from collections.abc import Callable, Iterator
from typing import Protocol

from service.errors import BrokenEncoding, UnsupportedMedia

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

IDENTITY = "identity"
_PIECE_BYTES = 2**18
_SLICE_BYTES = 2**14  # fed at once: what is left after a frame is copied, and frames may be tiny
_MOST_FRAMES = 100_000  # opening one costs as much as decoding many kB
_WINDOW_LOG = 23
_GZIP_BITS = 16 + zlib.MAX_WBITS
_ADVICE = {"zstd": "; windows up to 8 MiB are read, which is zstd -19 or below without --long"}


class Frame(Protocol):
    """One frame on its way through its decoder."""

    def take(self, data: bytes) -> bytes:
        """Give a piece of what `data` decodes to; nothing new may be handed in before `is_hungry`."""
        ...

    @property
    def is_hungry(self) -> bool:
        """Whether all that was handed in has been decoded and given."""
        ...

    @property
    def rest(self) -> bytes | None:
        """What was handed in beyond the end of the frame; None before the end."""
        ...


class GzipFrame:
    """A gzip member, its check sum included."""

    def __init__(self) -> None:
        self._decoder = zlib.decompressobj(wbits=_GZIP_BITS)

    def take(self, data: bytes) -> bytes:
        """Give the next piece."""
        return self._decoder.decompress(self._decoder.unconsumed_tail + data, _PIECE_BYTES)

    @property
    def is_hungry(self) -> bool:
        """Whether it wants more."""
        return not self._decoder.unconsumed_tail

    @property
    def rest(self) -> bytes | None:
        """What is left."""
        return self._decoder.unused_data if self._decoder.eof else None


class ZstdFrame:
    """A zstd frame; one whose window is too large is refused before it is allocated."""

    def __init__(self) -> None:
        self._decoder = zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: _WINDOW_LOG})

    def take(self, data: bytes) -> bytes:
        """Give the next piece."""
        return self._decoder.decompress(data, _PIECE_BYTES)

    @property
    def is_hungry(self) -> bool:
        """Whether it wants more."""
        return self._decoder.needs_input

    @property
    def rest(self) -> bytes | None:
        """What is left."""
        return self._decoder.unused_data if self._decoder.eof else None


_FRAMES: dict[str, Callable[[], Frame]] = {"gzip": GzipFrame, "x-gzip": GzipFrame, "zstd": ZstdFrame}


class Decoder:
    """Decodes a body that arrives in any cut; BrokenEncoding where it is not what its name says."""

    def __init__(self, encoding: str) -> None:
        self._encoding, self._open = encoding, _FRAMES[encoding]
        self._frame: Frame | None = None
        self._opened = 0

    def pieces(self, data: bytes) -> Iterator[bytes]:
        """Give what `data` decodes to, some at a time.

        >>> b"".join(Decoder("gzip").pieces(zlib.compress(b"text", wbits=31)))
        b'text'
        """
        try:
            for start in range(0, len(data), _SLICE_BYTES):
                yield from self._decoded(data[start : start + _SLICE_BYTES])
        except (zlib.error, zstd.ZstdError) as error:
            advice = _ADVICE.get(self._encoding, "")
            raise BrokenEncoding(f"the body is no sound {self._encoding}: {error}{advice}") from error

    def finish(self) -> None:
        """Say that the body has ended; refuses one that ends within a frame, or before the first."""
        if self._frame is not None or not self._opened:
            raise BrokenEncoding(f"the body ends in the middle of its {self._encoding}; send the upload again")

    def _decoded(self, data: bytes) -> Iterator[bytes]:
        while data or not (self._frame is None or self._frame.is_hungry):
            frame = self._frame or self._next_frame()
            yield frame.take(data)
            data, self._frame = (b"", frame) if frame.rest is None else (frame.rest, None)

    def _next_frame(self) -> Frame:
        self._opened += 1
        if self._opened > _MOST_FRAMES:
            raise BrokenEncoding(
                f"the body has more than {_MOST_FRAMES} {self._encoding} frames; send fewer, longer ones"
            )
        return self._open()


def checked_encoding(header: str) -> str:
    """Give the one encoding that a Content-Encoding header names; UnsupportedMedia where it is none we decode.

    >>> checked_encoding(" GZIP "), checked_encoding("")
    ('gzip', 'identity')
    """
    encoding = header.strip().lower() or IDENTITY
    if encoding != IDENTITY and encoding not in _FRAMES:
        raise UnsupportedMedia(
            f"Content-Encoding {encoding[:64]!r} is not read; send gzip or zstd, once, or the bytes as they are",
            headers={"Accept-Encoding": "gzip, zstd"},
        )
    return encoding


def decoder_of(encoding: str) -> Decoder | None:
    """Give what decodes it; None where there is nothing to decode."""
    return None if encoding == IDENTITY else Decoder(encoding)
