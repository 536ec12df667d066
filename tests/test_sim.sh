# pipebd-sim as a user meets it: reports, timelines, what-if, grids, refusals.
. "$(dirname "$0")/tap.sh"

T=$PIPEBD_ROOT/tests/fixtures/plots/small.json

# says DESCRIPTION STATUS TEXT COMMAND...: exits with STATUS, nothing on standard
# output, and one line on standard error that contains TEXT.
says() {
    says_name=$1 says_status=$2 says_text=$3; shift 3
    "$@" > "$WORK/says.out" 2> "$WORK/says.err" < /dev/null
    tap_status=$?
    cat "$WORK/says.out" "$WORK/says.err" > "$WORK/.tap"
    if [ $tap_status -eq "$says_status" ] && [ ! -s "$WORK/says.out" ] \
        && [ "$(wc -l < "$WORK/says.err")" -eq 1 ] \
        && grep -qF -e "$says_text" "$WORK/says.err"
    then tap_result yes "$says_name"; else tap_result no "$says_name"; fi
}

# same DESCRIPTION FILE FILE
same() { ok "$1" cmp "$2" "$3"; }

ok "help" pipebd-sim --help
golden "the table" sim-table.txt pipebd-sim "$T" --schedule dp,dpu,ahd
golden "CSV, a device a row" sim.csv pipebd-sim "$T" --schedule dp,dpu,ahd --format csv
golden "JSON" sim.json pipebd-sim "$T" --schedule dpu --format json
golden "jitter" sim-jitter.json pipebd-sim "$T" --schedule dpu --jitter 50 --seed 7 --format json
golden "a grid as a table" sim-sweep.txt pipebd-sim "$T" --schedule dp,ls,ahd --vary devices=1,2 \
    --vary loader.lanes=1,2
golden "a grid as CSV, with impossible points" sim-sweep.csv \
    pipebd-sim "$T" --schedule dp,ahd --vary memory_bytes=100,1000000 --vary devices=1,2,3 \
    --format csv
golden "a grid as JSON" sim-sweep.json pipebd-sim "$T" --schedule tr --vary p2p.us=500,1000 \
    --scale blocks.update.us=3 --format json

# ---- what if is said

whatif() {
    pipebd-sim "$T" --schedule ahd --set loader.lanes=1 --scale 'blocks[a].student.us=1.5' "$@"
}
ok "the table says what is otherwise" grep \
    -qxF 'what if: loader.lanes = 1, blocks[a].student.us times 1.5' <(whatif)
ok "the JSON too" jq -e '.what_if == [{"path": "loader.lanes", "set": 1}, {"path": "blocks[a].student.us", "scale": 1.5}]' <(whatif --format json)
ok "and a grid" grep -qxF 'what if: loader.lanes = 1, blocks[a].student.us times 1.5' \
    <(whatif --vary devices=1,2)
says "an option that --set replaces" 2 "--devices: no effect with --set devices" pipebd-sim "$T" \
    --schedule ahd --set devices=1 --devices 2
says "an option that --vary replaces" 2 "--memory: no effect with --vary memory_bytes" \
    pipebd-sim "$T" --schedule ahd --vary memory_bytes=1e6,2e6 --memory 1MiB
for number in 0x10 1e-400 1e400 nan inf -1; do
    says "$number is no factor" 2 "--scale: \"$number\" is not a number of 0 or more" pipebd-sim \
        "$T" --schedule ahd --scale "blocks[a].student.us=$number"
done
says "jitter in the CSV of one run" 2 "--jitter: no effect with --format csv" \
    pipebd-sim "$T" --schedule dpu --jitter 5 --format csv
says "a schedule twice" 2 "--schedule: ahd twice" pipebd-sim "$T" --schedule ahd,dp,ahd
says "candidates of no search" 2 "--candidates: no effect without tr, dpu, ahd or split" \
    pipebd-sim "$T" --schedule dp,ls --candidates 3
for format in table csv json; do
    pipebd-sim "$T" --schedule ls --steps 100000000 --format $format > "$WORK/long.$format"
done
ok "more steps than can be simulated: an estimate between bounds" \
    grep -qE '^  epoch [0-9.]+ s \(estimate, between [0-9.]+ and [0-9.]+ s\)' "$WORK/long.table"
ok "... in a note of the CSV" grep -qE \
    '^# note: ls: the epoch is an estimate, between [0-9.]+ and [0-9.]+ s: its steps do not repeat' \
    "$WORK/long.csv"
ok "... and in JSON" jq -e '.estimate and .least_s <= .epoch_s and .epoch_s <= .most_s
    and .most_s < 1.2 * .least_s and (.notes | any(startswith("ls: the epoch is an estimate")))' \
    "$WORK/long.json"
says "drawn times of more steps than can be simulated" 1 "its steps do not repeat" \
    pipebd-sim "$T" --schedule ls --steps 100000000 --jitter 2

# ---- timelines

pipebd-sim "$T" --schedule dpu --steps 4 --timeline "$WORK/tl.json" > "$WORK/table.txt" \
    2> "$WORK/err.txt"
golden "a timeline" sim-timeline.json cat "$WORK/tl.json"
ok "all steps shown: no word about it" test ! -s "$WORK/err.txt"
ok "the timeline is JSON; boxes of a lane never overlap" jq \
    -e '[.traceEvents[] | select(.ph == "X")] | group_by([.pid, .tid])
    | all(sort_by(.ts) | [.[:-1], .[1:]] | transpose
        | all(.[0].ts + .[0].dur <= .[1].ts + 1e-6))' "$WORK/tl.json"
ok "every arrow that starts ends, later" jq \
    -e '[.traceEvents[] | select(.ph == "s" or .ph == "f")] | group_by(.id)
    | length > 0 and all(length == 2 and .[0].pid != .[1].pid)' "$WORK/tl.json"
ok "the last box ends with the epoch" jq \
    -e '.pipebd.epoch_us >= ([.traceEvents[] | select(.ph == "X") | .ts + .dur] | max) - 1e-6' \
    "$WORK/tl.json"
pipebd-sim "$T" --schedule dpu --timeline "$WORK/tl2.json" > /dev/null 2> "$WORK/err.txt"
ok "a cut timeline says so" grep -q "first 32 of 100 steps" "$WORK/err.txt"

# ---- plans

pipebd-plan "$T" --schedules dpu -o "$WORK/plan.json" > /dev/null
pipebd-sim "$T" --plan "$WORK/plan.json" --format json > "$WORK/by-plan.json"
pipebd-sim "$T" --schedule dpu --format json > "$WORK/by-name.json"
same "a plan is priced as the planner did" "$WORK/by-plan.json" "$WORK/by-name.json"
says "a plan for another network is refused" 1 "a plan for 2 blocks, expected 13" \
    pipebd-sim "$PIPEBD_ROOT/traces/vgg-cpu.json" --plan "$WORK/plan.json" --batch 8 --devices 2
says "a plan for another cluster is refused" 1 "a plan for 2 devices, but there are 1" \
    pipebd-sim "$T" --plan "$WORK/plan.json" --devices 1
sed 's/"samples": 800/"samples": 808/' "$T" > "$WORK/other.json"
pipebd-sim "$WORK/other.json" --plan "$WORK/plan.json" > /dev/null 2> "$WORK/err.txt"
ok "a plan made for another trace: priced, with a word" grep -q "was made for another trace" \
    "$WORK/err.txt"

# ---- what if: the same as an edited file

# Students of a list, by number and by name; and where there is no list.
S="$PIPEBD_ROOT/tests/fixtures/trace/good/students.json"
many() { pipebd-sim "$S" --schedule ahd --devices 2 --extrapolate --format csv "$@"; }
many --scale 'blocks[a].students[narrow].us=3' > "$WORK/s.csv"
many --scale 'blocks[0].students[1].us=3' > "$WORK/t.csv"
ok 'a student by name and by number' cmp "$WORK/s.csv" "$WORK/t.csv"
many --scale 'blocks[0].students[2].us=3' > "$WORK/t.csv"
differs() { ! cmp -s "$1" "$2"; }
ok 'another student, another answer' differs "$WORK/s.csv" "$WORK/t.csv"
refuses_with() {
    local text=$1
    shift
    ! "$@" > "$WORK/.out" 2>&1 && grep -qF -- "$text" "$WORK/.out"
}
ok 'no such student' refuses_with 'students[9].us: no such student' many \
    --scale 'blocks[a].students[9].us=3'
ok 'a block without a list' refuses_with 'this block lists no students' many \
    --scale 'blocks[c].students[0].us=3'
ok 'no such number of a student' refuses_with 'no such number' many \
    --scale 'blocks[a].students[0].teacher.us=3'
ok 'gradients of a list' refuses_with 'expected .students[N].gradient_bytes' many \
    --scale 'blocks[a].gradient_bytes=2'

sed 's/"teacher_us": 100/"teacher_us": 200/; s/"teacher_us": 60/"teacher_us": 120/' "$T" \
    > "$WORK/edited.json"
# otherwise FILE COMMAND...: its JSON without what it says of its input
otherwise() {
    otherwise_file=$1
    shift
    "$@" --format json | grep -v '"trace_hash"\|"what_if"' > "$otherwise_file"
}
otherwise "$WORK/a.json" pipebd-sim "$WORK/edited.json" --schedule dpu
otherwise "$WORK/b.json" pipebd-sim "$T" --schedule dpu --scale 'blocks[a].teacher.us=2'
same "scaling a block by name is editing the file" "$WORK/a.json" "$WORK/b.json"
otherwise "$WORK/b.json" pipebd-sim "$T" --schedule dpu --scale 'blocks[0].teacher.us=2'
same "scaling a block by number too" "$WORK/a.json" "$WORK/b.json"
sed 's/"lanes": 2/"lanes": 1/; s/"sample_us": 5/"sample_us": 60/' "$T" > "$WORK/edited.json"
otherwise "$WORK/a.json" pipebd-sim "$WORK/edited.json" --schedule ls
otherwise "$WORK/b.json" pipebd-sim "$T" --schedule ls --set loader.lanes=1 \
    --set loader.sample_us=60
same "setting two numbers is editing the file" "$WORK/a.json" "$WORK/b.json"
for format in table csv json; do
    for jobs in 1 2 7; do
        pipebd-sim "$T" --schedule dp,ls,ahd --vary devices=1,2 --vary loader.lanes=1,2,3,4 \
            --vary steps=5,6,7 \
            --scale blocks.student.us=3 --format $format --jobs $jobs > "$WORK/$format.$jobs"
    done
    ok "$format: something to compare" test "$(wc -l < "$WORK/$format.1")" -gt 72
    same "$format: one thread and two give the same bytes" "$WORK/$format.1" "$WORK/$format.2"
    same "$format: one thread and seven give the same bytes" "$WORK/$format.1" "$WORK/$format.7"
done
ok "a sweep's point is what --set gives" sh -c '
    one=$(pipebd-sim "$1" --schedule dpu --set p2p.us=700 --scale blocks.update.us=3 \
        --format json | jq .epoch_s)
    two=$(pipebd-sim "$1" --schedule dpu --vary p2p.us=700,900 --scale blocks.update.us=3 \
        --format json | jq ".rows[0].epoch_s")
    [ "$one" = "$two" ]' sh "$T"
ok "a slower device makes a slower epoch" sh -c '
    a=$(pipebd-sim "$1" --schedule dpu --format json | jq .epoch_s)
    b=$(pipebd-sim "$1" --schedule dpu --scale "device[0].slowdown=1.5" --format json | jq .epoch_s)
    jq -ne "$b > $a"' sh "$T"
ok "setting what it already is: accepted" pipebd-sim "$T" --schedule dpu --set loader.lanes=2

# ---- interruption

# The trace comes through a pipe: once that is open for writing, the tool listens to SIGINT.
# interrupts FORMAT SECONDS: a grid of 100,000 points is stopped that long after it began.
interrupts() {
    rm -f "$WORK/pipe" && mkfifo "$WORK/pipe"
    pipebd-sim "$WORK/pipe" --schedule dp,ls,ahd --vary "steps=$(seq -s, 1 317)" \
        --vary "loader.sample_us=$(seq -s, 1 315)" \
        --format "$1" --jobs 2 > "$WORK/part" 2> "$WORK/part.err" &
    local tool=$!
    exec 8> "$WORK/pipe" && cat "$T" >&8 && exec 8>&-
    sleep "$2"
    kill -INT $tool
    wait $tool
    local status=$?
    cat "$WORK/part.err"
    [ $status -eq 130 ] \
        && grep -q "interrupted: [0-9]* of 99855 points are done and were written" "$WORK/part.err"
}
done_points() { sed 's/.*interrupted: \([0-9]*\) of .*/\1/' "$WORK/part.err"; }

# The rows of the points done, as a sweep of the first values of steps alone gives them.
is_prefix() {
    local points rows steps
    points=$(done_points) rows=$((3 * points + 1)) steps=$((points / 315 + 1))
    [ "$(grep -vc '^#' "$WORK/part")" -eq $rows ] && [ "$points" -lt 99855 ] || return 1
    pipebd-sim "$T" --schedule dp,ls,ahd --vary "steps=$(seq -s, 1 $steps)" \
        --vary "loader.sample_us=$(seq -s, 1 315)" \
        --format csv | head -n $rows | cmp - <(grep -v '^#' "$WORK/part")
}
ok "CSV: SIGINT keeps what is done, and says so" interrupts csv 0.5
ok "CSV: what is kept is how the whole begins" is_prefix
ok "JSON: SIGINT keeps what is done, and says so" interrupts json 0.1
json_says() {
    jq -e --argjson done "$(done_points)" '.partial == {points: 99855, done: $done} and (.rows
        | length) == 3 * $done' "$WORK/part"
}
ok "JSON: it says how much is there" json_says
ok "table: SIGINT keeps what is done, and says so" interrupts table 0.1
ok "table: it says how much is there" grep -q "^interrupted: the first [0-9]* of 99855 points" \
    "$WORK/part"

# On a terminal only: script(1) makes one.
if command -v script > /dev/null; then
    script -qec "pipebd-sim $T --schedule dp --vary devices=1,2" /dev/null < /dev/null \
        > "$WORK/terminal" 2>&1
    ok "progress on a terminal" grep -q "sweep 0/2" "$WORK/terminal"
else skip "progress on a terminal" "no script(1)"; fi
pipebd-sim "$T" --schedule dp --vary devices=1,2 > /dev/null 2> "$WORK/err.txt"
ok "none elsewhere" test ! -s "$WORK/err.txt"

# ---- refusals

says "no such number" 1 "blocks[0].teachers.us: no such number, expected .teacher.us" \
    pipebd-sim "$T" --schedule dp --set blocks[0].teachers.us=1
says "no such block" 1 "blocks[c].teacher.us: no such block" pipebd-sim "$T" --schedule dp \
    --set 'blocks[c].teacher.us=1'
says "a number without effect" 1 "--set p2p.us=77: changes nothing in the result" \
    pipebd-sim "$T" --schedule dp --devices 1 --set p2p.us=77
# Several factors are a sweep, whose rows are what each factor alone gives; pipebd-plan says the
# same.
epoch_of() { awk -F, -v s="$1" -v c="$2" '!/^#/ && $(c - 1) == s { print $c }'; }
factors_are_runs() {
    local swept one planned
    swept=$(pipebd-sim "$T" --schedule dpu --scale p2p.us=1,3 --format csv | grep '^3,' \
        | epoch_of dpu 3)
    one=$(pipebd-sim "$T" --schedule dpu --scale p2p.us=3 --format csv \
        | awk -F, 'NR == 2 { print $4 }')
    planned=$(pipebd-plan "$T" --schedules dpu --scale p2p.us=3 --format csv | epoch_of dpu 2)
    echo "$swept $one $planned"
    [ -n "$one" ] && [ "$swept" = "$one" ] && [ "$planned" = "$one" ]
}
ok "a list of factors is a sweep of them, and the planner takes edits too" factors_are_runs
ok "an edit that matters to one schedule is taken for all, and said" \
    grep -qxF '  note: --scale p2p.us=3 changes nothing for dp' \
    <(pipebd-sim "$T" --schedule dp,dpu --scale p2p.us=3)
ok "in a sweep too" grep -qxF '# note: --vary p2p.us changes nothing for dp' \
    <(pipebd-sim "$T" --schedule dp,dpu --vary p2p.us=500,1000 --format csv)
ok "and in a plan's report" grep -qF '"--set p2p.us=700 changes nothing for dp' \
    <(pipebd-plan "$T" --schedules dp,dpu --set p2p.us=700 --format json)
ok "which says what if" grep -qxF 'what if: p2p.us = 700' \
    <(pipebd-plan "$T" --schedules dp,dpu --set p2p.us=700)
says "an edit of a plan without effect" 1 "--scale p2p.us=3: changes nothing in the result" \
    pipebd-plan "$T" --schedules dp --scale p2p.us=3
says "edits beside --check" 2 "--scale: no effect with --check" pipebd-plan "$T" --check "$T" \
    --scale p2p.us=3
says "a list of values to set" \
    2 '--set p2p.us: "1,2" is a list, expected one value; pipebd-sim --vary sweeps lists' \
    pipebd-plan "$T" --set p2p.us=1,2
says "a list of factors to plan for" 2 \
    '--scale p2p.us: "1,2" is a list, expected one factor; pipebd-sim --scale sweeps lists' \
    pipebd-plan "$T" --scale p2p.us=1,2
says "factors without effect" 1 "--scale p2p.us: its values change nothing in the result" \
    pipebd-sim "$T" --schedule dp --scale p2p.us=1,2
says "a factor twice" 2 "--scale p2p.us: 2 twice" pipebd-sim "$T" --schedule dpu --scale p2p.us=2,2
says "an axis without effect" 1 "--vary p2p.us: its values change nothing in the result" \
    pipebd-sim "$T" --schedule dp --vary p2p.us=1,2 --vary devices=1,2
says "1e308 set" 1 "blocks[0].teacher.us: 1e+308 is out of range, expected 0 to 140737488355" \
     pipebd-sim "$T" --schedule dp --set "blocks[0].teacher.us=1e308"
says "1e308 times" 1 "blocks[0].teacher.us: 1e+308 times" pipebd-sim "$T" --schedule dp \
    --scale "blocks[0].teacher.us=1e308"
says "1e308 of memory" 1 "memory_bytes: 1e+308 is out of range, expected 1 to 9007199254740992" \
     pipebd-sim "$T" --schedule dp --set memory_bytes=1e308
says "half a lane" 1 "loader.lanes: 1.5 is not a whole number" pipebd-sim "$T" --schedule dp \
    --set loader.lanes=1.5
says "no value" 2 '--set: "loader.lanes=", expected PATH=VALUE' pipebd-sim "$T" --schedule dp \
    --set loader.lanes=
says "not a number" 2 '--vary: "x" is not a number' pipebd-sim "$T" --schedule dp --vary devices=1,x
says "an empty value" 2 '--vary: "" is not a number' pipebd-sim "$T" --schedule dp \
    --vary devices=1,,2
says "a value twice" 2 "--vary devices: 1 twice" pipebd-sim "$T" --schedule dp --vary devices=1,2,1
says "an axis twice" 2 "--vary devices: given twice" pipebd-sim "$T" --schedule dp \
    --vary devices=1 --vary devices=2
says "too large a grid" 1 "a grid of more than 100000 points" \
    sh -c 'v=$(seq -s, 1 400); exec pipebd-sim "$1" --schedule dp \
    --vary "steps=$v" --vary "loader.batch_us=$v"' sh "$T"
says "what cannot be" 1 "ahd is not possible: block \"a\" is too large for device 0" pipebd-sim \
    "$T" --schedule ahd --memory 10
says "a sweep of nothing possible" 1 \
    "no point is possible; the first: block \"a\" is too large for device 0" \
    pipebd-sim "$T" --schedule ahd --vary memory_bytes=1,2
says "jitter without spread" 1 "no spread and no stalls in this trace" \
    pipebd-sim "$PIPEBD_ROOT/traces/nas-cifar10-a6000.json" --schedule dp --jitter 5
says "neither schedule nor plan" 2 "expected one of --schedule LIST and --plan PLAN" pipebd-sim "$T"
says "both" 2 "expected one of --schedule LIST and --plan PLAN" pipebd-sim "$T" --schedule dp \
    --plan x
says "no such schedule" 2 '--schedule: "xx" is not a schedule' pipebd-sim "$T" --schedule dp,xx
says "--jobs alone" 2 "--jobs: no effect without --vary" pipebd-sim "$T" --schedule dp --jobs 2
says "--seed alone" 2 "--seed: no effect without --jitter" pipebd-sim "$T" --schedule dp --seed 2
says "--cost with a plan" 2 "--cost: no effect with --plan" pipebd-sim "$T" \
    --plan "$WORK/plan.json" --cost paper
says "a timeline of two" 2 "--timeline: shows one run" pipebd-sim "$T" --schedule dp,ls \
    --timeline x.json
says "JSON of two" 2 "--format json: holds one run" pipebd-sim "$T" --schedule dp,ls --format json
says "a trace that is not there" 1 "nothere.json" pipebd-sim nothere.json --schedule dp
says "a plan that is none" 1 "small.json:2:" pipebd-sim "$T" --plan "$T"
says "an output that cannot be written" 1 "/nothere/x" pipebd-sim "$T" --schedule dp -o /nothere/x
done_testing
