# SPDX-License-Identifier: Apache-2.0
"""What a machine can change to follow a piece of advice, as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Modification:
    """A change of a recorded program, or of where it runs, that needs no person.

    Two are joined by ``|``: what both change is changed as the second says.

    Attributes:
        batch: samples of one inference; None: as many as now.
        session: settings of ONNX Runtime's session to replace, by the names of
            `sgxlens.recording.targets.onnx_session.SessionSettings`; of ``config`` and
            ``run_config`` those entries that are named.
        environment: variables of the program's environment to set.
        model: transformations of the model, by the names of `sgxlens.verification`, in their order.
        runtime: name of another runtime; None: the same.
        settings: of the deployment to replace, by the names of
            `sgxlens.prediction.predict.Settings`.
    """

    batch: int | None = None
    session: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    model: tuple[str, ...] = ()
    runtime: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __or__(self, other: Modification) -> Modification:
        """Both, the other one last."""
        session = {**self.session, **other.session}
        for name in ("config", "run_config"):
            if name in session:
                session[name] = {**self.session.get(name, {}), **other.session.get(name, {})}
        return Modification(
            batch=self.batch if other.batch is None else other.batch,
            session=session,
            environment={**self.environment, **other.environment},
            model=(*self.model, *(name for name in other.model if name not in self.model)),
            runtime=self.runtime if other.runtime is None else other.runtime,
            settings={**self.settings, **other.settings},
        )

    @property
    def needs_recording(self) -> bool:
        """Whether the program itself changes; else a prediction of the same recording tells."""
        return bool(self.batch is not None or self.session or self.environment or self.model)


def verification_folder(recording: Path) -> Path:
    """Where programs that were changed as advice of a recording says are kept, by its folder."""
    return Path(f"{recording}.verify")
