# SPDX-License-Identifier: Apache-2.0
"""Attribution of a program whose every access is known: contexts, regions, sources, distances."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from commands import record_line, run
from recordings import PROGRAMS, compile_program, needs_tracer
from sgxlens.recording.reader import Recording, open_recording

pytestmark = needs_tracer

LINE = 64
# Lines of code and stack that may lie between: of two loops, the requests and the marks.
NOISE_MAX = 24
PHASES = ["start", "load", "warm-up 1", "inference 1", "inference 2", "end"]


@dataclass
class Model:
    """The program's recording, and where its buffers are: name to address and lines."""

    recording: Recording
    buffers: dict[str, tuple[int, int]]

    def context(self, phase: str, operator: str) -> int:
        """The context of an operator of a phase, known by the order of the annotations."""
        begins = [
            row
            for row in self.recording.table("annotations").to_pylist()
            if row["kind"] == "operator_begin"
        ]
        runs = PHASES[2:5]
        begin = begins[2 * runs.index(phase) + ["first", "second"].index(operator)]
        (found,) = (
            row["context"]
            for row in self.recording.table("contexts").to_pylist()
            if row["start_position"] == begin["position"]
        )
        return int(found)

    def region_of(self, name: str) -> int:
        """The region that the whole buffer is of in the end."""
        address, lines = self.buffers[name]
        rows = [
            row
            for row in self.recording.table("extents").to_pylist()
            if row["address"] < address + lines * LINE
            and row["address"] + row["size_bytes"] > address
        ]
        assert (rows[-1]["address"], rows[-1]["size_bytes"]) == (address, lines * LINE)
        return int(rows[-1]["region"])

    def sources(
        self, context: int, name: str, granularity: str = "line"
    ) -> list[dict[str, object]]:
        """What the context does with a buffer."""
        region = self.region_of(name)
        return [
            row
            for row in self.recording.table("reuse_sources").to_pylist()
            if (row["context"], row["region"], row["granularity"]) == (context, region, granularity)
        ]


@pytest.fixture(scope="module", params=["found", "declared"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Model:
    folder = tmp_path_factory.mktemp("model")
    program = compile_program([PROGRAMS / "model.c"], folder / "model", "-O1")
    declare = ["declare"] if request.param == "declared" else []
    done = run(*record_line(folder / "r", [program, *declare], "-q"))
    assert done.status == 0, done
    lines = [line.split() for line in done.errors.splitlines()]
    buffers = {name: (int(address), int(count)) for name, address, count in lines}
    return Model(open_recording(folder / "r"), buffers)


def assert_distance(row: dict[str, object], expected: int) -> None:
    low, high = row["distance_min"], row["distance_max"]
    assert isinstance(low, int)
    assert isinstance(high, int)
    assert low <= expected + NOISE_MAX
    assert high >= expected


ALL_LINES = 512 + 64 + 256 + 1024 + 128


@pytest.mark.parametrize(
    ("operator", "buffer", "access", "source_phase", "source_operator", "distance"),
    [
        ("first", "weights:a", "load", "inference 1", "first", ALL_LINES - 1),
        ("first", "scratch:s", "store", "inference 1", "first", ALL_LINES - 1),
        ("first", "scratch:s", "load", "inference 2", "first", 63),
        # Read last by the second operator of the inference before.
        ("first", "activations:x", "store", "inference 1", "second", ALL_LINES - 1),
        ("second", "activations:x", "load", "inference 2", "first", 255),
        ("second", "weights:b", "load", "inference 1", "second", ALL_LINES - 1),
        ("second", "output:y", "store", "inference 1", "second", ALL_LINES - 1),
    ],
)
def test_each_source_is_what_the_code_says(  # noqa: PLR0917 -- one of each column
    model: Model,
    operator: str,
    buffer: str,
    access: str,
    source_phase: str,
    source_operator: str,
    distance: int,
) -> None:
    context = model.context("inference 2", operator)
    rows = [row for row in model.sources(context, buffer) if row["access"] == access]
    assert sum(int(str(row["count"])) for row in rows) == model.buffers[buffer][1]
    assert {row["source"] for row in rows} == {model.context(source_phase, source_operator)}
    for row in rows:
        assert_distance(row, distance)


def test_no_other_access_to_a_buffer_is_found(model: Model) -> None:
    for operator, buffers in [
        ("first", {"weights:a": 512, "scratch:s": 128, "activations:x": 256}),
        ("second", {"weights:b": 1024, "activations:x": 256, "output:y": 128}),
    ]:
        context = model.context("inference 2", operator)
        for buffer in model.buffers:
            rows = model.sources(context, buffer)
            assert sum(int(str(row["count"])) for row in rows) == buffers.get(buffer, 0)


def test_regions_are_what_the_code_says(model: Model) -> None:
    regions = model.recording.table("regions").to_pylist()
    kinds = {name: regions[model.region_of(name)] for name in model.buffers}
    if kinds["weights:a"]["kind"] == "declared":
        assert {name: row["name"] for name, row in kinds.items()} == {n: n for n in kinds}
        return
    first = model.context("warm-up 1", "first")
    second = model.context("warm-up 1", "second")
    assert {name: (row["kind"], row["first_context"]) for name, row in kinds.items()} == {
        "weights:a": ("constant", first),
        "weights:b": ("constant", second),
        "scratch:s": ("scratch", first),
        "activations:x": ("produced", first),
        "output:y": ("scratch", second),
    }


def test_page_use_holds_each_line(model: Model) -> None:
    use = {
        (row["context"], row["page"]): row for row in model.recording.table("page_use").to_pylist()
    }
    full = (1 << 64) - 1
    for operator, buffer, written in [
        ("first", "weights:a", 0),
        ("first", "scratch:s", full),
        ("second", "output:y", full),
        ("second", "activations:x", 0),
    ]:
        address, lines = model.buffers[buffer]
        context = model.context("inference 2", operator)
        for page in range(address // 4096, address // 4096 + lines // 64):
            row = use[context, page]
            assert (row["lines"], row["written_lines"], row["fetched_lines"]) == (full, written, 0)


def test_sources_add_up_to_the_histograms(model: Model) -> None:
    contexts = model.recording.table("contexts").to_pydict()["phase"]
    sums: dict[tuple[object, ...], int] = {}
    columns = ("granularity", "access", "distance_min", "distance_max")
    for row in model.recording.table("reuse_sources").to_pylist():
        key = (contexts[row["context"]], *(row[c] for c in columns))
        sums[key] = sums.get(key, 0) + row["count"]
    expected = {
        (row["phase"], *(row[c] for c in columns)): row["count"]
        for row in model.recording.table("reuse").to_pylist()
    }
    assert sums == expected
