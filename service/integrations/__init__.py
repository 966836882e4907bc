"""Annotation platforms that work with the service, one folder each."""
