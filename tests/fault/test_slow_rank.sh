#!/usr/bin/env bash
# A rank that is slow (its reads take longer) makes all others wait; it is named with its host in the line of progress, at the
# end, in metrics.jsonl, ranks.json and the report. run.straggler: 0 names nobody; one rank alone has nobody to name.
# A machine may be busy enough to slow another rank down as much: then once more, with a longer sleep.
# Run: label full
# Run: timeout 200
# Run: cost 6
# Planted and caught: time in collectives not taken off a rank's own (nobody is named); the times of another rank; ranks.json not
# read for the report.
# shellcheck source=tests/fault/tiny.sh
source "$FX_TESTS_DIR/fault/tiny.sh"
# shellcheck source=tests/fault/ranks.sh
source "$FX_TESTS_DIR/fault/ranks.sh"
train=(train tiny.yaml --set train.steps=8 --set run.log_every=4 --set checkpoint.every=0 --set data.prefetch=-1)
host=$(hostname)

# `slowed MILLISECONDS OPTIONS...`: a run of four ranks, of which rank 2 reads so slowly.
slowed() {
    rm -rf run
    faulty_job 4 2 "read pack/shard- 1 SLOW$1" "${train[@]}" --run run "${@:2}"
    expect 0 "${faulty[@]}"
    [ "$(wc -l <calls)" -eq 1 ] || fail "no read was slowed"
}

is_named() {
    grep -qE "^step 4/8 .*  rank 2 on $host takes [0-9.]+ x the median$" out &&
        grep -qE "^step 8/8 .* done  rank 2 on $host takes [0-9.]+ x the median$" out &&
        grep -qE "^rank 2 on $host took [0-9.]+ s of its own a step, .* of 4 ranks" out && /usr/bin/python3 - "$host" <<'PY'
import html, json, re, sys
rows = [json.loads(line) for line in open("run/metrics.jsonl")]
assert all(0 < r["own_median"] <= r["own_most"] <= 1.01 * r["seconds"] + 0.1 for r in rows[2:]), rows
assert sum(r["slowest_rank"] == 2 for r in rows[2:]) >= 4, rows
told = json.load(open("run/ranks.json"))
assert told["steps"] == 6 and [r["rank"] for r in told["ranks"]] == [0, 1, 2, 3] and {r["host"] for r in told["ranks"]} == {sys.argv[1]}
slow = told["ranks"][2]
assert slow["slowest"] > 0.5 and slow["worst_s"] >= slow["mean_s"] == max(r["mean_s"] for r in told["ranks"]) > 1.2 * told["median_s"]
page = open("run/report.html").read()
table = page[page.index("<h2>Ranks</h2>"):]
assert html.unescape(re.search(r'<th scope="row">(\d+)</th><td>([^<]*)<', table).group(1)) == "2", table[:900]
PY
}

make_data
for milliseconds in 200 800 2400; do
    slowed $milliseconds
    ! is_named 2>err || { milliseconds=0 && break; }
done
[ "$milliseconds" -eq 0 ] || fail "the slow rank is not named: $(cat run/ranks.json)"

slowed 100 --set run.straggler=0 --set train.steps=5
! grep -q "median" out || fail "somebody is named with run.straggler: 0"

expect 0 "$FLEXHPC" "${train[@]}" --run alone --set train.steps=3
if grep -q "median" out || grep -q own_ alone/metrics.jsonl || [ -e alone/ranks.json ]; then fail "one rank is compared"; fi
echo "the slow rank is named"
