"""The service around the engine: HTTP, jobs, storage, the terminal. Start reading at `jobs.lifecycle`."""
