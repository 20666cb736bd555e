"""Prints what site.json's catalogue says of a model: its size, and the SHA-256 of each 4 MB of its file, or files.

python tools/describe_model.py NAME FILE [URL]

Of a model in several files, FILE and URL are those of the first; the others lie beside it.
"""

import hashlib
import json
import re
import sys
from pathlib import Path
from typing import Any

CHUNK = 4 << 20  # bytes


def entry(name: str, file: Path, url: str) -> dict[str, Any]:
    """A row of the catalogue. Raises FileNotFoundError where one of several files is missing."""
    described = [described_file(path) for path in files_of(file)]
    if len(described) == 1:
        return {"name": name, "url": url, **described[0]}
    return {"name": name, "url": url, "size": sum(row["size"] for row in described), "files": described}


def files_of(file: Path) -> list[Path]:
    """All files of the model whose first one this is."""
    part = re.fullmatch(r"(.+)-00001-of-(\d{5})(\.\w+)", file.name, re.DOTALL)
    if not part:
        return [file]
    stem, count, suffix = part.groups()
    return [file.with_name(f"{stem}-{number:05}-of-{count}{suffix}") for number in range(1, int(count) + 1)]


def described_file(file: Path) -> dict[str, Any]:
    hashes = []
    with open(file, "rb") as source:
        while chunk := source.read(CHUNK):
            hashes.append(hashlib.sha256(chunk).hexdigest())
    return {"size": file.stat().st_size, "chunk_size": CHUNK, "chunk_sha256": hashes}


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    path = Path(sys.argv[2])
    print(json.dumps(entry(sys.argv[1], path, *(sys.argv[3:] or [f"models/{path.name}"])), indent=2))
