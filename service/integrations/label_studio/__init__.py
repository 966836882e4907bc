"""Label Studio's machine learning backend: pictures answered within `/predict`, clips as jobs whose results are pushed.

Nothing here depends on Label Studio's own packages: its protocol is HTTP and JSON, and the project's label
configuration, which every request carries, says which labels and controls there are.
"""
