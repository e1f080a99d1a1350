"""Telling the customer's own system what became of its recordings: each notice arrives at least once."""

from service.notices.lookout import Lookout
from service.notices.post import Post, notice_session
from service.notices.sending import Sending

__all__ = ["Lookout", "Post", "Sending", "notice_session"]
