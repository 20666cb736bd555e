"""Write runtime/engine/known_answers.py: what the tiny models of runtime/engine/known_model.py must answer.

    pip install -e ".[test]"
    python tests/data/make_known_answers.py

Decoded by the `gguf` package, run by tests/reference.py in float64. Scales are chosen so that the values of a type have
a standard deviation near that of trained weights.
"""

import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
sys.path.append(str(HERE.parent))
from gguf_writer import values  # noqa: E402
from reference import Reference  # noqa: E402
from shaderlm.engine import known_model  # noqa: E402
from shaderlm.engine.known_answers import EVERY, KnownAnswer  # noqa: E402
from shaderlm.tensors import WEIGHT_TYPES, WeightType  # noqa: E402

MODULE = HERE.parent.parent / "runtime" / "engine" / "known_answers.py"
SPREAD = known_model.HIDDEN**-0.5


def main() -> None:
    head, _, _ = MODULE.read_text(encoding="utf-8").partition("\nKNOWN: ")
    rows = "".join(f"    {name!r}: {_row(kind)},\n" for name, kind in WEIGHT_TYPES.items())
    table = f"\nKNOWN: Mapping[str, KnownAnswer] = {{  # by tests/data/make_known_answers.py\n{rows}}}\n"
    MODULE.write_text((head + table).replace("'", '"'), encoding="utf-8")


def answer(kind: WeightType) -> KnownAnswer:
    """What the reference says for one type."""
    scale = scale_of(kind)
    weights = {name: decoded(kind, rows, name, scale) for name, rows in known_model.MATRICES.items()} | {
        name: np.ones(known_model.HIDDEN) for name in known_model.NORMS
    }
    logits = Reference.of(known_model.HYPERPARAMETERS, weights).logits([*known_model.PROMPT, known_model.NEXT])
    last, after = (" ".join(f"{x:.4f}" for x in row[::EVERY]) for row in logits[-2:])
    return KnownAnswer(scale.hex(), last, after)


def scale_of(kind: WeightType) -> bytes:
    """The bytes of `known_model.SCALES` or SPANS that give a type the spread that is wanted."""
    fixed = {"F32": "0000003d", "F16": "0028", "BF16": "003d", "MXFP4": "7a", "NVFP4": "18181818"}
    if kind.name in fixed:
        return bytes.fromhex(fixed[kind.name])
    one = np.array([1.0], np.float16).tobytes()
    if kind.name == "IQ1_M":
        return in_nibbles(np.array([SPREAD / decoded(kind, 256, "scale", in_nibbles(one)).std()], np.float16).tobytes())
    size = known_model.SCALES[kind.name][1]
    plain = decoded(kind, 256, "scale", one + bytes(size - 2))
    d = np.array([SPREAD / plain.std()], np.float16)
    if size == 2:
        return d.tobytes()
    return d.tobytes() + offset_of(kind, plain, d)


def in_nibbles(scale: bytes) -> bytes:
    """An f16 as IQ1_M has it: four bits on top of each of four words of 16."""
    bits = int.from_bytes(scale, "little")
    return b"".join((bits >> shift << 12 & 0xF000).to_bytes(2, "little") for shift in (0, 4, 8, 12))


def offset_of(kind: WeightType, plain: np.ndarray, d: np.ndarray) -> bytes:
    """The second scale of a type that has one: such that the mean is near zero."""
    with_offset = decoded(kind, 256, "scale", np.array([0, 1], np.float16).tobytes())
    return np.array([-float(d[0]) * plain.mean() / with_offset.mean()], np.float16).tobytes()


def decoded(kind: WeightType, rows: int, name: str, scale: bytes) -> np.ndarray:
    """A matrix [rows, HIDDEN] of the known model, as the gguf package decodes it."""
    data = known_model.blocks(kind, rows * known_model.HIDDEN, f"{kind} {name}", scale)
    raw = np.frombuffer(data, np.uint8).reshape(rows, -1)
    return values(raw, kind.name).astype(np.float64)


def _row(kind: WeightType) -> str:
    found = answer(kind)
    return f"KnownAnswer({found.scale!r}, {found.last!r}, {found.after!r})"


if __name__ == "__main__":
    main()
