"""What all tests share: the oracles' folder, and an honest word in the summary when it is absent."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def oracles() -> Path:
    """The folder of data that others made, named by SHADERLM_ORACLES."""
    folder = os.environ.get("SHADERLM_ORACLES")
    if not folder or not Path(folder).is_dir():
        pytest.skip("SHADERLM_ORACLES names no folder")
    return Path(folder)
