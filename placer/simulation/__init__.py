"""Event simulation of plans, independent of how their objective is evaluated."""

from placer.simulation.api import simulate
from placer.simulation.outcome import DeviceUse, Simulation
from placer.simulation.slices import Slice
from placer.simulation.tasks import Lane

__all__ = ["DeviceUse", "Lane", "Simulation", "Slice", "simulate"]
