"""A GGUF file's matrices in another weight type, by the `gguf` package, whose quantizers are not ours."""

import hashlib
from pathlib import Path

from tools.steps import ROOT, say

FOLDER = ROOT / "build/peers-models"
TYPES = ("Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "F16", "BF16")  # that the package can quantize to


def requantized(model: Path, type_name: str) -> Path:
    """The file under FOLDER, made if it is not there yet. Vectors and the embedding's rows keep their own types.

    So only the linears of the layers change, and files of several types differ in these alone.
    """
    told = model.stat()
    which = hashlib.sha256(f"{model} {told.st_size} {told.st_mtime_ns}".encode()).hexdigest()[:8]
    target = FOLDER / which / f"{model.stem}-as-{type_name}.gguf"
    if not target.exists():
        say(f"quantizing {model.name} to {type_name}")
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_suffix(".partial")
        _write(model, type_name, partial)
        partial.replace(target)
    return target


def _write(model: Path, type_name: str, target: Path) -> None:
    from gguf import GGMLQuantizationType, GGUFReader, GGUFValueType, GGUFWriter, quants

    reader = GGUFReader(model)
    wanted = GGMLQuantizationType[type_name]
    architecture = reader.get_field("general.architecture")
    writer = GGUFWriter(target, architecture.contents())
    for name, field in reader.fields.items():
        if name.startswith("GGUF.") or name == "general.architecture":
            continue
        if name == "general.alignment":
            writer.add_custom_alignment(field.contents())
            continue
        element = field.types[-1] if field.types[0] == GGUFValueType.ARRAY else None
        writer.add_key_value(name, field.contents(), field.types[0], sub_type=element)
    for tensor in reader.tensors:
        data, kind = tensor.data, tensor.tensor_type
        if tensor.name.startswith("blk.") and len(tensor.shape) > 1:
            data, kind = quants.quantize(quants.dequantize(tensor.data, kind), wanted), wanted
        writer.add_tensor(tensor.name, data, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
