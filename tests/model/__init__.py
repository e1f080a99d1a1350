"""The lease and epoch protocol as a small model, whose every run is looked at."""
