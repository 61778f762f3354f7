# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import cache
from pathlib import Path

import pytest

import paged
import predictable
from browser import Browser, find_chromium
from hostile import HOSTILE_NAMES
from real_models import MODELS, record_model
from recordings import needs_tracer

MakeRecording = Callable[..., Path]
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    program = find_chromium()
    if program is None:
        pytest.skip("no Chromium: install Debian's package chromium")
    with closing(Browser(program)) as browser:
        yield browser


@pytest.fixture
def node() -> str:
    """Node.js, with the packages that the front end is built with."""
    program = shutil.which("node")
    if program is None or not (ROOT / "web/node_modules").is_dir():
        pytest.skip("no Node.js packages: run tools/setup.sh dev")
    return program


@pytest.fixture(scope="session")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Records a real model, once for all tests."""

    @cache
    def recorded(name: str) -> Path:
        return record_model(name, tmp_path_factory.mktemp(name))

    return recorded


@pytest.fixture(
    params=[
        "made_up",
        *(pytest.param(name, marks=[pytest.mark.slow, needs_tracer]) for name in MODELS),
    ]
)
def recording(
    request: pytest.FixtureRequest,
    make_recording: MakeRecording,
    recorded: Callable[[str], Path],
) -> Path:
    if request.param == "made_up":
        return make_recording(predictable.tables(), **predictable.metadata())
    return recorded(request.param)


@pytest.fixture
def hostile(make_recording: MakeRecording) -> Path:
    """A recording whose names would break a careless page."""
    tables = predictable.tables()
    for index, operator in enumerate(tables["operators"]):
        operator["name"] = operator["type"] = HOSTILE_NAMES[index % len(HOSTILE_NAMES)]
    for index, region in enumerate(tables["regions"]):
        region["name"] = HOSTILE_NAMES[index % len(HOSTILE_NAMES)]
    metadata = {**predictable.metadata(), "command": [*HOSTILE_NAMES, "\x07\x1b[31m"]}
    metadata["target"] = {"kind": "onnx", "model": HOSTILE_NAMES[1]}
    del tables["native_times"]
    metadata["native"] = None
    return make_recording(tables, **metadata)


@pytest.fixture
def advised(make_recording: MakeRecording) -> Path:
    """A recording of which much is advised in a small EPC, and whose names are hostile, too."""
    tables = paged.tables()
    for operator in tables["operators"]:
        operator["name"] = HOSTILE_NAMES[0]
    metadata = {**paged.metadata(), "command": ["python3", "it's; <b>.py"]}
    return make_recording(tables, **metadata)
