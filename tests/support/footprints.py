# SPDX-License-Identifier: Apache-2.0
"""Recordings of made-up programs that take memory: arenas, threads, and models that are loaded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import paged
import predictable

MakeRecording = Callable[..., Path]
MIB = 1 << 20
#: An address beyond those that the made-up program uses.
FREE_ADDRESS = 1 << 40


def mapped(event: str, address: int, size_bytes: int, protection: str = "") -> dict[str, Any]:
    """A row of table ``mappings``."""
    kind = "anonymous" if event == "map" else ""
    return {
        **predictable.MAPPING,
        "position": 1,
        "event": event,
        "address": address,
        "size_bytes": size_bytes,
        "protection": protection,
        "kind": kind,
    }


def arena(used_bytes: int, number: int = 0) -> list[dict[str, Any]]:
    """What glibc does for the arena of a thread of which so much is used."""
    base = FREE_ADDRESS + (number + 1) * 192 * MIB // (64 * MIB) * (64 * MIB)
    start = base - 16 * MIB
    return [
        mapped("map", start, 128 * MIB, "---"),
        mapped("unmap", start, 16 * MIB),
        mapped("unmap", base + 64 * MIB, 48 * MIB),
        mapped("protect", base, used_bytes - MIB, "rw-"),
        mapped("protect", base + used_bytes - MIB, MIB, "rw-"),
    ]


def thread(number: int, creator: int | None, start: int, stack: int = 0) -> dict[str, Any]:
    """A row of table ``threads``."""
    return {
        "process": 0, "thread": number, "kernel_tid": number, "creator": creator,
        "stack_pointer": stack, "start_position": start, "end_position": None,
    }  # fmt: skip


def call(position: int, thread_number: int, name: str, path: str | None = None) -> dict[str, Any]:
    """A row of table ``syscalls``."""
    (row,) = predictable.syscalls(1)[:1]
    fields = {"phase": 1, "position": position, "thread": thread_number, "path": path}
    return {**row, **fields, "number": 1, "name": name, "result": 0}


COPIED_PAGES = 200
PAGE = 4096


def loading(
    make_recording: MakeRecording,
    kind: str = "MatMul",
    copied: int = COPIED_PAGES,
    *,
    model_bytes: int = 0,
    uploading: int | None = None,
) -> Path:
    """A recording of an ONNX model whose load maps weights, copies, and 64 MiB that it frees.

    Args:
        make_recording: the fixture.
        kind: type of the operators.
        copied: pages of copies.
        model_bytes: size of the model file; 0: not known.
        uploading: threads of telemetry beside its first, each with an arena, in the last inference;
            None: there is none.
    """
    tables = paged.tables(kind, copied_page_count=copied)
    (load,) = (row for row in tables["phases"] if row["name"] == "load")
    start, end = load["start_position"], load["end_position"]
    weights = mapped("map", paged.FIRST_WEIGHT_PAGE * PAGE, paged.WEIGHT_PAGES * PAGE, "rw-")
    tables["mappings"] = [
        mapped("map", 0, 4 * PAGE, "rw-") | {"position": 0},
        weights | {"position": start},
        mapped("map", paged.COPIES_PAGE * PAGE, 2 * COPIED_PAGES * PAGE, "rw-")
        | {"position": start},
        *(
            [
                mapped("map", FREE_ADDRESS, 64 * MIB, "rw-") | {"position": start},
                mapped("unmap", FREE_ADDRESS, 64 * MIB) | {"position": end - 1},
            ]
            if copied
            else ()
        ),
    ]
    if uploading is not None:
        last = tables["phases"][-1]["start_position"]
        arenas = [
            {**row, "position": last + number}
            for number in range(uploading)
            for row in arena(2 * MIB, number)
        ]
        tables["mappings"] += arenas
        tables["threads"] = [thread(1, None, 0), thread(2, 1, start)]
        tables["threads"] += [thread(3 + n, 2, last + n) for n in range(uploading)]
        folder = "/home/someone/.cache/Microsoft/DeveloperTools/.onnxruntime"
        tables["syscalls"] = [
            call(start, 1, "lstat", folder),
            *(call(last + number, 3 + number, "mmap") for number in range(uploading)),
        ]
    inputs = [{"name": "x", "type": "float32", "shape": [1, 8]}]
    target: dict[str, Any] = {"kind": "onnx", "model": "/models/net.onnx", "inputs": inputs}
    if model_bytes:
        target["model_file"] = {"size_bytes": model_bytes, "sha256": "0" * 64}
    metadata = {**paged.metadata(), "target": target}
    return make_recording(tables, force=True, **metadata)
