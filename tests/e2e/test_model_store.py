"""The store of models in a browser: tabs that share it, files of this computer, lists, finds, and giving up."""

import pytest
from model_server import CHUNK, MODEL, NAME, OTHER, SIZE, ModelBytes, error_of, is_whole

FILE = f"""fetch("/models/{NAME}").then(async (response) =>
    new File([await response.blob()], "dropped one.gguf", {{ lastModified: 1000 }}))"""


def test_two_tabs_that_load_one_model_download_it_once(visitor, server, url):
    tabs = [visitor.open_tab(), visitor.open_tab()]
    server.stands_at = 4 * CHUNK + 1
    tabs[0].start(url, chunkSize=CHUNK)
    tabs[0].until_stored(4 * CHUNK)
    tabs[1].start(url, chunkSize=CHUNK)
    tabs[1].until_waiting()
    server.stands_at = None
    server.moves.set()
    assert all(is_whole(tab.finish()) for tab in tabs)
    assert server.ranges == [None]


def test_a_tab_goes_on_where_the_one_that_downloads_is_closed(visitor, server, url):
    tabs = [visitor.open_tab(), visitor.open_tab()]
    server.stands_at = 4 * CHUNK + 1
    tabs[0].start(url, chunkSize=CHUNK)
    tabs[0].until_stored(4 * CHUNK)
    tabs[1].start(url, chunkSize=CHUNK)
    tabs[1].until_waiting()
    server.stands_at = None
    tabs[0].close()
    assert is_whole(tabs[1].finish())
    assert server.ranges == [None, f"bytes={4 * CHUNK}-"]


def test_two_tabs_without_web_locks_do_each_other_no_harm(visitor, server, url):
    tabs = [visitor.open_tab(without="locks") for _ in range(2)]
    server.stands_at = 2 * CHUNK + 1
    tabs[0].start(url, chunkSize=CHUNK)
    tabs[0].until_stored(2 * CHUNK)
    tabs[1].start(url, chunkSize=CHUNK)
    server.stands_at = None
    server.moves.set()
    assert all(is_whole(tab.finish()) for tab in tabs)
    (listed,) = tabs[0].models()
    assert listed["complete"]
    server.forget()
    assert is_whole(tabs[0].load(url, verify=True))
    assert server.asked == []


def test_two_tabs_without_web_locks_that_get_different_files_do_each_other_no_harm(visitor, server, url):
    tabs = [visitor.open_tab(without="locks") for _ in range(2)]
    server.stands_at = 2 * CHUNK + 1
    tabs[0].start(url, chunkSize=CHUNK)
    tabs[0].until_stored(2 * CHUNK)
    server.stands_at = None
    server.files[NAME] = OTHER
    assert is_whole(tabs[1].load(url, chunkSize=CHUNK), OTHER)
    server.moves.set()
    first = tabs[0].finish()
    assert "error" in first or is_whole(first)
    server.forget()
    assert is_whole(tabs[1].load(url, verify=True), OTHER)
    assert server.asked == []


def test_a_local_file_is_read_and_neither_stored_nor_uploaded(tab, server):
    tab.evaluate(f"{FILE}.then((file) => {{ self.dropped = file; }})")
    server.forget()
    result = tab.evaluate(f"load(dropped, {{ chunkSize: {CHUNK} }})")
    assert is_whole(result)
    assert result["name"] == "dropped one.gguf"
    assert result["progress"][-1] == {"done": SIZE, "total": SIZE, "from": "file"}
    assert tab.models() == []
    assert server.asked == []


def test_a_local_file_is_stored_if_wished_and_opened_from_there(visitor, tab, server):
    tab.evaluate(f"{FILE}.then((file) => load(file, {{ chunkSize: {CHUNK}, store: true }}))")
    (listed,) = tab.models()
    assert (listed["name"], listed["complete"], listed["stored"]) == ("dropped one.gguf", True, SIZE)
    server.forget()
    result = visitor.open_tab().load(listed["url"], verify=True)
    assert is_whole(result)
    assert result["key"] == listed["key"]
    assert server.asked == []


def test_a_stored_copy_that_is_damaged_asks_for_the_file(tab):
    tab.evaluate(f"{FILE}.then((file) => load(file, {{ chunkSize: {CHUNK}, store: true }}))")
    tab.evaluate("damage(2)")
    code, message = error_of(tab.load(tab.models()[0]["url"], verify=True))
    assert code == "ChecksumMismatch"
    assert "open the file again" in message


def test_a_local_file_runs_where_there_is_no_room(visitor):
    tab = visitor.open_tab(quota=4 * CHUNK)
    result = tab.evaluate(f"{FILE}.then((file) => load(file, {{ chunkSize: {CHUNK}, store: true }}))")
    assert is_whole(result)
    assert [notice["code"] for notice in result["notices"]] == ["NoSpace"]
    assert not tab.models()[0]["complete"]
    code, _ = error_of(tab.load(tab.models()[0]["url"]))
    assert code == "ModelNotFound"


def test_a_copy_that_finds_no_room_once_the_file_is_closed_says_so(visitor):
    tab = visitor.open_tab(quota=4 * CHUNK)
    codes = tab.evaluate(f"""{FILE}.then(async (file) => {{
        const {{ file: opened, told }} = await open(file, {{ chunkSize: {CHUNK}, store: true }});
        opened.close();
        await opened.finished();
        return told.notices.map(({{ code }}) => code);
    }})""")
    assert codes == ["NoSpace"]


def test_models_are_listed_by_last_use_and_deleting_one_frees_its_space(tab, server, url):
    other = server.url("models/other%20one.gguf")
    server.files["other one.gguf"] = OTHER
    tab.load(url, chunkSize=CHUNK)
    tab.load(other, chunkSize=CHUNK)
    tab.load(url)
    first, second = tab.models()
    assert (first["url"], second["url"]) == (url, other)
    assert first == {
        "key": f"{url}#{MODEL.etag}",
        "url": url,
        "name": NAME,
        "size": SIZE,
        "stored": SIZE,
        "complete": True,
        "last_used": first["last_used"],
    }
    assert second["name"] == "other one.gguf"
    assert tab.evaluate("bytesInChunks()") == 2 * SIZE
    assert tab.evaluate(f"files.deleteModel({other!r})") is True
    assert tab.evaluate(f"files.deleteModel({other!r})") is False
    assert [model["url"] for model in tab.models()] == [url]
    assert tab.evaluate("bytesInChunks()") == SIZE  # a browser may count longer what it has already dropped
    assert is_whole(tab.load(other, chunkSize=CHUNK), OTHER)


def test_without_store_nothing_is_kept(tab, server, url):
    assert is_whole(tab.load(url, store=False, chunkSize=CHUNK))
    assert tab.models() == []
    assert is_whole(tab.load(url, chunkSize=CHUNK))
    server.forget()
    assert is_whole(tab.load(url, store=False))
    assert server.asked == []


def test_finds_are_kept(visitor, tab):
    tab.evaluate("files.putFind('bytes', new Uint8Array([1, 2, 3])).then(() => files.putFind('text', 'words'))")
    other = visitor.open_tab()
    assert other.evaluate("files.getFind('bytes').then((bytes) => [bytes instanceof Uint8Array, ...bytes])") == [
        True, 1, 2, 3,
    ]  # fmt: skip
    assert other.evaluate("files.getFind('text')") == "words"
    assert other.evaluate("files.getFind('nothing').then((found) => found === undefined)")


def test_finds_of_a_model_go_when_it_is_deleted_or_replaced(tab, server, url):
    keep = "files.putFind(`words ${key}`, 'of it').then(() => files.putFind('words', 'of all'))"
    found = "Promise.all(['words', `words ${key}`].map(files.getFind)).then((all) => all.map(String))"
    for going in (f"files.deleteModel({url!r})", f"load({url!r}, {{ refresh: true }})"):
        server.files[NAME] = MODEL
        tab.evaluate(f"load({url!r}, {{ chunkSize: {CHUNK} }}).then((whole) => {{ self.key = whole.key; }})")
        server.files[NAME] = OTHER
        tab.evaluate(keep)
        assert tab.evaluate(found) == ["of all", "of it"]
        tab.evaluate(going)
        assert tab.evaluate(found) == ["of all", "undefined"]


# Memory

READ_EVERYTHING = """async ([url, step]) => {
    const { free, openModel } = await import("/worker/files.js");
    self.file = await openModel(url);
    for (let at = 0; at < file.size; at += step) {
        free(await file.chunk(at, Math.min(step, file.size - at)));
    }
    await file.finished();
}"""
MEGABYTE = 1 << 20


@pytest.mark.parametrize("times", [1, 2], ids=["downloaded", "stored"])
def test_a_model_goes_through_little_memory_and_leaves_no_garbage(tab, server, times):
    server.files["large.gguf"] = ModelBytes(b"GGUF" + bytes(80 * MEGABYTE))
    url = server.url("models/large.gguf")
    for _ in range(times):
        held = tab.buffers_after(f"({READ_EVERYTHING})(['{url}', 1_000_000])")
    assert held <= 32 * MEGABYTE
    assert tab.buffers_after("file.close()") <= MEGABYTE


# Giving up


def test_a_signal_ends_a_download_which_goes_on_later(tab, server, url):
    server.stands_at = 4 * CHUNK + 1
    tab.evaluate(f"""void (self.stop = new AbortController(),
        self.loading = load({url!r}, {{ chunkSize: {CHUNK}, signal: stop.signal }}))""")
    tab.until_stored(4 * CHUNK)
    tab.evaluate("stop.abort()")
    result = tab.finish()
    assert error_of(result)[0] == "Cancelled"
    assert result["error"]["name"] == "AbortError"
    server.stands_at = None
    server.moves.set()
    server.forget()
    assert is_whole(tab.load(url, chunkSize=CHUNK))
    assert server.ranges == [f"bytes={4 * CHUNK}-"]


@pytest.mark.parametrize("when", ["before", "while another tab downloads"])
def test_a_signal_ends_what_has_not_begun(visitor, tab, server, url, when):
    first = visitor.open_tab()
    server.stands_at = 2 * CHUNK
    first.start(url, chunkSize=CHUNK)
    first.until_stored(CHUNK)
    tab.evaluate("void (self.stop = new AbortController())")
    if when == "before":
        tab.evaluate("stop.abort()")
    tab.evaluate(f"void (self.loading = load({url!r}, {{ signal: stop.signal }}))")
    if when != "before":
        tab.until_waiting()
        tab.evaluate("stop.abort()")
    assert error_of(tab.finish())[0] == "Cancelled"


def test_close_ends_a_download_and_every_read(tab, server, url):
    server.stands_at = 4 * CHUNK + 1
    result = tab.evaluate(f"""open({url!r}, {{ chunkSize: {CHUNK} }}).then(async ({{ file }}) => {{
        const read = outcome(() => file.chunk({SIZE - 8}, 8));
        await untilStored({4 * CHUNK});
        file.close();
        file.close();
        return [await read, await outcome(() => file.read(0, 8)), await outcome(() => file.finished())];
    }})""")
    assert [error_of(outcome)[0] for outcome in result] == ["ModelClosed"] * 3
    assert server.sent < SIZE


def test_close_lets_what_has_arrived_be_stored(tab, server, url):
    tab.evaluate(f"""open({url!r}, {{ chunkSize: {CHUNK} }}).then(async ({{ file }}) => {{
        await file.chunk({SIZE - 8}, 8);
        file.close();
        await file.finished();
    }})""")
    server.forget()
    assert is_whole(tab.load(url))
    assert server.asked == []


def test_several_files_load_side_by_side(tab, server):
    for part in range(6):
        server.files[f"part {part}"] = MODEL if part % 2 else OTHER
    urls = [server.url(f"models/part%20{part}") for part in range(6)]
    results = tab.evaluate(f"Promise.all({urls}.map((url) => load(url, {{ chunkSize: {CHUNK} }})))")
    for part, result in enumerate(results):
        assert is_whole(result, MODEL if part % 2 else OTHER)
