# SPDX-License-Identifier: Apache-2.0
"""Sizes that follow from tables of mappings, system calls and threads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import attributed
from memory_runtimes import runtime_with
from sgxlens.enclave.mappings.events import address_space, recorded_stacks
from sgxlens.enclave.memory import live_thread_count, memory_needs, power_of_two
from sgxlens.enclave.platform import load_platform
from sgxlens.enclave.quantities import Range
from sgxlens.enclave.runtime import load_runtime
from sgxlens.enclave.runtime_work import runtime_charges
from sgxlens.enclave.system_calls.callers import background_threads
from sgxlens.enclave.transition_counts import count_transitions
from sgxlens.errors import RecordingError, UsageError
from sgxlens.recording.reader import Recording, open_recording

MakeRecording = Callable[..., Path]

_PAGE = 4096
_MIB = 1 << 20
#: What the C library maps for a thread in Gramine: sys.stack.size, and a page that guards it.
_STACK = (256 << 10) + _PAGE


def _mapping(position: int, event: str, page: int, pages: int, **more: Any) -> dict[str, Any]:
    row = {
        "process": 0, "position": position, "event": event, "address": page * _PAGE,
        "size_bytes": pages * _PAGE, "protection": "rw-" if event == "map" else "",
        "kind": "anonymous" if event == "map" else "", "name": "", "file_offset": 0,
        "from_address": None,
    }  # fmt: skip
    return {**row, **more}


def _thread(number: int, start: int, end: int | None, stack_pointer: int = 0) -> dict[str, Any]:
    return {
        "process": 0, "thread": number, "kernel_tid": number, "creator": None,
        "stack_pointer": stack_pointer, "start_position": start, "end_position": end,
    }  # fmt: skip


def _syscall(position: int, name: str, thread: int = 1, **more: Any) -> dict[str, Any]:
    row = {
        "process": 0, "phase": 0, "thread": thread, "position": position, "number": 0,
        "name": name, "caller": "/lib/libc.so.6", "result": 0, "kernel_read_bytes": 0,
        "kernel_write_bytes": 0, "path": None, **{f"arg{i}": 0 for i in range(6)},
    }  # fmt: skip
    return {**row, **more}


@pytest.fixture
def recorded(make_recording: MakeRecording) -> Any:
    def make(**tables: Any) -> Recording:
        return open_recording(make_recording({**attributed.tables(), **tables}, force=True))

    return make


@pytest.mark.parametrize(
    ("size", "expected"), [(1, 1), (2, 2), (3, 4), (4096.5, 8192), (1 << 29, 1 << 29)]
)
def test_a_power_of_two_is_not_below_the_size(size: float, expected: int) -> None:
    assert power_of_two(size) == expected


def test_parts_of_pages_are_whole_pages(recorded: Any) -> None:
    row = {**_mapping(0, "map", 8, 1), "size_bytes": 10}
    needs = memory_needs(recorded(mappings=[row]), runtime_with("at_build", "moves"))
    assert needs.committed_bytes == _PAGE


def test_a_heap_shrinks_where_it_grew(recorded: Any) -> None:
    mappings = [
        _mapping(1, "break_grow", 8, 6),
        _mapping(2, "break_shrink", 12, 2),
        _mapping(3, "break_grow", 12, 1),
    ]
    history = address_space(recorded(mappings=mappings), 0)
    assert (history.kind_bytes("heap") // _PAGE).tolist()[-1] == 5
    assert max(history.kind_bytes("heap") // _PAGE) == 6


def test_files_of_the_tracer_are_none_of_the_program(recorded: Any) -> None:
    mappings = [
        _mapping(0, "map", 8, 1, kind="file", name="/x/vgpreload_core-amd64-linux.so"),
        _mapping(0, "map", 16, 1, kind="file", name="/x/sgxlens-amd64-linux"),
        _mapping(0, "map", 24, 1, kind="file", name="/x/libm.so"),
    ]
    needs = memory_needs(recorded(mappings=mappings), runtime_with("at_build", "moves"))
    assert needs.kind_bytes["file"] == _PAGE


def test_a_mapping_in_which_a_thread_starts_is_its_stack(recorded: Any) -> None:
    mappings = [_mapping(1, "map", 8, 4), _mapping(2, "map", 8, 4), _mapping(3, "map", 16, 4)]
    # The stack pointer is just above the last byte of the second mapping.
    recording = recorded(mappings=mappings, threads=[_thread(2, 5, None, 12 * _PAGE)])
    history = address_space(recording, 0)
    kinds = [change.event.state.kind for change in history.changes]
    assert kinds[0] == kinds[2] != kinds[1]
    assert history.kind_bytes("stack").max() == 4 * _PAGE


_STACK_PAGES = 2049


def _with_stack(**changes: Any) -> dict[str, Any]:
    """Tables of a program with a thread: pages 30 to 2078 are its stack and its guard page."""
    mappings = [
        _mapping(10, "map", 30, _STACK_PAGES, protection="---"),
        _mapping(11, "protect", 31, _STACK_PAGES - 1, protection="rw-"),
    ]
    end = (30 + _STACK_PAGES) * _PAGE
    # What threads use of it reaches down to page 2070; page 40 was used before it was mapped.
    visits = [(5, 40), (20, 2078), (30, 2070)]
    tables = attributed.tables()
    (row, *_) = tables["page_visits"]
    visited = [{**row, "process": 0, "position": at, "page": page} for at, page in visits]
    threads = [_thread(1, 0, None), _thread(2, 15, None, end - 64)]
    return {"mappings": mappings, "threads": threads, "page_visits": visited, **changes}


def test_threads_have_the_stacks_that_the_runtime_gives(recorded: Any) -> None:
    recording = recorded(**_with_stack())
    assert recorded_stacks(recording, 0).deepest_bytes == 9 * _PAGE
    for name, size in (("gramine", _STACK), ("occlum", (4 << 20) + _PAGE), ("sdk", 0)):
        needs = memory_needs(recording, load_runtime(name))
        assert needs.kind_bytes["stack"] == needs.committed_bytes == size
        assert needs.deepest_stack_bytes == 9 * _PAGE
    given = memory_needs(recording, load_runtime("gramine"), stack_size_bytes=16 << 20)
    assert given.committed_bytes == (16 << 20) + _PAGE
    least = memory_needs(recording, load_runtime("gramine"), stack_size_bytes=8 * _PAGE)
    # One of 32 KiB would not do for what was used.
    assert least.committed_bytes == _STACK
    assert ("sys.stack.size", 256 << 10) in {(s.name, s.value) for s in least.settings}


def test_a_stack_of_its_own_size_stays_as_it_is(recorded: Any) -> None:
    tables = _with_stack()
    rows = [{**row, "size_bytes": row["size_bytes"] - 5 * _PAGE} for row in tables["mappings"]]
    tables["threads"][1]["stack_pointer"] -= 8 * _PAGE
    needs = memory_needs(recorded(**{**tables, "mappings": rows}), load_runtime("gramine"))
    assert needs.committed_bytes == (_STACK_PAGES - 5) * _PAGE


def test_a_stack_that_is_gone_leaves_nothing(recorded: Any) -> None:
    tables = _with_stack()
    tables["mappings"] += [
        _mapping(40, "unmap", 30, _STACK_PAGES),
        _mapping(50, "map", 30, _STACK_PAGES),
        _mapping(60, "unmap", 31, 5),
    ]
    recording = recorded(**tables)
    for size in (0, _STACK, 16 << 20):
        history = address_space(recording, 0, size)
        mapped = [history.mapped_bytes[history.position <= at][-1] for at in (49, 59, 60)]
        assert mapped == [0, _STACK_PAGES * _PAGE, (_STACK_PAGES - 5) * _PAGE]


def test_what_is_done_with_a_stack_is_done_with_what_there_is_of_it(recorded: Any) -> None:
    tables = _with_stack()
    unused = {"arg0": 31 * _PAGE, "arg1": 2040 * _PAGE, "arg2": 4}
    tables["syscalls"] = [_syscall(35, "madvise", thread=2, **unused)]
    tables["mappings"] += [_mapping(40, "unmap", 30, _STACK_PAGES)]
    changes = address_space(recorded(**tables), 0, _STACK).changes
    sizes = {change.event.action: change.event.size_bytes for change in changes}
    # Of the stack, the 65 last pages of 2,049 are there; the call spares the last 8.
    assert sizes == {"map": 65 * _PAGE, "discard": (65 - 8) * _PAGE, "unmap": 65 * _PAGE}


def test_pages_of_a_stack_are_added_once_each(recorded: Any) -> None:
    tables = _with_stack()
    length = {"result": 30 * _PAGE, "arg1": _STACK_PAGES * _PAGE, "arg2": 3, "arg3": 0x20022}
    tables["syscalls"] = [_syscall(10, "mmap", **length)]
    platform = load_platform("xeon-gold-6326")
    counts = count_transitions(recorded(**tables), platform, load_runtime("gramine-edmm"))
    (row,) = (row for row in counts.rows if row.name == "mmap")
    assert row.aex == Range.exact(65)


def test_threads_that_end_make_room_for_others(recorded: Any) -> None:
    threads = [_thread(1, 0, None), _thread(2, 5, 9), _thread(2, 9, 20), _thread(3, 8, 9)]
    recording = recorded(mappings=[], threads=threads)
    assert live_thread_count(recording, 0) == 3


def test_a_recording_without_threads_has_one(recorded: Any) -> None:
    assert live_thread_count(recorded(mappings=[]), 0) == 1


def test_the_least_number_of_threads_is_the_runtimes(recorded: Any) -> None:
    needs = memory_needs(recorded(mappings=[_mapping(0, "map", 8, 1)]), load_runtime("gramine"))
    assert needs.max_threads == 4
    settings = {setting.name: setting.value for setting in needs.settings}
    assert settings["sgx.max_threads"] == 4


def test_an_enclave_just_above_a_power_of_two_says_what_is_likely_enough(recorded: Any) -> None:
    own_bytes = load_runtime("gramine").memory.own_bytes
    size = (256 << 20) - int(own_bytes.high) // 2
    recording = recorded(mappings=[_mapping(0, "map", 8, size // _PAGE)])
    (setting, *_) = memory_needs(recording, load_runtime("gramine")).settings
    assert (setting.name, setting.value) == ("sgx.enclave_size", 512 << 20)
    assert "256 MiB are likely enough" in setting.reason


def test_a_block_that_grows_is_there_twice(recorded: Any) -> None:
    mappings = [_mapping(1, "map", 8, 4), _mapping(5, "map", 12, 4)]
    grow = _syscall(5, "mremap", arg0=8 * _PAGE, arg1=4 * _PAGE, arg2=8 * _PAGE, result=8 * _PAGE)
    recording = recorded(mappings=mappings, syscalls=[grow])
    copies = memory_needs(recording, runtime_with("at_build", "copies"))
    assert copies.committed_bytes == 12 * _PAGE
    assert copies.copied_bytes == 4 * _PAGE
    moves = memory_needs(recording, runtime_with("at_build", "moves"))
    assert moves.committed_bytes == 8 * _PAGE
    assert moves.copied_bytes == 0


def test_only_a_successful_call_discards(recorded: Any) -> None:
    calls = [
        _syscall(3, "madvise", arg0=8 * _PAGE, arg1=2 * _PAGE, arg2=4),
        _syscall(4, "madvise", arg0=8 * _PAGE, arg1=2 * _PAGE, arg2=4, result=-22),
        _syscall(5, "madvise", arg0=8 * _PAGE, arg1=2 * _PAGE, arg2=3),
    ]
    history = address_space(recorded(mappings=[_mapping(1, "map", 8, 4)], syscalls=calls), 0)
    assert [c.event.action for c in history.changes] == ["map", "discard"]


def test_what_background_threads_map_is_not_the_phases(recorded: Any) -> None:
    tables = attributed.tables()
    operators = tables["operators"]
    start = min(row["start_position"] for row in operators)
    phase = operators[-1]["phase"]
    here = operators[-1]["start_position"]
    mappings = [_mapping(0, "map", 8, 1), _mapping(here, "map", 1000, 50)]
    own = _syscall(here, "mmap", thread=operators[-1]["thread"], result=1000 * _PAGE, phase=phase)
    other = {**own, "thread": 7}
    writes = _syscall(start + 1, "pwrite64", thread=7, phase=operators[0]["phase"])
    counts = {}
    for name, calls in (("own", [own]), ("other", [writes, other])):
        recording = recorded(mappings=mappings, syscalls=calls)
        assert ((0, 7) in background_threads(recording)) == (name == "other")
        charges = runtime_charges(
            recording,
            recording.phases[phase],
            load_runtime("gramine"),
            load_platform("xeon-gold-6326"),
            128 * _MIB,
        )
        counts[name] = {charge.what: charge for charge in charges}
    cleared = counts["own"]["bytes of memory cleared"]
    assert cleared.count.high == 50 * _PAGE
    assert cleared.operator == operators[-1]["operator"]
    assert counts["own"]["first faults of enclave pages"].count.high == 50
    assert not {"bytes of memory cleared", "first faults of enclave pages"} & set(counts["other"])


def test_pages_that_background_threads_touch_are_not_the_phases(recorded: Any) -> None:
    tables = attributed.tables()
    phase = tables["operators"][-1]["phase"]
    thread = tables["operators"][-1]["thread"]
    start = min(row["start_position"] for row in tables["operators"])
    here = {row["context"] for row in tables["contexts"] if row["phase"] == phase}
    others = {row["context"] for row in tables["contexts"] if row["thread"] != thread} & here
    assert others
    (other,) = {row["thread"] for row in tables["contexts"] if row["context"] in others}
    platform, runtime = load_platform("xeon-gold-6326"), load_runtime("occlum-edmm")

    def added(calls: list[dict[str, Any]]) -> float:
        recording = recorded(
            mappings=[_mapping(0, "map", 0, 1 << 20)], syscalls=calls, page_visits=visits
        )
        charges = runtime_charges(recording, recording.phases[phase], runtime, platform, 128 * _MIB)
        return sum(c.count.likely for c in charges if c.what == "pages added to the enclave")

    visits = tables["page_visits"]
    last = max(visits, key=lambda row: int(row["position"]))
    position = max(row["end_position"] for row in tables["contexts"]) - 1
    visits = [
        *visits,
        *(
            {**last, "page": 5000 + n, "position": position, "context": max(others)}
            for n in range(3)
        ),
    ]
    writes = _syscall(start + 1, "pwrite64", thread=other, phase=tables["operators"][0]["phase"])
    assert added([]) - added([writes]) >= 3


def test_pages_that_a_repeated_inference_touches_first_are_growth_unless_mapped_anew(
    recorded: Any,
) -> None:
    tables = attributed.tables()
    phase = max(row["phase"] for row in tables["operators"])
    contexts = [row for row in tables["contexts"] if row["phase"] == phase]
    start, context = contexts[0]["start_position"], contexts[0]["context"]
    visit = {**max(tables["page_visits"], key=lambda row: int(row["position"]))}
    visits = [
        {**visit, "page": 5000 + page, "position": start + 2, "context": context}
        for page in range(7)
    ]
    platform, runtime = load_platform("xeon-gold-6326"), load_runtime("occlum-edmm")

    def added(mapped_at: int, *, is_repeated: bool) -> Any:
        recording = recorded(mappings=[_mapping(mapped_at, "map", 5000, 7)], page_visits=visits)
        charges = runtime_charges(
            recording,
            recording.phases[phase],
            runtime,
            platform,
            128 * _MIB,
            is_repeated=is_repeated,
        )
        counts = {c.count for c in charges if "touched" in c.what}
        (count,) = counts
        return count

    assert added(0, is_repeated=False) == Range.exact(7)
    assert added(0, is_repeated=True) == Range(0, 0, 7)
    assert added(start + 1, is_repeated=True) == Range.exact(7)


def test_what_is_cleared_each_time_stays_where_it_fits(recorded: Any) -> None:
    recording = recorded(mappings=[_mapping(300, "map", 1000, 500)])
    phase = next(p for p in recording.phases if p.start_position <= 300 < p.end_position)

    def loads(epc_pages: int, *, is_repeated: bool) -> tuple[float, float]:
        charges = runtime_charges(
            recording,
            phase,
            load_runtime("gramine"),
            load_platform("xeon-gold-6326").overridden(epc_bytes=epc_pages * _PAGE),
            128 * _MIB,
            is_repeated=is_repeated,
        )
        (count,) = (c.count for c in charges if c.what == "pages loaded to be cleared")
        return count.likely, count.high

    cleared = loads(1000, is_repeated=False)[0]
    assert 490 <= cleared <= 500
    assert loads(1000, is_repeated=False) == loads(500, is_repeated=True) == (cleared, cleared)
    assert loads(1000, is_repeated=True) == (0, cleared)


def test_threads_beyond_those_recorded_take_stacks_and_arenas(
    recorded: Any, make_recording: MakeRecording
) -> None:
    threads = [_thread(1, 0, None), _thread(2, 5, None), _thread(3, 6, None)]

    def added(count: int, **target: Any) -> float:
        tables = {**attributed.tables(), "threads": threads, "mappings": []}
        recording = open_recording(make_recording(tables, force=True, **target))
        needs = memory_needs(recording, load_runtime("gramine"), threads=count)
        assert needs.max_threads == 3 + 3 + needs.added_threads_bytes.low // _STACK
        return needs.added_threads_bytes.low

    # A program that chooses its threads has those that it had.
    assert added(3) == 0
    assert added(5) == 2 * _STACK
    model = {"kind": "torch", "source": "m:f", "warm_up": 1, "inferences": 2, "threads": 1}
    assert added(3, target=model) == 2 * _STACK


def test_what_may_not_be_accessed_takes_no_memory_in_the_sdk(recorded: Any) -> None:
    mappings = [
        _mapping(0, "map", 256, 256, protection="---"),
        _mapping(1, "break_grow", 1024, 256),
        _mapping(2, "map", 2048, 512),
        _mapping(3, "map", 4096, 1024, kind="file", name="/lib/libm.so"),
    ]
    recording = recorded(mappings=mappings)
    needs = memory_needs(recording, load_runtime("sdk"))
    assert needs.committed_bytes == 7 * _MIB
    settings = {setting.name: setting.value for setting in needs.settings}
    assert settings["HeapMaxSize"] == 3 * _MIB
    assert memory_needs(recording, load_runtime("occlum")).committed_bytes == 8 * _MIB


def test_addresses_must_do_for_all_that_is_mapped(recorded: Any) -> None:
    recording = recorded(mappings=[_mapping(0, "map", 256, 256 * 64)])
    settings = memory_needs(recording, load_runtime("occlum-edmm")).settings
    sizes = {setting.name: setting.value for setting in settings}
    assert sizes["resource_limits.user_space_max_size"] == 64 * _MIB


def test_occlum_clears_what_is_unmapped(recorded: Any) -> None:
    mappings = [_mapping(300, "map", 1000, 50), _mapping(310, "unmap", 1000, 50)]
    recording = recorded(mappings=mappings)
    platform = load_platform("xeon-gold-6326")
    phase = next(p for p in recording.phases if p.start_position <= 300 < p.end_position)
    for name, expected in (("occlum", 50 * _PAGE), ("sdk", 0)):
        charges = runtime_charges(recording, phase, load_runtime(name), platform, 128 * _MIB)
        cleared = sum(c.count.high for c in charges if c.what == "bytes of memory cleared")
        assert cleared == expected


def test_threads_are_at_least_one(recorded: Any) -> None:
    with pytest.raises(UsageError, match="give at least 1"):
        memory_needs(recorded(mappings=[]), load_runtime("gramine"), threads=0)


def test_a_process_that_is_not_there_is_said(recorded: Any) -> None:
    with pytest.raises(UsageError, match="no process 3"):
        memory_needs(recorded(mappings=[]), load_runtime("gramine"), process=3)


def test_without_mappings_there_are_no_sizes(make_recording: MakeRecording) -> None:
    recording = open_recording(make_recording(attributed.tables()))
    with pytest.raises(RecordingError, match="no table mappings"):
        memory_needs(recording, load_runtime("gramine"))


def test_a_position_that_cannot_be_is_damage(recorded: Any) -> None:
    with pytest.raises(RecordingError, match="a position that cannot be"):
        memory_needs(
            recorded(mappings=[_mapping((1 << 64) - 1, "map", 8, 1)]), load_runtime("gramine")
        )


def test_a_range_beyond_the_last_address_is_damage(recorded: Any) -> None:
    row = {**_mapping(0, "map", 8, 1), "address": (1 << 64) - _PAGE, "size_bytes": 2 * _PAGE}
    with pytest.raises(RecordingError, match="beyond the last address"):
        memory_needs(recorded(mappings=[row]), load_runtime("gramine"))
