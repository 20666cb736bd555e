"""How the sampling state of a slot lies in memory: a mask, a bias and a count per token."""

from dataclasses import dataclass


@dataclass(frozen=True)
class VocabularyLayout:
    """Words of the buffer "vocabulary", per slot: mask bits, then f32 biases, then counts."""

    size: int  # tokens

    @property
    def mask_words(self) -> int:
        return -(-self.size // 32)

    @property
    def slot_words(self) -> int:
        return -(-(self.mask_words + 2 * self.size) // 4) * 4

    @property
    def bias(self) -> int:
        """First word of the biases, within a slot."""
        return self.mask_words

    @property
    def counts(self) -> int:
        """First word of the counts, within a slot."""
        return self.mask_words + self.size
