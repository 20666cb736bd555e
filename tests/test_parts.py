"""Models in several files: their names, and sources that are joined end to end."""

import asyncio

import pytest

from byte_sources import BytesSource, wait
from shaderlm.parts import JoinedSource, PartName, files_of, models_among, part_name


def test_a_parts_name_says_which_it_is_of_how_many():
    assert part_name("big-00002-of-00003.gguf") == PartName("big", 2, 3, ".gguf")
    assert str(PartName("folder/big", 12, 345, ".gguf")) == "folder/big-00012-of-00345.gguf"


@pytest.mark.parametrize(
    "name",
    [
        "big.gguf",
        "big-2-of-3.gguf",
        "big-00002-of-00003",
        "big-00004-of-00003.gguf",
        "big-00000-of-00003.gguf",
        "-00001-of-00002.gguf",
    ],
)
def test_other_names_are_whole_files(name):
    assert part_name(name) is None
    assert files_of(name) == (name,)


def test_any_part_names_them_all():
    assert files_of("a/b-00002-of-00003.gguf") == tuple(f"a/b-0000{n}-of-00003.gguf" for n in (1, 2, 3))


def test_parts_of_a_set_are_one_model_even_where_some_lack():
    names = ["z.gguf", "m-00002-of-00002.gguf", "m-00001-of-00002.gguf", "m-00003-of-00003.gguf"]
    assert models_among(names) == {
        "m-00001-of-00002.gguf": ("m-00001-of-00002.gguf", "m-00002-of-00002.gguf"),
        "m-00001-of-00003.gguf": tuple(f"m-0000{n}-of-00003.gguf" for n in (1, 2, 3)),
        "z.gguf": ("z.gguf",),
    }


PIECES = (b"abcdefgh", b"ij", b"klmnop")
JOINED = b"".join(PIECES)


def joined() -> JoinedSource:
    return JoinedSource([BytesSource(piece, name=f"{i}.gguf") for i, piece in enumerate(PIECES)])


def test_joined_sources_read_as_their_bytes_end_to_end():
    source = joined()
    assert (source.name, source.size) == ("0.gguf", len(JOINED))
    for start in range(len(JOINED) + 2):
        for size in range(len(JOINED) + 3):
            assert wait(source.read(start, size)) == JOINED[start : start + size], (start, size)


def test_a_part_is_asked_for_its_own_bytes_alone():
    source = joined()
    wait(source.read(9, 4))
    assert [part.reads for part in source.parts] == [[], [(1, 1)], [(0, 3)]]


def test_a_chunk_comes_from_the_part_that_it_lies_in():
    source = joined()

    async def chunks() -> list[bytes]:
        return [bytes(await source.chunk(offset, size)) for offset, size in ((0, 8), (3, 2), (8, 2), (10, 6), (12, 1))]

    assert asyncio.run(chunks()) == [b"abcdefgh", b"de", b"ij", b"klmnop", b"m"]


def test_closing_closes_every_part():
    source = joined()
    source.close()
    assert [part.closed for part in source.parts] == [True, True, True]
