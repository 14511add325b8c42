"""Loops over the transducer's predictor and joint."""
