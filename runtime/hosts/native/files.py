"""Model files on the disk, mapped into memory: weights go to the GPU without a copy in Python."""

import mmap
from pathlib import Path

from ...errors import ModelNotFound, TruncatedFile

SUFFIX = ".gguf"


class FileSource:
    """A `ByteSource` over a file, or over the only GGUF file of a folder.

    Raises ModelNotFound if there is none or it cannot be opened, TruncatedFile if it is empty.
    """

    def __init__(self, path: str | Path) -> None:
        file = model_file(Path(path))
        self.path = file
        self.name = file.name
        self._map = _mapped(file)
        self._bytes = memoryview(self._map)
        self.size = len(self._map)

    async def read(self, offset: int, size: int) -> bytes:
        """Fewer than `size` bytes only at the end of the file."""
        return bytes(self._bytes[offset : offset + size])

    async def chunk(self, offset: int, size: int) -> memoryview:
        """A view of the mapping itself."""
        if offset < 0 or size < 0 or offset + size > self.size:
            raise TruncatedFile(f"Bytes {offset:,} to {offset + size:,} of {self.path} lie outside its {self.size:,}.")
        return self._bytes[offset : offset + size]

    def close(self) -> None:
        """Give the file back; the mapping goes with the last chunk. Idempotent."""
        self._bytes.release()
        try:
            self._map.close()
        except BufferError:
            pass  # a chunk is still in use


def model_file(path: Path) -> Path:
    """`path` itself if it is a file, the only GGUF file in it if it is a folder. Raises ModelNotFound."""
    try:
        if path.is_dir():
            return _only_model(path)
        if not path.exists():
            raise ModelNotFound(
                f"There is no file {path}. Check the path, or the folder that it starts from: {Path.cwd()}."
            )
    except OSError as error:
        raise _unreadable(path, error) from None
    return path


def _only_model(folder: Path) -> Path:
    files = sorted(file for file in folder.iterdir() if file.suffix.lower() == SUFFIX)
    if len(files) == 1:
        return files[0]
    if not files:
        raise ModelNotFound(f"The folder {folder} holds no {SUFFIX} file. Give the path of a model.")
    names = ", ".join(file.name for file in files)
    raise ModelNotFound(f"The folder {folder} holds {len(files)} models: {names}. Give the path of one of them.")


def _mapped(file: Path) -> mmap.mmap:
    try:
        with file.open("rb") as opened:
            if opened.seek(0, 2) == 0:
                raise TruncatedFile(f"{file} is empty. Download it again.")
            return mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise _unreadable(file, error) from None


def _unreadable(path: Path, error: OSError) -> ModelNotFound:
    reason = error.strerror or str(error)
    advice = (
        "Give yourself the right to read it." if isinstance(error, PermissionError) else "Check the path and the disk."
    )
    return ModelNotFound(f"{path} cannot be read: {reason}. {advice}")
