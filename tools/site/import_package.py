"""Runs in Pyodide, before a memory snapshot is taken: imports all of our package that needs no module of the page's."""

import gc
import importlib
import pkgutil
import sysconfig
import zipfile
from pathlib import Path

ABSENT = {"shaderlm_browser", "shaderlm.hosts.native"}  # the worker registers the first, the second is not in the wheel

for wheel in Path("/tmp").glob("*.whl"):
    zipfile.ZipFile(wheel).extractall(sysconfig.get_path("purelib"))
    wheel.unlink()
importlib.invalidate_caches()

import shaderlm  # noqa: E402 - it was not there before

for module in pkgutil.walk_packages(shaderlm.__path__, "shaderlm."):
    try:
        importlib.import_module(module.name)
    except ModuleNotFoundError as error:
        if error.name not in ABSENT:
            raise
gc.collect()
