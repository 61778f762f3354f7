# SPDX-License-Identifier: Apache-2.0
"""What a Python program may say of itself to a recording, besides marks.

Everything here is harmless, and costs about as much as a function call, where nothing records.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from sgxlens._native import annotate

if TYPE_CHECKING:
    from collections.abc import Iterator

# As enum sgxlens_annotation in stream.h.
OPERATOR_BEGIN, OPERATOR_END, REGION, REGION_END, OPERATOR_NOTE = range(1, 6)
#: What a region may be said to be.
ROLES = ("weights", "activations", "input", "output", "scratch", "runtime")


@contextmanager
def operator(name: str) -> Iterator[None]:
    """Make what runs inside the operator `name`: one execution of a named step of the program.

    Operators nest, and belong to the thread that runs them. Of `name` the first 8,000 bytes are
    kept. It may be a JSON object that says more: ``name``, ``type``, ``inputs`` and ``outputs``
    (lists of ``{"type": "float32", "shape": [1, 3]}``), ``parameter_bytes``, ``activation_bytes``
    and ``output_bytes``.
    """
    annotate(OPERATOR_BEGIN, 0, 0, name)
    try:
        yield
    finally:
        annotate(OPERATOR_END, 0, 0, "")


def region(address: int, size_bytes: int, role: str, name: str = "") -> bool:
    """Say what the memory [address, address + size_bytes) holds from here on.

    Args:
        address: where it starts, as in ``array.ctypes.data`` or ``tensor.data_ptr()``.
        size_bytes: its size.
        role: ``weights``, ``activations``, ``input``, ``output``, ``scratch`` or ``runtime``.
        name: what it is called; regions of one role and name are one.

    Returns:
        Whether a recording runs.

    Raises:
        ValueError: there is no such role, or the range is none.
    """
    if role not in ROLES:
        msg = f"a region has one of the roles {', '.join(ROLES)}, not {role!r}"
        raise ValueError(msg)
    _check(address, size_bytes)
    return annotate(REGION, address, size_bytes, f"{role}:{name}")


def region_end(address: int, size_bytes: int) -> bool:
    """Say that the memory [address, address + size_bytes) is ordinary memory again.

    Returns:
        Whether a recording runs.

    Raises:
        ValueError: the range is none.
    """
    _check(address, size_bytes)
    return annotate(REGION_END, address, size_bytes, "")


def _check(address: int, size_bytes: int) -> None:
    if not 0 <= address <= address + size_bytes < 1 << 64 or size_bytes < 0:
        msg = f"no range of memory: {size_bytes} bytes at {address}"
        raise ValueError(msg)
