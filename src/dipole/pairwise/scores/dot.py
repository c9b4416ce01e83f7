"""Dot product, the default: vectors are compared as they are."""

from dipole.core.scores import Dot

__all__ = ["Dot"]
