"""
The native core of sgxlens: decodes access streams, computes data reuse.
"""

from collections.abc import Callable, Sequence
import enum
from typing import Annotated

import numpy
from numpy.typing import NDArray


class NativeStreamError(ValueError):
    pass

def mark(name: str) -> bool:
    """
    Starts the phase `name` of a recording. Returns whether one runs; costs a few instructions if not.
    """

def annotate(kind: int, address: int, size_bytes: int, text: str) -> bool:
    """
    Adds an annotation to a recording; `kind` counts as in enum sgxlens_annotation. Returns whether a recording runs.
    """

def wait_for_its_turn() -> None:
    """
    From now on the calling thread does not interrupt others (SCHED_BATCH); a policy other than the usual one is left.
    """

def distance_bins() -> tuple[object, object]:
    """
    Least and greatest distance, in blocks, of each bin in which distances are counted: two uint64 arrays.
    """

COLD_BIN: int = 65535

class BlockLog:
    """
    Says to a ReuseStack what region each block is of, and logs what it is told.

    At each visit, the last times of timed_blocks are logged, too.
    """

    def __init__(self, timed_blocks: Sequence[int] = []) -> None: ...

    def set_regions(self, starts: Annotated[NDArray[numpy.uint64], dict(shape=(None,), order='C', device='cpu', writable=False)], regions: Annotated[NDArray[numpy.uint64], dict(shape=(None,), order='C', device='cpu', writable=False)]) -> None:
        """
        From each of the ascending starts on (uint64: block numbers), blocks are of that region (below 1024); before the first one, of region 0.
        """

    def take(self) -> object:
        """
        The calls since the last take, as rows (call, block, value). Calls: 0, a region is asked; 1, a visit starts by an access of the class `value`; 2, a block is accessed in the classes of the bit set `value`; 3, after a visit: the last time of a timed block, 0 for none; 4, times have been renumbered.
        """

class ReuseStack:
    """
    LRU reuse distances of accesses to blocks of one granularity.

    granularity is 'line' (64 bytes) or 'page' (4096 bytes). At a sampling_rate below 1 a share of the blocks is followed and distances are estimates. The other arguments are for tests.
    """

    def __init__(self, granularity: str, sampling_rate: float = 1.0, initial_block_count: int = 65536, instruction_set: str | None = None) -> None: ...

    def attribute(self, log: BlockLog, visit_distance: int | None = None) -> None:
        """
        Attributes accesses, of which there must not have been any yet. Accesses at a distance of at least visit_distance blocks (128 or more) are visits.
        """

    def begin_context(self, context: int) -> None:
        """From here on accesses belong to this context (below 2**17)."""

    def end_context(self) -> object:
        """
        Counts since the context began, as rows (context of the previous access, region, access class, bin of the distance, count). Bin 65535: cold accesses.
        """

    def access(self, entries: Annotated[NDArray[numpy.uint64], dict(shape=(None,), order='C', device='cpu', writable=False)]) -> None:
        """
        Takes accesses in program order (uint64): line number << 4 | continuation << 3 | access class. Raises ValueError, and takes none, where one is invalid.
        """

    def end_phase(self) -> dict:
        """
        Ends a phase. Returns a dictionary: arrays of one count for each access class (access_count, sampled_count, cold_count, footprint_by_class), distance_count of shape (classes, bins), footprint_any and first_touch_count in blocks, and sampling_rate. Counts other than access_count are of sampled blocks, not scaled.
        """

    def whole(self) -> tuple[int, object]:
        """
        Distinct blocks since the start: by any access, and an array by access class.
        """

    @property
    def memory_bytes(self) -> int: ...

    @property
    def peak_memory_bytes(self) -> int: ...

    @property
    def sampling_rate(self) -> float: ...

    @property
    def instruction_set(self) -> str: ...

class SegmentUse(enum.Enum):
    """When runs that recur are taken by segments."""

    NEVER = 0

    WHERE_IT_PAYS = 1

    ALWAYS = 2
    """Also where it costs more than it saves: for tests."""

class Analysis:
    """The analysis of one process's stream."""

    def __init__(self, sampling_rate: float = 1.0, segments: SegmentUse = SegmentUse.WHERE_IT_PAYS, attribute: bool = True, split_at_clock_reads: bool = False, line_use_interval: int = 64, has_threads: bool | None = None) -> None:
        """
        segments: whether runs that recur are taken by segments. Results are the same.
        attribute: whether accesses are attributed to contexts and regions (not if sampled).
        split_at_clock_reads: whether each clock read starts a span.
        line_use_interval: of one line in so many the bytes accessed are followed; 0: none.
        has_threads: whether stacks have threads of their own; None: if there are processors.
        """

    def feed(self, words: Annotated[NDArray[numpy.uint64], dict(shape=(None,), order='C', device='cpu', writable=False)]) -> None:
        """
        Takes whole records (uint64). Raises NativeStreamError where they are malformed.
        """

    def finish(self) -> None:
        """Ends the last phase."""

    def phases(self) -> dict: ...

    def reuse(self) -> dict: ...

    def footprints(self) -> dict: ...

    @property
    def start_ns(self) -> int: ...

    def traps(self) -> dict: ...

    def system_calls(self) -> dict: ...

    def clock_reads(self) -> dict: ...

    def mapping_changes(self) -> dict: ...

    def threads(self) -> dict: ...

    def signals(self) -> dict: ...

    def annotations(self) -> dict: ...

    def names(self) -> list: ...

    @property
    def is_attributed(self) -> bool: ...

    def contexts(self) -> dict: ...

    def regions(self) -> dict: ...

    def extents(self) -> dict: ...

    def reuse_sources(self) -> dict:
        """
        Columns of the table of this name; distance_bin is an index of distance_bins(), or COLD_BIN.
        """

    def page_use(self) -> dict: ...

    def line_use(self) -> dict: ...

    @property
    def line_use_interval(self) -> int: ...

    def page_visits(self) -> dict: ...

    @property
    def visit_page_count(self) -> int | None: ...

    @property
    def dropped_span_count(self) -> int: ...

    @property
    def line_access_count(self) -> int: ...

    @property
    def segment_access_count(self) -> int: ...

    @property
    def current_phase(self) -> bytes: ...

    @property
    def instruction_count(self) -> int: ...

    @property
    def page_access_count(self) -> int: ...

    @property
    def pid(self) -> int: ...

    @property
    def parent_pid(self) -> int: ...

    @property
    def program(self) -> bytes: ...

    @property
    def was_forked(self) -> bool: ...

    @property
    def ended(self) -> bool: ...

    @property
    def exit_status(self) -> int: ...

    @property
    def dropped_system_calls(self) -> int: ...

    @property
    def dropped_marks(self) -> int: ...

    @property
    def dropped_annotations(self) -> int: ...

    @property
    def memory_bytes(self) -> int: ...

    @property
    def segment_memory_bytes(self) -> int: ...

class Ring:
    """The ring of one traced process."""

    def __init__(self, path: str) -> None: ...

    def drain(self, analysis: Analysis, keep: object | None = None) -> bool:
        """
        Feeds an analysis until the process ends; returns whether it ended in order.
        """

    def writer_is_gone(self) -> None: ...

    @property
    def pid(self) -> int: ...

class PageVisits:
    """
    Collects the visits of a filter of the pages accessed last: for tests. last_time(page) gives the time of a page's last access.
    """

    def __init__(self, last_time: Callable[[int], int], filter_page_count: int = 256) -> None: ...

    def start(self, page: int, access_class: int, context: int, position: int) -> None:
        """An access to a page that is not among those accessed last."""

    def note(self, page: int, classes: int) -> None:
        """An access in these classes, a bit set."""

    def renumbering(self) -> None:
        """All times are about to change, in order."""

    def renumbered(self) -> None:
        """All times have changed."""

    def finish(self) -> None:
        """No more accesses follow."""

    def columns(self) -> dict:
        """
        The visits, a column each: context, position, page, access, written, ended and idle; the last two are 0 where no visit ends.
        """

    @property
    def filter_page_count(self) -> int: ...

    @property
    def memory_bytes(self) -> int: ...

    FILTER_PAGE_COUNT: int = 256

class NativeEpcVisitsError(ValueError):
    pass

class EpcVisits:
    """
    Page visits of one process, checked, with pages numbered from 0 in the order of their first visits.
    """

    def __init__(self, page: Annotated[NDArray[numpy.uint64], dict(shape=(None,), order='C', device='cpu', writable=False)], ended: Annotated[NDArray[numpy.uint32], dict(shape=(None,), order='C', device='cpu', writable=False)], idle: Annotated[NDArray[numpy.uint32], dict(shape=(None,), order='C', device='cpu', writable=False)], group: Annotated[NDArray[numpy.uint32], dict(shape=(None,), order='C', device='cpu', writable=False)], filter_page_count: int) -> None: ...

    def __len__(self) -> int: ...

    @property
    def group_count(self) -> int: ...

    @property
    def filter_page_count(self) -> int: ...

    @property
    def pages(self) -> NDArray[numpy.uint64]:
        """Numbers of the pages, by index."""

    def capacity_min(self, policy: str, replica_count: int = 1, high_page_count: int = 64) -> int:
        """The smallest memory that can be simulated, in pages."""

    def simulate(self, policy: str, capacities: NDArray[numpy.uint64], replica_count: int = 1, scan_page_count: int = ..., low_page_count: int = ..., high_page_count: int = ..., first_counted_visit: int = 0, end_counted_visit: int = ..., keep_events: bool = False, thread_count: int = 1, marked: NDArray[numpy.bool_] | None = None, is_stopped: Callable[[], bool] | None = None) -> list[tuple[NDArray[numpy.uint64], NDArray[numpy.uint64], NDArray[numpy.uint32], NDArray[numpy.uint32], NDArray[numpy.uint32], NDArray[numpy.uint32], NDArray[numpy.uint64]]]:
        """
        For each capacity, in pages: loads and evictions by group; then, if events are kept, the visit and the page of each load, and those of each eviction; loads of marked pages by group, where there is a mark for each page. is_stopped is asked every now and then; once it says so, nothing is found.
        """

    POLICIES: tuple = ...

    SCAN_PAGE_COUNT: int = 16

    LOW_PAGE_COUNT: int = 32

    HIGH_PAGE_COUNT: int = 64

class Places:
    """Where values are among some distinct ones."""

    def __init__(self, values: NDArray[numpy.uint64]) -> None: ...

    def of(self, column: NDArray[numpy.uint64]) -> NDArray[numpy.int64]:
        """
        For each row of the column the index of its value; -1: it is none of them.
        """

def distinct(column: NDArray[numpy.uint64]) -> tuple[NDArray[numpy.uint64], NDArray[numpy.int64], NDArray[numpy.int64]]:
    """
    The distinct values, ascending; for each where it is first; for each row the index of its value.
    """

def region_pieces(breaks: NDArray[numpy.int64], begins: NDArray[numpy.int64], positions: NDArray[numpy.uint64], regions: NDArray[numpy.int64], page: NDArray[numpy.uint64], position: NDArray[numpy.uint64], lines: NDArray[numpy.uint64]) -> tuple[NDArray[numpy.int64], NDArray[numpy.int64], NDArray[numpy.uint64]]:
    """
    Pieces of pages that hold any of the lines asked for: the row, the region (-1: none) and the bit map of the lines.
    """
