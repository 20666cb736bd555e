"""GGUF files (llama.cpp's format): the header, the table of tensors held against the file, and the `Checkpoint`."""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

from ..errors import InvalidConfig, InvalidFile, TensorOutOfFile, TruncatedFile, UnknownWeightType
from ..host import ByteSource
from ..parts import JoinedSource
from ..tensors import BY_GGML, WEIGHT_TYPES, WeightType
from .checkpoint import Checkpoint, TensorInfo
from .gguf_cursor import MoreBytesNeeded
from .gguf_fields import hyperparameters
from .gguf_header import GgufHeader, HeaderReader, TensorLine
from .gguf_scales import take_scales
from .gguf_split import check_split
from .gguf_tokenizer import tokenizer_data

FIRST_READ = 1 << 20  # bytes: the whole header of most models with a small vocabulary
COUNT_LIMIT = 1 << 63  # values or bytes of a tensor, below which 64-bit arithmetic holds elsewhere
FREQUENCY_FACTORS = "rope_freqs.weight"

# Types that no weights are run in, by GGUF's number: the name, and what there is to say of it.
COMPUTED = "which llama.cpp computes with and no file of a model should hold"
NUMBERS = "which no weights of a supported architecture are kept in"
WITHDRAWN = "which was withdrawn from the format"
REPACKED = "Q4_0 in an order for one kind of processor, withdrawn from the format"
OTHER_TYPES = {
    4: ("Q4_2", WITHDRAWN),
    5: ("Q4_3", WITHDRAWN),
    9: ("Q8_1", COMPUTED),
    15: ("Q8_K", COMPUTED),
    24: ("I8", NUMBERS),
    25: ("I16", NUMBERS),
    26: ("I32", NUMBERS),
    27: ("I64", NUMBERS),
    28: ("F64", NUMBERS),
    31: ("Q4_0_4_4", REPACKED),
    32: ("Q4_0_4_8", REPACKED),
    33: ("Q4_0_8_8", REPACKED),
}
UNKNOWN = "which this version does not know"


async def read_gguf(source: ByteSource) -> Checkpoint:
    """Read and check all of a GGUF model but its weights: one file, or the parts of a JoinedSource.

    Raises InvalidFile and its kinds (TruncatedFile, TensorOutOfFile), UnknownWeightType, InvalidConfig, TokenizerError.
    """
    parts = source.parts if isinstance(source, JoinedSource) else (source,)
    headers = [await read_header(part) for part in parts]
    check_split(headers, [part.name for part in parts])
    header = headers[0]
    tensors = joined_tables(headers, parts)
    architecture = _architecture(header.metadata, source.name)
    factors = await _frequency_factors(source, tensors.pop(FREQUENCY_FACTORS, None))
    scales = await take_scales(source, tensors)
    return Checkpoint(
        name=source.name,
        source=source,
        architecture=architecture,
        hyperparameters=hyperparameters(header.metadata, architecture, tensors, factors, source.name),
        tensors=tensors,
        tokenizer=tokenizer_data(header.metadata, source.name),
        metadata=header.metadata,
        weight_scales=scales,
    )


async def read_header(source: ByteSource) -> GgufHeader:
    """The header: 1 MB at first, then as much as seems to be missing, at least doubling."""
    reader = HeaderReader(source.size, source.name)
    data = await source.read(0, min(FIRST_READ, source.size))
    while True:
        try:
            return reader.read(data)
        except MoreBytesNeeded as more:
            wanted = min(max(more.end, 2 * len(data)), source.size) - len(data)
            part = await source.read(len(data), wanted)
            if len(part) < wanted:
                raise TruncatedFile(
                    f"{source.name} gave {len(part):,} bytes at byte {len(data):,} where {wanted:,} were asked for, "
                    f"although it said it had {source.size:,}. It changed while it was read: try again."
                ) from None
            data += part


# The table of tensors


def joined_tables(headers: Sequence[GgufHeader], parts: Sequence[ByteSource]) -> dict[str, TensorInfo]:
    """The tensors of all parts, with offsets from the start of the first. Each lies in one part."""
    tensors: dict[str, TensorInfo] = {}
    start = 0
    for header, part in zip(headers, parts, strict=True):
        for name, tensor in tensor_table(header, part.size, part.name).items():
            tensors[name] = replace(tensor, offset=start + tensor.offset)
        start += part.size
    return tensors


def tensor_table(header: GgufHeader, file_size: int, file: str) -> dict[str, TensorInfo]:
    """Tensors by name, each inside the file, of whole blocks, and overlapping no other."""
    tensors: dict[str, TensorInfo] = {}
    for line in header.tensors:
        if line.name in tensors:
            raise InvalidFile(f"{file} has two tensors called {line.name}. The file is broken: download it again.")
        tensors[line.name] = _tensor(line, header, file_size, file)
    _refuse_overlap(tensors, file)
    return tensors


def _tensor(line: TensorLine, header: GgufHeader, file_size: int, file: str) -> TensorInfo:
    weight_type = _weight_type(line, file)
    size = _size(line, weight_type, file)
    if line.offset % header.alignment:
        raise InvalidFile(
            f"{line.name} in {file} has the offset {line.offset:,}, which is no multiple of the alignment "
            f"{header.alignment:,}. The file is broken: download it again."
        )
    offset = header.data_start + line.offset
    if offset + size > file_size:
        raise TensorOutOfFile(
            f"{line.name} in {file} ends at byte {offset + size:,}, but the file has {file_size:,}. "
            "The download is probably incomplete: fetch the file again."
        )
    return TensorInfo(line.name, line.shape, weight_type, offset, size)


def _weight_type(line: TensorLine, file: str) -> WeightType:
    if line.type in BY_GGML:
        return BY_GGML[line.type]
    name, why = OTHER_TYPES.get(line.type, (f"type number {line.type}", UNKNOWN))
    known = ", ".join(WEIGHT_TYPES)
    raise UnknownWeightType(
        f"{line.name} in {file} is stored as {name}, {why}; it cannot be run. "
        f"Take a file of the model whose weights are in {known}."
    )


def _size(line: TensorLine, weight_type: WeightType, file: str) -> int:
    values = 1
    for extent in line.shape:
        values *= extent
    if not 1 <= values < COUNT_LIMIT or weight_type.size(values) >= COUNT_LIMIT:
        raise InvalidFile(f"{line.name} in {file} has the shape {line.shape}: {values:,} values. The file is broken.")
    if line.shape[-1] % weight_type.block:
        raise InvalidFile(
            f"{line.name} in {file} has rows of {line.shape[-1]:,} values, which is no multiple of {weight_type}'s "
            f"block of {weight_type.block}. The file is broken."
        )
    return weight_type.size(values)


def _refuse_overlap(tensors: Mapping[str, TensorInfo], file: str) -> None:
    ordered = sorted(tensors.values(), key=lambda tensor: tensor.offset)
    for before, after in pairwise(ordered):
        if before.offset + before.size > after.offset:
            raise InvalidFile(
                f"{before.name} in {file} ends at byte {before.offset + before.size:,}, but {after.name} starts at "
                f"{after.offset:,}. The file is broken: download it again."
            )


# What else has to be known


def _architecture(metadata: Mapping[str, object], file: str) -> str:
    architecture = metadata.get("general.architecture")
    if not isinstance(architecture, str):
        raise InvalidConfig(
            f"general.architecture is {architecture!r} in {file}, but must name the model's architecture. "
            "Is this a GGUF file of a language model?"
        )
    return architecture


async def _frequency_factors(source: ByteSource, tensor: TensorInfo | None) -> tuple[float, ...] | None:
    """Llama 3.1's divisors of the RoPE frequencies, which are no weight: [pairs] in F32."""
    if tensor is None:
        return None
    if tensor.type.name != "F32" or len(tensor.shape) != 1:
        raise InvalidConfig(
            f"{tensor.name} in {source.name} is {tensor.type} of shape {tensor.shape}, but must be a row of F32."
        )
    data = await source.read(tensor.offset, tensor.size)
    return struct.unpack(f"<{tensor.values}f", data)
