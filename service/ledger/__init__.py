"""The ledger: what was announced, what is being moved, what is archived. It alone arbitrates."""

from service.ledger.database import Database
from service.ledger.duties import Duties, Inquiry
from service.ledger.intake import Intake
from service.ledger.notices import Notices
from service.ledger.outbox import Outbox
from service.ledger.progress import Progress
from service.ledger.pruning import Pruning
from service.ledger.view import View
from service.ledger.work import Trouble, Work

__all__ = [
    "Database",
    "Duties",
    "Inquiry",
    "Intake",
    "Notices",
    "Outbox",
    "Progress",
    "Pruning",
    "Trouble",
    "View",
    "Work",
]
