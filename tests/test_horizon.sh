#!/bin/bash
# Store, recompute or relay, as a user meets it: a trace with storage, --epochs, the answer in
# words, what-if, a model that is larger than the devices.
. "$(dirname "$0")/tap.sh"

python=${PYTHON:-python3}
cd "$WORK" || exit 1
"$python" - > small.json <<'EOF'
import json
def grid(one):
    return [{"row_bytes": b, "rows": r, "in_flight": q, "us": round(5 + b * r / one * q, 3)} for b in (1000, 100000) for r in (1, 64) for q in (1, 4)]
def timing(rows, scale):
    return {"batch": rows, "teacher_us": 200 + 12 * rows * scale, "forward_us": 100 + 4 * rows, "backward_us": 200 + 8 * rows, "update_us": 50}
print(json.dumps({
    "format": "pipebd-trace", "version": 2, "name": "stored", "provenance": {"kind": "modelled", "source": "by hand"},
    "workload": {"name": "w", "batch": 64, "samples": 6400, "epochs": 10}, "devices": [{"kind": "d", "count": 2}], "input_bytes": 50000,
    "blocks": [{"name": "b%d" % i, "output_bytes": 40000 - 5000 * i,
                "teacher": {"weight_bytes": 1000000}, "student": {"weight_bytes": 300000, "gradient_bytes": 300000, "state_bytes": 300000},
                "timings": [timing(rows, 2 + i % 3) for rows in (1, 32, 64)]} for i in range(6)],
    "p2p": [{"bytes": b, "us": u} for b, u in ((0, 5), (5000000, 700))],
    "allreduce": [{"devices": 2, "bytes": b, "us": u} for b, u in ((0, 10), (1000000, 200))],
    "storage": [{"name": "host", "kind": "memory", "size_bytes": 8000000000, "read": grid(8000), "write": grid(8000)},
                {"name": "disk", "kind": "disk", "size_bytes": 1000000000000, "read": grid(900), "write": grid(900)}]}))
EOF

plan() { pipebd-plan small.json --sensitivity no "$@"; }
plan > table.txt
ok "both are compared where there are tiers" \
    sh -c 'grep -q "^sequential " table.txt && grep -q "^store " table.txt'
ok "store, recompute or relay" grep -qE "^store: boundar(y|ies) .* in host \(.*; pays from epoch [0-9]+ on; at 10 epochs [0-9.]+ times as fast as relaying \(.*; below .* GB/s of host relaying wins" table.txt
ok "all four totals" grep \
    -qE "^  10 epochs: store .*, relaying .*, computing all again .*, sequential " table.txt
plan --schedules dp,ahd > two.txt
ok "but not where others are asked for" \
    sh -c 'grep -q "^ahd " two.txt && ! grep -qE "^(store|sequential) " two.txt'
plan --epochs 1 > one.txt
ok "one epoch: storing never pays" sh -c 'grep -q "^sequential " one.txt \
    && grep -q "<- fastest" one.txt && ! grep -q "^store .*<- fastest" one.txt \
    && grep -q "^store: .*; never pays; at 1 epoch" one.txt'
"$python" -c 'import json
t = json.load(open("small.json")); del t["storage"]; json.dump(t, open("without.json", "w"))'
pipebd-plan without.json --schedules dp,store > none.txt
ok "without storage" grep -q '^store  *not possible: the trace has no "storage"' none.txt

pipebd-sim small.json --schedule store,sequential,ahd --vary epochs=1,2,5,10 --format csv \
    > epochs.csv

# A plan that is written is priced as it was compared, and has to be for as many epochs.
plan -o best.json
ok "the plan says what it stores" sh -c 'grep -q "\"schedule\": \"store\"" best.json \
    && grep -q "\"stored\": \[{\"boundary\"" best.json'
plan --format json > compared.json
pipebd-sim small.json --plan best.json --format json > priced.json
ok "priced as compared" "$python" -c 'import json
a = {r["schedule"]: r for r in json.load(open("compared.json"))["schedules"]}["store"]
b = json.load(open("priced.json"))
assert a["epoch_s"] == b["epoch_s"], (a["epoch_s"], b["epoch_s"])
assert a["devices"][0]["storage_us"] == b["devices"][0]["storage_us"]
s = json.load(open("compared.json"))
assert s["speedup_over"] == "dp" and s["epochs"] == 10
x = s["store"]
assert abs(x["store_s"] - 10 * a["epoch_s"]) < 1e-6, x
assert x["relay_s"] > x["store_s"] and x["pays_from_epoch"] >= 2, x
assert sum(t["bytes"] for t in x["tiers"]) > 0 and x["relaying_wins_below_bytes_per_s"] > 0'
pipebd-sim small.json --plan best.json --epochs 5 > five.txt 2>&1
ok "for other epochs it is refused" grep \
    -q "the plan is for 10 epochs, expected 5 (--epochs)" five.txt
pipebd-plan small.json --check best.json > check.txt 2>&1
ok "--check says what each phase does" sh -c 'grep -q "^phase  blocks, devices, rows" check.txt \
    && grep -qE "^bottleneck: device [01], .* of work, the mean of all epochs" check.txt \
    && grep -q "the planner.s store: .*; this plan is the same" check.txt \
    && grep -qE "^memory: .* on device [01], the fullest; .* GiB in host" check.txt'
pipebd-plan small.json --check best.json --format json > check.json
pipebd-plan small.json --check best.json --format csv > check.csv
ok "as JSON and CSV, and below the epoch there is a bound" "$python" -c 'import csv, json
x, p = json.load(open("check.json")), json.load(open("best.json"))
assert 0 < x["bound_s"] <= x["planner_epoch_s"] <= x["epoch_s"] * 1.00006, x
first = [f for f in x["phases"] if not f["later"]]
lines = [line for line in open("check.csv") if line[0] != "#"]
assert len(x["phases"]) == len(list(csv.DictReader(lines)))
kept = {s["boundary"] for s in p["stored"]}
sizes = [50000] + [40000 - 5000 * i for i in range(6)]
assert sum(f["stored_bytes"] for f in first) == 64 * sum(sizes[k] for k in kept)
assert x["bottleneck_us"] * 1e-6 * 100 <= x["epoch_s"]'
"$python" -c 'import json
t = json.load(open("small.json"))
for name, share in (("half.json", 0.5), ("none.json", 0)):
    t["stored_share"] = share
    json.dump(t, open(name, "w"))
p = json.load(open("best.json"))
p["stages"][0]["rows"][0] -= 1
json.dump(p, open("rows.json", "w"))'
pipebd-plan half.json --check best.json --format json > half.out
pipebd-sim small.json --plan best.json --set stored_share=0.5 --format json > half-set.out
ok "rows stored in half the bytes, in a trace or by --set" "$python" -c 'import json
a, b = json.load(open("check.json")), json.load(open("half.out"))
for x, y in zip(a["phases"], b["phases"]):
    for key in ("fetched_bytes", "stored_bytes"):
        assert x[key] == 2 * y[key]
assert b["epoch_s"] == json.load(open("half-set.out"))["epoch_s"] <= a["epoch_s"]'
pipebd-sim none.json --schedule store > none.out 2>&1
ok "no bytes at all are refused" \
    grep -q "none.json:.*expected above 0, and at most 1, at stored_share" none.out
pipebd-plan small.json --check rows.json > rows.txt 2>&1
ok "rows that do not cover the batch are refused" \
    grep -q "rows.json.*rows sum to 63, expected the batch" rows.txt
ok "a timeline has requests" sh -c 'pipebd-sim small.json --plan best.json --timeline line.json \
    --timeline-steps 8 > /dev/null && grep -q "\"name\": \"STORE boundary" line.json \
    && grep -q "FETCH boundary" line.json && grep -q "\"name\": \"storage" line.json'
if command -v gnuplot > /dev/null; then
    ok "which is drawn" \
        sh -c 'pipebd-plot gantt line.json --script gantt.gp && grep -q storage gantt.gp'
    ok "breakdown and memory are drawn" sh -c 'pipebd-plot breakdown priced.json \
        --script - > /dev/null && pipebd-plot memory priced.json --script - > /dev/null'
    ok "and the report" \
        sh -c 'pipebd-plot report compared.json line.json epochs.csv -o report.html \
        && grep -q "Storing pays from epoch" report.html && grep -q "s-store" report.html'
    later=$(jq '.plan.later | length' compared.json)
    ok "which has the stages of later epochs, too" sh -c "[ $later -gt 0 ] \
        && sed -n '/In later epochs/,/<.ul>/p' report.html | grep -c '<li>' | grep -qx $later"
fi

# ---- what if ----------------------------------------------------------------------------------

sim() { pipebd-sim small.json "$@" --format csv; }
ok "over epochs" "$python" -c 'import csv
rows = [r for r in csv.DictReader(l for l in open("epochs.csv") if not l.startswith("#"))]
store = [float(r["epoch_s"]) for r in rows if r["schedule"] == "store" and r["epoch_s"]]
relay = {r["epoch_s"] for r in rows if r["schedule"] == "ahd"}
assert len(relay) == 1 and store == sorted(store, reverse=True) and len(store) >= 3, (relay, store)'
sim --schedule store --scale storage[0].read.us=0.5,2 > read.csv
ok "over bandwidth" sh -c '[ "$(grep -c "^[0-9.]*,store" read.csv)" = 2 ]'
sim --schedule store --scale storage[host].read.us=0.5,2 > named.csv
ok "by the name of a tier" \
    sh -c 'cut -d, -f2- read.csv > a; cut -d, -f2- named.csv > b; grep -v "^#" \
    a > a2; grep -v "^#" b > b2; tail -n +2 a2 > a; tail -n +2 b2 > b; cmp a b'
for key in network_us part_us; do
    sim --schedule sequential --vary $key=1000,2000,3000 > $key.csv
    ok "over $key" "$python" -c 'import csv, sys
lines = [line for line in open(sys.argv[1]) if not line.startswith("#")]
times = [float(row["epoch_s"]) for row in csv.DictReader(lines)]
assert len(times) == 3 and times[0] < times[1] < times[2], times
assert abs(times[2] - 2 * times[1] + times[0]) < 1e-6, times' $key.csv
done
fails "a tier that is not there" pipebd-sim small.json --schedule store \
    --set storage[2].size_bytes=5
fails "a number that is not there" pipebd-sim small.json --schedule store --set storage[0].speed=5
ok "no room" sh -c 'pipebd-plan small.json --schedules dp,store --sensitivity no \
    --set storage[0].size_bytes=1 --set storage[1].size_bytes=1 > room.txt \
    && grep -q "^store  *not possible: too large for storage \"host\" of machine 0: needs" room.txt'

if command -v gnuplot > /dev/null; then
    ok "the horizon is drawn" pipebd-plot horizon epochs.csv -o horizon.svg
    ok "with the epochs at which another schedule becomes the fastest" sh -c 'pipebd-plot horizon \
        epochs.csv --script horizon.gp && grep -q "set label .1\..* point pt 6" horizon.gp'
    fails "of another sweep" pipebd-plot horizon read.csv -o other.svg
fi

# ---- a model that is larger than the devices ----------------------------------------------------

ok "a 70B transformer" "$python" "$PIPEBD_ROOT/traces/derive_transformer.py" large.json
pipebd-plan large.json --sensitivity no > large.txt
ok "nothing else is possible" sh -c '[ "$(grep -c "not possible: " large.txt)" = 6 ]'
ok "sequential is the baseline" sh -c 'grep -q "over sequential" large.txt \
    && grep -qE "^sequential .* 1\.00 " large.txt && grep -q "relaying is not possible" large.txt'
ok "stages take turns, and their boundaries fit" sh -c 'grep -q "stages more, in turn" large.txt \
    && grep -qE "^store: boundaries .* TiB at a time" large.txt'
pipebd-plan large.json --schedules sequential,store --sensitivity no -o turns.json > /dev/null \
    && pipebd-sim large.json --plan turns.json > turns.txt
ok "the speedup is over sequential, too, where it was not asked for" grep \
    -q "times as fast as sequential" turns.txt
ok "weights come and go" \
    sh -c 'grep -q "\"turns\": true" turns.json && grep -q "\"home\": " turns.json'
done_testing
