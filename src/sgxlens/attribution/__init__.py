# SPDX-License-Identifier: Apache-2.0
"""Whose the accesses of a phase are: its operators, its kinds of memory, and where they reuse from.

Every function takes a recording and one of its phases, and reads nothing else.
"""

from sgxlens.attribution.facts import SOURCE_KINDS, has_attribution
from sgxlens.attribution.line_bytes import ByteCounts, LineBytes, has_line_bytes, line_bytes
from sgxlens.attribution.operators import OperatorRow, OperatorTable, operator_table
from sgxlens.attribution.regions import RegionRow, RegionTable, RegionUses, region_table
from sgxlens.attribution.sharing import Shared, Sharing, sharing
from sgxlens.attribution.sources import Flows, SourceRow, SourceTable, reuse_of, sources
from sgxlens.attribution.spatial import SpatialUse, Stays, spatial_use
from sgxlens.attribution.timeline import Timeline, timeline
from sgxlens.attribution.usage import Misses, Usage
from sgxlens.attribution.working_sets import WorkingSets, working_sets

__all__ = [
    "SOURCE_KINDS",
    "ByteCounts",
    "Flows",
    "LineBytes",
    "Misses",
    "OperatorRow",
    "OperatorTable",
    "RegionRow",
    "RegionTable",
    "RegionUses",
    "Shared",
    "Sharing",
    "SourceRow",
    "SourceTable",
    "SpatialUse",
    "Stays",
    "Timeline",
    "Usage",
    "WorkingSets",
    "has_attribution",
    "has_line_bytes",
    "line_bytes",
    "operator_table",
    "region_table",
    "reuse_of",
    "sharing",
    "sources",
    "spatial_use",
    "timeline",
    "working_sets",
]
