"""Audit: what is wrong with data, found before training on it. ``dipole.audit.run.audit`` is the way in."""
