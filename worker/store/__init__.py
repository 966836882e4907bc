"""The store: Postgres tables and repositories, the media folder, the codec of ROI maps, notifications.

Rules: SQL is written only here, in repositories; every read on a client's behalf names its tenant; a repository never
commits, the caller's `with engine.begin() as connection:` does.
"""
