"""What api_browser.py needs of a browser: a device, a model's bytes, codecs, finds and arrays."""

from collections.abc import Iterable, Mapping
from typing import Any

import shaderlm_browser as browser

from ...host import TextCodec
from .codec import BrowserCodec
from .failures import explained
from .gpu import BrowserGpu
from .store import BrowserStore


async def open_gpu() -> BrowserGpu:
    """A device on the browser's best adapter. Raises NoAdapter, DeviceLost."""
    with explained():
        return BrowserGpu(await browser.openGpu())


def make_codec(definition: Mapping[str, object]) -> TextCodec:
    """The JavaScript library's tokenizer."""
    return BrowserCodec(definition, browser.openCodec)


def open_store() -> BrowserStore:
    """Where finds about this machine's adapters are kept."""
    return BrowserStore(browser.files)


def open_file(source: Any) -> Any:
    """The promise of a model's file, by URL or as a File, as the page asked for it."""
    return browser.openModel(source)


def logits_array(parts: Iterable[bytes], vocab_size: int) -> Any:
    """f32 [tokens, vocab_size], as a memoryview: there is no numpy here."""
    data = b"".join(parts)
    return memoryview(data).cast("B").cast("f", (len(data) // (4 * vocab_size), vocab_size))
