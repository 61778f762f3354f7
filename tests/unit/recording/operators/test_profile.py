# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sgxlens.recording.operators import ProfileError, profile, read_profile

REAL = Path(__file__).parent / "data/squeezenet.profile.json"


def _line(**changes: Any) -> str:
    event = {"cat": "Node", "pid": 7, "tid": 8, "dur": 5, "ts": 3, "ph": "X"}
    return json.dumps({**event, "name": "n_kernel_time", "args": {"op_name": "Add"}, **changes})


def _write(path: Path, *lines: str, end: str = "\n]\n") -> Path:
    path.write_text("[\n" + ",\n".join(lines) + end)
    return path


def test_a_real_profile_tells_nodes_with_types_shapes_and_sizes() -> None:
    found = read_profile(REAL, 42)
    assert (found.start_ns, found.notes) == (42, ())
    nodes = [event.node for event in found.events if event.node is not None]
    assert (len(found.events), len(nodes)) == (16, 14)
    assert {event.thread_id for event in found.events} == {found.pid}
    first = nodes[0]
    assert (first.name, first.type) == ("r1_nchwc", "Conv")
    assert first.provider == "CPUExecutionProvider"
    assert json.loads(first.input_shapes)[1] == {"float": [64, 3, 3, 3]}
    assert json.loads(first.output_shapes) == [{"float": [1, 64, 111, 111]}]
    assert first.parameter_bytes == (64 * 3 * 3 * 3 + 64) * 4
    assert first.activation_bytes == 3 * 224 * 224 * 4
    assert first.output_bytes == 64 * 111 * 111 * 4


def test_only_executions_are_nodes(tmp_path: Path) -> None:
    names = ["a_kernel_time", "a_fence_before", "b_fence_after"]
    path = _write(tmp_path / "p", *(_line(name=n) for n in names), _line(cat="Session"))
    found = read_profile(path)
    assert [e.node and e.node.name for e in found.events] == ["a", None, None, None]


@pytest.mark.parametrize("size", ["-1", "1.5", "x", "", "9" * 30, 5, None, [], "²"])
def test_a_size_that_is_none_is_unknown(tmp_path: Path, size: object) -> None:
    args = {"parameter_size": size, "output_size": "12", "op_name": 3, "input_type_shape": "x"}
    (event,) = read_profile(_write(tmp_path / "p", _line(args=args))).events
    assert event.node is not None
    assert (event.node.parameter_bytes, event.node.output_bytes) == (None, 12)
    assert (event.node.type, event.node.input_shapes) == ("", "")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty"),
        ("{}", "does not start with a ["),
        ("\x7fELF", "does not start with a ["),
        ("[]\n", "does not start with a ["),
        ("[\n]\n", "it has no event"),
        ("[\nnonsense\n]\n", "line 2 is no event"),
        ("[\n" + _line(ts=-(2**62)) + "\n]\n", "line 2 is no event"),
        ("[\n" + _line(ts=True) + "\n]\n", "line 2 is no event"),
        ("[\n" + _line(ts=1.5) + "\n]\n", "line 2 is no event"),
        ("[\n" + "[" * 100_000 + "\n]\n", "line 2 is no event"),
        ("[\n" + "x" * (3 << 20), "line 2 is no event"),
        ("[\n" + _line() + ",\n" + _line(pid=9) + "\n]\n", "mixes 2 processes"),
    ],
)
def test_what_is_no_profile_is_refused(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "p.json"
    path.write_text(content)
    with pytest.raises(ProfileError) as caught:
        read_profile(path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match="does not exist"):
        read_profile(tmp_path / "missing")
    with pytest.raises(ProfileError, match="not a regular file"):
        read_profile(tmp_path)
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(ProfileError, match="not a regular file"):
        read_profile(tmp_path / "fifo")


def test_a_line_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    # ONNX Runtime does not escape names.
    bad = _line().replace("n_kernel_time", 'a "b" c_kernel_time')
    found = read_profile(_write(tmp_path / "p.json", _line(), bad, _line(), bad))
    assert len(found.events) == 2
    assert found.notes == ("2 lines of the profile p.json cannot be read, the first is line 3",)


def test_a_profile_that_is_cut_short_is_good_up_to_there(tmp_path: Path) -> None:
    found = read_profile(_write(tmp_path / "p.json", _line(), _line(), end=",\n"))
    assert len(found.events) == 2
    assert found.notes == ("the profile p.json is cut short: later operators are missing",)


def test_a_full_profile_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profile, "EVENT_COUNT_MAX", 3)
    (note,) = read_profile(_write(tmp_path / "p.json", *[_line()] * 3)).notes
    assert "is full: ONNX Runtime keeps 3 events" in note
    assert read_profile(_write(tmp_path / "p.json", *[_line()] * 2)).notes == ()
    assert len(read_profile(_write(tmp_path / "p.json", *[_line()] * 5)).events) == 3


_ORIGINAL = REAL.read_bytes()


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    edits=st.lists(
        st.tuples(st.integers(0, len(_ORIGINAL)), st.integers(0, 40), st.binary(max_size=8)),
        min_size=1,
        max_size=5,
    )
)
def test_a_damaged_profile_is_refused_or_read(
    tmp_path: Path, edits: list[tuple[int, int, bytes]]
) -> None:
    content = _ORIGINAL
    for at, size, new in edits:
        content = content[:at] + new + content[at + size :]
    path = tmp_path / "p.json"
    path.write_bytes(content)
    try:
        found = read_profile(path)
    except ProfileError as error:
        assert "\n" not in str(error)  # noqa: PT017 - or not raised at all
    else:
        assert found.events
        assert all(event.node is None or isinstance(event.node.name, str) for event in found.events)
