"""Model files on the disk, mapped into memory: weights go to the GPU without a copy in Python."""

import mmap
from collections.abc import Sequence
from pathlib import Path

from ...errors import ModelNotFound, TruncatedFile
from ...parts import JoinedSource, models_among, part_name

SUFFIX = ".gguf"


class FileSource:
    """A `ByteSource` over a file. Raises ModelNotFound if it cannot be opened, TruncatedFile if it is empty."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.name = self.path.name
        self._map = _mapped(self.path)
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


def open_files(files: Sequence[Path]) -> FileSource | JoinedSource:
    """The bytes of a model that lies in these files. Raises ModelNotFound, TruncatedFile."""
    sources: list[FileSource] = []
    try:
        for file in files:
            sources.append(FileSource(file))  # noqa: PERF401 - those that are open are to be closed
    except BaseException:
        for source in sources:
            source.close()
        raise
    return sources[0] if len(sources) == 1 else JoinedSource(sources)


def model_files(path: Path) -> tuple[Path, ...]:
    """The files of the model at `path`: a file, the first of a set of parts, or a folder with just one model.

    Raises ModelNotFound.
    """
    try:
        if path.is_dir():
            return _only_model(path)
        if not path.exists():
            raise ModelNotFound(
                f"There is no file {path}. Check the path, or the folder that it starts from: {Path.cwd()}."
            )
        return _all_parts(path)
    except OSError as error:
        raise unreadable(path, error) from None


def _only_model(folder: Path) -> tuple[Path, ...]:
    names = {file.name for file in folder.iterdir() if is_model_name(file.name)}
    models = models_among(names)
    if not models:
        raise ModelNotFound(f"The folder {folder} holds no {SUFFIX} file. Give the path of a model.")
    if len(models) > 1:
        listed = ", ".join(_described(files, names) for files in models.values())
        raise ModelNotFound(f"The folder {folder} holds {len(models)} models: {listed}. Give the path of one of them.")
    (files,) = models.values()
    return _all_there(tuple(folder / name for name in files))


def is_model_name(name: str) -> bool:
    """Whether a file may be a model by its name; "._model.gguf" is what macOS leaves on foreign disks."""
    return name.lower().endswith(SUFFIX) and not name.rpartition("/")[2].startswith(".")


def _described(files: Sequence[str], there: set[str]) -> str:
    missing = f"{len(there.intersection(files))} of " if not there.issuperset(files) else ""
    return files[0] + (f" ({missing}{len(files)} parts)" if len(files) > 1 else "")


def _all_parts(path: Path) -> tuple[Path, ...]:
    part = part_name(path.name)
    if part is None:
        return (path,)
    names = part.all()
    if part.number > 1:
        raise ModelNotFound(
            f"{path} is part {part.number} of a model of {part.count}. Give the first: {path.with_name(names[0])}."
        )
    return _all_there(tuple(path.with_name(name) for name in names))


def _all_there(files: tuple[Path, ...]) -> tuple[Path, ...]:
    missing = [file.name for file in files if not file.exists()]
    if missing:
        listed = ", ".join(missing[:5]) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
        raise ModelNotFound(
            f"{files[0].parent} lacks {len(missing)} of the {len(files)} parts of a model: {listed}. "
            "Download what is missing into that folder."
        )
    return files


def _mapped(file: Path) -> mmap.mmap:
    try:
        with file.open("rb") as opened:
            if opened.seek(0, 2) == 0:
                raise TruncatedFile(f"{file} is empty. Download it again.")
            return mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise unreadable(file, error) from None


def unreadable(path: Path, error: OSError) -> ModelNotFound:
    """What the system says of a file that it does not let us read, and what to do."""
    reason = error.strerror or str(error)
    advice = (
        "Give yourself the right to read it." if isinstance(error, PermissionError) else "Check the path and the disk."
    )
    return ModelNotFound(f"{path} cannot be read: {reason}. {advice}")
