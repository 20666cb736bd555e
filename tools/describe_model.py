"""Prints what site.json's catalogue says of a model file: its size, and the SHA-256 of each 4 MB of it.

python tools/describe_model.py NAME FILE [URL]
"""

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

CHUNK = 4 << 20  # bytes


def entry(name: str, file: Path, url: str) -> dict[str, Any]:
    """A row of the catalogue."""
    hashes = []
    with open(file, "rb") as source:
        while chunk := source.read(CHUNK):
            hashes.append(hashlib.sha256(chunk).hexdigest())
    return {"name": name, "url": url, "size": file.stat().st_size, "chunk_size": CHUNK, "chunk_sha256": hashes}


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    path = Path(sys.argv[2])
    print(json.dumps(entry(sys.argv[1], path, *(sys.argv[3:] or [f"models/{path.name}"])), indent=2))
