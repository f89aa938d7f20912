"""Sweeps kept in a folder: nothing is lost, whatever stops them."""
