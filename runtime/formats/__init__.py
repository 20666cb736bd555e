"""Readers of model files: each gives one `Checkpoint`."""

from ..errors import InvalidFile, TruncatedFile
from ..host import ByteSource
from .checkpoint import Checkpoint
from .gguf import read_gguf
from .gguf_header import MAGIC as GGUF_MAGIC
from .matching import check_weights

__all__ = ["check_weights", "read_checkpoint"]

START_SIZE = 512  # bytes that tell what a file is

# What people load by mistake: the bytes it starts with, what it is, and what to do.
OTHER_FILES = (
    (b"version https://git-lfs", "a Git LFS pointer, not the model itself", "Run `git lfs pull` where it came from"),
    (b"<", "a web page, not a model", "Download the file itself, not the page that shows it"),
    (b"PK\x03\x04", "a zip archive or a PyTorch checkpoint", "Convert the model to GGUF"),
    (b"ggml", "of a format older than GGUF", "Convert the model to GGUF"),
    (b"lmgg", "of a format older than GGUF", "Convert the model to GGUF"),
    (b"fmgg", "of a format older than GGUF", "Convert the model to GGUF"),
    (b"tjgg", "of a format older than GGUF", "Convert the model to GGUF"),
)


async def read_checkpoint(source: ByteSource) -> Checkpoint:
    """Read a model file of any known format but its weights.

    Raises InvalidFile (TruncatedFile, TensorOutOfFile), UnknownWeightType, InvalidConfig, TokenizerError.
    """
    start = await source.read(0, min(START_SIZE, source.size))
    if start.startswith(GGUF_MAGIC):
        return await read_gguf(source)
    if not start:
        raise TruncatedFile(f"{source.name} is empty. Download it again.")
    raise InvalidFile(_what_it_is(start, source.name))


def _what_it_is(start: bytes, file: str) -> str:
    for magic, kind, advice in OTHER_FILES:
        if start.lstrip().startswith(magic):
            return f"{file} is {kind}. {advice}."
    if start[8:9] == b"{":  # a JSON header behind its u64 length
        return f"{file} is a safetensors file, which is not supported yet. Take a GGUF file of the model."
    return (
        f"{file} is no GGUF file: it starts with {start[:4]!r}, not with {GGUF_MAGIC!r}. Take a GGUF file of the model."
    )
