"""Celery workers: claim jobs from Postgres, run the network, store per-frame Action Units and ROI maps."""
