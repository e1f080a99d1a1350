"""dyte-archiver: every announced recording ends whole and checked in the customer's own storage."""

__version__ = "0.1.0"
