"""Benchmarks: `python -m tests.bench` races dyte-archiver against what one would use otherwise.

Not run by pytest.
"""
