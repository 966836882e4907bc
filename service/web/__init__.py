"""The page at `/`, the viewer of the operations at `/docs`, and the files that both are made of."""
