"""The real process against real servers."""
