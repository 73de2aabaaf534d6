"""The matrix products of one epoch. `torch_csr` runs on any torch device."""
