# SPDX-License-Identifier: Apache-2.0
"""The slow, obvious twin of the native stream decoder: it defines what a stream means.

`decode` turns the words of a stream (``tracer/include/sgxlens/stream.h``) into the sequence of
accesses and the events around them, exactly as the native ``Analysis`` does; tests hold the two
against each other. What the reuse tables hold follows from the accesses of each phase.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import IntEnum

from sgxlens.errors import StreamError

LINE_BYTES = 64
PAGE_BYTES = 4096
RECORD_WORDS_MAX = 4096
KERNEL_ACCESS_BYTES_MAX = 0x7FFFF000
SYSTEM_CALLS_MAX = 5_000_000
PHASES_MAX = 20_000
ANNOTATIONS_MAX = 5_000_000
ANNOTATION_TEXT_BYTES_MAX = 8000

_LINES_IN_PAGE = PAGE_BYTES // LINE_BYTES
_ADDRESS_MASK = (1 << 47) - 1
_WORD_MASK = (1 << 64) - 1
_BASE_NONE = 0xFFFF
_EXITS_MAX = (1 << 31) - 1

FETCH, LOAD, STORE, KERNEL_READ, KERNEL_WRITE = range(5)


class Kind(IntEnum):
    """Kinds of records, as ``enum sgxlens_kind``."""

    RUN = 1
    DEFINE = 2
    THREAD = 3
    THREAD_START = 4
    THREAD_EXIT = 5
    SYSCALL_ENTER = 6
    SYSCALL_EXIT = 7
    KERNEL_READ = 8
    KERNEL_WRITE = 9
    PATH = 10
    CLOCK = 11
    MAP = 12
    UNMAP = 13
    PROTECT = 14
    REMAP = 15
    BREAK = 16
    MARK = 17
    SIGNAL = 18
    PROCESS = 19
    PROCESS_END = 20
    RECORDING = 21
    TICK = 22
    ANNOTATION = 23


class Op(IntEnum):
    """Kinds of operations of a superblock, as ``enum sgxlens_operation_kind``."""

    FETCH = 0
    LOAD = 1
    STORE = 2
    LOAD_IF = 3
    STORE_IF = 4
    CPUID = 5
    RDTSC = 6
    RDTSCP = 7


_CLASS_OF = {
    Op.FETCH: FETCH,
    Op.LOAD: LOAD,
    Op.STORE: STORE,
    Op.LOAD_IF: LOAD,
    Op.STORE_IF: STORE,
}
# Payload words without which a record makes no sense.
_WORDS_NEEDED = {
    Kind.THREAD_START: 3,
    Kind.SYSCALL_ENTER: 7,
    Kind.SYSCALL_EXIT: 1,
    Kind.KERNEL_READ: 2,
    Kind.KERNEL_WRITE: 2,
    Kind.CLOCK: 2,
    Kind.MAP: 4,
    Kind.UNMAP: 2,
    Kind.PROTECT: 2,
    Kind.REMAP: 3,
    Kind.BREAK: 2,
    Kind.PROCESS: 3,
    Kind.TICK: 1,
    Kind.ANNOTATION: 3,
}
_ANNOTATION_KINDS = range(1, 6)  # as ``enum sgxlens_annotation``


@dataclass(frozen=True)
class Operation:
    """One operation of a superblock; ``base`` is the number of a value, None for none."""

    kind: Op
    base: int | None
    size_bytes: int
    offset: int


@dataclass(frozen=True)
class Exit:
    """One way out of a superblock, and what has been done when it is left there."""

    operations: Sequence[Operation]
    value_count: int
    instruction_count: int


@dataclass
class Phase:
    """From one mark to the next. Positions are indices into the accesses of the stream."""

    name: bytes
    start_position: int
    start_ns: int
    end_position: int = 0
    end_ns: int = 0
    instruction_count: int = 0
    traps: Counter[tuple[Op, int]] = field(default_factory=Counter)  # kind, leaf | subleaf << 32


@dataclass
class SystemCall:
    """A system call; ``result`` is None where it did not return."""

    phase: int
    thread: int
    position: int
    number: int
    caller: bytes
    arguments: tuple[int, ...]
    result: int | None = None
    kernel_read_bytes: int = 0
    kernel_write_bytes: int = 0
    path: bytes | None = None


@dataclass(frozen=True)
class ClockRead:
    """A clock read by system call, as the program saw it."""

    thread: int
    position: int
    clock: int
    seconds: int
    nanoseconds: int


@dataclass(frozen=True)
class MappingChange:
    """A change of the address space; ``event`` as in the table of mappings."""

    position: int
    event: str
    flags: int
    address: int
    size_bytes: int
    name: bytes = b""
    file_offset: int = 0
    from_address: int = 0


@dataclass
class ThreadLife:
    """A thread; ``end_position`` is None while it lives."""

    thread: int
    kernel_tid: int
    creator: int
    stack_pointer: int
    start_position: int
    end_position: int | None = None


@dataclass(frozen=True)
class SignalDelivery:
    """A signal delivered to a handler."""

    thread: int
    position: int
    signal: int


@dataclass(frozen=True)
class Annotation:
    """What the program said of itself; ``kind`` as in ``enum sgxlens_annotation``."""

    thread: int
    position: int
    kind: int
    address: int
    size_bytes: int
    text: bytes


def page_accesses(entries: Iterable[int]) -> list[tuple[int, int]]:
    """Return the accesses to pages that these line entries make: page number, access class."""
    return [(e >> 4 >> 6, e & 7) for e in entries if not e & 8]


def line_accesses(entries: Iterable[int]) -> list[tuple[int, int]]:
    """Return the accesses to lines that these line entries make: line number, access class."""
    return [(e >> 4, e & 7) for e in entries]


class Decoder:
    """Decodes a stream, chunk by chunk.

    ``entries`` are all line accesses in order, each ``line << 4 | continuation << 3 | class``:
    ``continuation`` says that the line belongs to the same access as the one before it and lies in
    the same page, so that it is no further access to that page.
    """

    def __init__(self) -> None:
        self.entries: list[int] = []
        self.phases = [Phase(b"start", 0, 0)]
        self.system_calls: list[SystemCall] = []
        self.clock_reads: list[ClockRead] = []
        self.mapping_changes: list[MappingChange] = []
        self.threads: list[ThreadLife] = []
        self.signals: list[SignalDelivery] = []
        self.annotations: list[Annotation] = []
        self.pid = self.parent_pid = 0
        self.program = b""
        self.was_forked = False
        self.exit_status: int | None = None
        self.dropped_system_calls = self.dropped_marks = 0
        self.dropped_annotations = 0
        self._exits: dict[int, Exit] = {}
        self._next_exit: int | None = None
        self._ranges: list[tuple[int, int, bytes]] = []
        self._open_calls: dict[int, SystemCall] = {}
        self._live_threads: dict[int, ThreadLife] = {}
        self._thread = 0
        self._now_ns = 0
        self._finished = False

    def feed(self, chunk: Iterable[int]) -> None:
        """Take whole records. StreamError at the first that is malformed."""
        if self._finished:
            raise StreamError("records after the end of the analysis")
        words = [int(word) for word in chunk]
        index = 0
        while index < len(words):
            head = words[index]
            kind, count, value = head >> 56, head >> 32 & 0xFFFFFF, head & 0xFFFFFFFF
            payload = words[index + 1 : index + 1 + count]
            if count >= RECORD_WORDS_MAX or len(payload) < count:
                raise StreamError("a record is cut short or too long")
            if kind not in Kind.__members__.values():
                raise StreamError("unknown kind of record")
            if count < _WORDS_NEEDED.get(Kind(kind), 0):
                raise StreamError("a record is too short for its kind")
            self._record(Kind(kind), value, payload)
            index += 1 + count

    def finish(self) -> None:
        """End the last phase."""
        if not self._finished:
            self._end_phase()
        self._finished = True

    def _record(self, kind: Kind, value: int, payload: list[int]) -> None:
        if kind == Kind.RUN:
            self._run(value, payload)
        elif kind == Kind.DEFINE:
            self._define(value, payload)
        elif kind in (Kind.KERNEL_READ, Kind.KERNEL_WRITE):
            self._kernel_access(kind, *payload[:2])
        elif kind in (Kind.SYSCALL_ENTER, Kind.SYSCALL_EXIT, Kind.PATH, Kind.CLOCK):
            self._system_call_record(kind, value, payload)
        elif kind in (Kind.MAP, Kind.UNMAP, Kind.PROTECT, Kind.REMAP, Kind.BREAK):
            self._mapping_record(kind, value, payload)
        elif kind in (Kind.THREAD, Kind.THREAD_START, Kind.THREAD_EXIT):
            self._thread_record(kind, value, payload)
        elif kind == Kind.ANNOTATION:
            self._annotation(value, payload)
        else:
            self._process_record(kind, value, payload)

    # ---- accesses ----

    def _access(self, address: int, size_bytes: int, access_class: int) -> None:
        for i in range((address % LINE_BYTES + size_bytes + LINE_BYTES - 1) // LINE_BYTES):
            line = (address // LINE_BYTES + i) * LINE_BYTES % (_ADDRESS_MASK + 1) // LINE_BYTES
            continuation = i > 0 and line % _LINES_IN_PAGE != 0
            self.entries.append(line << 4 | continuation << 3 | access_class)

    def _run(self, number: int, values: list[int]) -> None:
        superblock_exit = self._exits.get(number)
        if superblock_exit is None or superblock_exit.value_count != len(values):
            raise StreamError("a superblock runs that is not defined so")
        phase = self.phases[-1]
        phase.instruction_count += superblock_exit.instruction_count
        for operation in superblock_exit.operations:
            value = 0 if operation.base is None else values[operation.base]
            if operation.kind in (Op.LOAD_IF, Op.STORE_IF) and value == 0:
                continue
            if operation.kind == Op.CPUID:
                phase.traps[operation.kind, value] += 1
            elif operation.kind in (Op.RDTSC, Op.RDTSCP):
                phase.traps[operation.kind, 0] += 1
            else:
                address = (value + operation.offset) & _WORD_MASK
                self._access(address, operation.size_bytes, _CLASS_OF[operation.kind])

    def _define(self, first_exit: int, payload: list[int]) -> None:
        if len(payload) < 2:
            raise StreamError("a superblock's definition is cut short")
        exit_count, operation_count = payload[1] & 0xFFFFFFFF, payload[1] >> 32
        if exit_count == 0 or 2 + exit_count + 2 * operation_count != len(payload):
            raise StreamError("a superblock's definition has the wrong length")
        if self._next_exit is None or not self._exits:
            self._next_exit = first_exit
        if first_exit != self._next_exit or len(self._exits) + exit_count > _EXITS_MAX:
            raise StreamError("superblocks are not numbered in order")
        exit_words = payload[2 : 2 + exit_count]
        operation_words = payload[2 + exit_count :]
        value_count = exit_words[-1] >> 16 & 0xFFFF
        operations = [
            _operation(word, offset, value_count)
            for word, offset in zip(operation_words[::2], operation_words[1::2], strict=True)
        ]
        exits = [_exit(word, operations) for word in exit_words]
        for superblock_exit in exits:
            self._exits[self._next_exit] = superblock_exit
            self._next_exit = (self._next_exit + 1) & 0xFFFFFFFF

    def _kernel_access(self, kind: Kind, address: int, size_bytes: int) -> None:
        if size_bytes > KERNEL_ACCESS_BYTES_MAX:
            raise StreamError("the kernel touches more memory than a system call can")
        if size_bytes == 0:
            return
        reads = kind == Kind.KERNEL_READ
        self._access(address, size_bytes, KERNEL_READ if reads else KERNEL_WRITE)
        call = self._open_calls.get(self._thread)
        if call is not None and reads:
            call.kernel_read_bytes += size_bytes
        elif call is not None:
            call.kernel_write_bytes += size_bytes

    # ---- events ----

    def _system_call_record(self, kind: Kind, value: int, payload: list[int]) -> None:
        position = len(self.entries)
        call = self._open_calls.get(self._thread)
        if kind == Kind.SYSCALL_ENTER:
            self._open_calls.pop(self._thread, None)
            if len(self.system_calls) >= SYSTEM_CALLS_MAX:
                self.dropped_system_calls += 1
                return
            # The address after a two-byte instruction: look where the instruction is.
            caller = self._name_at((payload[0] - 2) & _WORD_MASK)
            phase = len(self.phases) - 1
            call = SystemCall(phase, self._thread, position, value, caller, tuple(payload[1:7]))
            self._open_calls[self._thread] = call
            self.system_calls.append(call)
        elif kind == Kind.SYSCALL_EXIT and call is not None:
            if call.number == value:
                call.result = _signed(payload[0])
            del self._open_calls[self._thread]
        elif kind == Kind.PATH and call is not None:
            path = _text(payload, value)
            call.path = path if call.path is None else call.path
        elif kind == Kind.CLOCK:
            seconds, nanoseconds = _signed(payload[0]), _signed(payload[1])
            self.clock_reads.append(ClockRead(self._thread, position, value, seconds, nanoseconds))

    def _mapping_record(self, kind: Kind, value: int, payload: list[int]) -> None:
        name, file_offset, from_address = b"", 0, 0
        address, size_bytes = payload[0], payload[1]
        event = kind.name.lower()
        if kind == Kind.MAP:
            file_offset = payload[2]
            name = _text(payload[4:], payload[3])
            self._unmap(address, size_bytes)
            if 0 < size_bytes <= _WORD_MASK - address:
                self._ranges.append((address, address + size_bytes, name))
        elif kind == Kind.UNMAP:
            self._unmap(address, size_bytes)
        elif kind == Kind.REMAP:
            from_address, address, size_bytes = payload[:3]
        elif kind == Kind.BREAK:
            event = "break_grow" if value else "break_shrink"
        self.mapping_changes.append(
            MappingChange(
                position=len(self.entries),
                event=event,
                flags=value,
                address=address,
                size_bytes=size_bytes,
                name=name,
                file_offset=file_offset,
                from_address=from_address,
            )
        )

    def _unmap(self, start: int, size_bytes: int) -> None:
        if size_bytes > _WORD_MASK - start:  # beyond the last address: not possible
            return
        end = start + size_bytes
        kept = []
        for old_start, old_end, name in self._ranges:
            kept.append((old_start, min(old_end, start), name))
            kept.append((max(old_start, end), old_end, name))
        self._ranges = [part for part in kept if part[0] < part[1]]

    def _name_at(self, address: int) -> bytes:
        return next((name for s, e, name in self._ranges if s <= address < e), b"")

    def _thread_record(self, kind: Kind, value: int, payload: list[int]) -> None:
        position = len(self.entries)
        if kind == Kind.THREAD:
            self._thread = value
        elif kind == Kind.THREAD_START:
            creator, kernel_tid = payload[0] & 0xFFFFFFFF, payload[2] & 0xFFFFFFFF
            life = ThreadLife(value, kernel_tid, creator, payload[1], position)
            self._live_threads[value] = life
            self.threads.append(life)
        elif value in self._live_threads:
            self._live_threads.pop(value).end_position = position

    def _process_record(self, kind: Kind, value: int, payload: list[int]) -> None:
        if kind == Kind.MARK and len(self.phases) >= PHASES_MAX:
            self.dropped_marks += 1
        elif kind == Kind.MARK:
            name = _text(payload, value)
            self._end_phase()
            self.phases.append(Phase(name, len(self.entries), self._now_ns))
        elif kind == Kind.TICK:
            self._now_ns = payload[0]
            if len(self.phases) == 1 and self.phases[0].start_ns == 0:
                self.phases[0].start_ns = self._now_ns
        elif kind == Kind.SIGNAL:
            self.signals.append(SignalDelivery(self._thread, len(self.entries), value))
        elif kind == Kind.PROCESS:
            self.program = _text(payload[3:], payload[2])
            self.pid, self.parent_pid = _signed32(payload[0]), _signed32(payload[1])
            self.was_forked = value == 1
        elif kind == Kind.PROCESS_END:
            self.exit_status = _signed32(value)

    def _annotation(self, kind: int, payload: list[int]) -> None:
        address, size_bytes, text_bytes = payload[:3]
        if kind not in _ANNOTATION_KINDS or text_bytes > ANNOTATION_TEXT_BYTES_MAX:
            raise StreamError("an annotation of an unknown kind, or too long")
        text = _text(payload[3:], text_bytes)
        if len(self.annotations) >= ANNOTATIONS_MAX:
            self.dropped_annotations += 1
            return
        position = len(self.entries)
        self.annotations.append(Annotation(self._thread, position, kind, address, size_bytes, text))

    def _end_phase(self) -> None:
        self.phases[-1].end_position = len(self.entries)
        self.phases[-1].end_ns = self._now_ns


def decode(chunks: Iterable[Iterable[int]]) -> Decoder:
    """Decode a whole stream. StreamError where it is malformed."""
    decoder = Decoder()
    for chunk in chunks:
        decoder.feed(chunk)
    decoder.finish()
    return decoder


def _operation(word: int, offset: int, value_count: int) -> Operation:
    kind, base, size_bytes = word & 0xFFFF, word >> 16 & 0xFFFF, word >> 32
    if kind not in Op.__members__.values():
        raise StreamError("unknown operation in a superblock")
    if base != _BASE_NONE and base >= value_count:
        raise StreamError("a superblock's operation names a value that is not there")
    if base == _BASE_NONE and kind in (Op.LOAD_IF, Op.STORE_IF, Op.CPUID):
        raise StreamError("a superblock's operation lacks its value")
    if kind in _CLASS_OF and not 0 < size_bytes <= PAGE_BYTES:
        raise StreamError("a superblock's access has an impossible size")
    return Operation(Op(kind), None if base == _BASE_NONE else base, size_bytes, offset)


def _exit(word: int, operations: Sequence[Operation]) -> Exit:
    operation_count, value_count = word & 0xFFFF, word >> 16 & 0xFFFF
    if operation_count > len(operations):
        raise StreamError("a superblock's exit has more operations than the superblock")
    done = operations[:operation_count]
    if any(o.base is not None and o.base >= value_count for o in done):
        raise StreamError("a superblock's exit has fewer values than its operations need")
    return Exit(done, value_count, word >> 32 & 0xFFFF)


def _text(payload: Sequence[int], size_bytes: int) -> bytes:
    if size_bytes > 8 * len(payload):
        raise StreamError("a record is too short for its text")
    return b"".join(word.to_bytes(8, "little") for word in payload)[:size_bytes]


def _signed(word: int) -> int:
    return word - (1 << 64) if word >> 63 else word


def _signed32(word: int) -> int:
    word &= 0xFFFFFFFF
    return word - (1 << 32) if word >> 31 else word
