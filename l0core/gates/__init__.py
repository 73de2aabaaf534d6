"""Gates over the entries of an axis: of anything (`L0Gate`), of samples, of features, or part gates and part chance."""

from l0core.gates.hybrid import HybridGate
from l0core.gates.l0_gate import L0Gate
from l0core.gates.selection import FeatureGate, SampleGate

__all__ = ["FeatureGate", "HybridGate", "L0Gate", "SampleGate"]
