"""What finished sequences left in the KV cache, to be taken up by prompts that begin alike."""

from collections.abc import Sequence as Tokens
from dataclasses import dataclass

from ..planner.choice import PAGE
from .kv_cache import KvCache
from .sequence import Pages, Sequence


@dataclass
class _Kept:
    tokens: list[int]
    pages: Pages


class PrefixCache:
    """Prefixes in order of their last use. Prompts are compared token by token, whoever wrote them."""

    def __init__(self, cache: KvCache) -> None:
        self.cache = cache
        self.kept: list[_Kept] = []  # least recently used first

    def keep(self, sequence: Sequence) -> None:
        """Take over a finished sequence's pages."""
        if sequence.length == 0:
            self._let_go(sequence.pages)
            return
        self._drop_prefixes_of(sequence.tokens[: sequence.length])
        self._trim(sequence)
        self.kept.append(_Kept(sequence.tokens[: sequence.length], sequence.pages))

    def take_up(self, sequence: Sequence, prompt: Tokens[int]) -> int:
        """Give a new sequence the pages of the longest known prefix of `prompt`; returns its length.

        The prompt's last token is never part of it: its row has to be computed for the logits.
        """
        best, length = None, 0
        for kept in self.kept:
            common = _common(kept.tokens, prompt[:-1])
            if common > length and self._complete(kept, common):
                best, length = kept, common
        if best is None:
            return 0
        if length == len(best.tokens):
            self.kept.remove(best)
            sequence.pages = best.pages
        else:
            self.kept.remove(best)
            self.kept.append(best)
            sequence.pages = self._shared(best.pages, length)
        sequence.tokens = list(prompt[:length])
        sequence.length = length
        return length

    def make_room(self, pages: int, *, spared: int = 0) -> None:
        """Forget the least recently used prefixes, all but the last `spared`, until the cache may hold `pages` more."""
        while len(self.kept) > spared and self.cache.most_used() + pages > self.cache.most_pages:
            self._let_go(self.kept.pop(0).pages)

    def _shared(self, pages: Pages, length: int) -> Pages:
        """Whole pages are shared; the one that `length` cuts is copied, because it will be written to.

        The pages are those of the prefix that was used last.
        """
        whole, cut = divmod(length, PAGE)
        if cut:
            self.make_room(1, spared=1)
            self.cache.reserve(1)
        result: Pages = []
        for group, held in enumerate(pages):
            pool = self.cache.pools[group]
            mine = [None if page is None else pool.share(page) for page in held[:whole]]
            source = held[whole] if cut else None
            if source is not None:
                mine.append(pool.take())
                self.cache.copy_page(group, source, mine[-1] or 0)
            result.append(mine)
        return result

    def _complete(self, kept: _Kept, length: int) -> bool:
        """Whether a row at `length` finds every page that its window reaches."""
        for layers, pages in zip(self.cache.groups, kept.pages, strict=True):
            window = layers[0].window
            first = 0 if window is None else max(0, length + 1 - window)
            if any(page is None for page in pages[first // PAGE : -(-length // PAGE)]):
                return False
        return True

    def _drop_prefixes_of(self, tokens: list[int]) -> None:
        """What the new one contains need not be kept on its own."""
        for kept in [k for k in self.kept if k.tokens == tokens[: len(k.tokens)]]:
            self.kept.remove(kept)
            self._let_go(kept.pages)

    def _trim(self, sequence: Sequence) -> None:
        """Give back pages behind the sequence's length."""
        needed = -(-sequence.length // PAGE)
        for group, pages in enumerate(sequence.pages):
            for page in pages[needed:]:
                if page is not None:
                    self.cache.pools[group].give_back(page)
            del pages[needed:]

    def _let_go(self, pages: Pages) -> None:
        for group, held in enumerate(pages):
            for page in held:
                if page is not None:
                    self.cache.pools[group].give_back(page)


def _common(a: Tokens[int], b: Tokens[int]) -> int:
    """Length of the common prefix."""
    length = min(len(a), len(b))
    if list(a[:length]) == list(b[:length]):
        return length
    return next(i for i in range(length) if a[i] != b[i])
