"""Queues, streams and activities that every stage uses."""
