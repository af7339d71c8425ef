"""The figures of the derivation pages, each drawn by one function of a module for its chapter."""
