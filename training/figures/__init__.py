"""`roigcn figures`: the paper's Figures 5 and 6 for a network of one's own, with the measures behind them."""
