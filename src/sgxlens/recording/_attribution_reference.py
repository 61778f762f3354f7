# SPDX-License-Identifier: Apache-2.0
"""The slow, obvious twin of the native attribution: it defines what that one computes."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from sgxlens.recording._reference import Decoder, Kind, page_accesses
from sgxlens.recording.phase_names import is_inference, is_warm_up
from sgxlens.reuse._reference import bin_bounds

_LINES_END = 1 << 41
_LINES_IN_PAGE = 64
_STACK_LINES_MAX = (64 << 20) // 64
_FOUND_LINES_MIN = 16
_FOUND_RUNS_MAX = 3
_WRITES = (2, 4)
_FETCH = 0
_LINE_BYTES = 64
_OPERATOR_BEGIN, _OPERATOR_END, _REGION, _REGION_END = range(1, 5)
_PROTECTION_EXEC, _FILE, _SHARED_MEMORY, _HEAP, _STACK = 4, 16, 32, 64, 128


class Region(NamedTuple):
    """What a line belongs to; `owner`: the context that uses a found region first."""

    kind: str
    name: bytes = b""
    owner: int | None = None


UNMAPPED = Region("unmapped")
_Ranges = list[tuple[range, Region]]


@dataclass
class Context:
    """What one thread does in one span."""

    phase: int
    span: int
    thread: int
    start_position: int
    end_position: int
    line_access_count: int = 0
    page_access_count: int = 0


class Source(NamedTuple):
    """One class of accesses; `source` and `distance` are None for cold ones."""

    context: int
    source: int | None
    granularity: str
    region: Region
    access: int
    distance: tuple[int, int] | None


def _lines(address: int, size_bytes: int) -> range:
    """The lines that a range lies in, in full or in part."""
    first = address // 64 % _LINES_END
    count = (size_bytes + address % 64 + 63) // 64 if size_bytes else 0
    return range(first, min(first + count, _LINES_END))


def _holder(ranges: _Ranges, line: int) -> Region | None:
    return next((region for lines, region in ranges if line in lines), None)


def _parts(ranges: _Ranges, lines: range) -> _Ranges:
    """What of `ranges` lies in `lines`."""
    parts = [(range(max(r.start, lines.start), min(r.stop, lines.stop)), k) for r, k in ranges]
    return [part for part in parts if part[0]]


def _without(ranges: _Ranges, lines: range) -> _Ranges:
    """What of `ranges` lies outside `lines`."""
    if not lines:
        return ranges
    parts = []
    for r, region in ranges:
        parts.append((range(r.start, min(r.stop, lines.start)), region))
        parts.append((range(max(r.start, lines.stop), r.stop), region))
    return [part for part in parts if part[0]]


class AttributingDecoder(Decoder):
    """A `Decoder` that remembers of each access who made it and to what memory."""

    def __init__(self, *, split_at_clock_reads: bool = False) -> None:
        super().__init__()
        self.contexts: list[Context] = []
        self.entry_contexts: list[int] = []
        self.line_regions: list[Region] = []
        self.page_regions: list[Region] = []
        #: Bytes accessed and written, by context and line: bit maps.
        self.line_bytes: dict[tuple[int, int], tuple[int, int]] = {}
        self._split = split_at_clock_reads
        # Ranges of lines that do not overlap; what is declared or found lies on top.
        self._mapped: _Ranges = []
        self._declared: _Ranges = []
        self._span = -1
        self._span_contexts: dict[int, int] = {}
        self._context = 0
        self._last_run: range | None = None
        self._run_count = self._found_run_count = 0
        # The regions found, by kind and the number of their span in its phase.
        self._found: dict[tuple[str, int], Region] = {}
        self._begin_span()

    # ---- contexts ----

    def _begin_span(self) -> None:
        self._span += 1
        self._span_contexts = {}
        self._enter_context()

    def _enter_context(self) -> None:
        if self._thread not in self._span_contexts:
            position = len(self.entries)
            self._span_contexts[self._thread] = len(self.contexts)
            phase = len(self.phases) - 1
            context = Context(phase, self._span, self._thread, position, position)
            self.contexts.append(context)
        self._context = self._span_contexts[self._thread]

    def _leave_context(self) -> None:
        self.contexts[self._context].end_position = len(self.entries)

    def _access(self, address: int, size_bytes: int, access_class: int) -> None:
        before = len(self.entries)
        super()._access(address, size_bytes, access_class)
        self._note_bytes(address, size_bytes, is_write=access_class in _WRITES)
        context = self.contexts[self._context]
        for entry in self.entries[before:]:
            line = entry >> 4
            self.entry_contexts.append(self._context)
            self.line_regions.append(self.region_of(line))
            self.page_regions.append(self._region_of_page(line // _LINES_IN_PAGE))
            context.line_access_count += 1
            context.page_access_count += not entry & 8

    def _note_bytes(self, address: int, size_bytes: int, *, is_write: bool) -> None:
        for byte in range(address, address + size_bytes):
            key = self._context, byte // _LINE_BYTES % _LINES_END
            used, written = self.line_bytes.get(key, (0, 0))
            bit = 1 << byte % _LINE_BYTES
            self.line_bytes[key] = used | bit, written | (bit if is_write else 0)

    def _record(self, kind: Kind, value: int, payload: list[int]) -> None:
        phase_count = len(self.phases)
        thread = self._thread
        super()._record(kind, value, payload)
        if kind == Kind.THREAD and self._thread != thread:
            self._leave_context()
            self._enter_context()
        elif kind == Kind.CLOCK and self._split:
            self._leave_context()
            self._begin_span()
        elif kind == Kind.MARK and len(self.phases) > phase_count:
            self._leave_context()
            self._begin_phase()
        elif kind == Kind.ANNOTATION and value in (_OPERATOR_BEGIN, _OPERATOR_END):
            self._leave_context()
            self._begin_span()
        elif kind == Kind.ANNOTATION and value in (_REGION, _REGION_END):
            lines = _lines(payload[0], payload[1])
            self._declared = _without(self._declared, lines)
            if value == _REGION and lines:
                region = Region("declared", self.annotations[-1].text)
                self._declared.append((lines, region))
        else:
            self._change_regions(kind, value, payload)

    def finish(self) -> None:
        """End the last phase."""
        super().finish()
        self._leave_context()

    def _begin_phase(self) -> None:
        ended = self.phases[-2]
        before, name = (phase.name.decode(errors="replace") for phase in self.phases[-2:])
        is_run = is_inference(before) or is_warm_up(before)
        if is_run and ended.end_position > ended.start_position:
            self._last_run = range(ended.start_position, ended.end_position)
            self._run_count += 1
        is_new = self._found_run_count < self._run_count <= _FOUND_RUNS_MAX
        if is_inference(name) and self._last_run and is_new:
            self._find_regions(self._last_run)
            self._found_run_count = self._run_count
        self._begin_span()

    # ---- regions ----

    def region_of(self, line: int) -> Region:
        """What a line is of now."""
        return _holder(self._declared, line) or _holder(self._mapped, line) or UNMAPPED

    def _region_of_page(self, page: int) -> Region:
        first = page * _LINES_IN_PAGE
        counts = Counter(self.region_of(line) for line in range(first, first + _LINES_IN_PAGE))
        return counts.most_common(1)[0][0]  # of equal counts the one met first

    def _change_regions(self, kind: Kind, value: int, payload: list[int]) -> None:
        if kind == Kind.MAP:
            lines = _lines(payload[0], payload[1])
            region = _mapping_region(value, self.mapping_changes[-1].name)
            if lines and region.kind == "stack":
                self._grow_stack(lines)
            self._map_lines(lines, region)
        elif kind == Kind.UNMAP or (kind == Kind.BREAK and not value):
            self._unmap_lines(_lines(payload[0], payload[1]))
        elif kind == Kind.BREAK:
            self._map_lines(_lines(payload[0], payload[1]), Region("heap"))
        elif kind == Kind.PROTECT and value & _PROTECTION_EXEC:
            self._make_code(_lines(payload[0], payload[1]))
        elif kind == Kind.REMAP:
            old = _holder(self._mapped, _lines(payload[0], 1).start)
            if payload[0] != payload[1]:
                self._unmap_lines(_lines(payload[0], payload[2]))
            self._map_lines(_lines(payload[1], payload[2]), old or Region("anonymous"))
        elif kind == Kind.THREAD_START:
            self._start_thread(_lines(payload[1], 1).start)

    def _make_code(self, lines: range) -> None:
        for part, region in _parts(self._mapped, lines):
            if region.kind != "code":
                code = Region("code", region.name)
                self._mapped = [*_without(self._mapped, part), (part, code)]

    def _start_thread(self, stack_line: int) -> None:
        if _holder(self._mapped, stack_line) == Region("anonymous"):
            lines = next(r for r, _ in self._mapped if stack_line in r)
            self._mapped = [*_without(self._mapped, lines), (lines, Region("stack"))]

    def _grow_stack(self, lines: range) -> None:
        """A stack grows without an event, into what is not mapped below it."""
        gaps = [(range(max(0, lines.stop - _STACK_LINES_MAX), lines.start), Region("stack"))]
        for taken, _ in self._mapped:
            gaps = _without(gaps, taken)
        self._mapped += [gap for gap in gaps if gap[0]]

    def _map_lines(self, lines: range, region: Region) -> None:
        self._unmap_lines(lines)
        if lines:
            self._mapped.append((lines, region))

    def _unmap_lines(self, lines: range) -> None:
        self._declared = _without(self._declared, lines)
        self._mapped = _without(self._mapped, lines)

    def _find_regions(self, run: range) -> None:
        """Tell apart what the accesses of `run` only read and what they write."""
        leaders: dict[int, int] = {}
        for number, context in enumerate(self.contexts):
            leaders.setdefault(context.span, number)
        written_before = {e >> 4 for e in self.entries[: run.start] if e & 7 in _WRITES}
        accesses = [(self.entries[i] >> 4, self.entries[i] & 7, i) for i in reversed(run)]
        owners = {i: leaders[self.contexts[self.entry_contexts[i]].span] for i in run}
        # Of each line the first, as later items of a dictionary replace earlier ones.
        readers = {line: owners[i] for line, _, i in accesses}
        writers = {line: owners[i] for line, access, i in accesses if access in _WRITES}
        fetched = {line for line, access, _ in accesses if access == _FETCH}
        users: dict[int, set[int]] = defaultdict(set)
        for line, _, i in accesses:
            users[line].add(owners[i])
        first_span = self.contexts[owners[run.start]].span
        for page in {line // _LINES_IN_PAGE for line in readers}:
            lines = range(page * _LINES_IN_PAGE, (page + 1) * _LINES_IN_PAGE)
            for part, region in _parts(self._declared, lines):
                if region.kind != "declared":
                    self._declared = _without(self._declared, part)
        found: list[tuple[int, Region]] = []
        for line in sorted(readers):
            page_line = line - line % _LINES_IN_PAGE
            mapped = _holder(self._mapped, page_line) or UNMAPPED
            if mapped.kind not in ("anonymous", "heap") or line in fetched:
                continue
            if line in writers:
                kind = "produced" if len(users[line]) > 1 else "scratch"
                found.append((line, Region(kind, b"", writers[line])))
            elif line in written_before:
                found.append((line, Region("constant", b"", readers[line])))
        self._declare_found(found, first_span)

    def _declare_found(self, found: list[tuple[int, Region]], first_span: int) -> None:
        runs: list[list[tuple[int, Region]]] = []
        for line, region in found:
            if not runs or runs[-1][-1] != (line - 1, region):
                runs.append([])
            runs[-1].append((line, region))
        for lines in runs:
            if len(lines) >= _FOUND_LINES_MIN:
                region = lines[0][1]
                assert region.owner is not None  # noqa: S101 - for mypy
                key = region.kind, self.contexts[region.owner].span - first_span
                region = self._found.setdefault(key, region)
                gaps = [(range(lines[0][0], lines[-1][0] + 1), region)]
                for taken, _ in self._declared:
                    gaps = _without(gaps, taken)
                self._declared += gaps

    # ---- results ----

    def sources(self) -> Counter[Source]:
        """How many accesses of each kind were made."""
        counts: Counter[Source] = Counter()
        pages = [i for i, entry in enumerate(self.entries) if not entry & 8]
        for granularity, shift, numbers, regions in (
            ("line", 0, range(len(self.entries)), self.line_regions),
            ("page", 6, pages, self.page_regions),
        ):
            stack: list[int] = []
            last_context: dict[int, int] = {}
            for i in numbers:
                block, access = self.entries[i] >> 4 >> shift, self.entries[i] & 7
                distance = source = None
                if block in last_context:
                    place = stack.index(block)
                    distance = bin_bounds(len(stack) - 1 - place)
                    source = last_context[block]
                    del stack[place]
                stack.append(block)
                context = last_context[block] = self.entry_contexts[i]
                counts[Source(context, source, granularity, regions[i], access, distance)] += 1
        return counts

    def page_use(self) -> dict[tuple[int, int], tuple[int, int, int]]:
        """For context and page: sets of the lines accessed, written and fetched."""
        use: dict[tuple[int, int], list[int]] = defaultdict(lambda: [0, 0, 0])
        for entry, context in zip(self.entries, self.entry_contexts, strict=True):
            line, access = entry >> 4, entry & 7
            bits = use[context, line // _LINES_IN_PAGE]
            bit = 1 << line % _LINES_IN_PAGE
            bits[0] |= bit
            bits[1] |= bit if access in _WRITES else 0
            bits[2] |= bit if access == _FETCH else 0
        return {key: (bits[0], bits[1], bits[2]) for key, bits in use.items()}

    def line_use(self, interval: int) -> dict[tuple[int, int], tuple[int, int]]:
        """For context and line: sets of the bytes accessed and written, of the lines followed."""
        return {
            (context, line): sets
            for (context, line), sets in self.line_bytes.items()
            if is_followed(line, interval)
        }

    def page_accesses(self) -> list[tuple[int, int, int]]:
        """All accesses to pages in order: page, class of access, context."""
        contexts = [
            context
            for entry, context in zip(self.entries, self.entry_contexts, strict=True)
            if not entry & 8
        ]
        accesses = page_accesses(self.entries)
        return [(page, access, c) for (page, access), c in zip(accesses, contexts, strict=True)]


def is_followed(line: int, interval: int) -> bool:
    """Whether the bytes of a line are followed: of one in each group of `interval` lines."""
    group, place = divmod(line, interval)
    mixed = (group & 0xFFFF_FFFF) * 0x9E37_79B1
    mixed = ((mixed ^ mixed >> 29) & 0xFFFF_FFFF) * 0x85EB_CA6B
    return (mixed >> 26) % interval == place


def _mapping_region(flags: int, name: bytes) -> Region:
    if flags & _PROTECTION_EXEC:
        return Region("code", name)
    for bit, kind in ((_STACK, "stack"), (_HEAP, "heap"), (_SHARED_MEMORY, "shared_memory")):
        if flags & bit:
            return Region(kind)
    return Region("file", name) if flags & _FILE else Region("anonymous")


def attribute(
    chunks: Iterable[Iterable[int]], *, split_at_clock_reads: bool = False
) -> AttributingDecoder:
    """Decode a whole stream. StreamError where it is malformed."""
    decoder = AttributingDecoder(split_at_clock_reads=split_at_clock_reads)
    for chunk in chunks:
        decoder.feed(chunk)
    decoder.finish()
    return decoder
