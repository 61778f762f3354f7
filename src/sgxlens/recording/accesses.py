# SPDX-License-Identifier: Apache-2.0
"""The kept stream of a process: every access, compressed, replayable.

A file is one zstd stream. Inside it: the stream's magic and version, then for each chunk that the
tracer published the count of its words and the words (unsigned 64-bit, little-endian; their
meaning: tracer/include/sgxlens/stream.h).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from sgxlens.errors import RecordingError, StreamError

STREAM_MAGIC = 0x314D52534E454C53  # as in stream.h
STREAM_VERSION = 2
# A record is never longer, so neither is a chunk than this many words (stream.h: 24-bit payload).
_CHUNK_WORDS_MAX = 1 << 24
_PIECE_BYTES = 1 << 20


class _HashingFile:
    """A file being written, and the digest of what went into it."""

    def __init__(self, path: Path) -> None:
        self.file = open(path, "xb")  # noqa: SIM115 -- closed by close
        self.digest = hashlib.sha256()
        self.size_bytes = 0
        self.closed = False

    def write(self, data: Any) -> int:
        self.digest.update(data)
        self.size_bytes += len(data)
        return self.file.write(data)

    def flush(self) -> None:
        self.file.flush()

    def close(self) -> None:
        self.file.close()


@dataclass
class KeptStream:
    """One file of kept accesses, while it is written."""

    path: Path
    sink: _HashingFile = field(init=False)
    _stream: Any = field(init=False)

    def __post_init__(self) -> None:
        self.sink = _HashingFile(self.path)
        self._stream = pa.CompressedOutputStream(pa.PythonFile(self.sink, "w"), "zstd")
        self._stream.write(np.array([STREAM_MAGIC, STREAM_VERSION], dtype="<u8").tobytes())

    def write(self, chunk: bytes) -> None:
        """Append one chunk: whole words."""
        self._stream.write((len(chunk) // 8).to_bytes(8, "little"))
        self._stream.write(chunk)

    def close(self) -> None:
        """Finish the file."""
        self._stream.close()
        self.sink.close()


class KeptStreams:
    """The kept streams of a session, by process. ``path_of`` says where each goes."""

    def __init__(self, path_of: Callable[[int], Path]) -> None:
        self._path_of = path_of
        self.streams: dict[int, KeptStream] = {}

    def open(self, process: int) -> Callable[[bytes], None]:
        """Return what takes the chunks of that process."""
        stream = KeptStream(self._path_of(process))
        self.streams[process] = stream
        return stream.write

    def infos(self) -> dict[str, dict[str, Any]]:
        """Return size and digest of each file, by its process. Only once they are closed."""
        return {
            str(process): {
                "size_bytes": stream.sink.size_bytes,
                "sha256": stream.sink.digest.hexdigest(),
            }
            for process, stream in self.streams.items()
        }

    def close(self) -> None:
        """Finish every file."""
        for stream in self.streams.values():
            stream.close()


def read_chunks(path: Path) -> Iterator[npt.NDArray[np.uint64]]:
    """Yield the chunks of a kept stream.

    Raises RecordingError where the file cannot be read, StreamError where it is damaged.
    """
    try:
        with pa.CompressedInputStream(pa.OSFile(str(path), "rb"), "zstd") as stream:
            header = np.frombuffer(_exactly(stream, 16, path), dtype="<u8")
            if int(header[0]) != STREAM_MAGIC:
                raise StreamError(f"{path} is not a kept stream of accesses")
            if int(header[1]) != STREAM_VERSION:
                raise StreamError(
                    f"{path} has stream version {int(header[1])}; this sgxlens reads"
                    f" {STREAM_VERSION}"
                )
            while True:
                start = stream.read(8)
                if not start:
                    return
                if len(start) < 8:
                    raise StreamError(f"{path} is cut short")
                words = int.from_bytes(start, "little")
                if words > _CHUNK_WORDS_MAX:
                    raise StreamError(f"{path} is damaged: a chunk of {words:,} words")
                yield np.frombuffer(_exactly(stream, words * 8, path), dtype="<u8")
    except FileNotFoundError as error:
        raise RecordingError(f"{path} is missing") from error
    except OSError as error:  # pyarrow raises it for damaged compression too
        raise StreamError(f"{path} cannot be read: {error}") from error


def _exactly(stream: Any, size_bytes: int, path: Path) -> bytes:
    parts = []
    while size_bytes > 0:
        # In pieces: a damaged size must not take more memory than there is data.
        part = stream.read(min(size_bytes, _PIECE_BYTES))
        if not part:
            raise StreamError(f"{path} is cut short")
        parts.append(part)
        size_bytes -= len(part)
    return b"".join(parts)
