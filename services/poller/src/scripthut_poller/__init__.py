"""Watch Slurm and PBS over SSH and publish what became of every job."""
