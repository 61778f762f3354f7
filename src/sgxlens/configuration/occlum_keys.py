# SPDX-License-Identifier: Apache-2.0
"""The keys of Occlum.json, as far as they are looked at.

They are those of Occlum 0.31 (occlum/occlum@690d5dbf: docs/readthedocs/docs/source/
occlum_configuration.md, tools/gen_internal_conf/src/main.rs).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Occlum takes KB, MB and GB for powers of 1,024.
_SIZE = re.compile(r"([0-9]{1,20})(B|KB|MB|GB|TB)")
_FACTORS = {"B": 1, "KB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30, "TB": 1 << 40}

#: Sections and their keys; None: what is in it is not looked at.
SECTIONS: Mapping[str, frozenset[str] | None] = {
    "resource_limits": frozenset(
        {
            "kernel_space_heap_size",
            "kernel_space_heap_max_size",
            "kernel_space_stack_size",
            "user_space_size",
            "user_space_max_size",
            "marshal_buffer_size",
            "max_num_of_threads",
            "init_num_of_threads",
        }
    ),
    "process": frozenset({"default_stack_size", "default_heap_size", "default_mmap_size"}),
    "entry_points": None,
    "env": frozenset({"default", "untrusted"}),
    "metadata": frozenset(
        {
            "product_id",
            "version_number",
            "debuggable",
            "disable_log",
            "enable_kss",
            "family_id",
            "ext_prod_id",
        }
    ),
    "mount": None,
    "feature": frozenset({"amx", "pkru", "enable_edmm", "enable_posix_shm", "io_uring"}),
    "untrusted_unix_socks": None,
}
#: Without these nothing is built; a fragment, which has no mounts, need not have them.
REQUIRED = (
    "resource_limits.user_space_size",
    "resource_limits.kernel_space_heap_size",
    "resource_limits.kernel_space_stack_size",
    "resource_limits.max_num_of_threads",
    "process.default_stack_size",
    "process.default_heap_size",
    "process.default_mmap_size",
    "entry_points",
    "env",
    "metadata.debuggable",
    "feature",
)
#: Those that hold a size.
SIZES = (
    *(f"resource_limits.{name}" for name in sorted(SECTIONS["resource_limits"] or ())
      if name.endswith("_size")),
    *(f"process.{name}" for name in sorted(SECTIONS["process"] or ())),
)  # fmt: skip


def parse_size(text: str) -> int | None:
    """Bytes of a size of Occlum.json, as ``512MB``; None: it is none."""
    found = _SIZE.fullmatch(text)
    return int(found[1]) * _FACTORS[found[2]] if found else None
