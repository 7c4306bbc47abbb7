"""The metric suite: what is said of samples beside likelihoods. Pure functions of token ids; README.md."""
