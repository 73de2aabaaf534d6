"""The database: `base` (tables' common ground), `session` (the only commit), `migrations`."""
