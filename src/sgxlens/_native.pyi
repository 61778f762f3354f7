"""
The native core of sgxlens: decodes access streams, computes data reuse.
"""

from typing import Annotated

import numpy
from numpy.typing import NDArray


class NativeStreamError(ValueError):
    pass

def mark(name: str) -> bool:
    """
    Starts the phase `name` of a recording. Returns whether one runs; costs a few instructions if not.
    """

class Analysis:
    """The analysis of one process's stream."""

    def __init__(self, sampling_rate: float = 1.0) -> None: ...

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

    def names(self) -> list: ...

    @property
    def line_access_count(self) -> int: ...

    @property
    def phase_count(self) -> int: ...

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
    def memory_bytes(self) -> int: ...

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
