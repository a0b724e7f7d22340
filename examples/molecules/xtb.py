"""Properties of a geometry by GFN2-xTB."""

from typing import Any

import numpy as np
from chemistry import Array

FIELD = 1e-3  # hartree / (e bohr): small, yet far above the convergence of the dipole
EV, BOHR = 27.211386, 0.52917721  # a hartree in eV, and a bohr in Å


def gap_and_polarisability(numbers: Array, xyz: Array) -> Array:
    r"""Computes the gap [eV] and the mean polarisability [bohr³].

    .. math:: \alpha = \frac{1}{3} \sum_i \frac{\mu_i(F e_i) - \mu_i(-F e_i)}{2 F}

    GFN2's basis is minimal and its polarisabilities are a third too small: they compare with each
    other, not with those by DFT.

    Arguments:
        numbers: The atomic numbers, with shape (atoms,).
        xyz: The positions [Å], with shape (atoms, 3).

    References:
        GFN2-xTB—An Accurate and Broadly Parametrized Self-Consistent Tight-Binding Quantum
        Chemical Method (Bannwarth et al., 2019), https://doi.org/10.1021/acs.jctc.8b01176
    """
    from tblite.interface import Calculator  # the tests do without it

    def single(field: Array | None = None) -> Any:
        calculator = Calculator("GFN2-xTB", numbers.astype(int), xyz / BOHR)
        calculator.set("verbosity", 0)
        if field is not None:
            calculator.add("electric-field", field.tolist())
        return calculator.singlepoint()

    free = single()
    levels, filled = free["orbital-energies"], free["orbital-occupations"] > 1
    gap = (levels[~filled].min() - levels[filled].max()) * EV
    moved = [
        (single(field)["dipole"] - single(-field)["dipole"])[axis] / (2 * FIELD)
        for axis, field in enumerate(FIELD * np.eye(3))
    ]
    return np.array([gap, np.mean(moved)])
