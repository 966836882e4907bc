"""Everything between pixels and Action Unit decisions: the ROI-GCN method of Zhang, Wang and Yin (2020).

Importing this package is light: neither torch nor OpenVINO is loaded until an engine or a network is asked for.
"""
