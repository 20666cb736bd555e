"""Model files in a browser's worker: downloaded, stored, resumed, and begun anew where they were replaced."""

from dataclasses import replace

import pytest
from files_tab import Tab
from model_server import CHUNK, DATA, MODEL, NAME, OTHER, SIZE, Asked, ModelServer, error_of, is_whole

AT_40 = 4 * CHUNK  # whole chunks
SLOWLY = 0.002  # seconds between slices: a browser throws away what it has not handed on when a connection breaks off


def cut_at_40_percent(server: ModelServer, tab: Tab, url: str) -> None:
    """A load of which so many chunks are stored when the line stands still."""
    server.stands_at = AT_40 + 1
    tab.start(url, chunkSize=CHUNK)
    tab.until_stored(AT_40)


def let_go_on(server: ModelServer) -> None:
    server.stands_at = None
    server.moves.set()
    server.forget()


LACKS = ["", "byob", "locks", "extras", "byob,locks,extras"]


@pytest.mark.parametrize("without", LACKS, ids=lambda lacks: lacks or "nothing")
def test_a_stored_model_is_read_without_the_network(visitor, server, url, without):
    tab = visitor.open_tab(without=without)
    first = tab.load(url, chunkSize=CHUNK)
    assert is_whole(first)
    assert first["progress"][-1] == {"done": SIZE, "total": SIZE, "from": "network"}
    assert server.asked == [Asked("GET", NAME, None, None)]
    server.forget()
    second = visitor.open_tab(without=without).load(url, chunkSize=CHUNK)
    assert is_whole(second)
    assert second["progress"][-1] == {"done": SIZE, "total": SIZE, "from": "cache"}
    assert server.asked == []


def test_what_has_come_is_read_while_the_rest_is_on_its_way(tab, server, url):
    server.stands_at = AT_40 + 1
    options = f"{{ chunkSize: {CHUNK}, keep: 'one' }}"
    head = tab.evaluate(f"open('{url}', {options}).then(async ({{ file }}) => [...await file.read(0, 8)])")
    assert bytes(head) == DATA[:8]
    let_go_on(server)
    assert is_whole(tab.evaluate("readAll(opened.get('one'))"))


def test_a_read_ends_with_the_file_and_a_chunk_past_it_is_an_error(tab, url):
    result = tab.evaluate(f"""open('{url}', {{ chunkSize: {CHUNK} }}).then(async ({{ file }}) => [
        (await file.read(file.size - 3, 8)).length,
        (await file.read(file.size, 8)).length,
        (await file.read({CHUNK - 2}, 4)).join(),
        await outcome(() => file.chunk(file.size - 3, 8)),
    ])""")
    assert result[:3] == [3, 0, ",".join(map(str, DATA[CHUNK - 2 : CHUNK + 2]))]
    assert error_of(result[3])[0] == "TruncatedFile"


@pytest.mark.parametrize("without", ["", "byob"], ids=lambda lacks: lacks or "nothing")
def test_a_dropped_connection_goes_on_from_the_byte_where_it_broke(visitor, server, url, without):
    # Each connection lasts long: a browser throws away what it holds when one breaks, and a busy one holds a lot.
    server.cuts = [AT_40 + 100_000, 1_000_000]
    server.pause = SLOWLY
    assert is_whole(visitor.open_tab(without=without).load(url, chunkSize=CHUNK))
    ranges = [asked.range for asked in server.asked]
    assert ranges[0] is None
    assert all(asked.if_range == '"one"' for asked in server.asked[1:])
    starts = [int(text.removeprefix("bytes=").removesuffix("-")) for text in ranges[1:]]
    assert len(starts) == 2
    assert 0 < starts[0] <= AT_40 + 100_000
    assert starts[0] < starts[1] <= starts[0] + 1_000_000


def test_when_all_tries_fail_the_next_call_fetches_only_the_rest(tab, server, url):
    server.cuts = [AT_40 + 1, 0, 0, 0]
    server.pause = SLOWLY
    code, message = error_of(tab.load(url, chunkSize=CHUNK))
    assert code == "TruncatedFile"
    assert "go on from there" in message
    assert tab.models()[0] | {"stored": 0} == tab.models()[0] | {"complete": False, "stored": 0, "size": SIZE}
    stored = tab.models()[0]["stored"]
    server.forget()
    result = tab.load(url, chunkSize=CHUNK)
    assert is_whole(result)
    assert server.ranges == [f"bytes={stored}-"]
    assert server.sent == SIZE - stored
    assert result["progress"][0]["done"] >= stored


def test_a_server_that_stops_to_answer_midway_is_asked_for_the_rest_later(tab, server, url):
    cut_at_40_percent(server, tab, url)
    server.refusals[NAME] = 503
    server.breaks = True
    let_go_on(server)
    code, message = error_of(tab.finish())
    assert code == "NetworkError"
    assert "answers 503" in message
    assert "load it again to go on from there" in message
    server.breaks = False
    del server.refusals[NAME]
    server.forget()
    assert is_whole(tab.load(url, chunkSize=CHUNK))
    assert server.ranges == [f"bytes={AT_40}-"]


@pytest.mark.parametrize("end", ["close", "kill_worker"])
def test_after_a_closed_tab_or_a_killed_worker_only_the_rest_is_fetched(visitor, tab, server, url, end):
    cut_at_40_percent(server, tab, url)
    getattr(tab, end)()
    let_go_on(server)
    assert is_whole(visitor.open_tab().load(url, chunkSize=CHUNK))
    assert server.asked == [Asked("GET", NAME, f"bytes={AT_40}-", '"one"')]


@pytest.mark.parametrize(
    "model",
    [
        OTHER,
        replace(OTHER, etag='W/"two"', last_modified="Thu, 22 Oct 2026 07:28:00 GMT"),
        replace(OTHER, etag=None, last_modified="Thu, 22 Oct 2026 07:28:00 GMT"),
        replace(OTHER, data=OTHER.data[:100_000]),
        replace(OTHER, data=OTHER.data[:-1], etag=None, last_modified=None),
    ],
    ids=["ETag", "weak ETag", "Last-Modified", "shorter than what is stored", "size"],
)
@pytest.mark.parametrize("knows_ranges", [True, False], ids=["Range", "no Range"])
def test_a_file_that_was_replaced_starts_over(visitor, tab, server, url, model, knows_ranges):
    cut_at_40_percent(server, tab, url)
    tab.close()
    let_go_on(server)
    server.files[NAME] = model
    server.knows_ranges = knows_ranges
    tab = visitor.open_tab()
    result = tab.load(url, chunkSize=CHUNK)
    assert is_whole(result, model)
    (listed,) = tab.models()
    assert listed["key"] == result["key"]
    assert (listed["stored"], listed["complete"]) == (len(model.data), True)
    assert tab.evaluate("countOfChunks()") == -(-len(model.data) // CHUNK)
    assert is_whole(tab.load(url, verify=True), model)


def test_what_nothing_tells_apart_from_another_file_starts_over(visitor, tab, server, url):
    server.files[NAME] = replace(MODEL, etag=None, last_modified=None)
    cut_at_40_percent(server, tab, url)
    tab.close()
    let_go_on(server)
    assert is_whole(visitor.open_tab().load(url, chunkSize=CHUNK))
    assert server.ranges == [None]


def test_a_server_without_range_still_works(visitor, tab, server, url):
    server.knows_ranges = False
    server.cuts = [AT_40 + 1]
    assert is_whole(tab.load(url, chunkSize=CHUNK))
    tab.load(url, chunkSize=CHUNK)
    assert len(server.asked) == 2


def test_a_size_that_nobody_is_told_shows_at_the_end(tab, server, url):
    server.files[NAME] = replace(MODEL, compressed=True)
    result = tab.load(url, chunkSize=CHUNK)
    assert is_whole(result)
    assert result["progress"][-1] == {"done": SIZE, "total": SIZE, "from": "network"}
    server.forget()
    assert is_whole(tab.load(url, verify=True))
    assert server.asked == []


def test_a_file_replaced_while_it_is_downloaded_is_not_mixed(tab, server, url):
    cut_at_40_percent(server, tab, url)
    server.files[NAME] = OTHER
    server.breaks = True
    let_go_on(server)
    code, message = error_of(tab.finish())
    assert code == "NetworkError"
    assert "replaced" in message
    assert is_whole(tab.load(url, chunkSize=CHUNK), OTHER)


@pytest.mark.parametrize("exposes", ["ETag, Content-Range", ""], ids=["all headers", "safe headers only"])
def test_another_origin_is_asked_without_if_range(visitor, tab, elsewhere, exposes):
    elsewhere.exposes = exposes
    url = elsewhere.url(f"models/{NAME}")
    cut_at_40_percent(elsewhere, tab, url)
    tab.close()
    let_go_on(elsewhere)
    assert is_whole(visitor.open_tab().load(url, chunkSize=CHUNK))
    assert elsewhere.asked == [Asked("GET", NAME, f"bytes={AT_40}-", None)]


@pytest.mark.parametrize("exposes", ["ETag, Content-Range", ""], ids=["all headers", "safe headers only"])
def test_a_file_that_was_replaced_elsewhere_starts_over(visitor, tab, elsewhere, exposes):
    elsewhere.exposes = exposes
    url = elsewhere.url(f"models/{NAME}")
    cut_at_40_percent(elsewhere, tab, url)
    tab.close()
    let_go_on(elsewhere)
    elsewhere.files[NAME] = replace(OTHER, last_modified="Thu, 22 Oct 2026 07:28:00 GMT")
    assert is_whole(visitor.open_tab().load(url, chunkSize=CHUNK), OTHER)
    assert elsewhere.ranges == [f"bytes={AT_40}-", None]


def test_only_with_refresh_is_the_server_asked_for_a_newer_file(tab, server, url):
    tab.load(url, chunkSize=CHUNK)
    server.files[NAME] = OTHER
    assert is_whole(tab.load(url), MODEL)
    assert is_whole(tab.load(url, refresh=True), OTHER)
    server.forget()
    assert is_whole(tab.load(url, refresh=True), OTHER)
    assert [asked.method for asked in server.asked] == ["HEAD"]
    server.refusals[NAME] = 503
    result = tab.load(url, refresh=True)
    assert is_whole(result, OTHER)
    assert [notice["code"] for notice in result["notices"]] == ["NetworkError"]
