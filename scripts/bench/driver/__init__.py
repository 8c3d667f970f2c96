"""Runs Bide and its peers by turns under the load generator, and tells what they took."""
