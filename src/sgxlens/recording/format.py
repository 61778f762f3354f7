# SPDX-License-Identifier: Apache-2.0
"""The names, numbers and sizes that all parts of a recording share."""

from __future__ import annotations

SCHEMA_NAME = "sgxlens-recording"
#: Raised by any change that older readers would misread.
SCHEMA_VERSION = 3
METADATA_FILE = "recording.json"
ACCESSES_FOLDER = "accesses"

#: The classes of access, in the order of their numbers.
ACCESS_CLASSES = ("fetch", "load", "store", "kernel_read", "kernel_write")
#: All classes together, where a count of distinct blocks cannot be summed over classes.
ANY_ACCESS = "any"
#: Bytes of a block of each granularity.
LINE_BYTES, PAGE_BYTES = 64, 4096
BLOCK_BYTES = {"line": LINE_BYTES, "page": PAGE_BYTES}

TRAP_KINDS = ("cpuid", "rdtsc", "rdtscp")
MAPPING_EVENTS = ("map", "unmap", "protect", "remap", "break_grow", "break_shrink")
MAPPING_KINDS = ("file", "anonymous", "heap", "stack", "shared_memory")
#: What a region is by its mapping, by how the program used it, or by what the program said.
REGION_KINDS = (
    "code",
    *MAPPING_KINDS,
    "constant",
    "produced",
    "scratch",
    "declared",
    "unmapped",
)
#: What a region is to an inference.
REGION_ROLES = (
    "weights",
    "activations",
    "input",
    "output",
    "scratch",
    "runtime",
    "code",
    "stack",
    "file",
    "unclassified",
)
#: In the order of their numbers, from 1.
ANNOTATION_KINDS = ("operator_begin", "operator_end", "region", "region_end", "operator_note")
OPERATOR_SOURCES = ("onnxruntime_profile", "torch", "annotation")
