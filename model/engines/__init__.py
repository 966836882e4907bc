"""Engines: the network on a processor (OpenVINO) or a GPU (torch), behind one interface."""

from __future__ import annotations

from model.engines.base import Engine, EngineError, default_cache_dir, open_engine

__all__ = ["Engine", "EngineError", "default_cache_dir", "open_engine"]
