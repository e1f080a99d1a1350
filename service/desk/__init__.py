"""What a person on call sees and orders: one port, the ledger's database or a running service behind it."""

from service.desk.opening import open_desk
from service.desk.pages import pages, patiently, walk
from service.desk.port import Desk

__all__ = ["Desk", "open_desk", "pages", "patiently", "walk"]
