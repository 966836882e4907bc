"""CVAT: a function that annotates the faces of a task, for `cvat-cli` and for agents, and what its labels look like."""
