"""L0 calibration: the engine."""
