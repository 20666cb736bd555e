"""The Content-Security-Policy of the site: nothing but the site itself, and the origins that models may come from."""

import re
from collections.abc import Sequence

_ORIGIN = re.compile(r"https?://(?:\*\.)?[A-Za-z0-9.-]+(?::(?:\d+|\*))?|https:|http:")


def policy(origins: Sequence[str]) -> str:
    """The policy's text, for a site whose site.json names `origins`. Raises ValueError for what is no origin."""
    for origin in origins:
        if not isinstance(origin, str) or not _ORIGIN.fullmatch(origin):
            raise ValueError(f'{origin!r} in "origins" is no origin such as "https://models.example" or "https:"')
    directives = {
        "default-src": "'none'",
        "script-src": "'self' 'wasm-unsafe-eval'",
        "worker-src": "'self'",
        "style-src": "'self'",
        "img-src": "'self'",
        "font-src": "'self'",
        "manifest-src": "'self'",
        "connect-src": " ".join(("'self'", *origins)),
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    return "; ".join(f"{name} {value}" for name, value in directives.items())
