"""crispctl: look at pods, containers and images, and work with them, over CRI. One file per verb or noun."""

from cri.cli.group import main

__all__ = ["main"]
