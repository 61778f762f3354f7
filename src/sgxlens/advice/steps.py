# SPDX-License-Identifier: Apache-2.0
"""Steps that several rules ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sgxlens.advice.advice import Step

if TYPE_CHECKING:
    from sgxlens.enclave.runtime import Runtime


def environment_step(runtime: Runtime, name: str, value: str) -> Step:
    """Sets a variable of the program's environment in the configuration of the runtime."""
    if runtime.name.startswith("gramine"):
        return Step("In the manifest.", "toml", f'loader.env.{name} = "{value}"')
    if runtime.name.startswith("occlum"):
        return Step("In Occlum.json, under env.default.", "text", f'"{name}={value}"')
    return Step("In the environment of the program.", "shell", f"export {name}={value}")
