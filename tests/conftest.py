"""Settings that all tests have in common."""

from hypothesis import HealthCheck, settings

# How long an example takes says something about the machine, and nothing about the program.
settings.register_profile("rtms", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("rtms")
