# SPDX-License-Identifier: Apache-2.0
"""Which pages a process visits: found once for all that asks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sgxlens.attribution.columns import rows_of, unsigned
from sgxlens.recording.distinct import distinct_values

if TYPE_CHECKING:
    from sgxlens.recording.distinct import Distinct
    from sgxlens.recording.reader import Recording


def visited_pages(recording: Recording, process: int) -> Distinct:
    """The numbers of the pages in the rows of table ``page_visits`` of a process.

    Raises:
        RecordingError: the recording has no page visits, or is damaged.
    """

    def find() -> Distinct:
        return distinct_values(
            unsigned(rows_of(recording, "page_visits", process, ["page"])["page"])
        )

    return recording.derived((visited_pages, process), find, ("page_visits",))
