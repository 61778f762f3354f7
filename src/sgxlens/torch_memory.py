# SPDX-License-Identifier: Apache-2.0
"""Follows where PyTorch's storages are, and annotates when they come and go."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple
from weakref import ref

from sgxlens import annotation


class Range(NamedTuple):
    """A range of memory, and what it holds: ``ROLE:NAME``."""

    address: int
    size_bytes: int
    text: str


def address_of(tensor: Any) -> int:
    """Where the storage of a tensor is; 0 where it has none."""
    try:
        return int(tensor.untyped_storage().data_ptr())
    except (RuntimeError, NotImplementedError):  # sparse, or a tensor that only stands for one
        return 0


def storage_of(tensor: Any) -> Any:
    """The storage of a tensor; None where it has none in this machine's memory."""
    if address_of(tensor) == 0 or tensor.device.type != "cpu":
        return None
    storage = tensor.untyped_storage()
    return storage if storage.nbytes() > 0 else None


def extent_of(tensor: Any) -> tuple[int, int]:
    """Address and size of the part of its storage that a tensor may touch."""
    if tensor.numel() == 0:
        return tensor.data_ptr(), 0
    last = sum(
        (size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True)
    )
    return tensor.data_ptr(), (last + 1) * tensor.element_size()


class Memory:
    """The storages that are known, until PyTorch frees them.

    ``places`` says where each is and what it has been annotated to be, by its address.
    """

    def __init__(self, annotate: Callable[[int, int, int, str], object]) -> None:
        self.places: dict[int, Range] = {}
        self._annotate = annotate
        self._watched: dict[int, ref[Any]] = {}

    def add(self, storage: Any, text: str) -> Range:
        """Know a storage and annotate what it is."""
        place = Range(storage.data_ptr(), storage.nbytes(), text)
        self.keep(storage, place)
        self._annotate(annotation.REGION, *place)
        return place

    def keep(self, storage: Any, place: Range) -> None:
        """Know a storage that is annotated elsewhere."""
        address = place.address
        self._forget(address)

        # Storages keep their Python object as long as they live, whoever holds them.
        def freed(gone: ref[Any]) -> None:
            if self._watched.get(address) is gone:
                size_bytes = self.places[address].size_bytes
                self._forget(address)
                self._annotate(annotation.REGION_END, address, size_bytes, "")

        self.places[address] = place
        self._watched[address] = ref(storage, freed)

    def rename(self, place: Range) -> None:
        """Annotate a known storage anew."""
        self.places[place.address] = place
        self._annotate(annotation.REGION, *place)

    def _forget(self, address: int) -> None:
        if self.places.pop(address, None) is not None:
            del self._watched[address]
