"""Workers: claim a job, run the engine in a child process, finish. Start reading at `execution`."""
