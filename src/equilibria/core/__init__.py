"""A game and how it is played: players, draws, update rules, optimisers, ensembles, CUDA graphs."""
