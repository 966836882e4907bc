"""Faces in pictures and clips: pinned nets, detection, landmarks and tracking; runs through OpenVINO, without torch."""
