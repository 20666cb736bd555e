"""Files that are there whole or not at all."""

import json
import os
import tempfile
from pathlib import Path


def write_json(path: Path, content: object) -> None:
    """Write JSON to `path`, in place of what was there. Raises OSError, and then nothing has changed."""
    handle, part = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(content, file, ensure_ascii=False, indent=2)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except BaseException:
        os.unlink(part)
        raise
