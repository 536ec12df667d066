#!/bin/bash
# Profile and validate as several processes on this machine.
. "$(dirname "$0")/tap.sh"
. "$(dirname "$0")/mpi.sh"
. "$(dirname "$0")/training.sh"

# One host: links between processes, no nodes; transfers run beside the devices' work.
profiles() {
    launch 2 pipebd-run profile --workload "$WORK/w.json" --devices cpu:2 --trials 3 --limit 0 \
        -o "$WORK/trace.json" || return 1
    pipebd-trace check "$WORK/trace.json" || return 1
    jq -e 'has("nodes") | not' "$WORK/trace.json" || return 1
    jq -e '(.transfers == "blocking") | not' "$WORK/trace.json" || return 1
    jq -e '([.allreduce[].devices] | unique) == [2, 3, 4] and (.p2p | length) > 3
        and .devices[0].count == 4' "$WORK/trace.json" || return 1
    # What transfers between the ranks take of cores; the first two devices are in one.
    jq -e '.transfer_core == "device"
        and all(.p2p[]; .sender_core_us > 0 and .receiver_core_us > 0)
        and all(.allreduce[]; (.core_us > 0) == (.devices > 2))' "$WORK/trace.json" || return 1
    pipebd-run profile --workload "$WORK/w.json" --devices cpu:2 --trials 3 \
        --limit 0 -o "$WORK/one.json" || return 1
    jq -e '[.. | objects | keys[] | select(test("core"))] == []' "$WORK/one.json"
}
ok 'a profile of 2 ranks with 2 devices each' profiles
ok 'a plan from it' pipebd-plan "$WORK/trace.json" -o "$WORK/plan.json"
ok 'which they train' launch 2 pipebd-run train --workload "$WORK/w.json" --plan "$WORK/plan.json" \
    -o "$WORK/s.safetensors"

validates() {
    launch 2 pipebd-run validate --workload "$WORK/w.json" --devices cpu:1 --trials 3 --limit 0 \
        --seconds 0.1 --rounds 2 \
        --schedules dp,ls,tr,dpu,ir -o "$WORK/v" --update-trace "$WORK/corrected.json" \
        > "$WORK/table" || return 1
    cat "$WORK/table"
    [ "$(grep -c '^error of the epoch time' "$WORK/table")" -eq 1 ] || return 1
    jq -e '[.schedules[] | select(.measured_epoch_s > 0 and .predicted_epoch_s > 0)]
        | length == 5' "$WORK/v/validation.json" || return 1
    # Both devices, and what ran beside their work: messages, and sums.
    jq -e '[.traceEvents[] | select(.ph == "X") | .pid] | unique | length == 2' \
        "$WORK/v/ir-measured.json" || return 1
    jq -e '[.traceEvents[] | select(.ph == "X" and (.name | test("ALLREDUCE")))] | length > 0' \
        "$WORK/v/ir-measured.json" || return 1
    # What they take of processors: of a schedule that exchanges nothing none, of those that sum
    # some. Others may be planned as one stage.
    grep -q '^transfers ' "$WORK/table" || return 1
    jq -e '[.schedules[] | select(.schedule | test("dp$|ls|ir"))] | length == 3
        and all(.[]; (.predicted_transfer_core_us > 0) == (.schedule != "ls")
            and (.measured_transfer_core_us > 0) == (.schedule != "ls"))' \
        "$WORK/v/validation.json" || return 1
    pipebd-trace check "$WORK/corrected.json"
}
ok 'validate compares every schedule, once' validates

refused() {
    ! launch_two pipebd-run profile --workload "$WORK/w.json" --devices cpu:1 -o "$WORK/n.json" \
        : pipebd-run profile --workload "$WORK/w.json" --devices cpu:1 --batch 16 \
        -o "$WORK/n.json" 2> "$WORK/err" || return 1
    cat "$WORK/err"
    [ "$(grep -c 'batch: 32 on rank 0 (.*), 16 on rank 1' "$WORK/err")" -eq 1 ] \
        && [ ! -e "$WORK/n.json" ]
}
ok 'ranks with different batches are refused' refused

done_testing
