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
pipebd-sim trace.json --schedule dpu,ahd --vary devices=1,2 --vary loader.lanes=1,2 --jitter 5 \
    --format csv > two.csv

# page INPUT...: the page on standard output, with pictures where gnuplot is; page_without: without
# gnuplot.
page() { pipebd-plot report "$@" -o page.html && cat page.html; }
page_without() {
    (PATH=/nothere "$PIPEBD_BIN/pipebd-plot" report "$@" -o page.html) && cat page.html
}

golden "a comparison" report-comparison.html page_without comparison.json
golden "a validation" report-validation.html page_without validation.json
golden "all of it" report-all.html page_without comparison.json validation.json predicted.json \
    measured.json one.csv two.csv

# Pictures: each drawn, in colours that a dark page may change.
ok "without gnuplot a line says so, once" sh -c '
    [ "$(grep -c "The figures are left out: gnuplot is not installed" page.html)" -eq 1 ] && ! grep -q "<svg" page.html'
if command -v gnuplot > /dev/null; then
    drawn() {
        page comparison.json validation.json predicted.json measured.json one.csv two.csv \
            > drawn.html
        [ "$(grep -o '<figure class="plot"' drawn.html | wc -l)" -ge 18 ] \
            && ! grep -q "figures are left out" drawn.html \
            && [ "$(grep -o '<figure' drawn.html | wc -l)" -eq "$(grep -o '</figure>' drawn.html \
            | wc -l)" ]
    }
    ok "with it there are pictures" drawn
    ok "for a telephone and for a desk" sh -c 'grep -q "<svg class=\"phone\"" drawn.html \
        && grep -q "<svg class=\"desk\"" drawn.html'
    ok "in the page's colours" \
        sh -c 'grep -q "var(--c882255,#882255)" drawn.html && ! grep -q "rgb(" drawn.html'
    ok "no name of an element twice" \
        sh -c '! grep -oE " id=.[A-Za-z0-9_]+" drawn.html | sort | uniq -d | grep .'
    ok "no bytes that are no text" sh -c '! LC_ALL=C grep -q "[$(printf "\001-\010")]" drawn.html'
    mkdir broken && printf '#!/bin/sh\necho "line 1: no such thing" >&2\nexit 1\n' \
        > broken/gnuplot && chmod +x broken/gnuplot
    ok "a gnuplot that fails makes a page without" \
        sh -c 'PATH=$PWD/broken:$PATH pipebd-plot report comparison.json -o failed.html \
        && grep -q "left out: gnuplot failed: no such thing" failed.html \
        && ! grep -q "<svg" failed.html && grep -q "<td>" failed.html'
else
    skip "pictures" "gnuplot is not installed"
fi

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

says "no comparison" 1 "predicted.json: expected a comparison or a validation too" report \
    predicted.json
says "two comparisons" 1 "comparison.json: a second comparison, expected one" report \
    comparison.json comparison.json
says "two validations" 1 "validation.json: a second validation, expected one" report \
    validation.json validation.json
says "five timelines" 1 "predicted.json: too many timelines, expected at most 4" \
    report comparison.json predicted.json predicted.json predicted.json predicted.json \
    predicted.json
says "a trace" 1 \
    "trace.json:2:13: expected a comparison, a validation, a timeline or a sweep (CSV), at format" \
    report trace.json
says "a missing file" 1 "none.json: cannot open" report none.json
says "no output" 2 "expected -o FILE.html" pipebd-plot report comparison.json
says "a picture" 2 "r.svg: a report is a page, expected a name that ends in .html" pipebd-plot \
    report comparison.json -o r.svg
ok "which leaves nothing" test ! -e r.svg
says "a script" 2 "--script: no effect on report" report comparison.json --script x.gp
says "a window" 2 "no effect on report" report comparison.json --from 1

# What a report has no use for is passed over.
ok "algorithms of a GPU" sh -c 'sed "s/\"provenance\": {/&\"algorithms\": [\"conv2d a: 3, workspace 0\", \"b\"], /" trace.json > card.json \
    && pipebd-plan card.json --format json > card-comparison.json \
    && jq -e ".provenance.algorithms == [\"conv2d a: 3, workspace 0\", \"b\"]" card-comparison.json && pipebd-plot report card-comparison.json -o card.html'
ok "and none where the trace has none" jq -e '.provenance | has("algorithms") | not' comparison.json

# ---- of one trace ---------------------------------------------------------------------

sed 's/0fe89791238f751b/1111111111111111/; s/small_it/other_it/' validation.json > other.json
sed 's/0fe89791238f751b/1111111111111111/' predicted.json > other-time.json
sed 's/0fe89791238f751b/0000000000000000/' predicted.json > untold.json
says "a validation of another trace" 1 'other.json: of the trace "other_it'"'"'s "odd"^2" (hash 1111111111111111), but comparison.json is of "small_it'"'"'s "odd"^2" (hash 0fe89791238f751b), expected files of one trace' \
    report other.json comparison.json
says "a timeline of another trace" 1 'other-time.json: of the trace' report comparison.json \
    predicted.json other-time.json
says "a timeline of another than the validation" 1 'other-time.json: of the trace' report \
    validation.json other-time.json
ok "a timeline that does not say" pipebd-plot report comparison.json validation.json untold.json \
    -o untold.html
sed '/trace_hash/d' comparison.json > silent.json
ok "a comparison that does not say" pipebd-plot report silent.json validation.json predicted.json \
    -o silent.html
says "then the validation's counts" 1 'other-time.json: of the trace "small_it'"'"'s "odd"^2" (hash 1111111111111111), but validation.json is of' \
    report silent.json validation.json other-time.json
printf 'a,b\n1,2\n' > bad.csv
says "not a sweep" 1 "bad.csv:1:1: not a sweep" report comparison.json bad.csv
# broken SED NAME TEXT: the comparison changed so is refused with TEXT.
broken() { sed "$1" comparison.json > broken.json; says "$2" 1 "$3" report broken.json; }
broken '0,/"epoch_s": [0-9.]*/s//"epoch_s": 0/' "an epoch of nothing" \
    "0 is no epoch, expected more than 0 s, at schedules[0].epoch_s"
broken 's/"schedule": "tr"/"schedule": "zz"/' "not a schedule" "not a schedule, expected dp, ls"
broken '0,/"rows": \[[^]]*\]/s//"rows": [8, 8, 8]/' "rows of other devices" "3 numbers, expected"
broken '0,/"rows": \[[^]]*\]/s//"rows": "all"/' "rows that are none" \
    "expected an array, found a string, at schedules[0].stages[0].rows"
broken 's/"op": "TEACHER"/"op": "SLEEP"/' "not an instruction" "not an instruction, expected"
broken 's/"lane": "compute"/"lane": "hall"/' "not a lane" "at step.spans[0].lane"
broken 's/"version": 1/"version": 9/' "another version" "broken.json:3:"
broken '0,/"teacher_us": [0-9.]*/s//"teacher_us": -1/' "a negative time" \
    "too small, expected at least 0"
ok "what is refused writes nothing" test ! -e refused.html

# Files of others, or from before some keys: less on the page, no failure.
echo '{"format": "pipebd-comparison", "version": 1, "trace": "t", "schedules": [{"schedule": "ahd", "epoch_s": 2}]}' > least.json
ok "the least comparison" sh -c 'pipebd-plot report least.json -o least.html \
    && grep -q "ahd is fastest: 2.000 s" least.html'
ok "the least validation" pipebd-plot report "$fixtures/validation.json" -o least-validation.html
echo '{"format": "pipebd-comparison", "version": 1, "trace": "t", "schedules": [{"schedule": "dp", "impossible": "x"}]}' > none.json
ok "no schedule is possible" pipebd-plot report none.json -o none.html

# ---- without dp -------------------------------------------------------------------------

# On 3 devices dp is not possible and the others are: their epochs are shown, as they have no
# speedup there.
ok "a possible point is shown where dp is not" sh -c 'grep -q "^3,dp,,.*no timing" one.csv \
    && pipebd-plot report comparison.json one.csv -o one.html \
    && grep -q "Epoch time (s) over devices" one.html \
    && grep -q "<td>3</td><td>-</td><td>0.0706</td><td>0.0531</td>" one.html && grep -q "is a point that is not possible\\. The file does not say" one.html'
grep -v ^3 one.csv > two-devices.csv
ok "else speedups" sh -c 'pipebd-plot report comparison.json two-devices.csv -o two.html \
    && grep -q "Speedup over DP (times DP) over devices" two.html'
grep -v "^3,ahd" one.csv > cut.csv
ok "a point may be missing" sh -c 'pipebd-plot report comparison.json cut.csv -o cut.html \
    && grep -q "not possible or not in the file" cut.html'
pipebd-plan trace.json --schedules ls,ahd --format json > nodp.json
ok "dp was not compared" sh -c 'pipebd-plot report nodp.json -o nodp.html \
    && grep -q "dp was not compared: speedup is over ls, the slowest of these" nodp.html \
    && { grep -q "Speedup of each schedule over ls" nodp.html || ! command -v gnuplot; } \
    && ! grep -q "Speedup is over dp" nodp.html'
sed '0,/{"schedule": "ls"/s//{"schedule": "dp", "impossible": "x"},\n    &/' nodp.json > noroom.json
ok "dp is not possible" sh -c 'pipebd-plot report noroom.json -o noroom.html \
    && grep -q "dp is not possible here: speedup is over ls" noroom.html'

# ---- warnings ---------------------------------------------------------------------------

ok "errors of a busy machine are marked" sh -c 'pipebd-plot report validation.json -o doubt.html \
    && [ "$(grep -c "uncertain: see why" doubt.html)" -eq 3 ]'
ok "those of a quiet one are not" sh -c 'sed "/\"doubt\"/d" validation.json > quiet.json \
    && pipebd-plot report quiet.json -o quiet.html && ! grep -q "uncertain: see" quiet.html'
ok "why predictions differ stands where both are" \
    sh -c 'pipebd-plot report comparison.json validation.json -o both.html \
    && grep -q "a pipeline fills once a run" both.html \
    && ! grep -q "a pipeline fills once a run" doubt.html'

# Whatever stands in a file is text: no element, attribute or style comes of it.
evil='<script>bad()<\/script><img src=x onerror=bad()>\\" onload=\\"bad()'
sed -e "s/\"trace\": \"[^,]*\",/\"trace\": \"$evil\",/" \
    -e "s/\"a\", \"b\"/\"$evil\", \"\\\\u202e]]>\"/" \
    -e "s/\"kind\": \"gpu\"/\"kind\": \"$evil\"/" \
    -e "s/\"command\": \"[^\"]*\"/\"command\": \"$evil\"/" comparison.json > evil.json
ok "evil.json is JSON" jq -e .trace evil.json
ok "names become text" \
    sh -c 'pipebd-plot report evil.json -o evil.html && grep -q "&lt;script&gt;" evil.html \
    && ! grep -qiE "<script|<img|[a-z]\" on|\" onload=\"" evil.html'
printf 'devices,schedule,epoch_s,speedup,why\n1,dp,1,1,\n2,dp,1,1,\n' \
    | sed '1s/devices/"<b>\xff"/' > bytes.csv
ok "bytes that are not UTF-8" sh -c 'pipebd-plot report comparison.json bytes.csv -o bytes.html \
    && grep -q "&lt;b&gt;�" bytes.html'
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
# Tables that have to be scrolled in 1000 pixels.
scrolled() {
    cat > scrolled.html << END
<body><iframe src="$1" style="width:1000px;height:800px"></iframe><p id=said></p><script>
onload = () => {
  const tables = [...document.querySelector('iframe').contentDocument.querySelectorAll('.scroll')];
  said.textContent = 'scrolled ' + tables.filter(e => e.scrollWidth > e.clientWidth).length + ' of ' + tables.length;
};
</script>
END
    headless --dump-dom "file://$WORK/scrolled.html" 2> .tap | grep -q "scrolled 0 of [1-9]"
}
ok "no table is cut at 1000 pixels" scrolled all.html
ok "a page that is too wide is told" grep -q 'width 360 needs 7[0-9][0-9] out [1-9]' widths.txt
ok "an error is told" grep -q CONSOLE browser.log

# A picture of one colour has next to nothing to store.
picture() {
    headless --window-size=1200,3000 --screenshot="$WORK/$1.png" "${@:2}" "file://$WORK/all.html" \
        2> .tap
    head -c 4 "$1.png" | grep -q PNG && [ "$(wc -c < "$1.png")" -gt 60000 ]
}
ok "a picture, light" picture light
ok "a picture, dark" picture dark --blink-settings=preferredColorScheme=0
ok "which are not the same" sh -c '! cmp -s light.png dark.png'
printed() {
    headless --print-to-pdf="$WORK/all.pdf" "file://$WORK/all.html" 2> .tap
    head -c 4 all.pdf | grep -q %PDF && [ "$(wc -c < all.pdf)" -gt 20000 ]
}
ok "on paper" printed
# Steps that take turns.
of_turns() {
    sed 's/"to_us": \([0-9.]*\), "steps": 1/"to_us": \1, "steps": 3/' comparison.json > turns.json
    pipebd-plot report turns.json -o turns.html \
        && grep -q ', 3 steps, which take turns, of [0-9.]* ms together' turns.html
}
ok "steps that take turns" of_turns

done_testing
