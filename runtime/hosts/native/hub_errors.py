"""`huggingface_hub`'s errors in our words: what the Hub refused, what was not to be reached, and what to do."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

from huggingface_hub import constants
from huggingface_hub.errors import (
    EntryNotFoundError,
    FileMetadataError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from ...catalogue import HubName
from ...errors import AccessDenied, CacheNotWritable, InvalidOption, ModelNotFound, NetworkError, NoSpace, ShaderLMError

HTTPError = cast(
    type[Exception], HfHubHTTPError.__mro__[1]
)  # of the HTTP library below, which is not the same in all versions
FULL = (errno.ENOSPC, errno.EDQUOT)
LOG_IN = "log in with `hf auth login`, or put a token into HF_TOKEN"


@contextmanager
def explained(name: HubName) -> Iterator[None]:
    """Raise what goes wrong while a model is asked for or fetched as a ShaderLMError."""
    try:
        yield
    except (ShaderLMError, InterruptedError):  # ours, and those of a caller who does not want to wait any more
        raise
    except (HTTPError, EntryNotFoundError, OSError, ValueError) as error:
        raise translated(error, name) from error


def translated(error: BaseException, name: HubName) -> ShaderLMError:
    """One error in our words. Order matters: many of them are kinds of each other, and of OSError."""
    home = f"{constants.ENDPOINT}/{name.repo}"
    match error:
        case HFValidationError():
            return InvalidOption(f"source: {name} is no name of a repository. {_first_line(error)}")
        case GatedRepoError():
            return AccessDenied(
                f"{name.repo} is for those alone who have accepted its terms. Ask for access on {home}, then {LOG_IN}."
            )
        case RepositoryNotFoundError():
            return ModelNotFound(
                f"{constants.ENDPOINT} shows no repository {name.repo}. Check its name; if it is a private one, "
                f"{LOG_IN}."
            )
        case RevisionNotFoundError():
            return ModelNotFound(
                f"{name.repo} has no revision {name.revision}: no branch, tag or commit is called so. {home}/tree/main "
                "lists them; without @REVISION it is main."
            )
        case OfflineModeIsEnabled():
            return NetworkError(
                f"HF_HUB_OFFLINE keeps {name} from being fetched. Unset it, or name a model that is in the cache "
                f"({constants.HF_HUB_CACHE}): `shaderlm list` shows them."
            )
        case LocalEntryNotFoundError() | FileMetadataError() if error.__cause__ is not None:
            return translated(error.__cause__, name)
        case HfHubHTTPError():
            return _refused(error, name)
    if isinstance(error, OSError) and error.errno in FULL:
        return NoSpace(
            f"The disk of {constants.HF_HUB_CACHE} filled up while {name} was fetched. Make room (`shaderlm list` "
            "shows what lies there), or name another folder in HF_HUB_CACHE."
        )
    if isinstance(error, OSError) and error.errno is not None and error.filename is not None:
        return CacheNotWritable(
            f"{constants.HF_HUB_CACHE} cannot be used for fetched models: {error.strerror} ({error.filename}). "
            "Put it right, or name another folder in HF_HUB_CACHE."
        )
    return NetworkError(
        f"{constants.ENDPOINT} could not be asked for {name}: {type(error).__name__}: {_first_line(error)}. Check the "
        "network, HTTPS_PROXY and HF_ENDPOINT, then start again: what has been received is kept."
    )


def _refused(error: HfHubHTTPError, name: HubName) -> ShaderLMError:
    status, reason = error.response.status_code, error.server_message or _first_line(error)
    if status in (401, 403):
        return AccessDenied(
            f"{constants.ENDPOINT} refused {name} with status {status}: {reason}. To be let in, {LOG_IN}."
        )
    return NetworkError(
        f"{constants.ENDPOINT} answered with status {status} when it was asked for {name}: {reason}. Start again in a "
        "while: what has been received is kept."
    )


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or ["no reason given"])[0].rstrip(".")
