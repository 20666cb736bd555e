"""The dispatches behind the logits: a look at all of them where one is needed, the draw, and the likeliest tokens."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from .assembly import Groups
from .compose import Value
from .plan import ONE, Extent
from .vocabulary import VocabularyLayout

MAX_TOP = 20  # alternatives that a step can report with their log probabilities
# Rounds of a loop over all logits that a lane may make. Lavapipe (Mesa 22.3) ends, without a word, all loops of an
# invocation that made 65,535 rounds together, and where nothing else helps a search looks at all logits 20 times.
ROUNDS = 2500
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

    def lanes(self, least: int) -> int:
        """Lanes of a workgroup that looks at a whole row, a power of two up to 256."""
        return min(max(least, 1 << (-(-self.vocab_size // ROUNDS) - 1).bit_length()), 256)

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
    """What follows the head, by `workgroup` lanes or more. The last only runs for who wants the likeliest tokens."""
    vocabulary = VocabularyLayout(rows.vocab_size)
    whole_row: dict[str, Value] = {"WORKGROUP": rows.lanes(workgroup), "BLOCK_TOKENS": rows.block_tokens}
    size = {"size": rows.vocab_size, "blocks": rows.blocks}
    every_output = (Extent(rows.outputs), ONE, ONE)
    yield Stage(
        "survey",
        ("logits", "stats", "sequences", "rows", "survey"),
        size,
        (Extent(rows.stretches), Extent(rows.outputs), ONE),
        {"WORKGROUP": workgroup, "STRETCH": STRETCH},
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
        whole_row,
    )
    yield Stage(
        "top_logprobs",
        ("logits", "stats", "results"),
        size | {"outputs": rows.outputs, "n_top": MAX_TOP},
        every_output,
        whole_row,
    )
