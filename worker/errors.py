"""What ends a job for a reason that its client should hear."""

from __future__ import annotations


class VideoError(Exception):
    """A clip that cannot be analysed.

    Attributes:
        slug: problem type: `media-unreadable`, `unsupported-media`, `media-too-large` or `media-too-long`.
        detail: a sentence that says what is wrong.
    """

    def __init__(self, slug: str, detail: str) -> None:
        super().__init__(detail)
        self.slug = slug
        self.detail = detail
