#!/bin/bash
# Trains on several nodes under SLURM, and goes on from the last checkpoint when the job's time is up.
#   sbatch --export=ALL,NAME=large-cifar10 examples/slurm.sh --preset large
#SBATCH --job-name=pixeltui
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=8
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=8
#SBATCH --time=12:00:00
#SBATCH --open-mode=append
#SBATCH --requeue
# Three minutes before the end, and where SLURM takes the nodes away, every process gets SIGTERM: all stop at the same
# step, and the first writes a checkpoint.
#SBATCH --signal=TERM@180
set -u

NAME=${NAME:-slurm}
RUNS=${PIXELTUI_RUNS_DIR:-runs} # on a file system that all nodes see
MASTER_ADDR=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
MASTER_PORT=$((20000 + SLURM_JOB_ID % 20000))
WORLD_SIZE=$SLURM_NTASKS
export MASTER_ADDR MASTER_PORT WORLD_SIZE

if [ -e "$RUNS/$NAME/meta.json" ]; then
    what=(--resume "$NAME")
else
    what=(--name "$NAME" "$@")
fi

# exec, so that signals reach pixeltui and no shell in between
srun --kill-on-bad-exit=1 bash -c '
    export RANK=$SLURM_PROCID LOCAL_RANK=$SLURM_LOCALID
    exec python -m pixeltui --no-ui --runs-dir "$0" train "$@"' "$RUNS" "${what[@]}" &
step=$!
# A warning that comes to this script instead, as with --signal=B:USR1@180, is handed to the processes. Not by way of
# srun, which kills them when it gets SIGTERM.
warned=
trap 'warned=yes; scancel --signal=TERM "$SLURM_JOB_ID"' USR1 TERM
wait "$step"
status=$?
while [ -n "$warned" ]; do # which ended `wait`, not srun
    warned=
    wait "$step"
    status=$?
done

if [ "$status" -eq 143 ]; then # stopped by SIGTERM, with a checkpoint
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"
