# SPDX-License-Identifier: Apache-2.0
"""Operators of real programs: those of the profile, each where it ran."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from commands import record_line, run
from recordings import compile_program, needs_tracer, record
from sgxlens.recording.reader import Recording, open_recording
from sgxlens.recording.record import replay

pytestmark = needs_tracer
onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

Row = dict[str, Any]


SLOW = pytest.mark.slow


def _rows(recording: Recording) -> list[Row]:
    rows: list[Row] = recording.table("operators").to_pylist()
    return rows


def _light(name: str) -> Path:
    return Path(onnx.__file__).parent / f"backend/test/data/light/light_{name}.onnx"


def _save(path: Path, nodes: list[Any], inputs: list[Any], outputs: list[Any]) -> Path:
    graph = onnx.helper.make_graph(nodes, "g", inputs, outputs)
    opset = [onnx.helper.make_opsetid("", 17)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=8), str(path))
    return path


def _loop_model(path: Path) -> Path:
    make, info = onnx.helper.make_node, onnx.helper.make_tensor_value_info
    real, whole, truth = (getattr(onnx.TensorProto, kind) for kind in ("FLOAT", "INT64", "BOOL"))
    body = onnx.helper.make_graph(
        [make("Identity", ["go"], ["go_on"]), make("Sin", ["x"], ["y"], name="wave")],
        "body",
        [info("i", whole, []), info("go", truth, []), info("x", real, [64])],
        [info("go_on", truth, []), info("y", real, [64])],
    )
    count = onnx.helper.make_tensor("c", whole, [], [3])
    nodes = [
        make("Constant", [], ["n"], value=count),
        make("Loop", ["n", "", "a"], ["b"], name="loop", body=body),
        make("Cos", ["b"], ["z"], name="last"),
    ]
    return _save(path, nodes, [info("a", real, [64])], [info("z", real, [64])])


def _failing_model(path: Path, good_runs: int) -> Path:
    """A model that runs `good_runs` times in one session, then raises: it draws a bad index.

    ONNX Runtime's generator starts from the seed in each session, and goes on from run to run.
    """
    import onnxruntime

    make, info = onnx.helper.make_node, onnx.helper.make_tensor_value_info
    real = onnx.TensorProto.FLOAT
    x, z = info("x", real, [4]), info("z", real, [1])
    for seed in range(100):
        nodes = [
            make("Sin", ["x"], ["s"], name="first"),
            make("RandomUniform", [], ["r"], shape=[1], low=0.0, high=5.99, seed=float(seed)),
            make("Cast", ["r"], ["i"], to=onnx.TensorProto.INT64),
            make("Gather", ["s", "i"], ["z"], name="draw"),
        ]
        _save(path, nodes, [x], [z])
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        runs = 0
        try:
            while runs <= good_runs:
                session.run(None, {"x": np.zeros(4, np.float32)})
                runs += 1
        except onnxruntime.capi.onnxruntime_pybind11_state.InvalidArgument:
            pass
        if runs == good_runs:
            return path
    pytest.fail("no seed draws as wanted")


def test_what_a_model_did_before_it_raised_is_kept(tmp_path: Path) -> None:
    model = _failing_model(tmp_path / "m.onnx", good_runs=2)
    done = run(*_model_line(tmp_path / "r", model), patience_seconds=300)
    assert done.status == 1
    assert "draw" in done.errors  # ONNX Runtime's own words
    recording = open_recording(tmp_path / "r")
    names = [phase.name for phase in recording.phases]
    assert names[-4:] == ["warm-up 1", "inference 1", "inference 2", "end"]
    assert recording.metadata.outcome.exit_code == 1
    found = [(names[row["phase"]], row["name"]) for row in _rows(recording)]
    for phase in ("warm-up 1", "inference 1"):
        assert [name for where, name in found if where == phase][-1] == "draw"
    assert "first" in [name for where, name in found if where == "inference 2"]


def _model_line(output: Path, model: Path, *options: str) -> list[str]:
    line = record_line(output, [model], *options)
    line.remove("--")
    return line


OWN = """
import sys
import numpy as np
import onnxruntime
import sgxlens

onnxruntime.disable_telemetry_events()
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
options.enable_profiling = True
options.profile_file_prefix = sys.argv[2]
session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
for number in range(2):
    sgxlens.mark(f"inference {number + 1}")
    with sgxlens.operator("step"):
        session.run(None, {"a": np.zeros(64, np.float32)})
sgxlens.mark("end")
session.end_profiling()
"""


@SLOW
def test_the_operators_of_a_program_that_profiles_itself(tmp_path: Path) -> None:
    (tmp_path / "profile_old.json").write_text("of an earlier run, and not even a profile")
    (tmp_path / "own.py").write_text(OWN)
    program = [tmp_path / "own.py", _loop_model(tmp_path / "m.onnx"), tmp_path / "profile"]
    line = record_line(tmp_path / "r", program, "--onnx-profile", str(tmp_path / "profile"))
    line.remove("--")
    done = run(*line, patience_seconds=300)
    assert done.status == 0, done.errors
    recording = open_recording(tmp_path / "r")
    assert recording.metadata.notes == []
    names = [phase.name for phase in recording.phases]
    rows = _rows(recording)
    for phase in ("inference 1", "inference 2"):
        step, *inner = (row for row in rows if names[row["phase"]] == phase)
        assert (step["name"], step["source"], step["parent"]) == ("step", "annotation", None)
        loop, *body, last = (row for row in inner)
        assert (loop["type"], loop["parent"]) == ("Loop", step["operator"])
        assert (last["name"], last["parent"]) == ("last", step["operator"])
        assert [row["type"] for row in body].count("Sin") == 3
        assert {row["parent"] for row in body} == {loop["operator"]}
        for row in body:
            assert loop["start_position"] < row["start_position"] < row["end_position"]
            assert row["end_position"] < loop["end_position"] < last["start_position"]


OTHER = """
import os, sys
event = (
    '{"cat": "Node", "pid": PID, "tid": PID, "dur": 5, "ts": 3, "ph": "X", '
    '"name": "n_kernel_time"}'
)
event = event.replace("PID", "1" if sys.argv[1] == "foreign" else str(os.getpid()))
if sys.argv[1] != "missing":
    with open(sys.argv[1], "w") as file:
        if sys.argv[1] != "empty":
            print("[", event, "]", sep=chr(10), file=file)
"""


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("missing", "no operators: the run wrote no profile missing*.json"),
        ("empty", "is empty: ONNX Runtime writes it when the session ends profiling"),
        ("foreign", "which was not recorded"),
        ("mismatching", "does not match this recording"),
    ],
)
def test_a_profile_that_does_not_match_is_told_and_the_recording_kept(
    tmp_path: Path, kind: str, expected: str
) -> None:
    command = [sys.executable, "-S", "-E", "-c", OTHER, kind]
    line = record_line(tmp_path / "r", command, "--onnx-profile", kind)
    line.remove("-q")
    done = run(*line, cwd=tmp_path)
    assert done.status == 0, done.errors
    recording = open_recording(tmp_path / "r")
    (note,) = recording.metadata.notes
    assert expected in note
    assert note in done.errors
    assert _rows(recording) == []
    assert recording.phases[-1].end_position > 0


def test_annotated_operators_stay_in_a_replay(tmp_path: Path) -> None:
    text = (
        "#include <sgxlens/mark.h>\n"
        "int main(void) {\n"
        '    sgxlens_operator_begin("outer");\n'
        '    sgxlens_operator_begin("{\\"name\\": \\"inner\\", \\"type\\": \\"Add\\"}");\n'
        "    sgxlens_operator_end();\n"
        "    sgxlens_operator_end();\n"
        "    sgxlens_operator_end();\n"
        "    return 0;\n"
        "}\n"
    )
    (tmp_path / "p.c").write_text(text)
    program = compile_program([tmp_path / "p.c"], tmp_path / "p")
    recording = record(tmp_path / "r", str(program), keep_accesses=True)
    outer, inner = _rows(recording)
    assert (outer["name"], inner["name"], inner["type"]) == ("outer", "inner", "Add")
    assert (outer["parent"], inner["parent"]) == (None, outer["operator"])
    assert outer["start_position"] < inner["start_position"] < inner["end_position"]
    assert recording.metadata.notes == ["1 annotated operator ended without having begun"]
    again = replay(recording, tmp_path / "again")
    assert _rows(again) == _rows(recording)
    assert again.metadata.notes == recording.metadata.notes


def test_a_model_takes_no_profile_of_another(tmp_path: Path) -> None:
    done = run(*_model_line(tmp_path / "r", _light("squeezenet"), "--onnx-profile", "x"))
    assert done.status == 2
    assert "--onnx-profile" in done.errors
    assert not (tmp_path / "r").exists()
