"""The errors that this package raises on purpose. Each class says what has to be mended.

Messages say what was expected, what came, and what to do.
"""


class Insid3Error(Exception):
    """Base of every error that this package raises on purpose."""


class ConfigError(Insid3Error, ValueError):
    """A setting that does not exist, has the wrong type, or does not fit the backbone."""


class ImageError(Insid3Error, ValueError):
    """A picture that is missing, damaged, too large or of an unsupported kind."""


class MaskError(ImageError):
    """A mask that is empty, ambiguous or does not fit its picture."""


class WeightsError(Insid3Error, RuntimeError):
    """Weights that are missing, damaged or made for something else."""


class ConceptError(Insid3Error, ValueError):
    """A concept that is damaged, or made with another backbone, weights or size than the model's."""


class DataError(Insid3Error, ValueError):
    """A data set, a list of episodes or a folder of predictions that is missing, damaged or laid out otherwise."""


class OutputError(Insid3Error, OSError):
    """A place that cannot be written to, or holds another run's results."""


class MissingExtraError(Insid3Error, ImportError):
    """A feature whose optional packages are not installed."""

    def __init__(self, feature: str, extra: str) -> None:
        super().__init__(f'{feature} needs packages that are not installed: pip install "insid3[{extra}]"')


class SizeError(Insid3Error, MemoryError):
    """A size that needs more memory than there is."""
