"""What goes wrong with model files in a browser: damage, other bytes than published, refusals, no room, no storage."""

import hashlib
import re
from dataclasses import replace

import pytest
from model_server import CHUNK, DATA, MODEL, NAME, OTHER, SIZE, ModelBytes, error_of, is_whole

SMALL_DATA = DATA[: 3 * CHUNK]  # so few chunks that the sample has them all


def published(data: bytes) -> dict[str, object]:
    """What a catalogue says of a file."""
    chunks = [data[at : at + CHUNK] for at in range(0, len(data), CHUNK)]
    hashes = [hashlib.sha256(chunk).hexdigest() for chunk in chunks]
    return {"size": len(data), "chunk_size": CHUNK, "chunk_sha256": hashes}


def range_of(index: int) -> str:
    return f"bytes={index * CHUNK}-{(index + 1) * CHUNK - 1}"


# Damage


def test_a_flipped_byte_is_found_by_a_full_check_and_only_its_chunk_fetched_again(tab, server, url):
    tab.load(url, chunkSize=CHUNK)
    tab.evaluate("damage(3)")
    server.forget()
    assert is_whole(tab.load(url, verify=True))
    assert server.ranges == [range_of(3)]
    assert server.sent == CHUNK
    server.forget()
    assert is_whole(tab.load(url, verify=True))
    assert server.asked == []


def test_a_flipped_byte_is_found_by_the_sample_that_each_load_checks(tab, server, url):
    server.files[NAME] = replace(MODEL, data=SMALL_DATA)
    tab.load(url, chunkSize=CHUNK)
    tab.evaluate("damage(1)")
    server.forget()
    assert is_whole(tab.load(url), server.files[NAME])
    assert server.ranges == [range_of(1)]


def test_after_one_damaged_chunk_no_other_is_trusted(tab, server, url):
    tab.load(url, chunkSize=CHUNK)
    for index in (0, 4, 9):
        tab.evaluate(f"damage({index})")
    server.forget()
    assert is_whole(tab.load(url, verify=True))
    assert server.ranges == [range_of(0), range_of(4), range_of(9)]


def test_the_last_chunk_is_repaired_by_a_server_without_range(tab, server, url):
    tab.load(url, chunkSize=CHUNK)
    tab.evaluate("damage(10)")
    server.knows_ranges = False
    assert is_whole(tab.load(url, verify=True))


@pytest.mark.parametrize("reason", ["no network", "another file"])
def test_damage_that_cannot_be_repaired_names_chunk_and_remedy(tab, server, url, reason):
    tab.load(url, chunkSize=CHUNK)
    tab.evaluate("damage(3)")
    if reason == "another file":
        server.files[NAME] = replace(OTHER, etag=MODEL.etag)
    else:
        server.statuses = [503] * 3
    code, message = error_of(tab.load(url, verify=True))
    assert code == "ChecksumMismatch"
    assert "Chunk 3 of some.gguf" in message
    assert "delete this model" in message.lower()


# What a catalogue publishes


def test_a_file_that_is_what_was_published_is_kept_whatever_its_etag(visitor, tab, server, url):
    server.stands_at = 4 * CHUNK + 1
    tab.start(url, expected=published(DATA))
    tab.until_stored(4 * CHUNK)
    tab.close()
    server.files[NAME] = replace(MODEL, etag='"another"', last_modified=None)
    server.stands_at = None
    server.forget()
    tab = visitor.open_tab()
    assert is_whole(tab.load(url, expected=published(DATA)))
    assert server.ranges == [f"bytes={4 * CHUNK}-"]
    assert tab.models()[0]["complete"]


@pytest.mark.parametrize("index", [0, 5, 10])
def test_another_file_than_was_published_is_refused_and_not_kept(tab, server, url, index):
    expected = published(DATA)
    expected["chunk_sha256"][index] = "0" * 64
    code, message = error_of(tab.load(url, expected=expected))
    assert code == "ChecksumMismatch"
    assert f"chunk {index} " in message
    assert tab.models() == []
    assert tab.evaluate("countOfChunks()") == 0


def test_a_file_of_another_size_than_was_published_is_refused(tab, url):
    code, message = error_of(tab.load(url, expected=published(DATA[:-1])))
    assert code == "ChecksumMismatch"
    assert f"{SIZE} bytes" in message
    assert f"{SIZE - 1} were published" in message


def test_of_a_stored_file_what_was_published_stays_and_the_rest_is_fetched(tab, server, url):
    tab.load(url, chunkSize=CHUNK)
    changed = DATA[: 2 * CHUNK] + bytes(CHUNK) + DATA[3 * CHUNK :]
    server.files[NAME] = ModelBytes(changed, etag='"newer"')
    server.forget()
    result = tab.load(url, expected=published(changed))
    assert is_whole(result, server.files[NAME])
    assert server.ranges == [range_of(2)]
    assert tab.models()[0]["key"] == result["key"]


# Refusals


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        (404, "ModelNotFound", "Check the address"),
        (410, "ModelNotFound", "Check the address"),
        (401, "AccessDenied", "Sign in"),
        (403, "AccessDenied", "Sign in"),
        (400, "NetworkError", "answers 400"),
        (503, "NetworkError", "try again later"),
    ],
)
def test_a_refusal_says_what_to_do(tab, server, url, status, code, words):
    server.refusals[NAME] = status
    found, message = error_of(tab.load(url))
    assert found == code
    assert url in message
    assert words in message
    assert len(server.asked) == (3 if status == 503 else 1)
    assert tab.models() == []


PAGE = b"<!DOCTYPE html><title>Sign in</title>"
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 98362432\n"


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (ModelBytes(PAGE, content_type="text/html; charset=utf-8"), "is a web page"),
        (ModelBytes(PAGE), "is a web page"),
        (ModelBytes(POINTER), "Git LFS"),
        (ModelBytes(b"PK\3\4" + bytes(100)), "no GGUF file"),
        (ModelBytes(b""), "is empty"),
    ],
    ids=["web page", "web page in disguise", "pointer", "other file", "nothing"],
)
def test_what_is_no_model_is_refused_and_not_kept(tab, server, url, model, words):
    server.files[NAME] = model
    code, message = error_of(tab.load(url))
    assert code == "InvalidFile"
    assert words in message
    assert tab.models() == []


def test_a_page_about_a_file_leads_to_the_file(tab):
    message = tab.evaluate("""load("https://huggingface.co/a/b/blob/main/c.gguf", {
        fetch: async () => new Response("<html>", { headers: { "Content-Type": "text/html" } }),
    })""")["error"]["message"]
    assert "https://huggingface.co/a/b/resolve/main/c.gguf" in message


def test_a_file_that_ends_early_each_time_is_truncated(tab, server, url):
    server.cuts = [2 * CHUNK, *[0] * 3]
    code, message = error_of(tab.load(url))
    assert code == "TruncatedFile"
    assert f"should have {SIZE}" in message


def test_no_answer_says_what_may_be_wrong(tab, elsewhere):
    elsewhere.exposes = None
    code, message = error_of(tab.load(elsewhere.url(f"models/{NAME}")))
    assert code == "NetworkError"
    for words in ("no connection", "CORS", "connect-src"):
        assert words in message


def test_what_is_no_url_is_an_invalid_option(tab):
    assert error_of(tab.load("http://"))[0] == "InvalidOption"


# No room, no storage


def test_on_a_full_disk_the_model_runs_from_memory(visitor, server, url):
    tab = visitor.open_tab(quota=6 * CHUNK)
    result = tab.load(url, chunkSize=CHUNK)
    assert is_whole(result)
    (notice,) = result["notices"]
    assert notice["code"] == "NoSpace"
    assert "Delete a model" in notice["message"]
    (listed,) = tab.models()
    assert not listed["complete"]
    assert 0 < listed["stored"] < SIZE
    server.forget()
    assert is_whole(tab.load(url))
    assert server.ranges == [f"bytes={listed['stored']}-"]


def test_where_60_mb_may_be_stored_a_larger_model_is_told_how_much_was(visitor, server):
    model = server.files["large.gguf"] = ModelBytes(b"GGUF" + bytes(80_000_000))
    tab = visitor.open_tab(quota=60_000_000)
    result = tab.load(server.url("models/large.gguf"))
    assert is_whole(result, model)
    (notice,) = result["notices"]
    (listed,) = tab.models()
    assert 40e6 < listed["stored"] < 60e6
    begin = f"No room to store large.gguf: {listed['stored'] / 1e6:.1f} MB of 80.0 MB are stored; the rest is held in "
    begin += "memory until it is closed, and will be fetched again next time."
    end = "Delete a model that you don't need, or free space on the disk."
    assert re.fullmatch(
        rf"{re.escape(begin)} This site uses .* MB of about .* MB\. {re.escape(end)}", notice["message"]
    )


@pytest.mark.parametrize("without", ["storage", "indexedDB"])
def test_where_storage_is_refused_the_model_runs_from_memory(visitor, server, url, without):
    tab = visitor.open_tab(without=without)
    server.cuts = [5 * CHUNK]
    result = tab.load(url, chunkSize=CHUNK)
    assert is_whole(result)
    assert [notice["code"] for notice in result["notices"]] == ["CacheNotWritable"]
    assert tab.models() == []
    assert tab.evaluate("files.putFind('key', 'value').then(() => files.getFind('key'))") is None
    assert tab.evaluate(f"files.deleteModel({url!r})") is False


def test_a_model_in_memory_is_read_as_often_as_one_wants(visitor, server, url):
    tab = visitor.open_tab(without="storage")
    twice = (
        f"open({url!r}, {{ chunkSize: {CHUNK} }}).then(async (whole) => [await readAll(whole), await readAll(whole)])"
    )
    first, second = tab.evaluate(twice)
    assert is_whole(first)
    assert is_whole(second)
    assert len(server.asked) == 1


def test_a_model_deleted_while_it_loads_is_read_from_memory_and_not_kept(tab, server, url):
    server.stands_at = 4 * CHUNK + 1
    tab.start(url, chunkSize=CHUNK)
    tab.until_stored(4 * CHUNK)
    assert tab.evaluate(f"files.deleteModel({url!r})")
    server.stands_at = None
    server.moves.set()
    result = tab.finish()
    assert is_whole(result)
    assert result["notices"] == []
    assert tab.models() == []
    assert tab.evaluate("countOfChunks()") == 0


def test_a_chunk_that_got_lost_is_fetched_again(tab, server, url):
    tab.load(url, chunkSize=CHUNK)
    tab.evaluate("lose(7)")
    server.forget()
    assert is_whole(tab.load(url))
    assert server.ranges == [range_of(7)]
