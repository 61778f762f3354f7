# SPDX-License-Identifier: Apache-2.0
"""Keys that Gramine had once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sgxlens.configuration.gramine_keys import GONE, VERSION
from sgxlens.configuration.linting.registry import Check

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sgxlens.configuration.linting.finding import Finding
    from sgxlens.configuration.linting.subject import Subject


def find(subject: Subject) -> Iterator[Finding]:
    """Keys of older versions, and what took their place."""
    document = subject.document
    for key, (version, remedy) in GONE.items():
        if document.get(key) is not None:
            yield subject.found(
                "error",
                key,
                f"{key} is gone since Gramine {version}",
                f"Gramine {VERSION} refuses the manifest, or takes no notice of the key.",
                remedy[0].upper() + remedy[1:] + ".",
            )
    if isinstance(document.get("loader.entrypoint"), str):
        yield subject.found(
            "error",
            "loader.entrypoint",
            "loader.entrypoint is a string, as it was before Gramine 1.9",
            "Gramine finds no library OS to load, and does not start.",
            "Give it as loader.entrypoint.uri.",
            'loader.entrypoint.uri = "file:{{ gramine.libos }}"',
        )
    if document.get("sgx.remote_attestation") == "epid":
        yield subject.found(
            "error",
            "sgx.remote_attestation",
            "EPID attestation is gone since Gramine 1.9",
            "gramine-manifest refuses the manifest; Intel has ended the service, too.",
            "Attest with DCAP, or not at all.",
            'sgx.remote_attestation = "dcap"',
        )


CHECK = Check("gone_key", "keys that newer versions do not have", ("gramine",), find)
