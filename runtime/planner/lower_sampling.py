"""The dispatches behind the logits: a look at all of them where one is needed, the draw, and the likeliest tokens."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from .assembly import Groups
from .compose import Value
from .plan import ONE, Extent
from .vocabulary import VocabularyLayout

MAX_TOP = 20  # alternatives that a step can report with their log probabilities
STRETCH = 8192  # logits that a workgroup of the survey looks at
STRETCH_BYTES = 4 * 3 * 1024  # what it leaves: three planes of as many bins as sampling/order.wgsl has


@dataclass(frozen=True)
class Rows:
    """The rows of logits that tokens are drawn from."""

    outputs: int
    vocab_size: int
    blocks: int  # entries of their statistics, a row
    block_tokens: int  # logits that an entry stands for
    context: int  # positions of a sequence

    @property
    def stretches(self) -> int:
        """Workgroups that survey a row."""
        return -(-self.vocab_size // STRETCH)

    @property
    def survey_bytes(self) -> int:
        """Bytes of what the survey leaves."""
        return self.outputs * self.stretches * STRETCH_BYTES


@dataclass(frozen=True)
class Stage:
    """A dispatch of sampling. Buffers and values are called as the kernel's bindings."""

    label: str
    bound: tuple[str, ...]
    vocab: Mapping[str, int]
    groups: Groups
    parameters: Mapping[str, Value]

    @property
    def file(self) -> str:
        return f"{self.label}.wgsl"


def sampling_stages(rows: Rows, workgroup: int) -> Iterator[Stage]:
    """What follows the head's dispatch, by `workgroup` lanes each. The last is only run for who wants the likeliest."""
    vocabulary = VocabularyLayout(rows.vocab_size)
    lanes: dict[str, Value] = {"WORKGROUP": workgroup}
    size = {"size": rows.vocab_size, "blocks": rows.blocks}
    every_output = (Extent(rows.outputs), ONE, ONE)
    yield Stage(
        "survey",
        ("logits", "stats", "sequences", "rows", "survey"),
        size,
        (Extent(rows.stretches), Extent(rows.outputs), ONE),
        lanes | {"STRETCH": STRETCH},
    )
    yield Stage(
        "sample",
        ("logits", "stats", "survey", "sequences", "rows", "tokens", "vocabulary", "results"),
        size
        | {
            "mask_words": vocabulary.mask_words,
            "slot_words": vocabulary.slot_words,
            "stretches": rows.stretches,
            "context": rows.context,
        },
        every_output,
        lanes | {"BLOCK_TOKENS": rows.block_tokens},
    )
    yield Stage(
        "top_logprobs",
        ("logits", "stats", "results"),
        size | {"outputs": rows.outputs, "n_top": MAX_TOP},
        every_output,
        lanes | {"BLOCK_TOKENS": rows.block_tokens},
    )
