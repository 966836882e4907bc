"""The paper's protocol: three folds of people, one report, and the ablations of its Tables 3 and 4."""
