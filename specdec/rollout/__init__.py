"""Rollouts on one tree: sampling that shares prefixes, counted and timed against independent sampling."""
