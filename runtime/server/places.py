"""Where the site for browsers lies on this machine."""

from pathlib import Path

from .. import web
from ..errors import SiteNotFound

BUILT = "build/site"  # of a checkout
INSIDE = Path(*web.__path__) / "site"  # of an installed wheel


def find_site() -> Path:
    """The site's folder: the installed package's own, or what build.py made in a checkout. Raises SiteNotFound."""
    checkout = _checkout()
    candidates = [INSIDE, *([checkout / BUILT] if checkout else [])]
    for folder in candidates:
        if (folder / "manifest.json").is_file():
            return folder
    looked = " and ".join(map(str, candidates))
    raise SiteNotFound(
        f"The site for browsers is not here (looked in {looked}). "
        + ("`python3 build.py web` makes it." if checkout else "Install a wheel that `python3 build.py wheel` made.")
    )


def _checkout() -> Path | None:
    """The checkout that this package is run from, if it is."""
    above = Path(__file__).resolve().parents
    return next((folder for folder in above if (folder / "build.py").is_file() and (folder / "web").is_dir()), None)
