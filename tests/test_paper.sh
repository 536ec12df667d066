#!/bin/bash
# `make paper`, reduced to one workload on one kind of device: the page and its tables are written,
# every number of the tables is what the commands of its row give, and every command is on the page.
. "$(dirname "$0")/tap.sh"
. "$(dirname "$0")/browser.sh"

cd "$WORK" || exit 1
paper() {
    PAPER_ROOT=$WORK PAPER_WORKLOADS="$1" PAPER_DEVICES="$2" PAPER_FIGURES="$3" \
        bash "$PIPEBD_ROOT/scripts/paper.sh"
}

ok "it runs" paper nas-cifar10 rtx-a6000 "original cores devices"
ok "and writes" sh -c 'cd paper-report && test -s index.html && test -s results.csv \
    && test -s breakdown.csv && test -s poster.csv'
if command -v "${PYTHON:-python3}" > /dev/null; then
    ok "every number is what its commands give" \
        "${PYTHON:-python3}" "$PIPEBD_ROOT/tests/paper_numbers.py" paper-report again
    sed '2s/,[0-9]*\.[0-9]*,1\.000000,/,1.5,1.000000,/' paper-report/results.csv > changed.csv
    mkdir changed && head -n 2 changed.csv > changed/results.csv
    head -n 1 paper-report/breakdown.csv > changed/breakdown.csv
    fails "one that is not would be told" \
        "${PYTHON:-python3}" "$PIPEBD_ROOT/tests/paper_numbers.py" changed again
else
    skip "every number is what its commands give" "no python"
fi
# The commands of index.csv: the tenth field is plain, the eleventh stands in quotes, last.
commands() {
    sed -n '2,$s/.*",\(pipebd-trace model [^,]*\),"\(pipebd-plan .*\)"$/\1\n\2/p' \
        paper-report/index.csv
}
on_the_page() {
    [ "$(commands | wc -l)" -eq 30 ] && commands | while read -r line; do
        grep -qF -- "$line" paper-report/index.html || { echo "$line"; exit 1; }
    done
}
ok "every command is on the page" on_the_page
beside() {
    awk -F, '$1 == "speedup" && $4 == "ahd" { found = $7 > 2 && $8 > 1 && ($8 / $7 - 1) * 100 - $9 < 0.01 && $9 - ($8 / $7 - 1) * 100 < 0.01 } END { exit !found }' paper-report/poster.csv
}
ok "the poster's figures stand beside ours" beside
ok "where the poster's most is has a section" grep -q '<h2[^>]*>Where is 7×?' \
    paper-report/index.html
ok "and its notes are on the page" grep -q 'imply different epochs of dp' paper-report/index.html

# What has no room is a result, not a failure.
mkdir tight && mv paper-report tight/nas
ok "a workload that is too large" paper vgg16-dsconv-imagenet rtx-2080-ti devices
ok "says so in the table" \
    grep -q 'devices,vgg16-dsconv-imagenet,rtx-2080-ti,2,256,8,,.*no schedule is possible' \
    paper-report/results.csv
if command -v "${PYTHON:-python3}" > /dev/null; then
    ok "and its numbers are what its commands give" \
        "${PYTHON:-python3}" "$PIPEBD_ROOT/tests/paper_numbers.py" paper-report again
fi
ok "and on the page" grep -q 'no room' paper-report/index.html
mv paper-report tight/vgg && mv tight/nas paper-report

# refused NAME TEXT SED: the index changed so is refused with TEXT.
refused() {
    sed "$3" paper-report/index.csv > bad.csv
    pipebd-plot paper bad.csv "${4:-$PIPEBD_ROOT/paper/poster.csv}" -o paper-report > .tap 2>&1
    tap_status=$?
    if [ $tap_status -eq 1 ] && [ "$(wc -l < .tap)" -eq 1 ] && grep -qF -- "$2" .tap; then
        tap_result yes "$1"
    else
        tap_result no "$1"
    fi
}
refused "another column" "bad.csv:1:1: expected the column workload as number 2" '1s/workload/work/'
refused "not a figure" 'bad.csv:2:1: "pie" is not a figure' '2s/main/pie/'
refused "not a number" 'bad.csv:2:1: "four" is not a number, at devices' '2s/,4,256/,four,256/'
refused "a file that is not there" "none.json: cannot open" \
    '2s#paper-report/runs/[^,]*\.json,""#none.json,""#'
refused "another command than the file's" "bad.csv:2:1: the command is not the one that" \
    '2s/--schedules dp/--candidates 2 --schedules dp/'
refused "nothing" "bad.csv:1:1: no rows" '2,$d'
sed '2s/2.37/0/' "$PIPEBD_ROOT/paper/poster.csv" > zero.csv
refused "a poster's figure of nothing" "zero.csv:2:1: 0, expected a value to compare with" '' \
    zero.csv
expect_status 2 "no folder" pipebd-plot paper paper-report/index.csv zero.csv
expect_status 2 "one file" pipebd-plot paper paper-report/index.csv -o paper-report
fails "a folder that is not there" pipebd-plot paper paper-report/index.csv \
    "$PIPEBD_ROOT/paper/poster.csv" -o nowhere

if browser_found; then
    cp paper-report/index.html page.html
    cp tight/vgg/index.html tight.html
    for name in page tight; do
        ok "$name.html fits 360 and 1200 pixels" fits $name.html
        ok "$name.html: no errors" quiet
    done
else
    skip "in a browser" "$browser_missing"
fi
done_testing
