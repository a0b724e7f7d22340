"""A task of real physics: the enthalpy of water vapour and supercritical water."""

__all__ = ["Steam", "draw", "enthalpy", "outside", "position"]

from functools import cache
from typing import ClassVar, Literal

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from symmetry.data import Array, Dataset
from symmetry.tasks.base import Drawn, Plane, Truth

TEMPERATURES = (660.0, 1000.0)  # K, all above the critical 647 K, so that nothing condenses
PRESSURES = (1.0, 40.0)  # MPa, on both sides of the critical 22.06 MPa
LOW, HIGH = np.array([TEMPERATURES, PRESSURES]).T
FORMULATION = np.array([[650.0, 0.1], [1073.0, 100.0]])  # K, MPa: it is wider than the domain
Y_NOISE = 5.0  # kJ/kg, a third of a per cent of the range
CELLS = 400  # of the grid on which positions are computed, along each side


def draw(rows: int, generator: Generator) -> Dataset:
    r"""Draws temperatures and pressures of water and its specific enthalpy, with noise.

    .. math:: T \sim U[660, 1000]\,\mathrm{K}, \quad P \sim U[1, 40]\,\mathrm{MPa}, \quad
        y = h(T, P) + 5\,\epsilon\;\mathrm{kJ/kg}

    Engineers know the orbits: a throttling valve leads along an isenthalp.

    Arguments:
        rows: The number of rows n.
        generator: The source of randomness.

    Raises:
        ValueError: If CoolProp is not installed.
    """
    x = generator.uniform(LOW, HIGH, (rows, 2))
    t = enthalpy(x)[:, 0]
    return Dataset(x, (t + Y_NOISE * generator.standard_normal(rows))[:, None], t)


def enthalpy(x: Array) -> Array:
    """Computes the specific enthalpy by IAPWS-IF97, in kJ/kg, from shape (..., 2) to (..., 1).

    A point beyond the formulation's range counts as the nearest in it.

    Arguments:
        x: Temperatures in K and pressures in MPa, with shape (..., 2).

    Raises:
        ValueError: If CoolProp is not installed.

    References:
        Pure and Pseudo-pure Fluid Thermophysical Property Evaluation and the Open-Source
        Thermophysical Property Library CoolProp (Bell et al., 2014),
        https://doi.org/10.1021/ie4033999
    """
    try:
        from CoolProp.CoolProp import PropsSI  # half a second, for this task alone
    except ImportError:
        raise ValueError(
            "the task steam needs CoolProp, which is not installed: pip install '.[steam]'"
        ) from None
    inside = np.clip(x.reshape(-1, 2), *FORMULATION)
    joules = PropsSI("H", "T", inside[:, 0], "P", 1e6 * inside[:, 1], "IF97::Water")
    found: Array = np.asarray(joules).reshape(*x.shape[:-1], 1) / 1e3
    return found


def position(x: Array) -> Array:
    r"""Computes the pressure's place on the isenthalp, uniform on [0, 1] whatever the enthalpy.

    .. math:: F(P|h) = \frac{\int_{-\infty}^P g}{\int g}, \quad
        g(P) = \left|\frac{\partial T}{\partial h}\right|_P

    since (T, P) is uniform; g is 0 where T(h, P) is outside. It is interpolated on a grid.

    Arguments:
        x: Temperatures and pressures, with shape (..., 2).

    Returns:
        The position, with shape (...).
    """
    levels, pressures, shares = _shares()
    h = np.clip(enthalpy(x)[..., 0], levels[0], levels[-1])
    pressure = np.clip(x[..., 1], *PRESSURES)
    row, above = _cell(levels, h)
    column, right = _cell(pressures, pressure)
    near = (1 - right) * shares[row, column] + right * shares[row, column + 1]
    far = (1 - right) * shares[row + 1, column] + right * shares[row + 1, column + 1]
    place: Array = (1 - above) * near + above * far
    return place


def outside(x: Array, margin: float = 0.0125) -> NDArray[np.bool_]:
    """Tells which points lie outside the domain by a margin, a share of its sides; to (...)."""
    reach = margin * (HIGH - LOW)
    beyond: NDArray[np.bool_] = ((x < LOW - reach) | (x > HIGH + reach)).any(-1)
    return beyond


class Steam(Drawn):
    """Is the task of :func:`draw`."""

    task: Literal["steam"]

    x_names: ClassVar[tuple[str, ...]] = ("T", "P")
    y_names: ClassVar[tuple[str, ...]] = ("h",)
    truth: ClassVar[Truth] = Truth(
        level=enthalpy,
        outside=outside,
        bayes_prediction=enthalpy,
        position=position,
    )

    def draw(self, rows: int, generator: Generator) -> Dataset:
        """Draws so many rows by :func:`draw`."""
        return draw(rows, generator)

    @property
    def plane(self) -> Plane:
        """The plane of temperature and pressure with isenthalps."""
        pressures = np.linspace(*PRESSURES, 100)
        lines = tuple(
            np.stack([_temperature(np.full(100, h), pressures), pressures], -1)
            for h in np.arange(2200.0, 4000.0, 200.0)
        )
        limits = ((TEMPERATURES[0] - 15, TEMPERATURES[1] + 15), (-0.5, 41.5))
        return Plane(labels=("T [K]", "P [MPa]"), lines=lines, limits=limits, equal=False)


@cache
def _grid() -> tuple[Array, Array, Array]:
    # Temperatures (cells), pressures (cells) and the enthalpy at each, (pressures, temperatures).
    temperatures, pressures = np.linspace(*TEMPERATURES, CELLS), np.linspace(*PRESSURES, CELLS)
    mesh = np.stack(np.meshgrid(temperatures, pressures), -1)
    return temperatures, pressures, enthalpy(mesh)[..., 0]


def _temperature(h: Array, pressure: Array) -> Array:
    # Where the enthalpy is h at each pressure, NaN outside the domain; both with shape (k,).
    temperatures, pressures, enthalpies = _grid()
    rows = np.abs(pressures - pressure[:, None]).argmin(1)
    pairs = zip(h, rows, strict=True)
    return np.array(
        [np.interp(value, enthalpies[row], temperatures, np.nan, np.nan) for value, row in pairs]
    )


@cache
def _shares() -> tuple[Array, Array, Array]:
    # Levels (cells), pressures (cells) and F(P|h) at each, with shape (levels, pressures).
    temperatures, pressures, enthalpies = _grid()
    levels = np.linspace(enthalpies.min(), enthalpies.max(), CELLS)
    along = [np.interp(levels, row, temperatures) for row in enthalpies]
    inside = [(levels >= row[0]) & (levels <= row[-1]) for row in enthalpies]
    density = np.array([np.gradient(t, levels) for t in along]) * np.array(inside)  # (P, h)
    steps = (density[1:] + density[:-1]) / 2
    total = np.concatenate([np.zeros((1, CELLS)), steps.cumsum(0)])
    return levels, pressures, (total / np.maximum(total[-1], 1e-12)).T


def _cell(grid: Array, value: Array) -> tuple[NDArray[np.intp], Array]:
    # The cell of an even grid that holds a value, and where in it, in [0, 1].
    place = (value - grid[0]) / (grid[1] - grid[0])
    cell = np.clip(place.astype(np.intp), 0, len(grid) - 2)
    return cell, place - cell
