"""What a process holds, in bytes, as Linux counts it.

Not ``getrusage``: its high-water mark survives exec, so a process that was started by a larger one would report that one's.
"""

from __future__ import annotations

from pathlib import Path


def resident(pid: int | str = "self") -> int:
    """Bytes in memory now."""
    return _status(pid, "VmRSS")


def peak() -> int:
    """Bytes this process held at most, since it began or since :func:`begin_again`."""
    return _status("self", "VmHWM")


def begin_again() -> None:
    """Let the high-water mark start from what is held now."""
    Path("/proc/self/clear_refs").write_text("5")


def _status(pid: int | str, field: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return 1024 * int(next(line.split()[1] for line in lines if line.startswith(f"{field}:")))
