#!/bin/bash
# Everything that has to be measured on a GPU, in one go, with dated results beside the others. An hour at most on an H100.
#   bash benchmarks/gpu.sh [DEVICE] [FOLDER] [STEP...]
# DEVICE: cuda (default), or cpu, which tries the script out on tiny models. STEP: those of the list below; default all.
# Each step writes FOLDER/gpu-DATE-STEP.txt; one that fails is named at the end, the others go on.
set -u

DEVICE=${1:-cuda}
FOLDER=${2:-$(dirname "$0")/results}
[ $# -gt 2 ] && STEPS=("${@:3}") || STEPS=(machine tests step train compile sample tiles trunks growth epochs repeat memory)
HERE=$(cd "$(dirname "$0")/.." && pwd)
DATE=$(date +%F)
RUNS=$(mktemp -d)
trap 'rm -rf "$RUNS"' EXIT
export PYTHONPATH=$HERE${PYTHONPATH:+:$PYTHONPATH}
cd "$HERE" || exit 1

pixeltui() { python -m pixeltui "$@"; }
headless() { pixeltui --no-ui --runs-dir "$RUNS" train --set train.device="$DEVICE" "$@"; }

if [ "$DEVICE" = cpu ]; then # to see that every line runs, not for figures
    PRESET=quick BATCHES=4 SAMPLES=4 LARGE=quick
    SMALL=(--set model.channels=8 --set model.blocks=2)
else
    PRESET=pixelcnn BATCHES=16,64,128,256 SAMPLES=1,16,64,256 LARGE=large
    SMALL=()
fi

machine() {
    [ "$DEVICE" = cpu ] || nvidia-smi
    pixeltui doctor
}

# The whole suite, on the GPU wherever a device is not named: `auto` is CUDA there.
tests() {
    if [ "$DEVICE" = cpu ]; then python -m pytest -q tests/core/test_recompute.py; else python -m pytest -n 10 -q -rfE; fi
}

# images/s beside the naive loop, share of the matrix rate, optimizer, EMA, data, checkpoint, peak memory, 50 epochs
train() { python benchmarks/bench_train.py --device "$DEVICE" --preset $PRESET --batch $BATCHES --set train.compile=false; }

# a step of the default, as it is and compiled: what the CPU takes to ask for it, and its kernels
step() { python benchmarks/gpu_step.py; }

# the same, compiled; and the last losses of 30 steps of `quick`, eager and compiled
compile() {
    python benchmarks/bench_train.py --device "$DEVICE" --preset $PRESET --batch "${BATCHES%%,*}" --set train.compile=true
    for compiled in false true; do
        headless --preset quick --name "compiled-$compiled" --set train.steps=30 --set train.compile=$compiled &&
            tail -n 3 "$RUNS/compiled-$compiled/log.txt"
    done
}

# images/s beside the naive loop at each batch: a row, or a step of a wave, as one graph
sample() { pixeltui bench sample --device "$DEVICE" --preset $PRESET --batch $SAMPLES; }

# a row of two streams by torch's kernels and by the Triton kernels, products, and a wave's draws, with each of their tiles
tiles() {
    [ "$DEVICE" = cpu ] && { echo "needs a GPU"; return 0; }
    python benchmarks/gpu_sampling.py && python benchmarks/gpu_products.py &&
        python benchmarks/gpu_wave_head.py && python benchmarks/gpu_wave_head.py --two-steps
}

# the trunks at full size: a step, sampling, and with the file DATA=IMAGES.npz bits/dim after as many images
trunks() {
    python benchmarks/gpu_trunks.py || return 1
    [ -z "${DATA:-}" ] || [ "$DEVICE" = cpu ] || python benchmarks/likelihood.py --data "$DATA" --device "$DEVICE" --full-size \
        --images-seen 24000 "default: $SMALL_BATCH" "depthwise, 13 blocks: $SMALL_BATCH model.blocks=13 model.channels=256" \
        "two streams: $SMALL_BATCH model.architecture=two_stream model.blocks=17 model.channels=176"
}
SMALL_BATCH="train.batch_size=32 train.ema_decay=0.995" # of as few images as there are

growth() {
    if [ "$DEVICE" = cpu ]; then
        python benchmarks/growth.py --device cpu --only train --size 8
        python benchmarks/growth.py --device cpu --only sample --size 8
    else
        python benchmarks/growth.py --device "$DEVICE" --out "$FOLDER/gpu-$DATE-growth.csv" \
            model.channels=224 model.blocks=17 train.batch_size=64
    fi
}

# images/s of a real run, loss and evaluation included: noise of CIFAR-10's size, some hundred steps
epochs() {
    python - "$RUNS/noise.npz" <<'PYTHON'
import sys
import numpy
numbers = numpy.random.default_rng(0)
numpy.savez(sys.argv[1], images=numbers.integers(0, 256, (4000, 32, 32, 3), dtype="uint8"), labels=numpy.arange(4000) % 10)
PYTHON
    headless --preset $PRESET "${SMALL[@]}" --name real --set data.name="$RUNS/noise.npz" --set sample.every=0 \
        --set train.steps=$([ "$DEVICE" = cpu ] && echo 2 || echo 300) --set train.eval_every=0 &&
        pixeltui --runs-dir "$RUNS" runs show real --json
}

# deterministic = true: three runs, one of them killed in the middle and resumed, end with the same weights
repeat() {
    local same=(--preset quick --set train.deterministic=true --set train.epochs=1 --set sample.every=0)
    headless "${same[@]}" --name whole && headless "${same[@]}" --name again || return 1
    # not by a function, whose own process would be killed instead
    python -m pixeltui --no-ui --runs-dir "$RUNS" train --set train.device="$DEVICE" "${same[@]}" --name killed \
        --set train.checkpoint_every=10 &
    local killed=$!
    until ls "$RUNS"/killed/checkpoints/*10*.safetensors > /dev/null 2>&1; do kill -0 $killed || break; sleep 0.2; done
    kill -9 $killed 2> /dev/null
    wait $killed 2> /dev/null
    headless --resume killed || return 1
    python - "$RUNS" <<'PYTHON'
import sys
from pathlib import Path
from safetensors import safe_open


def tensors(run):
    path = Path(sys.argv[1]) / run / "checkpoints" / "last.safetensors"
    with safe_open(path, "pt") as file:
        return {name: file.get_tensor(name) for name in file.keys() if name.startswith(("model/", "ema/"))}


whole = tensors("whole")
for run in ("again", "killed"):
    other = tensors(run)
    wrong = [name for name in whole if not bool((whole[name] == other[name]).all())]
    print(f"{run}: {len(whole) - len(wrong)} of {len(whole)} tensors the same bit for bit")
    assert not wrong, wrong[:5]
PYTHON
}

# what a batch that does not fit ends with: fewer images at a time, or the number to try
memory() {
    [ "$DEVICE" = cpu ] && { echo "needs a GPU"; return 0; }
    python - "$RUNS/big.npz" <<'PYTHON'
import sys
import numpy
numpy.savez(sys.argv[1], images=numpy.random.default_rng(0).integers(0, 256, (4096, 64, 64, 3), dtype="uint8"))
PYTHON
    for key in train.checkpoint_activations=false train.checkpoint_activations=true; do
        headless --preset $LARGE --name "big-$key" --set data.name="$RUNS/big.npz" --set train.batch_size=1024 \
            --set train.steps=2 --set sample.every=0 --set train.eval_every=0 --set train.checkpoint_every=0 --set $key
        grep -i memory "$RUNS/big-$key/log.txt"
    done
}

failed=()
for step in "${STEPS[@]}"; do
    echo "== $step"
    ("$step") 2>&1 | tee "$FOLDER/gpu-$DATE-$step.txt"
    [ "${PIPESTATUS[0]}" -eq 0 ] || failed+=("$step")
done
[ ${#failed[@]} -eq 0 ] && exit
echo "failed: ${failed[*]}" >&2
exit 1
