"""The stages of the pipeline: each reads params and files, calls `symmetry` and writes files."""

__all__ = ["plain_errors", "read_params"]

from collections.abc import Iterator
from contextlib import contextmanager

from symmetry.artifacts import TakenOverError, read_yaml
from symmetry.params import Params, parse


def read_params() -> Params:
    """Reads and checks params.yaml in the current folder."""
    return parse(read_yaml("params.yaml"))


@contextmanager
def plain_errors() -> Iterator[None]:
    """Ends the stage with the message alone where the fault lies in its input, not its code."""
    try:
        yield
    except (ValueError, OSError, FloatingPointError, TakenOverError) as error:
        raise SystemExit(f"error: {error}") from error
    except KeyboardInterrupt:
        raise SystemExit("interrupted") from None
