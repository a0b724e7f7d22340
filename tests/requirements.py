"""Checks that requirements.txt pins all that pyproject.toml needs, and nothing else.

Run by `make check`; it reads the metadata of what is installed and asks no network.
"""

import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import distribution, version
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]


def pins(text: str) -> tuple[dict[str, str], list[str]]:
    """Returns the version of each pinned package, and the lines that pin none."""
    found, faults = {}, []
    for line in filter(None, (line.partition("#")[0].strip() for line in text.splitlines())):
        try:
            requirement = Requirement(line)
        except InvalidRequirement as error:
            faults.append(f"{line}: {str(error).splitlines()[0]}")
            continue
        name = canonicalize_name(requirement.name)
        exact = exact_version(requirement)
        if exact is None or requirement.marker:
            faults.append(f"{line}: is no pin; allowed: package==version")
        elif name in found:
            faults.append(f"{line}: {name} is pinned twice")
        else:
            found[name] = exact
    return found, faults


def exact_version(requirement: Requirement) -> str | None:
    """Returns the one version that a requirement allows, if it is one."""
    exact = [part.version for part in requirement.specifier if part.operator in ("==", "===")]
    return exact[0] if exact and "*" not in exact[0] else None


def roots(pyproject: dict) -> list[Requirement]:
    """Returns the requirements of the project, of its tests, and of all that they try."""
    project = pyproject["project"]
    texts = list(project["dependencies"])
    for extra, more in project["optional-dependencies"].items():
        # What is only compared with, is a cluster's, or is data of which tests read none.
        if extra not in ("bench", "cluster", "molecules"):
            texts += more
    return [Requirement(text) for text in texts]


def needs(requirements: list[Requirement], here: bool) -> Iterator[tuple[str, Requirement]]:
    """Yields all requirements down the tree, each with the package that has it.

    With ``here`` those of this platform and Python; otherwise those of any, as far as they are
    installed.
    """
    waiting = [("pyproject.toml", requirement, "") for requirement in requirements]
    seen = set()
    while waiting:
        parent, requirement, extra = waiting.pop()
        marker = requirement.marker
        if marker and "extra" in str(marker) and not marker.evaluate({"extra": extra}):
            continue
        if marker and here and not marker.evaluate({"extra": extra}):
            continue
        yield parent, requirement
        name = canonicalize_name(requirement.name)
        for extra in ("", *requirement.extras):
            if (name, extra) not in seen:
                seen.add((name, extra))
                waiting += [(name, own, extra) for own in requirements_of(name)]


def requirements_of(name: str) -> list[Requirement]:
    """Returns what an installed package requires."""
    try:
        return [Requirement(text) for text in distribution(name).requires or []]
    except ModuleNotFoundError:
        return []


def faults(pyproject: dict, text: str) -> list[str]:
    """Returns what is wrong with the pins, one line a fault."""
    pinned, found = pins(text)
    needed = list(needs(roots(pyproject), here=True))
    # What a package itself needs in one version, as torch its CUDA companions, is pinned there.
    by_parents = {canonicalize_name(need.name) for _, need in needed if exact_version(need)}
    for parent, need in needed:
        name = canonicalize_name(need.name)
        if name in pinned:
            if not need.specifier.contains(pinned[name], prereleases=True):
                found.append(f"{name}=={pinned[name]}: {parent} needs {need}")
        elif name not in by_parents:
            found.append(f"{name}: not pinned; {parent} needs {need}")
    used = {canonicalize_name(need.name) for _, need in needs(roots(pyproject), here=False)}
    found += [f"{name}=={pinned[name]}: nothing needs it" for name in sorted({*pinned} - used)]
    for name in sorted(pinned.keys() & {canonicalize_name(need.name) for _, need in needed}):
        # A local version, as 2.13.0+cpu, is the same release.
        if (installed := version(name).partition("+")[0]) != pinned[name]:
            found.append(f"{name}=={pinned[name]}: {installed} is installed; run make setup")
    return list(dict.fromkeys(found))


if __name__ == "__main__":
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text())
    if wrong := faults(pyproject, (ROOT / "requirements.txt").read_text()):
        sys.exit("\n".join(["requirements.txt is not what pyproject.toml needs:", *wrong]))
