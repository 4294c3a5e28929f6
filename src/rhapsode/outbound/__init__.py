"""Requests to the addresses that users name: guarded, bounded, and without their secrets."""
