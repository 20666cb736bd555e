"""Every error that a user can cause: what was wrong, where, and what to do next."""


class ShaderLMError(Exception):
    """Base class of all errors that shaderlm raises on purpose."""


# Files


class InvalidFile(ShaderLMError):
    """A model file breaks its format's rules: a bad magic, length, offset, type or duplicate name."""


class TruncatedFile(InvalidFile):
    """A model file ends before the bytes that its header promises."""


class TensorOutOfFile(TruncatedFile):
    """A tensor's bytes lie past the end of the file."""


class ModelNotFound(ShaderLMError):
    """There is no model at the given path or under the given name."""


class UnknownArchitecture(ShaderLMError):
    """The file names an architecture that has no file under `models/`."""


class UnknownWeightType(ShaderLMError):
    """A tensor is stored in a type that has no row in `tensors.py`."""


class InvalidConfig(ShaderLMError):
    """A hyperparameter is missing, of the wrong type, or contradicts the tensors."""


class TensorMismatch(ShaderLMError):
    """A tensor is missing, unexpected, or has another shape than the architecture needs."""


class SiteNotFound(ShaderLMError):
    """The site for browsers is in neither the installed package nor the checkout."""


class CacheNotWritable(ShaderLMError):
    """The folder for fetched models cannot be made, or not be written to."""


class ChecksumMismatch(ShaderLMError):
    """The bytes of a file differ from those that were published."""


# Text


class TokenizerError(ShaderLMError):
    """A tokenizer is absent, of an unknown kind, or inconsistent."""


class TemplateError(ShaderLMError):
    """A chat template is absent, does not compile, or refuses the messages."""


# Devices


class NoAdapter(ShaderLMError):
    """No WebGPU adapter answers, or none matches the name asked for."""


class UnsuitableAdapter(ShaderLMError):
    """An adapter lacks what a model's kernels, or a measurement, need of it, whatever the model's size."""


class DeviceLost(ShaderLMError):
    """The GPU went away while it worked."""


class KernelError(ShaderLMError):
    """A kernel does not compile or does not fit the device, or a plan breaks WebGPU's rules: a defect of shaderlm."""


class ModelTooLarge(ShaderLMError):
    """The estimate for a model exceeds the memory or a limit of the device."""


class OutOfMemory(ShaderLMError):
    """The device refused an allocation. A load frees everything before it raises this; an answer, what it had begun."""


# Requests


class InvalidOption(ShaderLMError, ValueError):
    """An option has a value outside its range."""


class PromptTooLong(ShaderLMError):
    """A prompt has more tokens than the context holds."""


class ContextFull(ShaderLMError):
    """The context filled up while an answer was generated; `partial` holds what was generated."""

    def __init__(self, message: str, partial: object = None) -> None:
        super().__init__(message)
        self.partial = partial


class ModelClosed(ShaderLMError):
    """A call on a model after `close()`."""


class WouldBlock(ShaderLMError):
    """A call that waits, in a browser, where nothing may: there is an asynchronous form of it."""


# The world outside


class NoSpace(ShaderLMError):
    """The disk is full; nothing half-written was left behind."""


class NetworkError(ShaderLMError):
    """A download failed. Nothing was left behind that could be taken for a whole file."""


class AccessDenied(ShaderLMError):
    """A server knows the model, but does not give it to this user."""
