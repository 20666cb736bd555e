"""A model file taken apart into several, as the `gguf` package's own writer does it."""

import math
from pathlib import Path

import gguf
from gguf import GGUFReader, GGUFValueType, GGUFWriter


def split(file: Path, folder: Path, parts: int, *, name: str | None = None) -> list[Path]:
    """Write the model in `file` as NAME-0000i-of-0000N.gguf into `folder`; the paths, the first part's first."""
    reader = GGUFReader(file)
    architecture = reader.fields["general.architecture"].contents()
    at_once = math.ceil(len(reader.tensors) / parts)
    target = folder / f"{name or file.stem}.gguf"
    writer = GGUFWriter(target, architecture, split_max_tensors=at_once)
    for field in reader.fields.values():
        if not field.name.startswith("GGUF.") and field.name != "general.architecture":
            element = field.types[-1] if field.types[0] == GGUFValueType.ARRAY else None
            writer.add_key_value(field.name, field.contents(), field.types[0], element)
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, tensor.data, raw_dtype=gguf.GGMLQuantizationType(tensor.tensor_type))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    written = sorted(folder.glob(f"{target.stem}-*-of-{parts:05}.gguf"))
    assert len(written) == parts
    return written
