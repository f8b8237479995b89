"""Arguments that several commands take, with the same words."""

from __future__ import annotations

import argparse

__all__ = ["add_gap", "add_quiet", "add_reserve"]

Container = argparse._ActionsContainer
"""A parser or one of its groups."""


def add_gap(group: Container, default: object) -> None:
    """Add ``--gap``."""
    group.add_argument(
        "--gap",
        type=float,
        default=default,
        metavar="REL",
        help=f"proven gap to stop at (default: {default})",
    )


def add_reserve(group: Container) -> None:
    """Add ``--reserve``."""
    group.add_argument(
        "--reserve",
        type=float,
        metavar="SHARE",
        help="share of each device's memory to keep free (default: that of the cluster, 0.1)",
    )


def add_quiet(group: Container) -> None:
    """Add ``--quiet``."""
    group.add_argument("--quiet", action="store_true", help="no progress on standard error")
