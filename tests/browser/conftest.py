# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

import predictable
from browser import Browser, find_chromium
from sgxlens.cli.main import main

MakeRecording = Callable[..., Path]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    program = find_chromium()
    if program is None:
        assert os.environ.get("CI") != "true", "continuous integration must have Chromium"
        pytest.skip("no Chromium: install Debian's package chromium")
    with closing(Browser(program)) as browser:
        yield browser


@pytest.fixture
def recording(make_recording: MakeRecording) -> Path:
    return make_recording(predictable.tables(), **predictable.metadata())


@pytest.fixture
def report(recording: Path, tmp_path: Path) -> Path:
    path = tmp_path / "report.html"
    assert main(["report", str(recording), "-q", "-o", str(path)]) == 0
    return path
