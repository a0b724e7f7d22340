"""What all tests share: the tally of bad inputs, and how hard the readers are tried."""

import os
from collections import Counter

import hypothesis
import pytest
import torch
from joblib.externals.loky import reusable_executor

# `make faults` tries each reader 1,000 times. Derandomized: a run finds what the last one found.
for name, examples in (("test", 100), ("faults", 1000)):
    hypothesis.settings.register_profile(
        name,
        max_examples=examples,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=[hypothesis.HealthCheck.too_slow],
    )
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "test"))


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Keeps to one thread: on such small tensors threads only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True, scope="module")
def no_idle_workers():
    """Ends joblib's workers with the tests of a file.

    After 300 idle seconds they end by themselves, and who asks for them just then waits for ever.
    """
    yield
    if reusable_executor._executor is not None:
        reusable_executor._executor.shutdown(wait=True)


LONGEST = "test_pipeline", "test_examples", "test_report", "test_faults", "test_search"


def pytest_collection_modifyitems(items):
    # They begin, so that no worker waits for another at the end.
    items.sort(key=lambda item: item.path.stem not in LONGEST)


REFUSED = pytest.StashKey[Counter]()


def pytest_configure(config):
    config.stash[REFUSED] = Counter()


@pytest.fixture(scope="session")
def refused(pytestconfig):
    """Counts a kind of bad input that was tried and refused: refused["params files"] += 1."""
    return pytestconfig.stash[REFUSED]


def pytest_terminal_summary(terminalreporter, config):
    if tally := config.stash[REFUSED]:
        counts = ", ".join(f"{count:,} {kind}" for kind, count in sorted(tally.items()))
        terminalreporter.write_line(f"bad inputs refused: {counts}")
