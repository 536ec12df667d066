#!/bin/bash
# Runs that Slurm launches: a cluster of two hosts (tests/hosts.sh), and the script of
# docs/operations.md on it.
. "$(dirname "$0")/tap.sh"
. "$(dirname "$0")/mpi.sh"
. "$(dirname "$0")/hosts.sh"
. "$(dirname "$0")/slurm.sh"
if [ -n "$slurm_missing" ]; then echo "1..0 # SKIP $slurm_missing"; exit 0; fi
hosts_enter "$@"
. "$(dirname "$0")/training.sh"
hosts_need 2
cd "$WORK" || exit 1

if ! slurm_up 2 > "$WORK/.cluster" 2>&1; then
    sed 's/^/# /' "$WORK/.cluster"
    echo '1..0 # SKIP no nodes of Slurm can be had here'
    exit 0
fi

on_nodes() { timeout -k 2 120 srun --nodes=2 --ntasks-per-node=1 --cpu-bind=none --mpi=pmix "$@"; }

trains() {
    epochs=3 run one.safetensors dpu || return 1
    on_nodes pipebd-run train --workload "$WORK/w.json" --epochs 3 --schedule dpu --devices cpu:1 \
        -o two.safetensors 2>&1 | tee err
    [ "${PIPESTATUS[0]}" -eq 0 ] || return 1
    grep -q 'rank 0 .*on h0 .*device 0' err && grep -q 'rank 1 .*on h1 .*device 1' err \
        && cmp one.safetensors two.safetensors
}
ok 'srun trains over two nodes what one process does' trains

apart() {
    timeout 60 srun --nodes=2 --ntasks-per-node=1 --mpi=none pipebd-run train \
        --workload "$WORK/w.json" --schedule dpu --devices cpu:1 \
        -o x.safetensors > err 2>&1 && return 1
    cat err
    grep -q 'srun started 2 processes that do not know of each other: use srun --mpi=pmix' err \
        && [ ! -e x.safetensors ]
}
ok 'without PMIx each rank would be alone: refused' apart

profiles() {
    on_nodes pipebd-run profile --workload "$WORK/w.json" --devices cpu:2 \
        --trials 3 --limit 0 -o trace.json \
        || return 1
    jq -e '.nodes.devices_per_node == 2 and (.nodes.p2p | length) > 0' trace.json
}
ok 'a profile knows the nodes' profiles

# A rank that crashes is named, and the job fails.
crashes() {
    on_nodes pipebd-run train --workload "$WORK/w.json" --epochs 100000 --schedule dpu \
        --devices cpu:1 --log crashes.jsonl -o x.safetensors \
        > err 2>&1 &
    local step=$! pid
    wait_for has_line crashes.jsonl '"progress"'
    pid=$(for p in $(left); do grep -qz '^SLURM_PROCID=1$' "/proc/$p/environ" \
        && [ "$(readlink "/proc/$p/exe")" = "$PIPEBD_BIN/pipebd-run" ] \
        && echo "$p"; done)
    [ -n "$pid" ] || { cat err; return 1; }
    kill -KILL $pid
    wait $step && return 1
    cat err
    grep -q 'rank 1 (h1) has crashed' err && [ -z "$(left)" ]
}
ok 'a rank that is killed is named' crashes

# The script of the documentation, with this workload, two nodes of a core, and shorter.
documented() {
    sed -n '/^    #!\/bin\/bash/,/--resume/s/^    //p' "$PIPEBD_ROOT/docs/operations.md" \
        | sed \
        -e 's/--nodes=4/--nodes=2/; s/--cpus-per-task=16/--cpus-per-task=1/; s/cpu:16/cpu:1/' \
            -e "s|--plan plan.json|--schedule dpu --epochs $1 --log job.jsonl|; s|/shared/run1|run1|; s|-o students|-o job|"
}
submit() { sbatch --parsable --output=job.out --open-mode=append --export=ALL job.sh; }
# A job of so many epochs; 2: its end came before the signal.
goes_on_from() {
    local job epochs=$1 state
    rm -rf run1 job.*
    run one.safetensors dpu || return 1
    documented $epochs > job.sh
    cat job.sh
    grep -q 'SBATCH --signal=USR2@120' job.sh && grep -q 'srun --mpi=pmix.*train' job.sh || return 1
    job=$(submit) || return 1
    wait_for has_line job.jsonl '"progress"'
    scancel --signal=USR2 "$job"                 # as --signal does before the time is over
    state=$(slurm_wait "$job")
    if [ "$state" = COMPLETED ]; then return 2; fi
    [ "$state" = FAILED ] && has_checkpoint run1 && [ ! -e job.safetensors ] \
        || { cat job.out; return 1; }
    grep -q 'interrupted after step .*, which is kept in run1' job.out || { cat job.out; return 1; }
    job=$(submit) || return 1
    [ "$(slurm_wait "$job")" = COMPLETED ] || { cat job.out; return 1; }
    cmp one.safetensors job.safetensors
}
goes_on() {
    local status
    for longer in 40 200 1000; do
        goes_on_from $longer
        status=$?
        [ $status -eq 2 ] || return $status
    done
    return 1
}
ok 'the documented job stops before its time is over, and the next one goes on' goes_on

done_testing
