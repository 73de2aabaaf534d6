"""What a job is. Read `states`, then `lifecycle` (the verbs), then `repository` (the only SQL on jobs)."""
