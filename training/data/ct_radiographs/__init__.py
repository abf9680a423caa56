"""Radiographs simulated from one CT, with exact boxes."""
