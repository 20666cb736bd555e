"""What a source names, found on this machine or fetched: a path, a name of the catalogue, a model on the Hub."""

import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ...catalogue import CATALOGUE, hub_name
from ...errors import InvalidOption, ModelNotFound, ShaderLMError
from . import cache, disk
from .checksums import Progress
from .disk import Fetched
from .files import model_files

if TYPE_CHECKING:
    from ...parts import JoinedSource
    from .remote import RemoteSource


def locate(source: str | os.PathLike[str], progress: Progress | None = None) -> tuple[Path, ...]:
    """The files of a model, fetched if need be; `progress` is told of what comes from the Hub.

    What a name on the Hub stood for when it was last fetched is taken without asking the Hub. Raises ModelNotFound,
    InvalidOption, and what `cache.fetch` and `hub.fetch` raise.
    """
    text = os.fspath(source)
    name = hub_name(text)
    if name is not None:
        from . import hub  # takes a while to import

        files = hub.cached(name) or hub.fetch(name, progress).files
    elif Path(source).expanduser().exists():
        return model_files(Path(source).expanduser())
    elif text in CATALOGUE:
        files = (cache.fetch(CATALOGUE[text]),)
    else:
        raise ModelNotFound(
            f"There is no model {text}: it is no file (looked in {Path.cwd()}) and no name of the catalogue "
            f"({', '.join(CATALOGUE)}). A model on the Hugging Face Hub is called hf:OWNER/REPOSITORY."
        )
    for file in files:
        disk.mark_used(file)
    return files


def open_remote(source: str | os.PathLike[str]) -> "RemoteSource | JoinedSource | None":
    """The bytes of a model on the Hub that is not here yet, to read its header there; None for every other source."""
    name = hub_name(os.fspath(source))
    if name is None:
        return None
    from . import hub

    return None if hub.cached(name) else hub.open_remote(name)


def pull(source: str, progress: Progress | None = None, checking: Progress | None = None) -> Fetched:
    """As `locate`, of a name: the Hub is asked whether it has a newer file, and what is here is checked.

    A file that is not what was published is fetched again. Raises InvalidOption for what is no name.
    """
    name = hub_name(source)
    if name is not None:
        from . import hub

        return hub.fetch(name, progress, check=True, checking=checking)
    if source in CATALOGUE:
        return cache.pull(CATALOGUE[source], checking)
    raise InvalidOption(
        f"source: {source} is nothing that can be fetched. Take a name of the catalogue ({', '.join(CATALOGUE)}) or a "
        "model on the Hugging Face Hub, hf:OWNER/REPOSITORY or hf:OWNER/REPOSITORY/FILE."
    )


def main() -> int:
    """Fetch the models named on the command line; print the paths of their (first) files."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # so that the half is cleared away
    try:
        for name in sys.argv[1:]:
            print(locate(name)[0])
    except ShaderLMError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
