"""Errors, records, registries, schedules, randomness, processes. Imports nothing of ours."""
