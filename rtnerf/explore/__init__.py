"""The design space: what a configuration costs and brings, point by point, and why two points differ."""
