"""Pods and containers as NRI plugins see them, and when plugins are asked about them."""
