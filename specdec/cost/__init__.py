"""What a decoding step costs: passes of target and draft, measured, fitted or from a roofline, and the sum of parts."""
