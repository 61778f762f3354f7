# SPDX-License-Identifier: Apache-2.0
"""What `sgxlens optimize` may change."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, get_args

if TYPE_CHECKING:
    from sgxlens.advice.advice import Advice
    from sgxlens.advice.modification import Modification

Permission = Literal["processors", "security"]
#: Advice for a batch may be a larger batch: without a bound latencies would grow for little.
DEFAULT_MAX_BATCH = 16
PERMISSIONS: tuple[Permission, ...] = get_args(Permission)
#: Settings of a deployment that the written configuration holds; other ones are decisions about
#: the service, such as the number of replicas.
_WRITTEN_SETTINGS = frozenset({"enclave_size", "trusted", "allowed", "encrypted"})


@dataclass(frozen=True)
class Limits:
    """What may be changed.

    Attributes:
        max_batch: samples of an inference at most.
        is_exact: outputs must not deviate by more than rounding.
        permissions: costs that are accepted though nobody can undo them by measuring: more
            processors, and less security.
    """

    max_batch: int = DEFAULT_MAX_BATCH
    is_exact: bool = False
    permissions: frozenset[Permission] = frozenset()

    def allowed(self, advice: Advice, batch: int | None) -> Modification | str:
        """The modification for a piece of advice, within the limits; or why there is none.

        Args:
            advice: the advice.
            batch: samples of an inference now; None: not known.
        """
        modification = advice.modification
        if modification is None or advice.changes == "machine":
            return "a person must do it"
        if self.is_exact and advice.changes == "model":
            return "outputs would deviate (--exact)"
        for permission in PERMISSIONS:
            if permission not in self.permissions and any(c.of == permission for c in advice.costs):
                return f"it costs {permission}: --allow {permission} accepts that"
        foreign = sorted(modification.settings.keys() - _WRITTEN_SETTINGS)
        if foreign:
            return f"how the service runs ({foreign[0]}) is for a person to decide"
        return self._in_batches(modification, batch)

    def _in_batches(self, modification: Modification, now: int | None) -> Modification | str:
        asked = modification.batch
        if asked is None or asked <= self.max_batch:
            return modification
        # Multiples of what it is now can be made from the same samples.
        size = self.max_batch // now * now if now else 0
        if not now or size <= now:
            return f"a batch of {asked} is more than --max-batch {self.max_batch}"
        return replace(modification, batch=size)
