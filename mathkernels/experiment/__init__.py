"""What every trainer shares: run folder, statistics, tables and plots. Knows nothing of the kernels."""
