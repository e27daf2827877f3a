"""Lengths in metres: how a pixel of the detector becomes a pixel of the object.

Far field: object pixel = wavelength * distance / (n * detector pixel).
"""

from __future__ import annotations

from study.settings import Model, Positive

PLANCK_J_S = 6.62607015e-34
LIGHT_M_S = 299792458.0
ELECTRON_VOLT_J = 1.602176634e-19
NOMINAL_PX_M = 20e-9


class Geometry(Model):
    """Photon energy, distance from sample to detector, detector pixel."""

    energy_j: Positive
    distance_m: Positive
    pixel_m: Positive

    @classmethod
    def nominal(cls, n: int, object_pixel_m: float = NOMINAL_PX_M) -> Geometry:
        """Conventional numbers for scans without a geometry: 10 keV, 1 m, object pixel 20 nm."""
        energy_j = 1e4 * ELECTRON_VOLT_J
        wavelength_m = PLANCK_J_S * LIGHT_M_S / energy_j
        return cls(energy_j=energy_j, distance_m=1.0, pixel_m=wavelength_m / (n * object_pixel_m))

    @classmethod
    def of_wavelength(cls, wavelength_m: float, distance_m: float, pixel_m: float) -> Geometry:
        """From the wavelength of the photons. Raises ValueError unless all are positive."""
        energy_j = PLANCK_J_S * LIGHT_M_S / wavelength_m
        return cls(energy_j=energy_j, distance_m=distance_m, pixel_m=pixel_m)

    @property
    def wavelength_m(self) -> float:
        return PLANCK_J_S * LIGHT_M_S / self.energy_j

    def object_pixel_m(self, n: int) -> float:
        """Side of an object pixel for patterns of n x n px."""
        return self.wavelength_m * self.distance_m / (n * self.pixel_m)
