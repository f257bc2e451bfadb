"""The two implementations of the Runtime interface."""
