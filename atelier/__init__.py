"""Atelier: what people ask for, done through the ports of the eight components."""
