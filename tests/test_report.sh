#!/bin/bash
# pipebd-plot report: the page, byte for byte; what it refuses; that names are text and nothing
# else; and, in headless Chromium, that it fits a telephone and a desk and draws.
. "$(dirname "$0")/tap.sh"
. "$(dirname "$0")/browser.sh"

fixtures=$PIPEBD_ROOT/tests/fixtures/plots
cd "$WORK" || exit 1
cp "$fixtures/small.json" trace.json
cp "$fixtures/validation-full.json" validation.json

pipebd-plan trace.json --format json > comparison.json
pipebd-sim trace.json --schedule ahd --steps 12 --timeline predicted.json > /dev/null
sed 's/"predicted"/"measured"/' predicted.json > measured.json
pipebd-sim trace.json --schedule dp,dpu,ahd --vary devices=1,2,3 --format csv > one.csv
pipebd-sim trace.json --schedule dpu,ahd --vary devices=1,2 --vary loader.lanes=1,2 --jitter 5 --format csv > two.csv

# page FILE INPUT...: the page on standard output.
page() { pipebd-plot report "$@" -o page.html && cat page.html; }

golden "a comparison" report-comparison.html page comparison.json
golden "a validation" report-validation.html page validation.json
golden "all of it" report-all.html page comparison.json validation.json predicted.json measured.json one.csv two.csv

says() {
    says_name=$1 says_status=$2 says_text=$3; shift 3
    "$@" > says.out 2> says.err < /dev/null
    tap_status=$?
    cat says.out says.err > .tap
    if [ $tap_status -eq "$says_status" ] && [ ! -s says.out ] && [ "$(wc -l < says.err)" -eq 1 ] \
        && grep -qF -e "$says_text" says.err
    then tap_result yes "$says_name"; else tap_result no "$says_name"; fi
}
report() { pipebd-plot report "$@" -o refused.html; }

says "no comparison" 1 "predicted.json: expected a comparison or a validation too" report predicted.json
says "two comparisons" 1 "comparison.json: a second comparison, expected one" report comparison.json comparison.json
says "two validations" 1 "validation.json: a second validation, expected one" report validation.json validation.json
says "five timelines" 1 "predicted.json: too many timelines, expected at most 4" \
    report comparison.json predicted.json predicted.json predicted.json predicted.json predicted.json
says "a trace" 1 "trace.json:2:13: expected a comparison, a validation, a timeline or a sweep (CSV), at format" report trace.json
says "a missing file" 1 "none.json: cannot open" report none.json
says "no output" 2 "expected -o FILE.html" pipebd-plot report comparison.json
says "a script" 2 "--script: no effect on report" report comparison.json --script x.gp
says "a window" 2 "no effect on report" report comparison.json --from 1
printf 'a,b\n1,2\n' > bad.csv
says "not a sweep" 1 "bad.csv:1:1: not a sweep" report comparison.json bad.csv
# broken SED NAME TEXT: the comparison changed so is refused with TEXT.
broken() { sed "$1" comparison.json > broken.json; says "$2" 1 "$3" report broken.json; }
broken '0,/"epoch_s": [0-9.]*/s//"epoch_s": 0/' "an epoch of nothing" "0 is no epoch, expected more than 0 s, at schedules[0].epoch_s"
broken 's/"schedule": "tr"/"schedule": "zz"/' "not a schedule" "not a schedule, expected dp, ls"
broken '0,/"rows": \[[^]]*\]/s//"rows": [8, 8, 8]/' "rows of other devices" "3 numbers, expected"
broken '0,/"rows": \[[^]]*\]/s//"rows": "all"/' "rows that are none" "expected an array, found a string, at schedules[0].stages[0].rows"
broken 's/"op": "TEACHER"/"op": "SLEEP"/' "not an instruction" "not an instruction, expected"
broken 's/"lane": "compute"/"lane": "hall"/' "not a lane" "at step.spans[0].lane"
broken 's/"version": 1/"version": 9/' "another version" "broken.json:3:"
broken '0,/"teacher_us": [0-9.]*/s//"teacher_us": -1/' "a negative time" "too small, expected at least 0"
ok "what is refused writes nothing" test ! -e refused.html

# Files of others, or from before some keys: less on the page, no failure.
echo '{"format": "pipebd-comparison", "version": 1, "trace": "t", "schedules": [{"schedule": "ahd", "epoch_s": 2}]}' > least.json
ok "the least comparison" sh -c 'pipebd-plot report least.json -o least.html && grep -q "ahd is fastest: 2.000 s" least.html'
ok "the least validation" pipebd-plot report "$fixtures/validation.json" -o least-validation.html
echo '{"format": "pipebd-comparison", "version": 1, "trace": "t", "schedules": [{"schedule": "dp", "impossible": "x"}]}' > none.json
ok "no schedule is possible" pipebd-plot report none.json -o none.html

# Whatever stands in a file is text: no element, attribute or style comes of it.
evil='<script>bad()<\/script><img src=x onerror=bad()>\\" onload=\\"bad()'
sed -e "s/\"trace\": \"[^,]*\",/\"trace\": \"$evil\",/" -e "s/\"a\", \"b\"/\"$evil\", \"\\\\u202e]]>\"/" \
    -e "s/\"kind\": \"gpu\"/\"kind\": \"$evil\"/" -e "s/\"command\": \"[^\"]*\"/\"command\": \"$evil\"/" comparison.json > evil.json
ok "evil.json is JSON" jq -e .trace evil.json
ok "names become text" sh -c 'pipebd-plot report evil.json -o evil.html && grep -q "&lt;script&gt;" evil.html \
    && ! grep -qiE "<script|<img|[a-z]\" on|\" onload=\"" evil.html'
printf 'devices,schedule,epoch_s,speedup,why\n1,dp,1,1,\n2,dp,1,1,\n' | sed '1s/devices/"<b>\xff"/' > bytes.csv
ok "bytes that are not UTF-8" sh -c 'pipebd-plot report comparison.json bytes.csv -o bytes.html && grep -q "&lt;b&gt;�" bytes.html'
ok "nothing is fetched" sh -c 'page() { grep -oE "(src|href)=\"[^\"#]*\"|url\(|@import" page.html | grep -v "href=\"data:,\""; }; ! page'

# ---- in a browser ---------------------------------------------------------------------

if ! browser_found; then
    skip "in a browser" "$browser_missing"
    done_testing
fi

page comparison.json validation.json predicted.json measured.json one.csv two.csv > all.html
echo '<meta name=viewport content="width=device-width"><body><div style="width:700px">wide</div><script>nothing()</script>' > wide.html
for name in page all evil least none; do
    ok "$name.html fits 360 and 1200 pixels" fits $name.html
    ok "$name.html: no errors" quiet
done
fails "one that does not would be seen" fits wide.html
ok "a page that is too wide is told" grep -q 'width 360 needs 7[0-9][0-9] out [1-9]' widths.txt
ok "an error is told" grep -q CONSOLE browser.log

# A picture of one colour has next to nothing to store.
picture() {
    headless --window-size=1200,3000 --screenshot="$WORK/$1.png" "${@:2}" "file://$WORK/all.html" 2> .tap
    head -c 4 "$1.png" | grep -q PNG && [ "$(wc -c < "$1.png")" -gt 60000 ]
}
ok "a picture, light" picture light
ok "a picture, dark" picture dark --blink-settings=preferredColorScheme=0
ok "which are not the same" sh -c '! cmp -s light.png dark.png'
printed() { headless --print-to-pdf="$WORK/all.pdf" "file://$WORK/all.html" 2> .tap; head -c 4 all.pdf | grep -q %PDF && [ "$(wc -c < all.pdf)" -gt 20000 ]; }
ok "on paper" printed
done_testing
