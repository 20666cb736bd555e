"""What api_browser.py needs of a browser: a device, a model's bytes, codecs, finds and arrays."""

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ...errors import TokenizerError
from ...host import Adapter, Store, TextCodec
from .codec import BrowserCodec
from .failures import explained
from .gpu import BrowserGpu, adapter_of
from .store import BrowserStore

try:
    import shaderlm_browser as browser
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "The JavaScript half of shaderlm is not here. Import python-host.js, which lies beside shaderlm.js, and let "
        "its addShaderLM(pyodide) finish before Python asks for a model.",
        name=error.name,
    ) from None


async def open_gpu() -> BrowserGpu:
    """A device on the browser's best adapter. Raises NoAdapter, DeviceLost."""
    with explained():
        return BrowserGpu(await browser.openGpu())


async def find_adapter() -> Adapter | None:
    """The adapter that `open_gpu` would take, None where there is none."""
    facts = await browser.adapterFacts()
    return adapter_of(json.loads(facts)) if facts else None


def make_codec(define: Callable[[], Mapping[str, object]]) -> TextCodec:
    """A codec of the JavaScript library, made from a `tokenizer.json`."""
    return BrowserCodec(json.dumps(define()), browser.openCodec)


class KeptCodecs:
    """Makes codecs from `tokenizer.json`s, which are kept: to make one of a file's vocabulary takes up to a second."""

    def __init__(self, store: Store, file: str, kept: bytes | None) -> None:
        self._store = store
        self._key = _key(file)
        build, _, text = (kept or b"").decode().partition("\n")
        self._is_kept = build == _build()
        self._text = text if self._is_kept else ""

    @classmethod
    async def open(cls, store: Store, file: str) -> "KeptCodecs":
        """For the file with this key."""
        return cls(store, file, await store.get(_key(file)))

    def make(self, define: Callable[[], Mapping[str, object]]) -> TextCodec:
        """The JavaScript library's tokenizer."""
        if self._is_kept:
            try:
                return BrowserCodec(self._text, browser.openCodec)
            except TokenizerError:  # what was kept is broken
                self._is_kept = False
        self._text = json.dumps(define())
        return BrowserCodec(self._text, browser.openCodec)

    async def keep(self) -> None:
        """Keep the text for the next visit."""
        if self._text and not self._is_kept:
            await self._store.put(self._key, f"{_build()}\n{self._text}".encode())


def _key(file: str) -> str:
    """By the file, at the end, as database.js expects it of what is deleted with a model."""
    return f"tokenizer {file}"


def _build() -> str:
    """Of this package: another may write another `tokenizer.json`, which then takes the place of this one's."""
    return str(browser.build)


def open_store() -> BrowserStore:
    """Where finds about this machine's adapters, and about files, are kept."""
    return BrowserStore(browser.files)


def open_file(source: Any) -> Any:
    """The promise of a model's file, by URL or as a File, as the page asked for it."""
    return browser.openModel(source)


def open_header(source: Any) -> Any:
    """As `open_file`, for whoever reads a file's beginning: nothing is stored."""
    return browser.openHeader(source)


def logits_array(parts: Iterable[bytes], vocab_size: int) -> Any:
    """f32 [tokens, vocab_size], as a memoryview: there is no numpy here."""
    data = b"".join(parts)
    return memoryview(data).cast("B").cast("f", (len(data) // (4 * vocab_size), vocab_size))
