"""Runs in Pyodide: compiles archives of Python to bytecode, by the very interpreter that will run it.

The archives of /in go to /out, stored, because each is compressed as a whole later. For wheels a lock file
lists them alone, made from Pyodide's own.
"""

import shutil
from pathlib import Path

from pyodide_build._py_compile import _py_compile_archive_dir
from pyodide_lock import PyodideLockSpec
from pyodide_lock.utils import add_wheels_to_spec

OUT = Path("/out")
for archive in sorted(Path("/in").iterdir()):
    shutil.copyfile(archive, OUT / archive.name)
wheels = sorted(OUT.glob("*.whl"))
if wheels:
    lock = PyodideLockSpec.from_json(Path("/pyodide/pyodide-lock.json"))
    lock.packages = {}
    add_wheels_to_spec(lock, wheels, base_path=OUT).to_json(OUT / "pyodide-lock.json")
_py_compile_archive_dir(OUT, keep=False, verbose=False, compression_level=0)
