# Sourced after tests/tap.sh by scripts that train, kill and compare: a small workload on the
# digits, and runs of it.

cat > "$WORK/w.json" <<'J'
{"format": "pipebd-workload", "version": 1, "name": "resume",
 "input": {"channels": 1, "height": 8, "width": 8}, "classes": 10, "batch": 32, "samples": 1437,
 "training": {"learning_rate": 0.05, "momentum": 0.9, "nesterov": true}, "data": "digits",
 "blocks": [
  {"name": "b0", "loss": "mse",
   "teacher": [{"layer": "conv", "out": 8, "kernel": 3}, {"layer": "relu"}],
   "student": [{"layer": "separable", "out": 8, "kernel": 3, "batchnorm": true, "relu": true}]},
  {"name": "b1", "loss": "mse",
   "teacher": [{"layer": "conv", "out": 8, "kernel": 3}, {"layer": "relu"}],
   "student": [{"layer": "conv", "out": 8, "kernel": 1}, {"layer": "batchnorm"}, {"layer": "relu"}]},
  {"name": "b2", "loss": "soft_cross_entropy",
   "teacher": [{"layer": "flatten"}, {"layer": "linear", "out": 10}],
   "student": [{"layer": "avgpool", "global": true}, {"layer": "linear", "out": 10}]}]}
J

# train OUT HOW ARGUMENT...: a schedule, or a plan's file; epochs (5). Replaces the shell.
train() {
    local out=$1 how=$2
    shift 2
    case $how in
    *.json) set -- --plan "$how" "$@" ;;
    *)      set -- --schedule "$how" "$@"
            [[ " $* " = *' --devices '* ]] || set -- --devices "${devices:-cpu:2}" "$@" ;;
    esac
    exec pipebd-run train --workload "$WORK/w.json" --epochs "${epochs:-5}" -o "$out" "$@"
}
run() { (train "$@"); }

# weights FILE: a hash of all bytes of the tensors, not the notes, which name the schedule.
weights() { "${PYTHON:-python3}" - "$1" <<'P'
import hashlib, json, struct, sys
data = open(sys.argv[1], "rb").read()
(n,) = struct.unpack("<Q", data[:8])
head = json.loads(data[8:8 + n])
head.pop("__metadata__")
print(hashlib.sha256(json.dumps(head).encode() + data[8 + n:]).hexdigest())
P
}

# at_random ROUNDS: rounds, which PIPEBD_ROUNDS overrules; RANDOM from PIPEBD_SEED on (1), which is
# printed.
at_random() {
    rounds=${PIPEBD_ROUNDS:-$1}
    RANDOM=${PIPEBD_SEED:-1}
    echo "# PIPEBD_SEED=${PIPEBD_SEED:-1}"
}

milliseconds() { echo $(($(date +%s%N) / 1000000)); }

# pause MS
pause() { sleep "$(($1 / 1000)).$(printf '%03d' $(($1 % 1000)))"; }

# lasted BEGUN: what a run takes that began then and has just ended, in ms; at least 20, at most
# 900.
lasted() {
    local length=$(($(milliseconds) - $1))
    echo $((length < 20 ? 20 : length > 900 ? 900 : length))
}

# killed OUT FOLDER "HOW..." ARGUMENT...: trains in turns under each, with checkpoints in FOLDER,
# killed at random moments of a run's $length ms until one comes to its end; at most 40 times, then
# it is left alone.
kills=0
killed() {
    local out=$1 folder=$2 turn=0 pid status hows
    read -r -a hows <<< "$3"
    shift 3
    rm -rf "$folder" "$out"
    while [ ! -e "$out" ]; do
        (train "$out" "${hows[turn % ${#hows[@]}]}" "$@" --checkpoint "$folder" \
            --checkpoint-every 7 --resume) > "$WORK/.out" 2>&1 &
        pid=$!
        if [ $turn -lt 40 ]; then
            pause $((RANDOM % length))
            kill -KILL $pid 2> /dev/null
        fi
        wait $pid 2> /dev/null
        status=$?
        if [ $status -ne 0 ] && [ $status -ne 137 ]; then
            echo "status $status:"
            cat "$WORK/.out"
            return 1
        fi
        turn=$((turn + 1))
        if [ $status -eq 137 ]; then kills=$((kills + 1)); fi
    done
}

# children PID: of that process, as numbers.
children() { cat "/proc/$1/task/$1/children" 2> /dev/null; }

# has_checkpoint FOLDER, until_checkpoint FOLDER: that there is one; waits for it.
has_checkpoint() { ls "$1"/checkpoint-*.safetensors > /dev/null 2>&1; }
until_checkpoint() { wait_for has_checkpoint "$1"; }

# has_steps N FOLDER, until_steps N FOLDER: that there is a checkpoint after more than N steps of
# blocks; waits for it.
has_steps() {
    ls "$2" 2> /dev/null | awk -F '[-.]' -v n="$1" '$3 > n {found = 1} END {exit !found}'
}
until_steps() { wait_for has_steps "$@"; }

# left: processes of runs, ranks or not. One look at all: grep's own line has not the words, which a
# file has.
echo "$WORK/w.json" > "$WORK/.word"
left() {
    grep -lzF -f "$WORK/.word" /proc/[0-9]*/cmdline 2> /dev/null | tr -dc '0-9\n' || true
}
none_left() { [ -z "$(left)" ]; }
