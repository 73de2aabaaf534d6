"""Warm processes that fork children: their owner's side and their own."""
