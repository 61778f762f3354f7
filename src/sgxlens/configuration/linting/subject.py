# SPDX-License-Identifier: Apache-2.0
"""What a check sees: a file, and what is known of the program and the machine that it is for."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from sgxlens.configuration.gramine_keys import KEYS, parse_size
from sgxlens.configuration.linting.finding import Finding, Severity
from sgxlens.configuration.linting.listed import ListedFiles
from sgxlens.configuration.reading.document import is_known, key_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sgxlens.configuration.linting.observed import Observed
    from sgxlens.configuration.reading.document import Document, Family
    from sgxlens.configuration.reading.positions import Place
    from sgxlens.enclave.platform import Platform
    from sgxlens.enclave.runtime import Runtime


EDMM_KEYS: Mapping[Family, str] = {"gramine": "sgx.edmm_enable", "occlum": "feature.enable_edmm"}


@dataclass(frozen=True, eq=False)
class Subject:
    """A configuration file to be looked at.

    Attributes:
        document: the file.
        runtime: the runtime that it configures.
        platform: where it shall run; None: not said.
        observed: the recorded program; None: no recording was given.
    """

    document: Document
    runtime: Runtime
    platform: Platform | None
    observed: Observed | None

    def found(  # noqa: PLR0917 - as they stand in a finding, from what is wrong to what to do
        self,
        severity: Severity,
        place: Place | str,
        problem: str,
        consequence: str,
        remedy: str,
        snippet: str = "",
    ) -> Finding:
        """A finding at a key, or where the key belongs if it is not there."""
        name = place if isinstance(place, str) else key_name(place)
        line = self.document.line(place)
        return Finding(severity, line, name, problem, consequence, remedy, snippet)

    @property
    def dynamic_key(self) -> str:
        """The key that turns EDMM on."""
        return EDMM_KEYS[self.document.family]

    @property
    def is_dynamic(self) -> bool:
        """Whether pages are added while the program runs (EDMM)."""
        return self.document.is_true(self.dynamic_key)

    def integer(self, key: str) -> int | None:
        """A number of a Gramine manifest, or its default; None: it is none, or not known."""
        value: Any = self.document.get(key, KEYS[key].default)
        if isinstance(value, str) and value.isdecimal() and self.document.get(key) is None:
            return int(value)
        return value if isinstance(value, int) and not isinstance(value, bool) else None

    def size_bytes(self, key: str) -> int | None:
        """A size of a Gramine manifest, or its default; None: it is none, or not known."""
        if key == "sgx.enclave_size" and self.is_dynamic and self.document.get(key) is None:
            return None
        value = self.document.get(key, KEYS[key].default)
        return parse_size(value) if isinstance(value, str) else None

    def environment(self, name: str) -> str | None:
        """A variable that the program gets; None: it gets none, empty: its value is not known."""
        value = self.document.get(f"loader.env.{name}")
        if isinstance(value, dict):
            value = value.get("value", "")
        if value is None:
            passed = ("loader.env_src_file", "loader.insecure__use_host_env")
            return "" if any(self.document.get(key) for key in passed) else None
        return value if isinstance(value, str) and is_known(value) else ""

    @cached_property
    def files(self) -> ListedFiles:
        """The files that the manifest mounts and lists."""
        return ListedFiles(self.document)
