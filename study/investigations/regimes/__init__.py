"""On which scan steps, doses and probes a network outperforms iterative methods."""
