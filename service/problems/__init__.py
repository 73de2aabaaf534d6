"""Uploads and problems: bytes from outside, parsed in a process of their own, kept by their content."""
