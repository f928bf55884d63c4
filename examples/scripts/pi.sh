#!/bin/bash
#SBATCH --job-name=pi
#SBATCH --cpus-per-task=2
#SBATCH --mem=200M
#SBATCH --time=00:05:00
# An sbatch script as it runs on any cluster: meso submit --wait examples/scripts/pi.sh
echo "$(id -un) on $SLURM_JOB_NODELIST, $SLURM_CPUS_PER_TASK cpus, allocation account $SLURM_JOB_ACCOUNT"
awk 'BEGIN { srand(); n = 2000000; for (i = 0; i < n; i++) if (rand()^2 + rand()^2 < 1) c++; print 4 * c / n }'
