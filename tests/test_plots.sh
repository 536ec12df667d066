# pipebd-plot: the script of every kind, what gnuplot makes of it, and refusals.
. "$(dirname "$0")/tap.sh"

T=$PIPEBD_ROOT/tests/fixtures/plots/small.json
cd "$WORK" || exit 1

pipebd-plan "$T" --format json > comparison.json
pipebd-plan "$T" --format json --memory 30000 > tight.json
pipebd-sim "$T" --schedule dp --format json > dp.json
pipebd-sim "$T" --schedule ahd --format json --steps 12 --timeline timeline.json > ahd.json
pipebd-sim "$T" --schedule dp,dpu,ahd --vary devices=1,2,3 --format csv > one.csv
pipebd-sim "$T" --schedule dp,ahd --vary devices=1,2 --vary loader.lanes=1,2 --jitter 5 \
    --format csv > two.csv

says() {
    says_name=$1 says_status=$2 says_text=$3; shift 3
    "$@" > says.out 2> says.err < /dev/null
    tap_status=$?
    cat says.out says.err > .tap
    if [ $tap_status -eq "$says_status" ] && [ ! -s says.out ] && [ "$(wc -l < says.err)" -eq 1 ] \
        && grep -qF -e "$says_text" says.err
    then tap_result yes "$says_name"; else tap_result no "$says_name"; fi
}

# kind NAME KIND ARGUMENT...: the script is as kept, and gnuplot draws it in each form.
kind() {
    kind_name=$1; shift
    golden "$kind_name: the script" "plot-$kind_name.gp" \
        sh -c 'pipebd-plot "$@" -o x.svg --script script.gp && cat script.gp' sh "$@"
    if ! command -v gnuplot > /dev/null; then
        skip "$kind_name: drawn" "gnuplot is not installed"
        return
    fi
    ok "$kind_name: SVG" sh -c 'pipebd-plot "$@" -o x.svg && grep -q "<svg" x.svg' sh "$@"
    ok "$kind_name: PNG" sh -c 'pipebd-plot "$@" -o x.png && head -c 4 x.png | grep -q PNG' sh "$@"
    ok "$kind_name: PDF" sh -c 'pipebd-plot "$@" -o x.pdf && head -c 4 x.pdf | grep -q %PDF' sh "$@"
    ok "$kind_name: nothing is left behind" sh -c '! ls *.part'
    rm -f x.svg x.png x.pdf
}

ok "help" pipebd-plot --help
kind speedup speedup comparison.json tight.json
kind breakdown breakdown dp.json ahd.json
says_what_if() {
    pipebd-sim "$T" --schedule ahd --scale blocks.student.us=2 --format json > otherwise.json
    pipebd-plot breakdown otherwise.json --script otherwise.gp \
        && grep -q 'ahd, what if, epoch' otherwise.gp
}
ok "a what-if says that it is one" says_what_if
kind memory memory dp.json ahd.json
kind gantt gantt timeline.json
kind gantt-window gantt timeline.json --from 0 --to 2000
sed 's/"predicted"/"measured"/' timeline.json > measured.json
kind gantt-two gantt timeline.json measured.json --from 0 --to 2000
sed 's/"prefetch": 1/"prefetch": 2/' "$T" > ahead.json
pipebd-sim ahead.json --schedule ahd --set loader.sample_us=300 --steps 12 --timeline lanes.json \
    > /dev/null
ok "a loader's lane is not taken for a device" \
    sh -c 'pipebd-plot gantt lanes.json --script lanes.gp \
    && grep -q "loader lane 0" lanes.gp && ! grep -q "loader 0" lanes.gp'
kind validation validation "$PIPEBD_ROOT/tests/fixtures/plots/validation.json"
kind progress progress "$PIPEBD_ROOT/tests/fixtures/log/good/resumed.jsonl"
kind sweep sweep one.csv --metric speedup
kind sweep-two sweep two.csv
sweep_says() { pipebd-plot sweep one.csv --metric "$1" --script - | grep -q "$2"; }
ok "where dp is not possible there is no speedup" sweep_says speedup \
    "where dp is not possible there is no speedup"
fails "but an epoch" sweep_says epoch_s "where dp is not possible"

if command -v gnuplot > /dev/null; then
    ok "names are shown as they are" sh -c 'pipebd-plot speedup comparison.json -o x.svg \
        && grep -qF "small_it&apos;s &quot;odd&quot;^2" x.svg \
        || grep -qF "small_it'"'"'s \"odd\"^2" x.svg'
    # A name that a careless script would run.
    sed 's/"small_[^,]*",/"`touch run.txt`$(touch run.txt)\\\\",/' comparison.json > evil.json
    ok "names are never run" sh -c 'pipebd-plot speedup evil.json -o x.svg && [ ! -e run.txt ]'
fi
# Names that gnuplot would take for something else: in a title, of a group, in a key, of an axis.
if command -v gnuplot > /dev/null && command -v "${PYTHON:-python3}" > /dev/null; then
    hard_names() { "${PYTHON:-python3}" "$PIPEBD_ROOT/tests/hard_names.py" "$@"; }
    cp "$PIPEBD_ROOT/tests/fixtures/log/good/resumed.jsonl" log.jsonl
    count=$(hard_names)
    last=$((count - 1))      # has all that is odd
    is_there() {
        hard_names $1 hard.svg \
            || { echo "name $1 is not as it is"; grep "<text>" hard.svg; return 1; }
    }
    groups() {
        pipebd-plot speedup $(seq -f comparison-%g 0 $last) -o hard.svg \
            && for ((i = 0; i < count; i++)); do
            is_there $i || return 1
        done
    }
    shown_in() { # KIND FILES NUMBER...: these names
        local kind=$1 files=$2 i
        shift 2
        for i; do pipebd-plot $kind $files-$i -o hard.svg && is_there $i || return 1; done
        pipebd-plot $kind $files-$last -o hard.png && pipebd-plot $kind $files-$last -o hard.pdf
    }
    ok "hard names: of groups of bars" groups
    ok "hard names: in a title" shown_in gantt timeline $(seq 0 $last)
    ok "hard names: in a key" shown_in progress log 4 $last
    ok "hard names: of an axis" shown_in sweep sweep 4 $last
    ok "none of them was run" test ! -e run.txt
    sed -E 's/"losses": \[[^]]*\]/"losses": [0, 0]/' log.jsonl > zero.jsonl
    ok "losses of 0" \
        sh -c 'pipebd-plot progress zero.jsonl -o zero.svg && grep -q "no loss above 0" zero.svg'
    # The unit stands left of five digits, within the picture.
    awk -F, -v OFS=, 'NR > 1 && $4 != "" { $4 = $4 * 400000 } { print }' two.csv > five.csv
    unit() {
        pipebd-plot sweep five.csv -o five.svg && grep -q '<text> *[1-9]0000</text>' five.svg \
            && [ "$(grep -B 1 "<text>s</text>" five.svg \
            | sed -n 's/.*translate(\([0-9]*\).*/\1/p')" -ge 8 ]
    }
    ok "the unit of y at five digits" unit
else
    skip "hard names" "no gnuplot or python"
fi
says "no gnuplot" 1 "gnuplot is not installed: install it (package gnuplot-nox)" \
    env PATH=/nothere "$PIPEBD_BIN/pipebd-plot" speedup comparison.json -o x.svg
says "a folder that is not there" 1 "x.svg" pipebd-plot speedup comparison.json -o /nothere/x.svg
says "another ending" 2 "x.jpg: expected a name that ends in .svg, .png or .pdf" pipebd-plot \
    speedup comparison.json -o x.jpg
says "another ending of a script's picture" 2 "x.jpg: expected a name" pipebd-plot speedup \
    comparison.json -o x.jpg --script x.gp
ok "a script alone draws KIND.svg" sh -c 'pipebd-plot speedup comparison.json --script alone.gp \
    && grep -qx "set output .speedup.svg." alone.gp \
    && grep -q "terminal svg" alone.gp && [ ! -e speedup.svg ]'
ok "as text it goes to standard output" \
    sh -c 'pipebd-plot speedup comparison.json --script - | cmp - alone.gp'
says "no output" 2 "expected -o FILE" pipebd-plot speedup comparison.json
says "no such kind" 2 '"pie" is not a kind' pipebd-plot pie comparison.json -o x.svg
says "no input" 2 "expected KIND INPUT" pipebd-plot speedup -o x.svg
says "two logs" 2 "progress: draws one INPUT" pipebd-plot progress one.csv two.csv -o x.svg
says "a comparison as a log" 1 \
    'comparison.json:2:13: is a "pipebd-comparison", expected a "pipebd-log"' \
    pipebd-plot progress comparison.json -o x.svg
tr -d '\n' < comparison.json > line.json
says "a comparison in one line as a log" 1 \
    'line.json:1:14: is a "pipebd-comparison", expected a "pipebd-log"' \
    pipebd-plot progress line.json -o x.svg
printf '[\n1]\n' > array.json
says "other JSON as a log" 1 "array.json:1:1: no log of a run, expected a JSON object a line" \
    pipebd-plot progress array.json -o x.svg
says "a table as a log" 1 "; a log of a run has a JSON object a line" pipebd-plot progress one.csv \
    -o x.svg
says "two sweeps" 2 "sweep: draws one INPUT" pipebd-plot sweep one.csv two.csv -o x.svg
says "nine timelines" 1 "9 timelines, expected at most 8" pipebd-plot gantt timeline.json \
    timeline.json timeline.json \
    timeline.json timeline.json timeline.json timeline.json timeline.json timeline.json -o x.svg
says "a comparison as a validation" 1 'comparison.json:2:13: ' pipebd-plot validation \
    comparison.json -o x.svg
sed 's/"predicted_epoch_s": 2.0/"predicted_epoch_s": 0/' \
    "$PIPEBD_ROOT/tests/fixtures/plots/validation.json" > zero.json
says "a prediction of nothing" 1 'zero.json:4:45: 0 is no epoch' pipebd-plot validation zero.json \
    -o x.svg
says "--metric elsewhere" 2 "--metric: no effect on gantt" pipebd-plot gantt timeline.json \
    --metric speedup -o x.svg
says "--from elsewhere" 2 "no effect on sweep" pipebd-plot sweep one.csv --from 1 -o x.svg
says "an empty window" 2 "--to: 5 is not after --from, 7" pipebd-plot gantt timeline.json --from 7 \
    --to 5 -o x.svg
says "a window of nothing" 1 "nothing happens" pipebd-plot gantt timeline.json --from 1e9 -o x.svg
pipebd-plan "$T" --schedules ls,ahd --format json > nodp.json
ok "dp was not compared" sh -c 'pipebd-plot speedup nodp.json --script nodp.gp \
    && grep -q "Speedup over ls" nodp.gp && grep -q "times ls" nodp.gp'
pipebd-plan "$T" --schedules ahd --format json > alone.json
says "nothing to compare with" \
    1 "dp was not compared, so there is no speedup: expected a comparison with dp" pipebd-plot \
    speedup alone.json -o x.svg
sed '0,/{"schedule": "ls"/s//{"schedule": "dp", "impossible": "x"},\n    &/' nodp.json > noroom.json
ok "dp is not possible" pipebd-plot speedup noroom.json --script noroom.gp
says "another format" 1 "comparison.json:2:" pipebd-plot breakdown comparison.json -o x.svg
says "a comparison as a timeline" 1 \
    'comparison.json:2:13: is a "pipebd-comparison", expected a "pipebd-timeline"' \
    pipebd-plot gantt comparison.json -o x.svg
says "other JSON as a timeline" \
    1 "array.json:1:1: no timeline, expected what pipebd-sim --timeline" pipebd-plot gantt \
    array.json -o x.svg
says "JSON as CSV" 1 "not a sweep" pipebd-plot sweep \
    "$PIPEBD_ROOT/tests/fixtures/plots/header.csv" -o x.svg
printf 'devices,schedule,epoch_s,why\n1,dp\n' > bad.csv
says "a short row" 1 "bad.csv:2:1: 2 fields, expected 4" pipebd-plot sweep bad.csv -o x.svg
printf 'devices,schedule,epoch_s,why\n1,dp,"1\n' > bad.csv
says "an open quote" 1 "bad.csv:3:1: the text ends within quotes" pipebd-plot sweep bad.csv -o x.svg
printf 'devices,schedule,epoch_s,why\n1,dp,abc,\n' > bad.csv
says "not a number" 1 'bad.csv:2:1: "abc" is not a number, at epoch_s' pipebd-plot sweep bad.csv \
    -o x.svg
printf 'devices,schedule,epoch_s,why\n1,zz,1,\n' > bad.csv
says "not a schedule" 1 'bad.csv:2:1: "zz" is not a schedule' pipebd-plot sweep bad.csv -o x.svg
printf 'a,b,c,schedule,epoch_s,why\n1,2,3,dp,1,\n' > bad.csv
says "three axes" 1 "3 varied paths, expected one or two" pipebd-plot sweep bad.csv -o x.svg
: > bad.csv
says "an empty file" 1 "bad.csv:1:1: empty, expected a header" pipebd-plot sweep bad.csv -o x.svg
done_testing
