"""Real data sets made ready for training (BP4D, DISFA, tables of one's own), as folders of `training.data.prepared`."""
