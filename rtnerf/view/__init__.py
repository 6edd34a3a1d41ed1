"""The integer model in a browser: one HTML file with a scene, its renderer and simulated views."""
