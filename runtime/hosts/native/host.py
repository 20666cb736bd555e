"""What `api.py` needs of a desktop: a thread with a device on it, files, codecs and arrays."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...host import Adapter, ByteSource, TextCodec
from ...parts import JoinedSource
from .adapters import FoundAdapter, choose, find_adapters
from .cache import cache_folder
from .checksums import Progress, verify
from .files import FileSource, open_files
from .sources import locate
from .sources import open_remote as open_remote  # api.py's
from .store import FileStore

if TYPE_CHECKING:
    import numpy as np

    from .gpu import NativeGpu


@dataclass(frozen=True)
class ChosenAdapter:
    """The adapter that a model goes to, and all there were."""

    adapter: FoundAdapter
    found: list[FoundAdapter]


def open_source(
    source: str | os.PathLike[str], *, check: bool = False, progress: Progress | None = None
) -> FileSource | JoinedSource:
    """The bytes of a model given by path or name; with `check`, held against its FILE.sha256.

    Raises ModelNotFound, and what a download and the check raise. `progress` is told of both.
    """
    files = locate(source, progress)
    if check:
        verify(files, progress)
    return open_files(files)


def open_headers(source: str | os.PathLike[str]) -> ByteSource:
    """As `open_source`, for headers alone: of a model on the Hub that is not here, nothing else is fetched."""
    return open_remote(source) or open_source(source)


def choose_adapter(wanted: str | int | None) -> ChosenAdapter:
    """Raises NoAdapter."""
    found = find_adapters()
    return ChosenAdapter(choose(found, wanted), found)


def adapter_in_use(found: FoundAdapter) -> Adapter:
    """An adapter as kernels are chosen for it: with what shows only on an open device. Raises DeviceLost."""
    gpu = open_gpu(ChosenAdapter(found, [found]))
    gpu.close()
    return gpu.adapter


def open_gpu(chosen: ChosenAdapter) -> "NativeGpu":
    """A device on the calling thread, which must be the one that uses it."""
    from .gpu import NativeGpu

    return NativeGpu(chosen.adapter.handle, chosen.adapter.facts)


def make_codec(define: Callable[[], Mapping[str, object]]) -> TextCodec:
    """The Rust library's tokenizer, from the `tokenizer.json` that `define` makes."""
    from .codec import NativeCodec

    return NativeCodec(define())


def open_store() -> FileStore:
    """Where finds about this machine's adapters are kept."""
    return FileStore(cache_folder() / "finds")


def logits_array(parts: Iterable[bytes], vocab_size: int) -> "np.ndarray":
    """f32 [tokens, vocab_size]."""
    import numpy as np

    return np.frombuffer(b"".join(parts), dtype="<f4").reshape(-1, vocab_size)


def log_probabilities(rows: bytes, vocab_size: int, tokens: Sequence[int]) -> list[float]:
    """Log softmax of each row of logits, f32 [rows, vocab_size], at its token; of rows without a token, nothing."""
    import numpy as np

    logits = np.frombuffer(rows, dtype="<f4").reshape(-1, vocab_size)[: len(tokens)].astype(np.float64)
    largest = logits.max(axis=1)
    at_token = logits[np.arange(len(logits)), list(tokens[: len(logits)])]
    scores = at_token - largest - np.log(np.exp(logits - largest[:, None]).sum(axis=1))
    return [float(score) for score in scores]
