"""Formats in which results leave: each a pure streaming function from rows to bytes."""
