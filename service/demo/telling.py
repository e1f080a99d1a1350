"""What the demo says, and how it fails."""

from rich.console import Console

from service.errors import ArchiverError


class DemoFailed(ArchiverError):
    """The demo did not get through."""


class Teller:
    """Prints the story: a line each, what it is about in front."""

    def __init__(self, console: Console) -> None:
        self.console = console

    def __call__(self, about: str, text: str) -> None:
        """Say ``text``."""
        self.line(f"{about:<10}{text}")

    def line(self, text: str) -> None:
        """Say what is about nothing in particular."""
        self.console.print(text, highlight=False, soft_wrap=True, markup=False)
