#!/usr/bin/env bash
# replay.sh FLEXHPC CONFIG RATE: what `flexhpc predict` says against what happens, on a network of RATE (of tc: 400mbit). Every
# rank is a network namespace behind one limited link of a bridge, which has one as well (other jobs of this machine must
# not take it for theirs); Open MPI goes over TCP. For each setting: sums are timed, alone and in a queue (bench comm), the
# tape is replayed with waits for compute (bench replay), and predicted from both files. Compute is profiled once a model, on
# this machine. Needs root. Prints a table in Markdown.
set -euo pipefail
flexhpc=$(realpath "$1") config=$(realpath "$2") rate=$3 most=4
folder=$(mktemp -d)
no_network() {
    for i in $(seq 0 $most); do ip netns del fxr"$i" 2>/dev/null || true; done
}
trap 'no_network; rm -rf "$folder"' EXIT
trap 'exit 1' TERM INT
no_network
cd "$folder"
ip netns add fxr0
ip -n fxr0 link set lo up
ip -n fxr0 link add bridge type bridge
ip -n fxr0 addr add 10.77.0.254/24 dev bridge
ip -n fxr0 link set bridge up
for i in $(seq $most); do
    ip netns add fxr"$i"
    ip -n fxr0 link add port"$i" type veth peer name wire netns fxr"$i"
    ip -n fxr0 link set port"$i" master bridge up
    ip -n fxr"$i" addr add 10.77.0."$i"/24 dev wire
    ip -n fxr"$i" link set wire up
    ip -n fxr"$i" link set lo up
    tc -n fxr"$i" qdisc add dev wire root tbf rate "$rate" burst 16kb latency 50ms
    printf '10.77.0.%d slots=1\n' "$i" >>hosts
done
cat >agent <<'AGENT'
#!/bin/bash
# HOST COMMAND...: Open MPI's remote shell, into the namespace of that address, under a host name of its own.
name=fxr${1##*.}
shift
exec ip netns exec "$name" unshare -u sh -c "hostname $name; $*"
AGENT
chmod +x agent
job() {
    local ranks=$1
    shift
    # shellcheck disable=SC2086
    ip netns exec fxr0 mpiexec -n "$ranks" --hostfile hosts --map-by node --mca plm_rsh_agent "$folder/agent" --mca btl tcp,self --mca pml ob1 \
        --mca btl_tcp_if_include 10.77.0.0/24 --mca oob_tcp_if_include 10.77.0.0/24 --mca routed direct \
        ${MPI_FLAGS:-} -x OMP_NUM_THREADS=1 "$flexhpc" "$@" >log 2>&1 || { cat log >&2; exit 1; }
}
printf '| setting | ranks | sums | sums alone ms | step measured ms (least to most) | predicted ms | error |\n|---|---|---|---|---|---|---|\n'
# NAME RANKS KEY=VALUE...: one row.
row() {
    local name=$1 ranks=$2 set=() key
    shift 2
    for key in backend=cpu contrast.weight=0 train.global_batch=4 bench.steps=5 bench.warmup=1 "$@"; do set+=(--set "$key"); done
    local profile="profile ${*: -1}.json"
    case ${*: -1} in model.* | contrast.*) ;; *) profile=profile.json ;; esac
    [ -e "$profile" ] || OMP_NUM_THREADS=1 "$flexhpc" profile "$config" "${set[@]}" --json "$profile" >log
    job "$ranks" bench comm "$config" "${set[@]}" --set train.bucket=8 --json comm.json
    job "$ranks" bench replay "$config" "${set[@]}" --batch 4 --profile "$profile" --json replay.json
    "$flexhpc" predict "$config" "${set[@]}" --batch 4 --ranks "$ranks" --profile "$profile" --comm comm.json --json predict.json >log
    /usr/bin/python3 - "$name" "$ranks" <<'PY'
import json
import sys
replay, predict = (json.load(open(f))["rows"][0] for f in ("replay.json", "predict.json"))
error = predict["step_ms"] / (1e3 * replay["median_s"]) - 1
print(f"| {sys.argv[1]} | {sys.argv[2]} | {replay['sums']} | {predict['sums_ms']:.0f} | {1e3 * replay['median_s']:.0f}"
      f" ({1e3 * replay['least_s']:.0f} to {1e3 * replay['most_s']:.0f}) | {predict['step_ms']:.0f} | {100 * error:+.1f} % |")
PY
}
row 'buckets of 8 MiB' 2 train.bucket=8
row 'buckets of 1 MiB' 2 train.bucket=1
row 'buckets of 1 MiB, bf16' 2 train.bucket=1 train.reduce_type=bf16
row 'buckets of 1 MiB' 4 train.bucket=1
row 'twice as wide, buckets of 4 MiB' 2 train.bucket=4 'model.channels=[64,64,128,128]'
row 'buckets of 1 MiB, train.shard_optimizer' 2 train.bucket=1 train.shard_optimizer=true
row 'buckets of 1 MiB, the contrast' 2 train.bucket=1 contrast.weight=1
