# SPDX-License-Identifier: Apache-2.0
"""Streams, kept streams and rings that are not as they should be: refused in one way, or read.

`make sanitize` does the same to the native core without Python, under sanitizers.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import streams
from sgxlens._native import Analysis, NativeStreamError, Ring
from sgxlens.errors import RecordingError, StreamError
from sgxlens.recording._reference import KERNEL_ACCESS_BYTES_MAX, Decoder, Kind, Op
from sgxlens.recording.accesses import STREAM_MAGIC, STREAM_VERSION, KeptStream, read_chunks
from streams import define, exit_word, operation, record, words_of

Words = npt.NDArray[np.uint64]
_WORD_MAX = (1 << 64) - 1

# Where checks of sizes and indices tend to be wrong.
_edges = st.sampled_from(
    [
        n + d
        for n in (1, 64, 4096, 0xFFFF, 1 << 24, 1 << 31, 1 << 32, 1 << 47, 1 << 63)
        for d in (-1, 0, 1)
    ]
)
_words = st.one_of(_edges, st.integers(0, _WORD_MAX))
_heads = st.builds(
    lambda kind, payload, value: kind << 56 | payload << 32 | value,
    st.integers(0, 25),
    st.one_of(st.integers(0, 12), st.sampled_from([4095, 4096, 0xFFFFFF])),
    st.one_of(st.integers(0, 12), st.sampled_from([0xFFFF, 0xFFFFFFFF])),
)


@st.composite
def _damaged(draw: st.DrawFn) -> Words:
    words = [word for words in draw(streams.valid_streams()) for word in words]
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, len(words)))
        how = draw(st.sampled_from(["flip", "replace", "head", "delete", "insert", "repeat"]))
        if how == "flip" and at < len(words):
            words[at] ^= 1 << draw(st.integers(0, 63))
        elif how == "replace" and at < len(words):
            words[at] = draw(_words)
        elif how == "head" and at < len(words):
            words[at] = draw(_heads)
        elif how == "delete":
            del words[at : at + draw(st.integers(1, 4))]
        elif how == "insert":
            words[at:at] = draw(st.lists(_words, max_size=4))
        else:
            words[at:at] = words[at : at + 20]
    return np.array(words[: draw(st.integers(0, len(words)))], dtype=np.uint64)


def _with_small_kernel_accesses(words: Words) -> Words:
    """The same stream, in which the kernel touches 1 MiB at most, if not more than is allowed.

    It may touch 2 GiB in one system call; whether it does so is not what these tests are about.
    """
    words = words.copy()
    index = 0
    while index + 2 < len(words):
        head = int(words[index])
        if head >> 56 in (Kind.KERNEL_READ, Kind.KERNEL_WRITE) and (
            1 << 20 < int(words[index + 2]) <= KERNEL_ACCESS_BYTES_MAX
        ):
            words[index + 2] = 1 << 20
        index += 1 + (head >> 32 & 0xFFFFFF)
    return words


def _check_like_twin(words: Words) -> None:
    words = _with_small_kernel_accesses(words)
    analysis, decoder = Analysis(), Decoder()
    refused = twin_refused = False
    try:
        analysis.feed(words)
    except NativeStreamError:
        refused = True
    try:
        decoder.feed(words)
    except StreamError:
        twin_refused = True
    assert refused == twin_refused
    analysis.finish()
    decoder.finish()
    streams.assert_same(analysis, decoder)  # what came before the malformed record


@given(_damaged())
@settings(max_examples=200)
def test_damaged_stream_is_read_up_to_the_damage(words: Words) -> None:
    _check_like_twin(words)


@given(st.lists(st.one_of(_heads, _words), max_size=60))
@settings(max_examples=300)
def test_random_words(words: list[int]) -> None:
    _check_like_twin(np.array(words, dtype=np.uint64))


@given(_damaged(), st.sampled_from([0.001, 0.5]))
@settings(max_examples=50)
def test_damaged_stream_sampled(words: Words, sampling_rate: float) -> None:
    analysis = Analysis(sampling_rate)
    try:
        analysis.feed(_with_small_kernel_accesses(words))
    except NativeStreamError:
        pass
    analysis.finish()
    assert sum(streams.native_reuse(analysis).values()) <= 2 * analysis.line_access_count


def _malformed() -> dict[str, list[int]]:
    load = operation(Op.LOAD, 0, 8, 0)
    full = operation(Op.LOAD, streams.BASE_NONE, 8, 60)
    sound = define(0, [exit_word(1, 1, 1)], [load])
    return {
        "cut short": [*sound, *record(Kind.RUN, 0, [1])[:-1]],
        "unknown kind": record(24),
        "kind 0": record(0),
        "run of nothing": record(Kind.RUN, 0, [1]),
        "run with a value too many": [*sound, *record(Kind.RUN, 0, [1, 2])],
        "run of the exit after the last": [*sound, *record(Kind.RUN, 1, [1])],
        "gap in the numbers": [*sound, *define(2, [exit_word(1, 1, 1)], [load])],
        "value not written at the exit": define(
            0, [exit_word(1, 0, 1), exit_word(1, 1, 1)], [load]
        ),
        "value that no exit has": define(0, [exit_word(1, 0, 1)], [load]),
        "exit beyond the operations": define(0, [exit_word(2, 1, 1)], [load]),
        "no exit": define(0, [], [load]),
        "guard without value": define(
            0, [exit_word(1, 0, 1)], [operation(Op.LOAD_IF, streams.BASE_NONE, 8, 0)]
        ),
        "size 0": define(0, [exit_word(1, 1, 1)], [operation(Op.LOAD, 0, 0, 0)]),
        "size above a page": define(0, [exit_word(1, 1, 1)], [operation(Op.LOAD, 0, 4097, 0)]),
        "unknown operation": define(0, [exit_word(1, 1, 1)], [operation(8, 0, 8, 0)]),
        # More accesses in one superblock than there is room for; no tracer writes such a record.
        "record too long": define(0, [exit_word(20000, 0, 1)], [full] * 20000),
        "kernel access too large": record(Kind.KERNEL_READ, 0, [0, KERNEL_ACCESS_BYTES_MAX + 1]),
        "name longer than its record": record(Kind.MARK, 17, [1, 2]),
        "annotation cut short": record(Kind.ANNOTATION, 1, [0, 0]),
        "annotation of kind 0": record(Kind.ANNOTATION, 0, [0, 0, 0]),
        "annotation of an unknown kind": record(Kind.ANNOTATION, 6, [0, 0, 0]),
        "annotation longer than its record": record(Kind.ANNOTATION, 1, [0, 0, 9, 1]),
        "annotation too long": record(Kind.ANNOTATION, 1, [0, 0, 8001, *[1] * 1001]),
    }


@pytest.mark.parametrize("what", _malformed())
def test_malformed(what: str) -> None:
    words = _malformed()[what]
    with pytest.raises(NativeStreamError):
        Analysis().feed(np.array(words, dtype=np.uint64))
    _check_like_twin(np.array(words, dtype=np.uint64))


def test_a_malformed_mark_loses_no_accesses() -> None:
    load = operation(Op.LOAD, streams.BASE_NONE, 8, 4096)
    records = [define(0, [exit_word(1, 0, 1)], [load])]
    records += [record(Kind.RUN, 0)] * 3
    analysis = Analysis()
    with pytest.raises(NativeStreamError):
        analysis.feed(words_of([*records, record(Kind.MARK, 17, [1, 2])]))
    analysis.finish()
    line = {(0, "line", 1, None): 1, (0, "line", 1, (0, 0)): 2}
    found = streams.native_reuse(analysis)
    assert {key: n for key, n in found.items() if key[1] == "line"} == line
    assert analysis.line_access_count == 3


def test_nothing_is_taken_after_the_end() -> None:
    analysis = streams.analyse([words_of([streams.mark(b"a")])])
    with pytest.raises(NativeStreamError, match="after the end"):
        analysis.feed(words_of([streams.mark(b"b")]))
    analysis.finish()
    assert analysis.phases()["name"] == [b"start", b"a"]


@pytest.mark.parametrize("rate", [0.0, -1.0, 1.5, float("nan"), float("inf")])
def test_sampling_rate_out_of_range(rate: float) -> None:
    with pytest.raises(ValueError, match="sampling"):
        Analysis(rate)


# ---- kept streams ----


def _kept(path: Path, chunks: list[bytes]) -> bytes:
    path.unlink(missing_ok=True)
    stream = KeptStream(path)
    for chunk in chunks:
        stream.write(chunk)
    stream.close()
    return path.read_bytes()


def _read(path: Path) -> list[Words] | None:
    try:
        return list(read_chunks(path))
    except (RecordingError, StreamError):
        return None


@pytest.fixture(scope="module")
def kept_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kept") / "0.zst"


@given(chunks=st.lists(st.lists(_words, max_size=50), max_size=5))
@settings(max_examples=50)
def test_kept_stream_returns_its_chunks(kept_path: Path, chunks: list[list[int]]) -> None:
    _kept(kept_path, [np.array(chunk, dtype="<u8").tobytes() for chunk in chunks])
    assert [chunk.tolist() for chunk in read_chunks(kept_path)] == chunks


@given(data=st.data())
@settings(max_examples=300)
def test_damaged_file(kept_path: Path, data: st.DataObject) -> None:
    content = bytearray(_kept(kept_path, [bytes(range(256)) * 8, b"", bytes(800)]))
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content) - 1)) :]
    for _ in range(data.draw(st.integers(0, 5))):
        if content:
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    kept_path.write_bytes(content)
    _read(kept_path)


@given(
    words=st.lists(_words, max_size=12),
    tail=st.binary(max_size=7),
    header=st.sampled_from([[STREAM_MAGIC, STREAM_VERSION], [STREAM_MAGIC], [], [1, 1]]),
)
@settings(max_examples=300)
def test_damaged_content(kept_path: Path, words: list[int], tail: bytes, header: list[int]) -> None:
    with pa.CompressedOutputStream(str(kept_path), "zstd") as stream:
        stream.write(np.array([*header, *words], dtype="<u8").tobytes() + tail)
    chunks = _read(kept_path)
    assert chunks is None or sum(1 + len(chunk) for chunk in chunks) == len(words)


def test_kept_stream_of_another_version(kept_path: Path) -> None:
    with pa.CompressedOutputStream(str(kept_path), "zstd") as stream:
        stream.write(np.array([STREAM_MAGIC, STREAM_VERSION + 1], dtype="<u8").tobytes())
    with pytest.raises(StreamError, match=f"version {STREAM_VERSION + 1}"):
        list(read_chunks(kept_path))


def test_missing_kept_stream(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="missing"):
        list(read_chunks(tmp_path / "0.zst"))
    with pytest.raises((RecordingError, StreamError)):
        list(read_chunks(tmp_path))


# ---- rings ----

_CONTROL_WORDS = 1024  # of 4 bytes; the layout is struct sgxlens_ring
_MAGIC, _VERSION, _CHUNK_COUNT, _CHUNK_WORDS, _PID = 0, 2, 3, 4, 5
_STATE, _PARTIAL, _PUBLISHED, _CONSUMED, _USED = 7, 8, 16, 32, 48
_MEANT = [_MAGIC, _VERSION, _CHUNK_COUNT, _CHUNK_WORDS, _STATE, _PARTIAL, _PUBLISHED, _CONSUMED]


def _ring(chunks: list[Words], state: int = 2) -> npt.NDArray[np.uint32]:
    """A ring of 4 chunks of 64 words, of which the given ones are published."""
    control = np.zeros(_CONTROL_WORDS, dtype=np.uint32)
    control[_MAGIC : _MAGIC + 2] = np.array([STREAM_MAGIC], dtype=np.uint64).view(np.uint32)
    control[[_VERSION, _CHUNK_COUNT, _CHUNK_WORDS, _PID]] = STREAM_VERSION, 4, 64, 4711
    control[_STATE] = state
    control[_PUBLISHED] = len(chunks)
    body = np.zeros((4, 64), dtype=np.uint64)
    for i, chunk in enumerate(chunks):
        body[i, : len(chunk)] = chunk
        control[_USED + i] = len(chunk)
    return np.concatenate([control, body.reshape(-1).view(np.uint32)])


def _drain(path: Path, words: npt.NDArray[np.uint32]) -> Analysis | None:
    words.tofile(path)
    analysis = Analysis()
    try:
        ring = Ring(str(path))
        ring.writer_is_gone()
        ring.drain(analysis)
    except NativeStreamError:
        return None
    analysis.finish()
    return analysis


def _marks(*names: bytes) -> Words:
    return words_of([streams.mark(name) for name in names])


@pytest.fixture(scope="module")
def ring_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ring") / "ring"


def test_whole_ring(ring_path: Path) -> None:
    analysis = _drain(ring_path, _ring([_marks(b"a", b"b"), _marks(), _marks(b"c")]))
    assert analysis is not None
    assert analysis.phases()["name"] == [b"start", b"a", b"b", b"c"]


def test_ring_of_a_killed_process_has_a_chunk_begun(ring_path: Path) -> None:
    words = _ring([_marks(b"a"), _marks(b"b", b"c")], state=1)
    words[_PUBLISHED], words[_PARTIAL] = 1, 2  # the second is not published; one mark is whole
    analysis = _drain(ring_path, words)
    assert analysis is not None
    assert analysis.phases()["name"] == [b"start", b"a", b"b"]


@given(
    at=st.lists(
        st.one_of(st.sampled_from(_MEANT), st.integers(_USED, _USED + 4)), min_size=1, max_size=3
    ),
    value=st.one_of(st.integers(0, 70), st.sampled_from([4096, (1 << 31), (1 << 32) - 1])),
    length=st.one_of(st.none(), st.integers(0, 4 * (_CONTROL_WORDS + 512))),
)
@settings(max_examples=300)
def test_damaged_ring(ring_path: Path, at: list[int], value: int, length: int | None) -> None:
    words = _ring([_marks(b"a"), _marks(b"b")], state=1)
    words[at] = value
    if length is not None:
        words = words[: length // 4]
    _drain(ring_path, words)


def test_what_cannot_be_kept_ends_the_reading(ring_path: Path) -> None:
    def keep(chunk: bytes) -> None:
        raise OSError(28, f"no space for {len(chunk)} bytes")

    _ring([_marks(b"a"), _marks(b"b")]).tofile(ring_path)
    ring, analysis = Ring(str(ring_path)), Analysis()
    with pytest.raises(OSError, match="no space for 16 bytes"):
        ring.drain(analysis, keep)
    kept: list[bytes] = []
    assert ring.drain(analysis, kept.append)
    assert b"".join(kept) == np.concatenate([_marks(b"a"), _marks(b"b")]).tobytes()


def test_no_ring(tmp_path: Path) -> None:
    with pytest.raises(NativeStreamError, match="No such file"):
        Ring(str(tmp_path / "ring"))
    with pytest.raises(NativeStreamError):
        Ring(str(tmp_path))
