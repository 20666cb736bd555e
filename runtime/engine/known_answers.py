"""What the tiny models of `known_model.py` must answer: facts computed in float64 by another program than ours.

The table is written by tests/data/make_known_answers.py: change it there.
"""

from collections.abc import Mapping
from dataclasses import dataclass

EVERY = 8  # logits: of 64, each eighth is kept


@dataclass(frozen=True)
class KnownAnswer:
    """Of one weight type: the bytes that scale its blocks, and logits after the prompt and a token later."""

    scale: str  # hex
    last: str
    after: str


KNOWN: Mapping[str, KnownAnswer] = {  # by tests/data/make_known_answers.py
    "F32": KnownAnswer(
        "0000003d",
        "0.9018 0.3167 0.1039 -0.4062 -0.2972 -0.2366 0.2817 0.5661",
        "1.0003 0.8205 -0.3815 1.0906 -0.5307 -0.7013 0.5522 0.9434",
    ),
    "F16": KnownAnswer(
        "0028",
        "-0.0988 -0.6450 2.1710 0.3669 0.3942 0.4870 -0.4544 1.3637",
        "0.2002 0.0692 1.0205 1.0392 -0.0357 -1.3921 -0.0868 0.2247",
    ),
    "BF16": KnownAnswer(
        "003d",
        "-0.3017 -0.4109 0.9386 0.7299 1.1205 1.1474 -0.2290 -0.4779",
        "0.0245 -0.3582 -0.1788 0.4624 1.0263 1.1397 -0.0035 -0.4615",
    ),
    "Q4_0": KnownAnswer(
        "f222",
        "0.1124 0.1726 -0.4575 2.2522 0.9745 0.6333 0.4060 1.4232",
        "0.4619 0.3461 -0.1881 2.4379 1.6585 0.2459 0.3550 1.6197",
    ),
    "Q4_1": KnownAnswer(
        "f02281ae",
        "1.5238 -0.7306 -1.9467 -1.4117 -2.9374 -0.6281 1.0080 -0.2110",
        "0.2093 -0.3763 0.1384 -1.8803 -0.8425 -0.1552 0.6456 0.6808",
    ),
    "Q8_0": KnownAnswer(
        "f712",
        "0.6776 -1.5277 -0.3433 -0.6889 1.1893 0.0340 0.6679 -1.5604",
        "0.2360 0.0170 -0.6835 0.1576 0.5948 2.3212 -0.3564 -2.6258",
    ),
}
