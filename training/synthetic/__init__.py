"""Rendered faces with exact Action Unit labels: a parametric head, a sampler, a rasteriser and a writer of shards.

The head comes from a face pack (a file that the user names) or, without one, from a small toy head made by code.
"""
