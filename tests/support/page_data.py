# SPDX-License-Identifier: Apache-2.0
"""The data in a page of `sgxlens report`."""

from __future__ import annotations

import base64
import gzip
import json
import re
from typing import Any


def page_data(page: str) -> Any:
    """What the page shows, read as the page's script does."""
    found = re.search(r'<script type="application/gzip" id="data">([A-Za-z0-9+/=]*)</script>', page)
    assert found is not None
    return json.loads(gzip.decompress(base64.b64decode(found[1])))
