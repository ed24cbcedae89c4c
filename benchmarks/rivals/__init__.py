"""Other people's ways to train many tiny modules, each written as fast as its tools allow."""
