# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import fields

from sgxlens.advice import Modification
from sgxlens.prediction.predict import Settings
from sgxlens.recording.targets.onnx_session import SessionSettings


def test_two_are_joined_and_the_second_prevails() -> None:
    first = Modification(
        batch=4,
        session={"config": {"a": "1", "b": "1"}, "enable_mem_pattern": False},
        environment={"A": "1"},
        model=("dynamic-batch", "int8-dynamic"),
        runtime="gramine",
        settings={"threads": 2},
    )
    second = Modification(
        session={"config": {"b": "2"}}, environment={"A": "2"}, model=("int8-dynamic", "ort-format")
    )
    assert first | second == Modification(
        batch=4,
        session={"config": {"a": "1", "b": "2"}, "enable_mem_pattern": False},
        environment={"A": "2"},
        model=("dynamic-batch", "int8-dynamic", "ort-format"),
        runtime="gramine",
        settings={"threads": 2},
    )
    assert (second | first).runtime == "gramine"
    SessionSettings().changed((first | second).session)
    assert set(first.settings) <= {field.name for field in fields(Settings)}


def test_what_is_of_the_runtime_needs_no_recording() -> None:
    assert not Modification(runtime="gramine-edmm", settings={"enclave_size": None}).needs_recording
    assert Modification(environment={"MALLOC_ARENA_MAX": "1"}).needs_recording
    assert Modification(batch=16).needs_recording
