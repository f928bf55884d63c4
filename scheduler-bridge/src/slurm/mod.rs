//! Slurm 22.05 and newer, through its command lines.
